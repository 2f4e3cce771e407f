import type { Message } from "@bufbuild/protobuf";
import type { Call } from "../call.ts";
import { PublicError } from "../errors.ts";
import type { Key, Loader } from "./loader.ts";
import type { FieldPlan, View } from "./view.ts";

/** Where the value of one public field comes from. */
export type Source<From, T> = ((message: From) => T) | Fill<From, T>;

/** A source that has to wait: it makes the values for many messages at once. */
export interface Fill<From, T> {
  readonly plan: FieldPlan;
  readonly fill: (messages: readonly From[], call: Call) => Promise<readonly T[]>;
}

/** Tells a source that waits from a plain function. */
export function isFill<From, T>(source: Source<From, T>): source is Fill<From, T> {
  return typeof source !== "function";
}

/**
 * Makes a message field, or a list of messages, through another view. A message that is absent stays absent.
 *
 * @example lineItems: nested(lineItemView, (order) => order.lineItems)
 */
export function nested<From, Inner extends Message, To extends Message>(
  view: View<Inner, To>,
  get: (message: From) => readonly Inner[],
): Fill<From, To[]>;
export function nested<From, Inner extends Message, To extends Message>(
  view: View<Inner, To>,
  get: (message: From) => Inner | undefined,
): Fill<From, To | undefined>;
export function nested<From, Inner extends Message, To extends Message>(
  view: View<Inner, To>,
  get: (message: From) => readonly Inner[] | Inner | undefined,
): Fill<From, To[] | To | undefined> {
  return {
    plan: { kind: "nested", view },
    fill: (messages, call) => through(view, messages.map(get), call),
  };
}

/** What happens when the entity of a relation does not exist. */
export interface RelatedOptions {
  /**
   * `empty`: the field stays empty, as the public proto should say. `fail`: the call ends in `not_found`. A relation
   * to many has no missing ones: without entities, its list is empty.
   */
  readonly onMissing: "empty" | "fail";
}

/**
 * Takes a field from another entity, which a loader fetches: for all messages of a page at once. If the upstream
 * fails, the call fails. An empty key (`""`, `0`, or none) means that there is no such entity, and is not asked for.
 *
 * The last step turns the entity into the field: a function, or a view for a message or a list of messages.
 *
 * @example userEmail: related(usersById, (order) => order.userId, (user) => user.email, { onMissing: "empty" })
 * @example items: related(itemsByOwner, (user) => user.id, itemView, { onMissing: "empty" })
 */
export function related<From, K extends Key, V extends Message, To extends Message>(
  loader: Loader<K, readonly V[]>,
  key: (message: From) => K | undefined,
  into: View<V, To>,
  options: RelatedOptions,
): Fill<From, To[]>;
export function related<From, K extends Key, V extends Message, To extends Message>(
  loader: Loader<K, V | undefined>,
  key: (message: From) => K | undefined,
  into: View<V, To>,
  options: RelatedOptions,
): Fill<From, To | undefined>;
export function related<From, K extends Key, V, T>(
  loader: Loader<K, V>,
  key: (message: From) => K | undefined,
  into: (value: NonNullable<V>) => T,
  options: RelatedOptions,
): Fill<From, T>;
export function related<From, K extends Key>(
  loader: Loader<K>,
  key: (message: From) => K | undefined,
  into: View | ((value: unknown) => unknown),
  options: RelatedOptions,
): Fill<From, unknown> {
  const view = typeof into === "function" ? undefined : into;
  return {
    plan: { kind: "related", loader: loader.name, ...(view !== undefined && { view }) },
    fill: async (messages, call) => {
      const values = await loadRelated(loader, messages.map(key), call);
      if (options.onMissing === "fail" && values.includes(undefined)) throw missing(loader.name);
      if (typeof into === "function")
        return values.map((value) => (value === undefined ? undefined : into(value)));
      // The overloads say that what this loader gives is what this view takes.
      return through(into, values as (readonly Message[] | Message | undefined)[], call);
    },
  };
}

/** Asks for the keys that are not empty, and gives the answers back in the order of the messages. */
async function loadRelated<K extends Key>(
  loader: Loader<K>,
  keys: readonly (K | undefined)[],
  call: Call,
): Promise<unknown[]> {
  const asked = keys.filter((key): key is K => Boolean(key));
  const values = (await loader.loadAll(asked, call))[Symbol.iterator]();
  return keys.map((key) => (key ? values.next().value : loader.missing));
}

function missing(loader: string): PublicError {
  return new PublicError("NOT_FOUND", "Something that the answer needs does not exist any more.", {
    cause: new Error(`${loader} did not find an entity that a relation with onMissing: "fail" needs`),
  });
}

/**
 * Sends messages, some of them in lists, some absent, through a view in one go, and puts them back where they were.
 */
async function through<From extends Message, To extends Message>(
  view: View<From, To>,
  groups: readonly (readonly From[] | From | undefined)[],
  call: Call,
): Promise<(To[] | To | undefined)[]> {
  const made = await view.all(groups.flatMap(toList), call);
  let taken = 0;
  return groups.map((group) => {
    if (group === undefined) return undefined;
    const from = taken;
    taken += isList(group) ? group.length : 1;
    return isList(group) ? made.slice(from, taken) : made[from];
  });
}

function toList<T>(group: readonly T[] | T | undefined): readonly T[] {
  if (group === undefined) return [];
  return isList(group) ? group : [group];
}

/** `Array.isArray` does not know read-only lists. */
function isList<T>(group: readonly T[] | T): group is readonly T[] {
  return Array.isArray(group);
}
