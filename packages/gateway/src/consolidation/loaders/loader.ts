import type { DescMessage, DescService, Message } from "@bufbuild/protobuf";
import type { Call } from "../../call.ts";
import type { PublicError } from "../../errors.ts";
import type { Upstream } from "../../upstream/upstream.ts";
import type { EntityRule } from "../entities/entity-rule.ts";
import { makeLoader } from "./make-loader.ts";
import type {
  AllOptions,
  BatchOptions,
  CacheOptions,
  EntityAt,
  GroupCacheOptions,
  ItemPath,
  ItemsPath,
  Key,
  KeyAt,
  KeyPaths,
  SingleGroupOptions,
  SingleOptions,
  UnaryMethodName,
} from "./options.ts";
import type { LoaderWay } from "./way.ts";

export type { Key } from "./options.ts";
export { createLoaderScope, type LoaderScope } from "./scope.ts";
export type { LoaderWay } from "./way.ts";

/**
 * Keyed access to one kind of upstream entity. All keys that are asked for at the same time travel in one call;
 * within one public call, or one batch of a stream, no key travels twice but one that failed.
 */
export interface Loader<K = Key, V = unknown> {
  /** What it is called: by its best way, `users.batchGetUsers`, unless it was given a name. */
  readonly name: string;
  /** What it fetches. */
  readonly entity: DescMessage;
  /** Whether a key has any number of entities. */
  readonly many: boolean;
  /** What a key that the upstream does not know is answered with. */
  readonly missing: V;
  /** How it fetches, the best way first. */
  readonly ways: readonly LoaderWay[];
  /** How what it fetched is kept beyond a call; `undefined` if it is not. */
  readonly cache: EntityRule | undefined;
  /**
   * What there is for each key, in the order of the keys, or why it could not be fetched. Rejects only if the call itself
   * is over.
   */
  load(keys: readonly K[], call: Call): Promise<(V | PublicError)[]>;
  /** The values of keys, in the order of the keys. Rejects with the first error. */
  loadAll(keys: readonly K[], call: Call): Promise<V[]>;
}

/** A loader whose types do not matter here. */
export type AnyLoader = Loader<Key, unknown>;

/** The key of a loader: that of its batches or of its whole list, else what its single calls take. */
type KeyOf<
  S extends DescService,
  BM extends UnaryMethodName<S>,
  BI extends string,
  BK,
  AM extends UnaryMethodName<S>,
  AI extends string,
  AK,
  K,
> = [BM] extends [never]
  ? [AM] extends [never]
    ? K
    : KeyAt<EntityAt<S, AM, AI>, AK>
  : KeyAt<EntityAt<S, BM, BI>, BK>;

/** What the ways of a loader give. */
type Entities<
  S extends DescService,
  BM extends UnaryMethodName<S>,
  BI extends string,
  SM extends UnaryMethodName<S>,
  SI extends string,
  AM extends UnaryMethodName<S>,
  AI extends string,
> = EntityAt<S, BM, BI> | EntityAt<S, SM, SI> | EntityAt<S, AM, AI>;

/**
 * A loader of one entity a key. A key that the upstream does not know gives `undefined`; of several entities with one
 * key, the last counts.
 *
 * At least one way is needed; of several, `batch` is used before `single`, and that before `all`. Where the upstream
 * answers `unimplemented`, the next one is used, and the better one tried again after five minutes.
 *
 * Throws a {@link StartError} that lists everything that does not fit the protos, or cannot be.
 *
 * @example
 * const usersById = loader(users, {
 *   batch: { method: "batchGetUsers", request: (ids) => ({ ids }), items: "users", key: "id", max: 500 },
 *   single: { method: "getUser", request: (id) => ({ id }), item: "user" }, // for a service that has no batches yet
 *   cache: { ttlMs: 30_000, forget: { deleteUser: (_, request) => [request.id] } },
 * });
 */
export function loader<
  S extends DescService,
  BM extends UnaryMethodName<S> = never,
  const BI extends ItemsPath<S, BM> = never,
  const BK extends KeyPaths<EntityAt<S, BM, BI>> = never,
  SM extends UnaryMethodName<S> = never,
  const SI extends ItemPath<S, SM> = never,
  AM extends UnaryMethodName<S> = never,
  const AI extends ItemsPath<S, AM> = never,
  const AK extends KeyPaths<EntityAt<S, AM, AI>> = never,
  K extends Key = never,
>(
  from: Upstream<S>,
  options: {
    /** Default: its best way, `users.batchGetUsers`. Loaders of one upstream that are cached need different ones. */
    readonly name?: string;
    readonly batch?: BatchOptions<S, BM, BI, BK>;
    readonly single?: SingleOptions<S, SM, SI, KeyOf<S, BM, BI, BK, AM, AI, AK, K>>;
    readonly all?: AllOptions<S, AM, AI, AK>;
    readonly cache?: CacheOptions<S, KeyOf<S, BM, BI, BK, AM, AI, AK, K>>;
  },
): Loader<KeyOf<S, BM, BI, BK, AM, AI, AK, K>, Entities<S, BM, BI, SM, SI, AM, AI> | undefined> {
  const last = (items: readonly Message[]) => items.at(-1) as Entities<S, BM, BI, SM, SI, AM, AI> | undefined;
  return makeLoader(from, options, { many: false, missing: undefined, value: last });
}

/**
 * A loader of all the entities that share a key, such as the items of an owner. A key that the upstream does not know
 * gives an empty list. The entities of a key keep the upstream's order. The ways are those of {@link loader}.
 *
 * Throws a {@link StartError} that lists everything that does not fit the protos, or cannot be.
 *
 * @example
 * const itemsByOwner = groupLoader(inventory, {
 *   batch: { method: "listItems", request: (ownerIds, pageToken) => ({ ownerIds, pageToken }), items: "items",
 *            key: "ownerId", max: 500, nextPageToken: "nextPageToken" },
 * });
 */
export function groupLoader<
  S extends DescService,
  BM extends UnaryMethodName<S> = never,
  const BI extends ItemsPath<S, BM> = never,
  const BK extends KeyPaths<EntityAt<S, BM, BI>> = never,
  SM extends UnaryMethodName<S> = never,
  const SI extends ItemsPath<S, SM> = never,
  AM extends UnaryMethodName<S> = never,
  const AI extends ItemsPath<S, AM> = never,
  const AK extends KeyPaths<EntityAt<S, AM, AI>> = never,
  K extends Key = never,
>(
  from: Upstream<S>,
  options: {
    /** Default: its best way, `users.batchGetUsers`. Loaders of one upstream that are cached need different ones. */
    readonly name?: string;
    readonly batch?: BatchOptions<S, BM, BI, BK>;
    readonly single?: SingleGroupOptions<S, SM, SI, KeyOf<S, BM, BI, BK, AM, AI, AK, K>>;
    readonly all?: AllOptions<S, AM, AI, AK>;
    readonly cache?: GroupCacheOptions<S, KeyOf<S, BM, BI, BK, AM, AI, AK, K>>;
  },
): Loader<KeyOf<S, BM, BI, BK, AM, AI, AK, K>, readonly Entities<S, BM, BI, SM, SI, AM, AI>[]> {
  const every = (items: readonly Message[]) => items as readonly Entities<S, BM, BI, SM, SI, AM, AI>[];
  return makeLoader(from, options, { many: true, missing: [], value: every });
}
