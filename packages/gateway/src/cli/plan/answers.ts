import type { DescField, DescMessage, DescMethod, Message } from "@bufbuild/protobuf";
import type { ReflectMessage } from "@bufbuild/protobuf/reflect";
import { type AskedKey, type KeyMatch, keyOf, keysIn, matchKeys, matchParts, messagesIn } from "./keys.ts";
import type { EntityKeys, LoaderKeys } from "./loaders.ts";
import type { Mint } from "./mint.ts";
import { makeUp } from "./values.ts";

/** How answers of upstreams are made up. */
export interface AnswerMaking {
  /** The most items that a list has whose request does not say how many. */
  readonly rows: number;
  /** The most that its request can ask for, but for as many as it has keys. */
  readonly most: number;
  readonly match: KeyMatch;
  readonly loaderKeys: LoaderKeys;
}

/** More than that is no page, but means: all there are. */
const maxPage = 10_000;

const pageSizeNames: ReadonlySet<string> = new Set(["page_size", "max_results", "limit", "per_page"]);

/** Whether a field says how many items a page may have. */
export function isPageSize({ name, fieldKind }: DescField): boolean {
  return fieldKind === "scalar" && pageSizeNames.has(name);
}

/** Whether a field leads to another page: it is empty in requests for the first page, and in answers with the last. */
export function isPageToken({ name, fieldKind }: DescField): boolean {
  return fieldKind === "scalar" && /(^|_)(token|cursor)$/.test(name);
}

/** Makes up answers: to a request, with the output of its method. */
export type MakeAnswer = (method: DescMethod, request: ReflectMessage) => Message;

/**
 * Prepares to make up the answers of one run: each is as large as its request lets it be, and the last page. It has the
 * keys that the request asks for, so that whoever looks for them finds them; all other values differ from each other.
 */
export function createMakeAnswer(
  mint: Pick<Mint<unknown>, "value">,
  { rows, most, match, loaderKeys }: AnswerMaking,
): MakeAnswer {
  const held = new Map<DescField, unknown[]>(
    [...loaderKeys.values()].flat().flatMap(({ heldBy }) => heldBy.flat().map((field) => [field, []])),
  );
  return (method, request) => {
    const keys = keysIn(request).filter(({ name }) => !pageSizeNames.has(name));
    const ofEntities = entityKeys(loaderKeys.get(method), keys, held);
    const inItems = ofEntities ?? itemKeys(method.output, keys, match);
    const single = matchKeys(
      method.output,
      keys.filter(({ listed }) => !listed),
      match,
    );
    const asked = mostValues([...keys, ...(ofEntities?.values() ?? [])]);
    const size = Math.max(asked, Math.min(pageSizeOf(request) ?? (asked || rows), most));
    return makeUp(method.output, {
      mint,
      sizeOf: () => size,
      isEmpty: (field, inList) => !inList && isPageToken(field),
      given: (field, item) => {
        const key = item === undefined ? single.get(field) : inItems.get(field);
        return key?.values[(item ?? 0) % key.values.length];
      },
      note: (field, value) => held.get(field)?.push(value),
    });
  };
}

/** The keys of entities that loaders look for; in a whole list, those that others hold. */
function entityKeys(
  known: readonly EntityKeys[] = [],
  keys: readonly AskedKey[],
  held: ReadonlyMap<DescField, readonly unknown[]>,
): ReadonlyMap<DescField, AskedKey> | undefined {
  const withKey = known.filter(({ parts }) => parts.length > 0);
  if (withKey.length === 0) return undefined;
  // Several loaders can fetch by one method: which of them asks cannot be seen, so each finds what it looks for.
  return new Map(
    withKey.flatMap((each) =>
      each.kind === "all" ? heldKeys(each, held) : [...matchParts(each.parts, keys)],
    ),
  );
}

function heldKeys(
  { parts, heldBy }: EntityKeys,
  held: ReadonlyMap<DescField, readonly unknown[]>,
): (readonly [DescField, AskedKey])[] {
  return parts.flatMap((part, index) =>
    keyWith(part, heldBy[index]?.flatMap((field) => held.get(field) ?? []) ?? []),
  );
}

function keyWith(field: DescField, values: readonly unknown[]): (readonly [DescField, AskedKey])[] {
  return keyOf(field, true, values).map((key) => [field, key]);
}

/** The keys of the items in the lists of an answer. */
function itemKeys(
  output: DescMessage,
  keys: readonly AskedKey[],
  match: KeyMatch,
): ReadonlyMap<DescField, AskedKey> {
  const listed = keys.filter(({ listed }) => listed);
  const lists = messagesIn(output)
    .flat()
    .flatMap(({ fields }) => fields.filter(({ fieldKind }) => fieldKind === "list"));
  return new Map(
    lists.flatMap(({ message }) => (message === undefined ? [] : [...matchKeys(message, listed, match)])),
  );
}

function pageSizeOf(request: ReflectMessage): number | undefined {
  const field = request.fields.find(isPageSize);
  const size = field === undefined ? 0 : Number(request.get(field));
  return size >= 1 && size <= maxPage ? size : undefined;
}

function mostValues(keys: readonly AskedKey[]): number {
  return Math.max(0, ...keys.map(({ listed, values }) => (listed ? values.length : 0)));
}
