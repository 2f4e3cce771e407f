import type {
  DescMethodUnary,
  DescService,
  Message,
  MessageInitShape,
  MessageShape,
} from "@bufbuild/protobuf";
import type { EntityCacheOptions } from "../entities/entity-rule.ts";
import type { At, PathTo } from "../views/path.ts";

/** What can stand in a key. */
export type KeyPart = string | number | bigint | boolean;

/** What can identify an entity: a value, or several of them in their order. */
export type Key = KeyPart | readonly KeyPart[];

/** The names of the unary methods of a service. */
export type UnaryMethodName<S extends DescService> = {
  [K in keyof S["method"]]: S["method"][K] extends DescMethodUnary ? K : never;
}[keyof S["method"]] &
  string;

type RequestOf<S extends DescService, M extends UnaryMethodName<S>> = MessageInitShape<
  S["method"][M]["input"]
>;

/** What a method of an upstream answers. */
export type ResponseOf<S extends DescService, M extends UnaryMethodName<S>> = MessageShape<
  S["method"][M]["output"]
>;

/** The paths to the lists of messages in an answer. */
export type ItemsPath<S extends DescService, M extends UnaryMethodName<S>> = PathTo<
  ResponseOf<S, M>,
  readonly Message[] | undefined
>;

/** The paths to the messages in an answer. */
export type ItemPath<S extends DescService, M extends UnaryMethodName<S>> = PathTo<
  ResponseOf<S, M>,
  Message | undefined
>;

/** The paths to the texts in an answer. */
type TextPath<S extends DescService, M extends UnaryMethodName<S>> = PathTo<
  ResponseOf<S, M>,
  string | undefined
>;

/** The message at a path, or the messages in a list at a path. */
export type EntityAt<S extends DescService, M extends UnaryMethodName<S>, P extends string> =
  NonNullable<At<ResponseOf<S, M>, P>> extends infer V
    ? V extends readonly (infer E extends Message)[]
      ? E
      : V extends Message
        ? V
        : never
    : never;

/** The paths in an entity to what can stand in a key. */
type KeyPath<E> = PathTo<E, KeyPart | undefined>;

/** The key at a path, or at several. */
export type KeyAt<E, P> = P extends readonly string[]
  ? { readonly [I in keyof P]: NonNullable<At<E, P[I] & string>> }
  : P extends string
    ? NonNullable<At<E, P>>
    : never;

/** The paths to the key of an entity. */
export type KeyPaths<E> = KeyPath<E> | readonly KeyPath<E>[];

/** Several entities by one call. */
export interface BatchOptions<S extends DescService, M extends UnaryMethodName<S>, I extends string, P> {
  /** The method that answers many keys at once. */
  readonly method: M;
  /** The request for some keys; `pageToken` is empty but for the further pages of an answer. */
  readonly request: (keys: KeyAt<EntityAt<S, M, I>, P>[], pageToken: string) => RequestOf<S, M>;
  /** The path to the list of entities in the answer: `"users"`. */
  readonly items: I;
  /**
   * The path to the key in an entity, `"id"`, or the paths to its parts, `["orgId", "id"]`: answers are matched by key,
   * never by position. Of two entities with one key, the last counts.
   */
  readonly key: P;
  /** The most keys that one call may have; more are split into calls that run in parallel. */
  readonly max: number;
  /** The path to the token of the next page, if the method is paged: all pages are fetched, 100 at the most. */
  readonly nextPageToken?: TextPath<S, M>;
}

/** The whole list, for small sets and for services without anything better. */
export interface AllOptions<S extends DescService, M extends UnaryMethodName<S>, I extends string, P> {
  /** The method that lists all entities. */
  readonly method: M;
  /** The request for a page; `pageToken` is empty for the first one. Default: an empty request. */
  readonly request?: (pageToken: string) => RequestOf<S, M>;
  /** As in `batch`. */
  readonly items: I;
  /** As in `batch`. */
  readonly key: P;
  /** As in `batch`. */
  readonly nextPageToken?: TextPath<S, M>;
}

/** One entity by one call. */
export interface SingleOptions<S extends DescService, M extends UnaryMethodName<S>, I extends string, K> {
  /** The method that answers one key. Its `not_found` means that there is no such entity. */
  readonly method: M;
  /** The request for a key. Where there is neither `batch` nor `all`, write down the type of the key: `(id: string) => ...`. */
  readonly request: (key: K) => RequestOf<S, M>;
  /** The path to the entity in the answer: `"user"`. */
  readonly item: I;
  /** How many calls one public call makes at a time. Default: 10. */
  readonly concurrency?: number;
}

/** All entities of one key by one call, or by one for each page. */
export interface SingleGroupOptions<
  S extends DescService,
  M extends UnaryMethodName<S>,
  I extends string,
  K,
> {
  /** The method that answers one key. Its `not_found` means that there are no entities. */
  readonly method: M;
  /** As in {@link SingleOptions}; `pageToken` is empty but for the further pages of an answer. */
  readonly request: (key: K, pageToken: string) => RequestOf<S, M>;
  /** As in `batch`. */
  readonly items: I;
  /** As in {@link SingleOptions}. */
  readonly concurrency?: number;
  /** As in `batch`. */
  readonly nextPageToken?: TextPath<S, M>;
}

/** How entities are kept beyond a call. */
export interface GroupCacheOptions<S extends DescService, K> extends EntityCacheOptions {
  /**
   * The keys that a change through this gateway makes stale, by the method of the same upstream that changes them. After
   * such a call has succeeded, whoever made it, these keys are fetched anew. Other replicas go on with what they have in
   * memory until its time is over.
   *
   * @example forget: { createUser: (response) => (response.user ? [response.user.id] : []) }
   */
  readonly forget?: {
    readonly [M in UnaryMethodName<S>]?: (
      response: ResponseOf<S, M>,
      request: MessageShape<S["method"][M]["input"]>,
    ) => readonly K[];
  };
}

/** How entities are kept beyond a call, where a key has one at the most. */
export interface CacheOptions<S extends DescService, K> extends GroupCacheOptions<S, K> {
  /** For how long it is known that a key has no entity, in milliseconds. Default: not at all. */
  readonly missingTtlMs?: number;
}
