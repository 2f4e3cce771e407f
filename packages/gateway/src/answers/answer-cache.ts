import { type DescMessage, fromBinary, type Message } from "@bufbuild/protobuf";
import { LRUCache } from "lru-cache";
import type { Logger } from "pino";
import { StartError } from "../errors.ts";
import type { CacheRule } from "../policy/cache-rule.ts";
import { type Flight, startFlight } from "./flight.ts";

/** Keeps answers, and lets equal calls that run at the same time share one run. One for the gateway. */
export interface AnswerCache {
  /**
   * The answer to a request: a kept one while it is fresh, or that of a run. While an answer is stale, it is given at
   * once, and a run in the background replaces it.
   *
   * Everyone gets a message of their own, decoded anew. Errors: what the run fails with, to each who waits for it, and
   * kept for nobody; the reason of the caller's own signal as soon as that aborts.
   */
  readonly answer: (wanted: Wanted) => Promise<{ readonly message: Message; readonly from: AnswerOrigin }>;
  /** What there is and what happened so far, for metrics. */
  readonly facts: () => AnswerCacheFacts;
}

/** An answer that is wanted, and how to come by it. */
export interface Wanted {
  /** Names the answer: from `cacheKey`. */
  readonly key: string;
  readonly rule: Pick<CacheRule, "ttlMs" | "staleMs">;
  /** The type of the answer. */
  readonly output: DescMessage;
  /** The caller's. It ends the waiting of this caller, and the run only if nobody else waits for it. */
  readonly signal: AbortSignal;
  /** The most time that a caller has, in milliseconds. */
  readonly timeoutMs: number;
  /**
   * Makes the answer, for all who have the same key. The run has a life of its own: a signal, which aborts when nobody
   * waits any more, and the time that is left, in milliseconds.
   */
  readonly run: (signal: AbortSignal, remainingMs: () => number) => Promise<Message>;
}

/** Where an answer came from: a run of this caller, one that another had begun, or what was kept. */
export type AnswerOrigin = "run" | "coalesced" | "cache" | "stale";

/** What a cache holds, and how its answers were come by since it was created. */
export interface AnswerCacheFacts {
  readonly entries: number;
  readonly bytes: number;
  /** Answers that were fresh. */
  readonly hits: number;
  /** Answers that took a run of the caller's. */
  readonly misses: number;
  readonly coalesced: number;
  readonly stale: number;
  /** Runs in the background that failed. */
  readonly failedRefreshes: number;
}

/** How an answer cache is set up. */
export interface AnswerCacheOptions {
  /** What all answers together may take, with their keys. One that takes more than a sixteenth of it is not kept. */
  readonly maxBytes: number;
  /** How many runs there may be in the background; beyond, stale answers stay as they are. Default: 100. */
  readonly maxRefreshes?: number;
  /** A clock that does not jump, in milliseconds. Default: the process's. */
  readonly now?: () => number;
  /** Is told when a run in the background fails, which no caller learns. Must not throw. */
  readonly onError?: (error: unknown, output: DescMessage) => void;
}

/**
 * Creates the one cache of a gateway. Throws a {@link StartError} for too few `maxBytes`.
 *
 * Answers are kept as bytes. Those used least recently go first. The age of an answer counts from when its run began.
 *
 * @example
 * const { message } = await cache.answer({
 *   key, rule, output: method.output, signal: call.signal, timeoutMs: 10_000,
 *   run: async (signal, remainingMs) => handler(request, { ...sharedCall, signal, remainingMs }),
 * });
 */
export function createAnswerCache(options: AnswerCacheOptions): AnswerCache {
  const { maxBytes, maxRefreshes = 100, now = () => performance.now(), onError = () => {} } = options;
  const store = createStore(maxBytes);
  const flights = new Map<string, Flight>();
  const counts = { hits: 0, misses: 0, coalesced: 0, stale: 0, failedRefreshes: 0 };
  let refreshes = 0;

  function start(wanted: Wanted): Flight {
    const { key, rule } = wanted;
    const bornAt = now();
    const flight = startFlight(wanted, {
      joinableUntil: bornAt + wanted.timeoutMs,
      onAnswer: (bytes) => {
        // Of two runs for one key, the one that began last knows what is there now, whichever ends last.
        if (bornAt < (store.peek(key)?.bornAt ?? bornAt)) return;
        const freshUntil = bornAt + rule.ttlMs;
        store.set(key, { bytes, bornAt, freshUntil, staleUntil: freshUntil + rule.staleMs });
      },
      onEnd: () => {
        if (flights.get(key) === flight) flights.delete(key);
      },
    });
    flights.set(key, flight);
    return flight;
  }

  function refresh(wanted: Wanted): void {
    if (flights.has(wanted.key) || refreshes >= maxRefreshes) return;
    refreshes += 1;
    // The cache waits like a caller, but never leaves: callers who join and leave do not end the run.
    start(wanted)
      .join(new AbortController().signal)
      .catch((error: unknown) => {
        counts.failedRefreshes += 1;
        onError(error, wanted.output);
      })
      .finally(() => {
        refreshes -= 1;
      });
  }

  /** What is kept, if its time is not over. */
  function kept(key: string): { readonly bytes: Uint8Array; readonly from: "cache" | "stale" } | undefined {
    const entry = store.get(key);
    const time = now();
    if (entry === undefined) return undefined;
    if (time < entry.freshUntil) return { bytes: entry.bytes, from: "cache" };
    if (time < entry.staleUntil) return { bytes: entry.bytes, from: "stale" };
    store.delete(key);
    return undefined;
  }

  function fetched(wanted: Wanted): {
    readonly bytes: Promise<Uint8Array>;
    readonly from: "run" | "coalesced";
  } {
    const running = flights.get(wanted.key);
    const joins = running !== undefined && now() < running.joinableUntil;
    counts[joins ? "coalesced" : "misses"] += 1;
    return {
      bytes: (joins ? running : start(wanted)).join(wanted.signal),
      from: joins ? "coalesced" : "run",
    };
  }

  return {
    answer: async (wanted) => {
      wanted.signal.throwIfAborted();
      const found = kept(wanted.key);
      if (found !== undefined) counts[found.from === "cache" ? "hits" : "stale"] += 1;
      if (found?.from === "stale") refresh(wanted);
      const { bytes, from } = found ?? fetched(wanted);
      return { message: fromBinary(wanted.output, await bytes), from };
    },
    facts: () => ({ entries: store.size, bytes: store.calculatedSize, ...counts }),
  };
}

/**
 * The cache of a gateway, which logs what it could not renew.
 *
 * @param maxBytes 0 for no cache
 */
export function keepAnswers(maxBytes: number, log: Pick<Logger, "warn">): AnswerCache | undefined {
  if (maxBytes === 0) return undefined;
  const onError = (error: unknown, { typeName }: DescMessage): void =>
    log.warn({ err: error, answer: typeName }, "a kept answer could not be renewed");
  return createAnswerCache({ maxBytes, onError });
}

/** An answer as it is kept. */
interface Entry {
  readonly bytes: Uint8Array;
  readonly bornAt: number;
  readonly freshUntil: number;
  readonly staleUntil: number;
}

/** What an entry takes besides its bytes: its key, its times, its places in the maps; measured, and rounded up. */
const entryOverhead = 640;

function createStore(maxBytes: number): LRUCache<string, Entry> {
  const maxEntrySize = Math.floor(maxBytes / 16);
  if (!Number.isSafeInteger(maxBytes) || maxEntrySize <= entryOverhead)
    throw new StartError([
      `maxBytes of the answer cache: must be a whole number of at least ${32 * entryOverhead}, not ${maxBytes}`,
    ]);
  return new LRUCache({
    maxSize: maxBytes,
    maxEntrySize,
    sizeCalculation: ({ bytes }) => bytes.byteLength + entryOverhead,
  });
}
