import type { DescField, DescMessage, DescMethod, Message } from "@bufbuild/protobuf";
import type { FieldMask } from "@bufbuild/protobuf/wkt";
import { LRUCache } from "lru-cache";
import { messagesIn } from "../../descriptors.ts";
import type { ReadMask } from "../../read-mask.ts";
import { createCopy } from "./copy.ts";
import { textOf, type Wanted, type WantedFields, wantedBy } from "./wanted.ts";

/** What a caller wants of an answer, as it said in the `read_mask` of its request (AIP-157). */
export interface Selection {
  /** The fields that are wanted at no place of the answer, at any depth: nothing has to be fetched for them. */
  readonly unselected: ReadonlySet<DescField>;
  /**
   * Those fields, and what the caller may not read: the same set every time for the same `hidden`, so that what is worked
   * out for a set can be found again by it.
   */
  readonly omitted: (hidden: ReadonlySet<DescField>) => ReadonlySet<DescField>;
  /**
   * A copy of an answer with what is wanted alone. Never changes what it is given, which may belong to a cache; messages
   * that are wanted whole are shared.
   */
  readonly keep: (answer: Message) => Message;
  /** The fields that are wanted, place by place. */
  readonly wanted: WantedFields;
}

/**
 * Reads the selection of a request; `undefined` if everything is wanted.
 *
 * Errors: `invalid_argument` about `read_mask`, with every path that leads nowhere.
 */
export type Select = (request: Message) => Selection | undefined;

/** A method that may take a read mask. */
export interface MaskedMethod {
  readonly method: DescMethod;
  /** `undefined` if it takes none. */
  readonly readMask: ReadMask | undefined;
}

/** Prepares to read the selections of all methods that take a `read_mask`, for the start. */
export function createSelections(methods: Iterable<MaskedMethod>): ReadonlyMap<DescMethod, Select> {
  const selects = [...methods].map(
    ({ method, readMask }) => [method, createSelect(method, readMask)] as const,
  );
  return new Map(selects.flatMap(([method, select]) => (select === undefined ? [] : [[method, select]])));
}

/** Masks come from strangers: of each method, so many are remembered. */
const maxSelections = 100;

/** Prepares to read the selections of one method; `undefined` if it takes no `read_mask`. */
export function createSelect(
  { output }: Pick<DescMethod, "output">,
  readMask: ReadMask | undefined,
): Select | undefined {
  if (readMask === undefined) return undefined;
  const { field, desc, holder } = readMask;
  const everything = fieldsIn(output);
  const selections = new LRUCache<string, Selection>({ max: maxSelections });
  return (request) => {
    const wanted = wantedBy(desc, pathsIn(request, field));
    if (wanted === "all") return undefined;
    // By what is wanted and not by the mask, which can say the same in any number of ways.
    const key = textOf(wanted);
    const before = selections.get(key);
    if (before !== undefined) return before;
    const selection = selectionOf(output, everything, holder ? around(output, holder, wanted) : wanted);
    selections.set(key, selection);
    return selection;
  };
}

function pathsIn(request: Message, { localName }: DescField): readonly string[] {
  const mask = (request as unknown as Readonly<Record<string, FieldMask | undefined>>)[localName];
  return mask?.paths ?? [];
}

/** What is wanted of the whole answer: all that it has beside the resource, too. */
function around({ fields }: DescMessage, holder: DescField, wanted: Wanted): WantedFields {
  return new Map(fields.map((field) => [field, field === holder ? wanted : "all"]));
}

function selectionOf(
  output: DescMessage,
  everything: ReadonlySet<DescField>,
  wanted: WantedFields,
): Selection {
  const unselected = new Set(everything);
  withoutWanted(unselected, wanted);
  const unions = new WeakMap<ReadonlySet<DescField>, ReadonlySet<DescField>>();
  return {
    unselected,
    omitted: (hidden) => {
      if (hidden.size === 0) return unselected;
      const union = unions.get(hidden) ?? new Set([...hidden, ...unselected]);
      unions.set(hidden, union);
      return union;
    },
    keep: createCopy(output, wanted),
    wanted,
  };
}

/** A type of message can occur at several places: a field of it is left out only if it is wanted at none of them. */
function withoutWanted(unselected: Set<DescField>, wanted: WantedFields): void {
  for (const [field, inside] of wanted) {
    unselected.delete(field);
    if (inside !== "all") withoutWanted(unselected, inside);
    else if (field.message !== undefined) for (const each of fieldsIn(field.message)) unselected.delete(each);
  }
}

/** The fields of a message, and of all messages that it can hold. */
function fieldsIn(desc: DescMessage): ReadonlySet<DescField> {
  const before = known.get(desc);
  if (before !== undefined) return before;
  const found = new Set(Array.from(messagesIn([desc]), ({ fields }) => fields).flat());
  known.set(desc, found);
  return found;
}

const known = new WeakMap<DescMessage, ReadonlySet<DescField>>();
