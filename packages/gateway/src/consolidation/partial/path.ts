/** One step from an answer to a field: into a field, an item of a list, or the value of a key of a map. */
export type Step =
  | { readonly kind: "field"; readonly name: string }
  | { readonly kind: "item"; readonly index: number }
  | { readonly kind: "key"; readonly text: string };

/** What stands in brackets. */
export type Subscript = Exclude<Step, { readonly kind: "field" }>;

/** The path of one field, taken apart at its last subscript, in which it differs from those that it is told with. */
export interface PartPath {
  /** The text before the last subscript; the whole path, if it has none. */
  readonly before: string;
  readonly last: Subscript | undefined;
  /** The text after it. */
  readonly after: string;
  /** The whole path, with `*` for every subscript. */
  readonly wide: string;
}

/**
 * Writes a path down.
 *
 * @example pathOf(steps) // { before: "orders[", last: { kind: "item", index: 3 }, after: "].note", wide: "orders[*].note" }
 */
export function pathOf(steps: readonly Step[]): PartPath {
  const at = steps.findLastIndex(({ kind }) => kind !== "field");
  const last = steps[at];
  const wide = write(steps, () => "*");
  if (last === undefined || last.kind === "field")
    return { before: write(steps, subscriptText), last: undefined, after: "", wide };
  return {
    before: `${write(steps.slice(0, at), subscriptText)}[`,
    last,
    after: `]${steps
      .slice(at + 1)
      .map(fieldText)
      .join("")}`,
    wide,
  };
}

function write(steps: readonly Step[], subscript: (step: Subscript) => string): string {
  return steps
    .map((step, index) => {
      if (step.kind !== "field") return `[${subscript(step)}]`;
      return index === 0 ? step.name : fieldText(step);
    })
    .join("");
}

function fieldText(step: Step): string {
  return step.kind === "field" ? `.${step.name}` : "";
}

function subscriptText(step: Subscript): string {
  return step.kind === "item" ? String(step.index) : step.text;
}

/** Subscripts as they come, written as ranges: `0-2,5`, or keys: `"a","b"`. Grows with its text, not with their number. */
export interface Subscripts {
  readonly add: (subscript: Subscript) => void;
  readonly text: () => string;
  /** The length of the text, in bytes of UTF-8. */
  readonly bytes: () => number;
}

/** Starts without any. Indices must come in ascending order. */
export function createSubscripts(): Subscripts {
  let closed = "";
  let closedBytes = 0;
  let range: { readonly from: number; to: number } | undefined;
  const close = (text: string) => {
    const more = closed === "" ? text : `,${text}`;
    closed += more;
    closedBytes += Buffer.byteLength(more);
  };
  const open = () => {
    if (range === undefined) return "";
    return range.from === range.to ? `${range.from}` : `${range.from}-${range.to}`;
  };
  return {
    add: (subscript) => {
      if (subscript.kind === "key") return close(subscript.text);
      const { index } = subscript;
      if (range?.to === index - 1) {
        range.to = index;
        return;
      }
      if (range !== undefined) close(open());
      range = { from: index, to: index };
    },
    text: () => [closed, open()].filter((part) => part !== "").join(","),
    bytes: () => closedBytes + open().length + (closed === "" || range === undefined ? 0 : 1),
  };
}
