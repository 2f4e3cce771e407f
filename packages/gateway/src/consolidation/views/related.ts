import type { Message } from "@bufbuild/protobuf";
import type { Call } from "../../call.ts";
import { PublicError } from "../../errors.ts";
import type { AnyLoader, Key, Loader } from "../loaders/loader.ts";
import { through } from "./nested.ts";
import type { At, Path, PathTo } from "./path.ts";
import { type AnyKey, compileKey } from "./related-key.ts";
import { itemShape, type Shape } from "./shape.ts";
import {
  type AnyView,
  type CompiledSource,
  compileSource,
  type Derived,
  type Fallback,
  type FieldPlan,
  type Fill,
  isProblems,
  Lacking,
  type Place,
  readPaths,
  type Source,
} from "./source.ts";
import type { View } from "./view.ts";

/** What happens when a relation does not get its entity. */
export interface RelatedOptions {
  /**
   * When the entity does not exist. `empty`: the field stays empty, as the public proto should say. `fail`: the call ends
   * in `not_found`. `partial`: the field stays empty, and the answer says so. A relation to many has no missing ones:
   * without entities, its list is empty.
   */
  readonly onMissing: Fallback;
  /**
   * When it cannot be fetched. `fail` (the default): the call ends with the error. `partial`: the field stays empty, and
   * the answer says what it lacks and why, in `portico.api.v1.PartialResult`. `empty`: the field stays empty, and nobody
   * is told: for what merely decorates. A call whose own time is over, or whose caller has left, fails in any case.
   */
  readonly onError?: Fallback;
}

/** The key of a relation: a path, several for a key of several parts, or a computed value. */
export type KeySource<From, K> = K extends readonly unknown[]
  ? { readonly [I in keyof K]: PathTo<From, K[I] | undefined> } | Derived<From, K | undefined>
  : PathTo<From, K | undefined> | Derived<From, K | undefined>;

/**
 * Takes a field from another entity, which a loader fetches: for all messages of a page at once. An empty key (`""`,
 * `0`, `false` or none, in any part of it) means that there is no such entity, and is not asked for.
 *
 * The last step makes the field of the entity: a path into it, `computed`, a view, or another relation. With a loader of
 * many, it is done for each of them, and the field is a list; `summarized` makes one value of them all.
 *
 * @example userEmail: related(usersById, "userId", "email", { onMissing: "empty", onError: "partial" })
 * @example items: related(itemsByOwner, "id", itemView, { onMissing: "empty" })
 * @example place: related(placesByHallAndShelf, ["hallId", "shelf"], placeView, { onMissing: "fail" })
 */
export function related<From, K extends Key, V, T>(
  loader: Loader<K, V>,
  key: KeySource<From, K>,
  into: NoInfer<Into<V, T>>,
  options: RelatedOptions,
): Derived<From, T>;
export function related(
  loader: AnyLoader,
  key: unknown,
  into: unknown,
  options: RelatedOptions,
): Derived<never, unknown> {
  // Which types they have is settled above.
  return { compile: (place) => compileRelated(loader, key as AnyKey, into as AnyInto, options, place) };
}

/** How what a loader gives for a key becomes a `T`. */
export type Into<V, T> = V extends readonly (infer Item)[]
  ? (T extends readonly (infer Made)[] ? OneInto<Item, Made> : never) | Summary<Item, T>
  : OneInto<NonNullable<V>, T>;

type OneInto<V, T> = Source<V, T> | (V extends Message ? (T extends Message ? View<V, T> : never) : never);

/** One value, made of all the entities that a relation to many has. */
export interface Summary<V, T> {
  readonly summary: (place: Place) => CompiledSource | readonly string[];
  /** Never there: keeps apart what is made of other messages, or makes something else. */
  readonly summaryTypes?: (from: V) => T;
}

/**
 * Makes one value of all the entities of a relation: the function gets, for each path, the values of all of them.
 *
 * @example total: related(itemsByOwner, "id", summarized(["quantity"], (all) => sum(all)), { onMissing: "empty" })
 */
export function summarized<V, const P extends readonly Path<V>[], T>(
  paths: P,
  make: (...values: { [I in keyof P]: readonly At<V, P[I]>[] }) => T,
): Summary<V, T> {
  return {
    summary: ({ from }) => {
      const reads = readPaths(from, paths);
      if (isProblems(reads)) return reads;
      const call = make as (...values: readonly unknown[]) => T;
      return {
        plan: { kind: "computed", reads: paths },
        value: (entities) =>
          call(...reads.map((read) => (entities as unknown as readonly Message[]).map((it) => read(it)))),
      };
    },
  };
}

type AnyInto = AnyView | Summary<never, unknown> | string | Derived<never, unknown>;

function compileRelated(
  loader: AnyLoader,
  key: AnyKey,
  into: AnyInto,
  options: RelatedOptions,
  place: Place,
): CompiledSource | readonly string[] {
  const keys = compileKey(key, place);
  const made = compileInto(loader, into, place);
  if (isProblems(keys) || isProblems(made))
    return [
      ...(isProblems(keys) ? keys.map((problem) => `the key: ${problem}`) : []),
      ...(isProblems(made) ? made : []),
    ];
  if (place.target.count !== "oneof" && place.target.isRequired)
    return ["the field to be made is required, and a relation need not have anything for it"];
  const { onMissing, onError = "fail" } = options;
  return {
    plan: { kind: "related", reads: keys.reads, loader, into: made.plan, onMissing, onError },
    fill: async (messages, call) => {
      const entities = await fetch(loader, messages.map(keys.of), { onMissing, onError }, call);
      return convert(entities, made.fill, call);
    },
  };
}

/** How an entity, or all entities of a key, become the field. */
interface CompiledInto {
  readonly plan: FieldPlan;
  readonly fill: Fill;
}

function compileInto(loader: AnyLoader, into: AnyInto, place: Place): CompiledInto | readonly string[] {
  const { target } = place;
  if (typeof into === "object" && "all" in into) return intoView(loader, into, target);
  if (typeof into === "object" && "summary" in into) {
    const made = into.summary({ ...place, from: loader.entity });
    if (isProblems(made)) return made;
    return { plan: made.plan, fill: filling(made) };
  }
  if (loader.many && target.count !== "list")
    return [
      `${loader.name} gives many for each key: the field must be a list, or summarized(...) makes one value of them`,
    ];
  const item = target.count === "list" && loader.many ? itemShape(target) : target;
  const made = compileSource(into, { ...place, from: loader.entity, target: item });
  if (isProblems(made)) return made;
  const fill = filling(made);
  return { plan: made.plan, fill: loader.many ? ofLists(fill) : fill };
}

function intoView(loader: AnyLoader, view: AnyView, target: Shape): CompiledInto | readonly string[] {
  const wanted = loader.many ? "list" : "one";
  if (view.from.typeName !== loader.entity.typeName)
    return [`its view takes ${view.from.typeName}, ${loader.name} gives ${loader.entity.typeName}`];
  if (target.count === "oneof" || target.message?.typeName !== view.to.typeName || target.count !== wanted)
    return [
      `its view makes ${loader.many ? "repeated " : ""}${view.to.typeName}, the field to be made is ${target.count === "oneof" ? "a oneof" : target.text}`,
    ];
  return {
    plan: { kind: "nested", reads: [], view },
    fill: (entities, call) => through(view, wanted, entities, call),
  };
}

function filling(source: CompiledSource): Fill {
  return "fill" in source
    ? source.fill
    : async (messages) => messages.map((message) => source.value(message));
}

/** Makes a list for each list. What a list lacks is told of the whole field. */
function ofLists(fill: Fill): Fill {
  return async (lists, call) => {
    const groups = lists as unknown as readonly (readonly Message[])[];
    const made = await fill(groups.flat(), call);
    let taken = 0;
    return groups.map(({ length }) => {
      const values = made.slice(taken, taken + length);
      taken += length;
      const lack = values.find((value) => value instanceof Lacking);
      const there = values.filter((value) => value !== undefined && !(value instanceof Lacking));
      return lack instanceof Lacking ? new Lacking(lack.error, there) : there;
    });
  };
}

/** Asks for the keys that are not empty. Gives, in the order of the messages, what there is, and what is lacking. */
async function fetch(
  loader: AnyLoader,
  keys: readonly (Key | undefined)[],
  { onMissing, onError }: Required<RelatedOptions>,
  call: Call,
): Promise<unknown[]> {
  const asked = keys.filter((key) => key !== undefined);
  const outcomes = (await loader.load(asked, call))[Symbol.iterator]();
  return keys.map((key) => {
    if (key === undefined) return loader.missing;
    const outcome: unknown = outcomes.next().value;
    if (outcome instanceof PublicError) return settle(outcome, onError);
    return outcome === undefined ? settle(missing(loader.name), onMissing) : outcome;
  });
}

/** Nothing, and no empty list, of which a summary could be made that looks like one. */
function settle(error: PublicError, fallback: Fallback): Lacking | undefined {
  if (fallback === "fail") throw error;
  return fallback === "partial" ? new Lacking(error) : undefined;
}

function missing(loader: string): PublicError {
  return new PublicError("NOT_FOUND", "Something that the answer needs does not exist any more.", {
    cause: new Error(`${loader} did not find the entity of a relation`),
  });
}

/** Makes the fields of those entities that there are, and puts them back between those that are lacking. */
async function convert(entities: readonly unknown[], fill: Fill, call: Call): Promise<unknown[]> {
  const there = entities.filter((entity) => entity !== undefined && !(entity instanceof Lacking));
  if (there.length === 0) return [...entities];
  const made = (await fill(there as readonly Message[], call))[Symbol.iterator]();
  return entities.map((entity) =>
    entity === undefined || entity instanceof Lacking ? entity : made.next().value,
  );
}
