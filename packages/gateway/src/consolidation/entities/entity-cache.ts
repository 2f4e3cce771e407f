import type { DescMessage } from "@bufbuild/protobuf";
import type { Call } from "../../call.ts";
import { copyOf, internalError, PublicError } from "../../errors.ts";
import type { KeptBytes } from "../../kept-bytes.ts";
import { asSharers, sharersOf } from "../../sharing.ts";
import type { Fetch, Found } from "../loaders/fetch.ts";
import type { EntityKey } from "../loaders/key.ts";
import { createLoaderScope } from "../loaders/scope.ts";
import { type Flight, startFlight } from "./entity-flight.ts";
import { markOf, type Place, placeOf } from "./entity-place.ts";
import type { EntityRule } from "./entity-rule.ts";
import { createEntityStore, type KeptEntities } from "./entity-store.ts";
import { type Brought, createBring, type Trip } from "./entity-trip.ts";

/** Keeps entities beyond a call, and lets calls share what they fetch at the same time. One for the gateway. */
export interface EntityCache {
  /**
   * The entities of keys: those that are kept while they are fresh, those that another call is fetching, and for the rest
   * one fetch. Stale ones are given at once, and fetched anew in the background.
   *
   * Everyone gets messages of their own. Errors are those of the fetch, for each key its own, and kept for nobody. Rejects
   * only when the call is over.
   */
  readonly find: (loader: CachedLoader, keys: readonly EntityKey[], call: Call) => Promise<Found[]>;
  /** Forgets what is kept of the keys, for all callers. What is being fetched already is kept for nobody. */
  readonly forget: (loader: Pick<CachedLoader, "name" | "rule">, keys: readonly EntityKey[]) => void;
  /** Notes what went wrong where no caller learns of it. */
  readonly report: (error: unknown, loader: string) => void;
  /** What there is and what happened so far, for metrics. Counted by the key. */
  readonly facts: () => EntityCacheFacts;
}

/** A loader, as the cache sees it. */
export interface CachedLoader {
  /** Different for all loaders that are cached. */
  readonly name: string;
  readonly entity: DescMessage;
  readonly rule: EntityRule;
  /** How long a fetch may take for which nobody waits, in milliseconds. */
  readonly timeoutMs: number;
  readonly fetch: Fetch;
}

/** What a cache holds, and how entities were come by since it was created. */
export interface EntityCacheFacts {
  readonly entries: number;
  readonly bytes: number;
  /** Those that were fresh, in memory or in Redis. */
  readonly hits: number;
  /** Those of which it was known that there are none. */
  readonly negativeHits: number;
  readonly stale: number;
  /** Those that another call was fetching. */
  readonly coalesced: number;
  /** Those that were fetched. */
  readonly misses: number;
  /** Fetches in the background that failed. */
  readonly failedRefreshes: number;
}

/** How an entity cache is set up. */
export interface EntityCacheParts {
  readonly kept: KeptBytes;
  /** The longest time that a call can have, in milliseconds. Default: a minute. */
  readonly maxMs?: number;
  /** How many fetches there may be in the background; beyond, stale entities stay as they are. Default: 100. */
  readonly maxRefreshes?: number;
  /** The clock of `kept`, in milliseconds. Default: the process's. */
  readonly now?: () => number;
  /** Is told what no caller learns. Must not throw. */
  readonly onError?: (error: unknown, loader: string) => void;
}

/**
 * Creates the one entity cache of a gateway. Entities are kept as bytes; their age counts from when their fetch began.
 *
 * @example const entities = createEntityCache({ kept: createKeptBytes({ maxBytes, redis, namespace: "entities" }) });
 */
export function createEntityCache(parts: EntityCacheParts): EntityCache {
  const {
    kept,
    maxMs = 60_000,
    maxRefreshes = 100,
    now = () => performance.now(),
    onError = () => {},
  } = parts;
  const store = createEntityStore(kept, now);
  const counts = { hits: 0, negativeHits: 0, stale: 0, coalesced: 0, misses: 0, failedRefreshes: 0 };
  const onHit = ({ items, isFresh }: KeptEntities): void => {
    counts[!isFresh ? "stale" : items.length === 0 ? "negativeHits" : "hits"] += 1;
  };
  const onMisses = (keys: number): void => {
    counts.misses += keys;
  };
  const bring = createBring(store, { onHit, onMisses });
  const flights = new Map<string, Seat>();
  let refreshes = 0;

  function start(trip: Trip, timeoutMs: number, call: Call): Flight<Brought> {
    const { loader, sharers, places } = trip;
    const flight: Flight<Brought> = startFlight({
      timeoutMs,
      fetch: (signal, remainingMs) => {
        // For all who share it, and no part of what one call has seen.
        const shared = { ...asSharers(loader.rule.scope, call), loaders: createLoaderScope("call") };
        return bring(trip, { ...shared, signal, remainingMs });
      },
      onEnd: () => {
        for (const { name } of places) if (flights.get(name)?.flight === flight) flights.delete(name);
        refresh(loader, sharers, trip.stale, call);
      },
    });
    for (const { name, mark } of places) flights.set(name, { flight, mark });
    return flight;
  }

  /** Fetches in the background what is stale. */
  function refresh(loader: CachedLoader, sharers: string, stale: readonly Place[], call: Call): void {
    const places = stale.filter(({ name }) => !flights.has(name));
    if (places.length === 0 || refreshes >= maxRefreshes) return;
    refreshes += 1;
    const trip = { loader, sharers, places, stale: [], bornAt: now(), isRefresh: true };
    // The cache waits like a caller, but never leaves: callers who join and leave do not end the fetch.
    start(trip, loader.timeoutMs, call)
      .join(new AbortController().signal)
      .then((brought) => {
        const errors = [brought, ...(brought instanceof PublicError ? [] : brought.values())];
        const error = errors.find((it) => it instanceof PublicError);
        if (error === undefined) return;
        counts.failedRefreshes += 1;
        onError(error, loader.name);
      })
      .finally(() => {
        refreshes -= 1;
      });
  }

  /** What there is at once, and for the rest who fetches it. */
  function look(loader: CachedLoader, sharers: string, places: readonly Place[], call: Call) {
    const sources = places.map((place) => store.local(loader, place) ?? flights.get(place.name)?.flight);
    const stale = places.filter((_, index) => {
      const source = sources[index];
      return isKept(source) && !source.isFresh;
    });
    refresh(loader, sharers, stale, call);
    const rest = places.filter((_, index) => sources[index] === undefined);
    for (const source of sources)
      if (isKept(source)) onHit(source);
      else if (isFlight(source)) counts.coalesced += 1;
    if (rest.length === 0) return sources;
    const trip = { loader, sharers, places: rest, stale: [], bornAt: now(), isRefresh: false };
    // Others may join for as long as one of them may wait. With twice that, none of them sees the fetch's time end.
    const flight = start(trip, Math.max(2 * maxMs, call.remainingMs()), call);
    return sources.map((source) => source ?? flight);
  }

  return {
    find: async (loader, keys, call) => {
      call.signal.throwIfAborted();
      const sharers = sharersOf(loader.rule.scope, call.principal);
      if (sharers === undefined) return [...(await loader.fetch(keys, call)).found];
      const places = keys.map((key) => placeOf(loader, sharers, key));
      const sources = look(loader, sharers, places, call);
      const landed = await landings(sources, call.signal);
      return places.map(({ name }, index) => take(name, sources[index], landed));
    },
    forget: (loader, keys) => {
      const marks = new Set(keys.map((key) => markOf(loader, key)));
      for (const key of keys) store.forget(loader, key);
      for (const [name, { mark }] of flights) if (mark !== undefined && marks.has(mark)) flights.delete(name);
    },
    report: onError,
    facts: () => ({ ...kept.facts(), ...counts }),
  };
}

/** A key that is being fetched. */
interface Seat {
  readonly flight: Flight<Brought>;
  /** Whoever forgets the key has nobody else join. */
  readonly mark: string | undefined;
}

type Source = KeptEntities | Flight<Brought> | undefined;

function isKept(source: Source): source is KeptEntities {
  return source !== undefined && "items" in source;
}

function isFlight(source: Source): source is Flight<Brought> {
  return source !== undefined && "join" in source;
}

/** Waits for all flights, for each of them once. */
async function landings(sources: readonly Source[], signal: AbortSignal) {
  const flights = sources.filter(isFlight);
  const landed = [...new Set(flights)].map(async (flight) => [flight, await flight.join(signal)] as const);
  return new Map<Source, Brought | PublicError>(await Promise.all(landed));
}

function take(name: string, source: Source, landed: ReadonlyMap<Source, Brought | PublicError>): Found {
  if (isKept(source)) return source.items;
  const brought = landed.get(source);
  const found = brought instanceof PublicError ? brought : brought?.get(name);
  if (found instanceof PublicError) return copyOf(found);
  return found?.() ?? internalError(new Error("a fetch of entities came back without one of its keys"));
}
