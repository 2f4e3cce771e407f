import type { DescEnum, DescMessage } from "@bufbuild/protobuf";
import { blankOut, insert, insideAt, type Range, textAt } from "./text.ts";

/** A message or an enum, as the source of a proto file has it. */
type Declared = DescMessage | DescEnum;

/**
 * Puts a declaration at the end of a message. Gives `undefined` if the source has no such message.
 *
 * @param declaration with its comment, each line ended
 */
export function addToMessage(text: string, message: DescMessage, declaration: string): string | undefined {
  const block = blockOf(text, message);
  if (block === undefined) return undefined;
  const before = text.slice(0, block.end).trimEnd();
  return `${before}\n${indent(declaration, nestingOf(message))}${"  ".repeat(nestingOf(message) - 1)}${text.slice(block.end)}`;
}

/** Puts a declaration after a message, or after the one that it stands in. */
export function addAfterMessage(text: string, message: DescMessage, declaration: string): string | undefined {
  const block = blockOf(text, outermost(message));
  return block && insert(text, block.end + 1, `\n\n${declaration.trimEnd()}`);
}

/** Adds an import, if the file does not have it. */
export function addImport(text: string, path: string): string {
  const statement = `import "${path}";`;
  const blanked = blankOut(text);
  // A blanked import has lost its path.
  const places = [...blanked.matchAll(/^[^\S\n]*(?:import|package|syntax|edition)\b[^;{}]*;/gm)].map(
    ({ index, 0: { length } }) => ({ start: index, end: index + length }),
  );
  if (places.some((place) => importedBy(textAt(text, place)) === path)) return text;
  const last = places.at(-1);
  return last === undefined
    ? `${statement}\n${text}`
    : insert(text, lineEnd(text, blanked, last.end), `\n${statement}`);
}

/** The path in an import, whatever its quotes, and whether it is public. */
function importedBy(statement: string): string | undefined {
  return /^import\b[^"']*(["'])(.*)\1\s*;$/s.exec(statement)?.[2];
}

/** The end of the line, past a comment, if nothing else follows there. */
function lineEnd(text: string, blanked: string, at: number): number {
  const [line = ""] = blanked.slice(at).split("\n", 1);
  return line.trim() === "" && !text.slice(at, at + line.length).includes("/*") ? at + line.length : at;
}

/**
 * The lines of the comment that a field or a value has, without their slashes. Empty, if it has none.
 *
 * @param parent the message or the enum that it is declared in
 */
export function commentOf(
  text: string,
  parent: Declared,
  { name, number }: { readonly name: string; readonly number: number },
): readonly string[] {
  const block = blockOf(text, parent);
  if (block === undefined) return [];
  const blanked = blankOut(text);
  const inside = blanked.slice(block.start, block.end);
  const [declared] = [...inside.matchAll(new RegExp(`\\b${name}\\s*=\\s*${number}\\b`, "g"))].filter(
    ({ index }) => isDirect(inside.slice(0, index)),
  );
  if (declared === undefined) return [];
  const at = block.start + declared.index;
  const before = lastEnd(blanked, at);
  return (
    leadingComment(text.slice(before + 1, statementStart(blanked, before + 1))) ??
    trailingComment(text, blanked, at)
  );
}

/** The lines of the comment that a message or an enum has. */
export function commentOfType(text: string, type: Declared): readonly string[] {
  const blanked = blankOut(text);
  const head = headOf(blanked, type, { start: 0, end: text.length });
  if (head === undefined) return [];
  return leadingComment(text.slice(lastEnd(blanked, head.start) + 1, head.start)) ?? [];
}

/** A comment of these lines. */
export function commentText(lines: readonly string[]): string {
  return lines.map((line) => `//${line === "" ? "" : " "}${line}\n`).join("");
}

/** The inside of a message or an enum in a source. */
function blockOf(text: string, type: Declared): Range | undefined {
  const blanked = blankOut(text);
  const outer = type.parent === undefined ? { start: 0, end: text.length } : blockOf(text, type.parent);
  const head = outer && headOf(blanked, type, outer);
  return head && insideAt(blanked, head.end - 1);
}

/** From the keyword to the brace; only what stands directly in the range counts. */
function headOf(blanked: string, { kind, name }: Declared, { start, end }: Range): Range | undefined {
  for (const match of blanked.slice(start, end).matchAll(new RegExp(`\\b${kind}\\s+${name}\\s*\\{`, "g"))) {
    const before = blanked.slice(start, start + match.index);
    if (before.split("{").length === before.split("}").length)
      return { start: start + match.index, end: start + match.index + match[0].length };
  }
  return undefined;
}

/** Whether what follows stands in the block itself, or in a oneof of it; not in another message inside. */
function isDirect(before: string): boolean {
  const closed = /\{[^{}]*\}/g;
  let open = before;
  while (open.search(closed) >= 0) open = open.replace(closed, "");
  return !open.replace(/\boneof\s+\w+\s*\{/g, "").includes("{");
}

/** Where the statement before a position ends, or the block that it stands in begins; -1 at the start of the file. */
function lastEnd(blanked: string, at: number): number {
  return Math.max(...[";", "{", "}"].map((mark) => blanked.slice(0, at).lastIndexOf(mark)));
}

function statementStart(blanked: string, from: number): number {
  return from + blanked.slice(from).search(/\S|$/);
}

/** The last paragraph of comments before a statement, which it touches. */
function leadingComment(gap: string): readonly string[] | undefined {
  // What stands on the line of the statement before is about that one.
  const [, ...lines] = gap.split("\n");
  if (lines.at(-1)?.trim() === "") lines.pop();
  const paragraph = lines.slice(lines.findLastIndex((line) => line.trim() === "") + 1);
  return paragraph.length === 0 ? undefined : plainLines(paragraph);
}

function trailingComment(text: string, blanked: string, at: number): readonly string[] {
  const [line = ""] = text.slice(blanked.indexOf(";", at) + 1).split("\n", 1);
  return line.trim().startsWith("//") ? plainLines([line]) : [];
}

function plainLines(lines: readonly string[]): readonly string[] {
  const plain = lines.map((line) =>
    line
      .trim()
      .replace(/^(\/\/+|\/\*+|\*(?!\/))? ?/, "")
      .replace(/\s*\*\/$/, ""),
  );
  return plain.slice(plain[0] === "" ? 1 : 0, plain.at(-1) === "" ? -1 : undefined);
}

function outermost(message: DescMessage): DescMessage {
  return message.parent === undefined ? message : outermost(message.parent);
}

function nestingOf(message: DescMessage): number {
  return message.parent === undefined ? 1 : 1 + nestingOf(message.parent);
}

function indent(text: string, levels: number): string {
  return text.replace(/^(?=.)/gm, "  ".repeat(levels));
}
