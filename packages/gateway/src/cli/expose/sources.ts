import { dirname, relative } from "node:path";
import type { DescEnum, DescFile, DescMessage } from "@bufbuild/protobuf";
import { blankOut, insert, insideAt, partsIn, type Range, textAt } from "./text.ts";

/** A source of an API: its path, and its text. */
export interface Source {
  readonly path: string;
  readonly text: string;
}

/** A call such as `view(from, to, { ... })` in a source. */
export interface FoundCall {
  readonly source: Source;
  /** The constant that it is assigned to. */
  readonly name: string | undefined;
  /** Where it, or the statement that names it, begins. */
  readonly start: number;
  readonly args: readonly Range[];
}

/** The calls of a function whose first two arguments are the schemas of two messages, or of two enums. */
export function findCalls(
  sources: readonly Source[],
  callee: string,
  from: DescMessage | DescEnum,
  to: DescMessage | DescEnum,
): readonly FoundCall[] {
  return sources.flatMap((source) => {
    const isSchema = schemaTest(source.text);
    return callsIn(source, callee).filter(
      ({ args: [first, second] }) =>
        first !== undefined &&
        second !== undefined &&
        isSchema(textAt(source.text, first), from) &&
        isSchema(textAt(source.text, second), to),
    );
  });
}

function callsIn(source: Source, callee: string): readonly FoundCall[] {
  const blanked = blankOut(source.text);
  const pattern = new RegExp(
    `(?:^[^\\S\\n]*(?:export\\s+)?const\\s+(\\w+)[^=;]*=\\s*|\\b)${callee}\\s*(?:<[^()]*>)?\\s*\\(`,
    "gm",
  );
  return [...blanked.matchAll(pattern)].flatMap((match) => {
    const inside = insideAt(blanked, match.index + match[0].length - 1);
    if (inside === undefined) return [];
    const args = partsIn(blanked, inside).filter((part) => textAt(source.text, part) !== "");
    return [{ source, name: match[1], start: match.index, args }];
  });
}

/** An import of a source. */
interface Import {
  readonly from: string;
  /** `import * as name`. */
  readonly namespace: string | undefined;
  /** What is imported under which name, and where the list of it stands. */
  readonly names: ReadonlyMap<string, string>;
  readonly list: Range | undefined;
}

function importsOf(text: string): readonly Import[] {
  const pattern = /^import\s+(?!type\b)(?:\*\s+as\s+(\w+)|\{([^}]*)\})\s+from\s+["']([^"']+)["']/gm;
  return [...text.matchAll(pattern)].map((match) => {
    const [statement, namespace, list, from = ""] = match;
    const start = match.index + statement.indexOf("{") + 1;
    return {
      from,
      namespace,
      names: new Map((list ?? "").split(",").flatMap((item) => importedAs(item))),
      list: list === undefined ? undefined : { start, end: start + list.length },
    };
  });
}

function importedAs(item: string): [exported: string, local: string][] {
  const [exported = "", local = exported] = item.trim().split(/\s+as\s+/);
  return exported === "" ? [] : [[exported, local]];
}

function schemaTest(text: string): (expression: string, type: DescMessage | DescEnum) => boolean {
  const imports = importsOf(text);
  return (expression, type) =>
    imports
      .filter(({ from }) => isGenerated(from, type.file))
      .some(
        ({ namespace, names }) =>
          expression === `${namespace}.${schemaName(type)}` || expression === names.get(schemaName(type)),
      );
}

/** Whether an import is of what was generated from a proto file. */
function isGenerated(from: string, { name }: DescFile): boolean {
  return `/${from.replace(/\.[jt]s$/, "")}`.endsWith(`/${name}_pb`);
}

/** What the generated code calls the schema of a type. */
export function schemaName({ typeName, file }: DescMessage | DescEnum): string {
  const name = file.proto.package === "" ? typeName : typeName.slice(file.proto.package.length + 1);
  return `${name.replaceAll(".", "_")}Schema`;
}

/** How a source names something, and the source that can. */
export interface Reference {
  readonly expression: string;
  readonly text: string;
}

/**
 * Has a source import a schema, as it imports others from the same file; `undefined` if it imports nothing from there.
 *
 * @param file the proto file that the schema is generated from
 * @param alias its name here, if its own is taken
 */
export function referTo(text: string, file: DescFile, schema: string, alias: string): Reference | undefined {
  const candidates = importsOf(text).filter(({ from }) => isGenerated(from, file));
  for (const { namespace, names } of candidates) {
    if (namespace !== undefined) return { expression: `${namespace}.${schema}`, text };
    const local = names.get(schema);
    if (local !== undefined) return { expression: local, text };
  }
  const list = candidates.find((it) => it.list !== undefined)?.list;
  if (list === undefined) return undefined;
  return new RegExp(`\\b${schema}\\b`).test(blankOut(text))
    ? { expression: alias, text: insert(text, list.start, ` ${schema} as ${alias},`) }
    : { expression: schema, text: insert(text, list.start, ` ${schema},`) };
}

/** Has a source import some functions from where it imports another; `undefined` if it does not import that. */
export function importBeside(text: string, known: string, wanted: readonly string[]): string | undefined {
  const found = importsOf(text).find(({ names, list }) => list !== undefined && names.has(known));
  if (found?.list === undefined) return undefined;
  const missing = wanted.filter((name) => !found.names.has(name));
  return missing.length === 0 ? text : insert(text, found.list.start, ` ${missing.join(", ")},`);
}

/** Has a source import a constant of another one. */
export function importConstant({ path, text }: Source, from: string, name: string): string {
  const known = importsOf(text).some(({ names }) => [...names.values()].includes(name));
  if (known) return text;
  const way = relative(dirname(path), from).replaceAll("\\", "/");
  return `import { ${name} } from "${way.startsWith(".") ? way : `./${way}`}";\n${text}`;
}

/** Where the imports of a source end; 0 if it has none. */
export function importsEnd(text: string): number {
  const last = [...blankOut(text).matchAll(/^import\b[^"']*(["'])[^"']*\1[^\n]*/gm)].at(-1);
  return last === undefined ? 0 : last.index + last[0].length;
}
