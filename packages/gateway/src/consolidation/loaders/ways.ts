import type { Message } from "@bufbuild/protobuf";
import type { Call } from "../../call.ts";
import { PublicError } from "../../errors.ts";
import type { AnyUpstream } from "../../upstream/upstream.ts";
import type { Fetch, Found } from "./fetch.ts";
import { createGate, type Gate } from "./gate.ts";
import type { EntityKey } from "./key.ts";
import { allPages, settled } from "./pages.ts";
import type { LoaderScope } from "./scope.ts";
import { type CompiledWay, compileWay, type LoaderWay, type WayOptions } from "./way.ts";

/** The ways of a loader as they are declared, whatever their types. */
export interface AnyWays {
  readonly batch?: WayOptions;
  readonly single?: Omit<WayOptions, "items"> & { readonly item?: string; readonly items?: string };
  readonly all?: WayOptions;
}

/** A way that is ready to be used. */
export interface ReadyWay extends CompiledWay {
  readonly fetch: Fetch;
}

/**
 * Prepares the ways of a loader, in the order in which they are tried. Adds to the problems what does not fit.
 *
 * @param many whether a key has many entities
 */
export function compileWays(
  upstream: AnyUpstream,
  { batch, single, all }: AnyWays,
  many: boolean,
  problems: string[],
): readonly ReadyWay[] {
  const ways: ReadyWay[] = [];
  const add = (
    kind: LoaderWay["kind"],
    options: WayOptions | undefined,
    fetchBy: (way: CompiledWay, options: WayOptions) => Fetch,
  ): void => {
    const oneItem = kind === "single" && !many;
    const way = options && compileWay(upstream, kind, options, oneItem, problems);
    if (options !== undefined && way !== undefined) ways.push({ ...way, fetch: fetchBy(way, options) });
  };
  add("batch", batch, fetchByBatch);
  add("single", single && { ...single, items: single.item ?? single.items ?? "" }, fetchOneByOne);
  add("all", all, fetchWhole);
  if (batch === undefined && single === undefined && all === undefined)
    problems.push("has no way to fetch: write batch, single or all");
  const [best, ...others] = ways;
  for (const { way, entity } of others)
    if (best !== undefined && entity.typeName !== best.entity.typeName)
      problems.push(`${way.kind} gives ${entity.typeName}, ${best.way.kind} gives ${best.entity.typeName}`);
  return ways;
}

/** Fetches by many keys at once: in parts of `max`, all in parallel. A part that fails fails its own keys alone. */
function fetchByBatch({ listing, readKey }: CompiledWay, { request, max = 1 }: WayOptions): Fetch {
  const requestOf = request as (keys: unknown[], pageToken: string) => unknown;
  return async (keys, call) => {
    const parts = partsOf(keys, max).map(async (part): Promise<readonly Found[]> => {
      const values = part.map(({ value }) => value);
      const items = await settled(call, () =>
        allPages(listing, (pageToken) => requestOf([...values], pageToken), call),
      );
      if (items instanceof PublicError) return part.map(() => items);
      const groups = group(items, readKey);
      return part.map(({ text }) => groups.get(text)?.items ?? []);
    });
    return { found: (await Promise.all(parts)).flat() };
  };
}

/** Fetches by one call a key, so many of them at a time. */
function fetchOneByOne({ listing }: CompiledWay, { request, concurrency = 10 }: WayOptions): Fetch {
  const requestOf = request as (key: unknown, pageToken: string) => unknown;
  const gates = new WeakMap<LoaderScope, Gate>();
  const gateOf = ({ loaders }: Call): Gate => {
    const gate = gates.get(loaders) ?? createGate(concurrency);
    gates.set(loaders, gate);
    return gate;
  };
  return async (keys, call) => {
    const gate = gateOf(call);
    const one = ({ value }: EntityKey): Promise<Found> =>
      gate(() =>
        settled(call, () =>
          allPages(listing, (pageToken) => requestOf(value, pageToken), call).catch(nothingIfMissing),
        ),
      );
    return { found: await Promise.all(keys.map(one)) };
  };
}

/** Fetches the whole list, and takes from it what was asked for. */
function fetchWhole({ listing, readKey }: CompiledWay, { request }: WayOptions): Fetch {
  const requestOf = (request ?? requestPage) as (pageToken: string) => unknown;
  return async (keys, call) => {
    const items = await settled(call, () => allPages(listing, requestOf, call));
    if (items instanceof PublicError) return { found: keys.map(() => items) };
    const groups = group(items, readKey);
    const found = keys.map(({ text }) => groups.get(text)?.items ?? []);
    for (const { text } of keys) groups.delete(text);
    return { found, others: [...groups.values()].map(({ key, items }) => [key, items] as const) };
  };
}

/** The entities of each key, in the order in which they came. */
function group(items: readonly Message[], readKey: CompiledWay["readKey"]) {
  const groups = new Map<string, { readonly key: EntityKey; readonly items: Message[] }>();
  for (const item of items) {
    const key = readKey?.(item);
    if (key === undefined) continue;
    const known = groups.get(key.text);
    if (known === undefined) groups.set(key.text, { key, items: [item] });
    else known.items.push(item);
  }
  return groups;
}

function partsOf<T>(all: readonly T[], max: number): T[][] {
  return Array.from({ length: Math.ceil(all.length / max) }, (_, index) =>
    all.slice(index * max, (index + 1) * max),
  );
}

function requestPage(pageToken: string): unknown {
  return pageToken === "" ? {} : { pageToken };
}

function nothingIfMissing(error: unknown): Message[] {
  if (error instanceof PublicError && error.reason === "NOT_FOUND") return [];
  throw error;
}
