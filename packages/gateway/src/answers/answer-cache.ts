import { type DescMessage, fromBinary, type Message } from "@bufbuild/protobuf";
import type { PartialResult } from "../gen/portico/api/v1/partial_result_pb.ts";
import type { Kept, KeptBytes } from "../kept-bytes.ts";
import type { CacheRule } from "../policy/cache-rule.ts";
import { type Flight, type Landed, startFlight } from "./flight.ts";

/** Keeps answers, and lets equal calls that run at the same time share one run. One for the gateway. */
export interface AnswerCache {
  /**
   * The answer to a request: a kept one while it is fresh, of this replica or another, or that of a run. While an answer
   * is stale, it is given at once, and a run in the background replaces it. One that is not whole is kept for nobody, but
   * given to all who wait for its run.
   *
   * Everyone gets a message of their own, decoded anew. Errors: what the run fails with, to each who waits for it, and
   * kept for nobody; the reason of the caller's own signal as soon as that aborts.
   */
  readonly answer: (wanted: Wanted) => Promise<GivenAnswer>;
  /** What there is and what happened so far, for metrics. */
  readonly facts: () => AnswerCacheFacts;
}

/** An answer, and what it lacks. */
export interface Answered {
  readonly message: Message;
  /** What could not be had, although the call itself succeeded; `undefined` if the answer is whole. */
  readonly partial: PartialResult | undefined;
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
  readonly run: (signal: AbortSignal, remainingMs: () => number) => Promise<Answered>;
}

/** An answer as a caller gets it. */
export interface GivenAnswer extends Answered {
  readonly from: AnswerOrigin;
  /** For how long it is still as good as new, in milliseconds. */
  readonly freshMs: number;
  /** For how long after that it may still be given while a new one is fetched, in milliseconds. */
  readonly staleMs: number;
}

/**
 * Where an answer came from: a run of this caller, one that another had begun, what was kept in memory, or what another
 * replica had kept.
 */
export type AnswerOrigin = "run" | "coalesced" | "cache" | "stale" | "shared";

/** What a cache holds in memory, and how its answers were come by since it was created. */
export interface AnswerCacheFacts {
  readonly entries: number;
  readonly bytes: number;
  /** Answers that were fresh in memory. */
  readonly hits: number;
  /** Answers that another replica had kept. */
  readonly shared: number;
  /** Answers that took a run of the caller's. */
  readonly misses: number;
  readonly coalesced: number;
  readonly stale: number;
  /** Runs in the background that failed. */
  readonly failedRefreshes: number;
}

/** How an answer cache is set up. */
export interface AnswerCacheOptions {
  /** Where the answers are kept, as bytes. */
  readonly kept: KeptBytes;
  /** How many runs there may be in the background; beyond, stale answers stay as they are. Default: 100. */
  readonly maxRefreshes?: number;
  /** The clock of `kept`, in milliseconds. Default: the process's. */
  readonly now?: () => number;
  /** Is told when a run in the background fails, which no caller learns. Must not throw. */
  readonly onError?: (error: unknown, output: DescMessage) => void;
}

/** What came of a flight, as its caller sees it. */
interface Fetched extends Omit<Landed, "from"> {
  readonly from: Landed["from"] | "coalesced";
}

/**
 * Creates the one cache of a gateway. The age of an answer counts from when its run began.
 *
 * @example
 * const { message, partial } = await cache.answer({
 *   key, rule, output: method.output, signal: call.signal, timeoutMs: 10_000,
 *   run: async (signal, remainingMs) => handler(request, { ...sharedCall, signal, remainingMs }),
 * });
 */
export function createAnswerCache(options: AnswerCacheOptions): AnswerCache {
  const { kept, maxRefreshes = 100, now = () => performance.now(), onError = () => {} } = options;
  const flights = new Map<string, Flight>();
  const counts = { hits: 0, shared: 0, misses: 0, coalesced: 0, stale: 0, failedRefreshes: 0 };
  let refreshes = 0;

  function start(wanted: Wanted): Flight {
    const { key, rule } = wanted;
    const bornAt = now();
    const freshUntil = bornAt + rule.ttlMs;
    const flight = startFlight(wanted, {
      joinableUntil: bornAt + wanted.timeoutMs,
      find: async () => {
        const [found] = await kept.get([key]);
        return found !== undefined && now() < found.freshUntil ? found : undefined;
      },
      date: (bytes) => ({ bytes, bornAt, freshUntil, staleUntil: freshUntil + rule.staleMs }),
      onAnswer: (answer) => kept.set(key, answer),
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

  async function fetched(wanted: Wanted): Promise<Fetched> {
    const running = flights.get(wanted.key);
    if (running !== undefined && now() < running.joinableUntil) {
      counts.coalesced += 1;
      return { ...(await running.join(wanted.signal)), from: "coalesced" };
    }
    const run: Wanted["run"] = (signal, remainingMs) => {
      counts.misses += 1;
      return wanted.run(signal, remainingMs);
    };
    const landed = await start({ ...wanted, run }).join(wanted.signal);
    if (landed.from === "shared") counts.shared += 1;
    return landed;
  }

  function give(
    { output }: Wanted,
    { bytes, freshUntil, staleUntil }: Kept,
    from: AnswerOrigin,
  ): GivenAnswer {
    const time = now();
    const freshMs = Math.max(0, Math.floor(freshUntil - time));
    // Times have fractions, whose differences are a little off.
    const staleMs = Math.max(0, Math.round(staleUntil - Math.max(time, freshUntil)));
    return { message: fromBinary(output, bytes), partial: undefined, from, freshMs, staleMs };
  }

  return {
    answer: async (wanted) => {
      wanted.signal.throwIfAborted();
      const found = kept.local(wanted.key);
      if (found === undefined) {
        const landed = await fetched(wanted);
        return { ...give(wanted, landed, landed.from), partial: landed.partial };
      }
      const isFresh = now() < found.freshUntil;
      counts[isFresh ? "hits" : "stale"] += 1;
      if (!isFresh) refresh(wanted);
      return give(wanted, found, isFresh ? "cache" : "stale");
    },
    facts: () => ({ ...kept.facts(), ...counts }),
  };
}
