import type { Message } from "@bufbuild/protobuf";
import DataLoader from "dataloader";
import type { Call } from "../../call.ts";
import { PublicError, StartError } from "../../errors.ts";
import { type AnyUpstream, declaration } from "../../upstream/upstream.ts";
import type { CachedLoader } from "../entities/entity-cache.ts";
import { type AnyEntityCacheOptions, entityRule } from "../entities/entity-rule.ts";
import { createFetch, type Fetch, type Found } from "./fetch.ts";
import { type EntityKey, entityKey } from "./key.ts";
import type { Loader } from "./loader.ts";
import { observeBatch } from "./observe-batch.ts";
import type { Key } from "./options.ts";
import { type AnyWays, compileWays } from "./ways.ts";

/** The options of a loader, whatever its types. The compiler has checked them where they were written. */
export interface AnyLoaderOptions extends AnyWays {
  readonly name?: string;
  readonly cache?: AnyEntityCacheOptions;
}

/** What becomes of the entities of a key. */
export interface Kind<V> {
  readonly many: boolean;
  readonly missing: V;
  readonly value: (items: readonly Message[]) => V;
}

/** Makes a loader. Throws a {@link StartError} that lists everything that does not fit the protos, or cannot be. */
export function makeLoader<K, V>(
  from: AnyUpstream,
  options: AnyLoaderOptions,
  { many, missing, value }: Kind<V>,
): Loader<K, V> {
  const { fetch, cached, ...facts } = compile(from, options, many);
  const batchesOf = createBatches(facts.name, fetch, cached);
  for (const [method, keysOf] of Object.entries(options.cache?.forget ?? {}))
    forgetAfter(from, method, keysOf as KeysOf, cached, batchesOf);
  const load: Loader<K, V>["load"] = async (keys, call) => {
    const batches = batchesOf(call);
    const held = await Promise.all(keys.map((key) => batches.load(entityKey(key as Key))));
    return held.map((it) => ("error" in it ? it.error : value(it)));
  };
  return {
    ...facts,
    many,
    missing,
    cache: cached?.rule,
    load,
    loadAll: async (keys, call) =>
      (await load(keys, call)).map((it) => {
        if (it instanceof PublicError) throw it;
        return it;
      }),
  };
}

function compile(from: AnyUpstream, options: AnyLoaderOptions, many: boolean) {
  const problems: string[] = [];
  const { name: upstream, calls, service, cachedLoaders } = from[declaration];
  const ways = compileWays(from, options, many, problems);
  const rule = options.cache && entityRule(options.cache, many, problems);
  for (const method of rule?.forget ?? [])
    if (service.methods.find(({ localName }) => localName === method)?.methodKind !== "unary")
      problems.push(`cache.forget: ${service.typeName} has no unary method ${method}`);
  const [best] = ways;
  const { method = "?" } = options.batch ?? options.single ?? options.all ?? {};
  const name = options.name ?? `${upstream}.${method}`;
  if (rule !== undefined && cachedLoaders.has(name))
    problems.push("another loader with a cache is called so, too: give one of them a name: of its own");
  if (problems.length > 0 || best === undefined)
    throw new StartError(problems.map((problem) => `the loader ${name}: ${problem}`));
  const fetch = createFetch(ways.map(({ fetch }) => fetch));
  if (rule !== undefined) cachedLoaders.add(name);
  const { entity } = best;
  const timeoutMs = calls.methods.get(method)?.timeoutMs ?? calls.timeoutMs;
  const cached: CachedLoader | undefined = rule && { name, entity, rule, fetch, timeoutMs };
  return { name, entity, ways: ways.map(({ way }) => way), fetch, cached };
}

/** What a key is answered with. In an object, an error is a value like any other. */
type Held = readonly Message[] | { readonly error: PublicError };
type Batches = DataLoader<EntityKey, Held, string>;

/** Gives the batches of a call: what is asked for at the same time travels together. */
function createBatches(
  name: string,
  fetch: Fetch,
  cached: CachedLoader | undefined,
): (call: Call) => Batches {
  const identity = {};
  const find = async (
    keys: readonly EntityKey[],
    call: Call,
    batches: Batches,
  ): Promise<readonly Found[]> => {
    const { entities, keep } = call.loaders;
    if (cached !== undefined && entities !== undefined) return entities.find(cached, keys, call);
    const { found, others = [] } = await fetch(keys, call);
    if (keep === "call") for (const [key, items] of others) batches.prime(key, items);
    return found;
  };
  const create = (call: Call): Batches => {
    const batches: Batches = new DataLoader(
      async (keys) => {
        if (call.loaders.keep === "batch") batches.clearAll();
        const found = await observeBatch(name, keys.length, call, (call) => find(keys, call, batches));
        // An error ends those who wait for it now, and nobody else.
        keys.forEach((key, index) => {
          if (found[index] instanceof PublicError) batches.clear(key);
        });
        return found.map((it) => (it instanceof PublicError ? { error: it } : it));
      },
      { cacheKeyFn: ({ text }) => text },
    );
    return batches;
  };
  return (call) => {
    // The scope holds loaders of all types; this one was put there by this very function.
    const batches = (call.loaders.batches.get(identity) as Batches | undefined) ?? create(call);
    call.loaders.batches.set(identity, batches);
    return batches;
  };
}

type KeysOf = (response: Message, request: Message) => readonly Key[];

/** Forgets the keys that a call has changed, before whoever made it gets the answer. */
function forgetAfter(
  from: AnyUpstream,
  method: string,
  keysOf: KeysOf,
  cached: CachedLoader | undefined,
  batchesOf: (call: Call) => Batches,
): void {
  const { afterCalls } = from[declaration];
  const forget = (response: Message, request: Message, call: Call): void => {
    const { entities } = call.loaders;
    try {
      const keys = keysOf(response, request).map(entityKey);
      for (const key of keys) batchesOf(call).clear(key);
      if (cached !== undefined) entities?.forget(cached, keys);
    } catch (error) {
      // What was asked for is done: whoever asked must not be told that it failed.
      entities?.report(error, cached?.name ?? method);
    }
  };
  afterCalls.set(method, [...(afterCalls.get(method) ?? []), forget]);
}
