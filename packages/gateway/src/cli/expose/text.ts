// Sources are changed as texts, so that everything else in them stays as somebody wrote it.

/**
 * The same text with blanks for comments and for what stands between quotes, so that what is left can be searched for names
 * and braces. Positions are those of the text.
 */
export function blankOut(text: string): string {
  const quiet =
    /\/\/[^\n]*|\/\*[\s\S]*?(?:\*\/|$)|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`/g;
  return text.replace(quiet, (part) =>
    part.startsWith("/") ? blank(part) : `${part.at(0)}${blank(part.slice(1, -1))}${part.at(-1)}`,
  );
}

function blank(part: string): string {
  return part.replace(/[^\n]/g, " ");
}

/** A part of a text, from the first position to before the second. */
export interface Range {
  readonly start: number;
  readonly end: number;
}

const pairs: Readonly<Record<string, string>> = { "{": "}", "(": ")", "[": "]" };

/**
 * The inside of a pair of braces, brackets or parentheses.
 *
 * @param blanked from {@link blankOut}
 * @param open the position of the opening one
 */
export function insideAt(blanked: string, open: number): Range | undefined {
  const opens = blanked[open] ?? "";
  const closes = pairs[opens];
  let depth = 0;
  for (let at = open; at < blanked.length; at++) {
    if (blanked[at] === opens) depth++;
    else if (blanked[at] === closes && --depth === 0) return { start: open + 1, end: at };
  }
  return undefined;
}

/** The parts of a range that commas separate, but for commas inside of braces, brackets and parentheses. */
export function partsIn(blanked: string, { start, end }: Range): readonly Range[] {
  const parts: Range[] = [];
  let from = start;
  for (let at = start; at < end; at++) {
    if (pairs[blanked[at] ?? ""] !== undefined) at = insideAt(blanked, at)?.end ?? end;
    else if (blanked[at] === ",") {
      parts.push({ start: from, end: at });
      from = at + 1;
    }
  }
  return [...parts, { start: from, end }];
}

/** The text with something put in at a position. */
export function insert(text: string, at: number, added: string): string {
  return text.slice(0, at) + added + text.slice(at);
}

/** The text of a range, without the white space around it. */
export function textAt(text: string, { start, end }: Range): string {
  return text.slice(start, end).trim();
}
