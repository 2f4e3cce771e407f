import type { DescMethodUnary, DescService, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import DataLoader from "dataloader";
import type { Call } from "../call.ts";
import { internalError, PublicError } from "../errors.ts";
import { declaration, type Upstream } from "../upstream/upstream.ts";

/** What can identify an entity. */
export type Key = string | number | bigint;

/**
 * Keyed access to one kind of upstream entity. All keys that are asked for at the same time travel in one call;
 * within one public call, no key travels twice.
 */
export interface Loader<K extends Key = Key, V = unknown> {
  /** What it fetches from: `users.batchGetUsers`. */
  readonly name: string;
  /** What a key that the upstream does not know is answered with. */
  readonly missing: V;
  /** The values of keys, in the order of the keys. Errors are those of the upstream. */
  readonly loadAll: (keys: readonly K[], call: Call) => Promise<V[]>;
}

/** What the loaders have fetched, or are fetching, for one call. */
export interface LoaderScope {
  readonly keep: "call" | "batch";
  readonly batches: Map<object, DataLoader<Key, unknown>>;
}

/**
 * An empty scope. What is fetched is kept for the call; in a stream only for the batch that it came with, so that each
 * message is joined with what is true then, and a long stream holds no more than a short one.
 */
export function createLoaderScope(keep: LoaderScope["keep"]): LoaderScope {
  return { keep, batches: new Map() };
}

/**
 * How several entities are fetched by one call. Write the properties in this order: TypeScript learns the type of the
 * entity from `items`, that of the key from `key`, and only then understands `request`.
 */
export interface BatchOptions<S extends DescService, M extends UnaryMethodName<S>, K extends Key, V> {
  /** The method that answers many keys at once. */
  readonly method: M;
  /** The entities in an answer. */
  readonly items: (response: ResponseOf<S, M>) => readonly V[];
  /** The key of an entity: answers are matched by key, never by position. */
  readonly key: (item: V) => K;
  /** The request for some keys; `pageToken` is empty but for the further pages of an answer. */
  readonly request: (keys: K[], pageToken: string) => RequestOf<S, M>;
  /** The most keys that one call may have; more are split into calls that run in parallel. */
  readonly max: number;
  /** The token of the next page, if the method is paged: all pages are fetched, 100 at the most. */
  readonly nextPageToken?: (response: ResponseOf<S, M>) => string;
}

/** The names of the unary methods of a service. */
export type UnaryMethodName<S extends DescService> = {
  [K in keyof S["method"]]: S["method"][K] extends DescMethodUnary ? K : never;
}[keyof S["method"]] &
  string;
type RequestOf<S extends DescService, M extends UnaryMethodName<S>> = MessageInitShape<
  S["method"][M]["input"]
>;
type ResponseOf<S extends DescService, M extends UnaryMethodName<S>> = MessageShape<S["method"][M]["output"]>;

/**
 * A loader of one entity a key. A key that the upstream does not know gives `undefined`.
 *
 * Throws a `TypeError` if `max` is not a positive whole number.
 *
 * @example
 * const usersById = loader(users, {
 *   batch: { method: "batchGetUsers", items: (r) => r.users, key: (u) => u.id, request: (ids) => ({ ids }), max: 500 },
 * });
 */
export function loader<S extends DescService, M extends UnaryMethodName<S>, K extends Key, V>(
  from: Upstream<S>,
  { batch }: { readonly batch: BatchOptions<S, M, K, V> },
): Loader<K, V | undefined> {
  const fetchAll = createFetch(from, batch);
  return createLoader<K, V | undefined>(from, batch, undefined, async (keys, call) => {
    const items = await fetchAll(keys, call);
    const byKey = new Map(items.map((item) => [batch.key(item), item]));
    return keys.map((key) => byKey.get(key));
  });
}

/**
 * A loader of all the entities that share a key, such as the items of an owner. A key that the upstream does not know
 * gives an empty list. The entities of a key keep the upstream's order.
 *
 * @example
 * const itemsByOwner = groupLoader(inventory, {
 *   batch: { method: "listItems", items: (r) => r.items, key: (item) => item.ownerId,
 *            request: (ownerIds, pageToken) => ({ ownerIds, pageToken }), max: 500, nextPageToken: (r) => r.nextPageToken },
 * });
 */
export function groupLoader<S extends DescService, M extends UnaryMethodName<S>, K extends Key, V>(
  from: Upstream<S>,
  { batch }: { readonly batch: BatchOptions<S, M, K, V> },
): Loader<K, readonly V[]> {
  const fetchAll = createFetch(from, batch);
  return createLoader<K, readonly V[]>(from, batch, [], async (keys, call) => {
    const byKey = Map.groupBy(await fetchAll(keys, call), batch.key);
    return keys.map((key) => byKey.get(key) ?? []);
  });
}

function createLoader<K extends Key, V>(
  from: Upstream<DescService>,
  { method, max }: { readonly method: string; readonly max: number },
  missing: V,
  fetchBatch: (keys: readonly K[], call: Call) => Promise<V[]>,
): Loader<K, V> {
  const name = `${from[declaration].name}.${method}`;
  if (!Number.isInteger(max) || max < 1)
    throw new TypeError(`loader ${name}: max must be a positive whole number, got ${max}`);
  const identity = {};
  const create = (call: Call) => {
    const batches = new DataLoader<K, V>(
      (keys) => {
        if (call.loaders.keep === "batch") batches.clearAll();
        return fetchBatch(keys, call);
      },
      { maxBatchSize: max },
    );
    return batches;
  };
  return {
    name,
    missing,
    loadAll: (keys, call) => {
      // The scope holds loaders of all types; this one was put there by this very function.
      const batch = (call.loaders.batches.get(identity) as DataLoader<K, V> | undefined) ?? create(call);
      call.loaders.batches.set(identity, batch as unknown as DataLoader<Key, unknown>);
      return Promise.all(keys.map((key) => batch.load(key)));
    },
  };
}

/** Fetches all pages of the entities of some keys. */
function createFetch<S extends DescService, M extends UnaryMethodName<S>, K extends Key, V>(
  from: Upstream<S>,
  batch: BatchOptions<S, M, K, V>,
): (keys: readonly K[], call: Call) => Promise<V[]> {
  // The compiler cannot see that a unary method of S has this shape for each M.
  const methods = from as unknown as Record<
    M,
    (request: RequestOf<S, M>, call: Call) => Promise<ResponseOf<S, M>>
  >;
  const method = methods[batch.method];
  const name = `${from[declaration].name}.${batch.method}`;
  return async (keys, call) => {
    const items: V[] = [];
    let pages = 0;
    let pageToken = "";
    do {
      const response = await method(batch.request([...keys], pageToken), call).catch(blameUpstream);
      for (const item of batch.items(response)) items.push(item);
      pageToken = batch.nextPageToken?.(response) ?? "";
      if (++pages === maxPages && pageToken !== "")
        throw new Error(`${name} gave more than ${maxPages} pages for ${keys.length} keys`);
    } while (pageToken !== "");
    return items;
  };
}

/** An upstream whose pages have no end must not hold the call, and fill the memory, until its deadline. */
const maxPages = 100;

/** The request was written here, not by the caller: if it is refused, that is nothing the caller could mend. */
function blameUpstream(error: unknown): never {
  if (error instanceof PublicError && callersFaults.has(error.code)) throw internalError(error);
  throw error;
}

const callersFaults: ReadonlySet<Code> = new Set([
  Code.InvalidArgument,
  Code.NotFound,
  Code.AlreadyExists,
  Code.FailedPrecondition,
  Code.OutOfRange,
]);
