import { setTimeout as delay } from "node:timers/promises";
import { createLeanSender } from "./lean-sender.ts";
import type { PreparedRequest } from "./requests.ts";
import { type CallEnd, createH1Sender, createH2Sender } from "./senders.ts";

/** What is sent, and how fast. */
export interface LoadOptions {
  readonly url: string;
  /** Sent in turns. All of one version of HTTP. */
  readonly requests: readonly PreparedRequest[];
  /** Connections; over HTTP/1.1, this many at most. Default: 8. */
  readonly connections?: number;
  /**
   * Closed loop: this many callers, each of which waits for its answer before the next call. Or an open loop: calls a
   * second, however long answers take. Default: 8 callers.
   */
  readonly pace?: { readonly callers: number; readonly pauseMs?: number } | { readonly perSecond: number };
  /** For loads that ask for more than can be done: a client that takes next to no time itself. HTTP/1.1 alone. */
  readonly lean?: boolean;
  /** Ends after so many calls, or milliseconds, whichever is first; with neither, at `stop()`. */
  readonly calls?: number;
  readonly forMs?: number;
  /** How often a call is sent again that the server says it has not begun with. Default: 0. */
  readonly retryRefused?: number;
  /** After this a call without an end counts as `hung`. Default: 10,000 ms. */
  readonly patienceMs?: number;
}

/** Every call that was made, as columns. Times are milliseconds since 1970, so that those of processes compare. */
export interface LoadResult {
  readonly startedAt: Float64Array;
  readonly durationMs: Float64Array;
  /** The place of its code in `codes`; 0 is `ok`. */
  readonly code: Uint16Array;
  readonly codes: readonly string[];
  /** The first 200 failures, in words. */
  readonly failures: readonly FailedCall[];
  /** How many times a refused call was sent again. */
  readonly retried: number;
}

export interface FailedCall {
  readonly at: number;
  readonly durationMs: number;
  readonly code: string;
  readonly words: string;
}

/** A load that runs. */
export interface Load {
  /** Makes no more calls, and resolves when those in flight have ended. */
  readonly stop: () => Promise<LoadResult>;
  /** Resolves when it has ended by itself. */
  readonly done: Promise<LoadResult>;
  /** How many calls have ended so far. */
  readonly count: () => number;
}

/** Milliseconds since 1970, finer than `Date.now`. */
export function now(): number {
  return performance.timeOrigin + performance.now();
}

/**
 * Starts to make calls, in this process. {@link startLoadProcess} does so in another one, which measures better.
 *
 * @example
 * const load = startLoad({ url, requests: [prepare("grpc", getUser, { id: "user-1" }, { token })] });
 * await trouble();
 * const { failed } = summarize(await load.stop());
 */
export function startLoad(options: LoadOptions): Load {
  const { url, requests, connections = 8, patienceMs = 10_000, retryRefused = 0 } = options;
  const isH1 = requests.every(({ way }) => way.startsWith("h1"));
  const createSender = options.lean ? createLeanSender : isH1 ? createH1Sender : createH2Sender;
  const sender = createSender({ url, connections, patienceMs });
  const notes = createNotes();
  const stopping = new AbortController();
  const limit = options.calls ?? Number.POSITIVE_INFINITY;
  let begun = 0;

  const once = async (startedAt = now()) => {
    const request = requests[begun++ % requests.length];
    if (request === undefined) return;
    let end = await sender.send(request);
    for (let tries = 0; end.refused && tries < retryRefused; tries++) {
      notes.retry();
      end = await sender.send(request);
    }
    notes.add(startedAt, end);
  };
  const goesOn = () => begun < limit && !stopping.signal.aborted;
  const timer = options.forMs === undefined ? undefined : setTimeout(() => stopping.abort(), options.forMs);
  const { pace = { callers: 8 } } = options;
  const run = "perSecond" in pace ? open(pace.perSecond, once, goesOn) : closed(pace, once, goesOn);
  const done = run.then(() => {
    clearTimeout(timer);
    sender.close();
    return notes.result();
  });
  return {
    done,
    count: notes.count,
    stop: () => {
      stopping.abort();
      return done;
    },
  };
}

async function closed(
  { callers, pauseMs }: { readonly callers: number; readonly pauseMs?: number },
  once: () => Promise<void>,
  goesOn: () => boolean,
): Promise<void> {
  const caller = async () => {
    while (goesOn()) {
      await once();
      if (pauseMs !== undefined) await delay(pauseMs);
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
}

/** Timers are coarse: each turn sends what has become due since the last one. */
async function open(
  perSecond: number,
  once: (dueAt: number) => Promise<void>,
  goesOn: () => boolean,
): Promise<void> {
  const running = new Set<Promise<void>>();
  const startedAt = now();
  const intervalMs = 1_000 / perSecond;
  for (let sent = 0; goesOn(); ) {
    const due = (now() - startedAt) / intervalMs;
    for (; sent < due && goesOn(); sent++) {
      // From when it was due: who is late himself must not make answers look fast.
      const call: Promise<void> = once(startedAt + sent * intervalMs).finally(() => running.delete(call));
      running.add(call);
    }
    await delay(1);
  }
  await Promise.all(running);
}

function createNotes() {
  const startedAt: number[] = [];
  const durations: number[] = [];
  const code: number[] = [];
  const codes = ["ok"];
  const failures: FailedCall[] = [];
  let retried = 0;
  return {
    add: (at: number, end: CallEnd) => {
      const durationMs = now() - at;
      if (!codes.includes(end.code)) codes.push(end.code);
      startedAt.push(at);
      durations.push(durationMs);
      code.push(codes.indexOf(end.code));
      if (end.code !== "ok" && failures.length < 200)
        failures.push({ at, durationMs, code: end.code, words: end.words });
    },
    retry: () => {
      retried++;
    },
    count: () => code.length,
    result: (): LoadResult => ({
      startedAt: Float64Array.from(startedAt),
      durationMs: Float64Array.from(durations),
      code: Uint16Array.from(code),
      codes,
      failures,
      retried,
    }),
  };
}

/** What a load comes down to. Milliseconds. */
export interface LoadSummary {
  readonly count: number;
  readonly ok: number;
  readonly failed: number;
  /** How many ended with each code, `ok` too. */
  readonly codes: Readonly<Record<string, number>>;
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** Which calls are looked at: those that began in a time, those that ended so. */
export interface LoadWindow {
  readonly from?: number;
  readonly to?: number;
  readonly code?: string;
}

/**
 * Sums up a load, or the part of it that began within a time.
 *
 * @example const after = summarize(result, { from: restartedAt + 1_000 });
 */
export function summarize(result: LoadResult, window: LoadWindow = {}): LoadSummary {
  const { from = 0, to = Number.POSITIVE_INFINITY, code: wanted } = window;
  const counts = new Map<string, number>();
  const durations: number[] = [];
  result.startedAt.forEach((at, index) => {
    const code = result.codes[result.code[index] ?? 0] ?? "ok";
    if (at < from || at >= to || (wanted !== undefined && code !== wanted)) return;
    counts.set(code, (counts.get(code) ?? 0) + 1);
    durations.push(result.durationMs[index] ?? 0);
  });
  const sorted = Float64Array.from(durations).sort();
  const ok = counts.get("ok") ?? 0;
  return {
    count: sorted.length,
    ok,
    failed: sorted.length - ok,
    codes: Object.fromEntries(counts),
    p50: quantile(sorted, 0.5),
    p99: quantile(sorted, 0.99),
    p999: quantile(sorted, 0.999),
    max: sorted.at(-1) ?? 0,
  };
}

/** The value that this part of sorted values is not above; 0 of none. */
export function quantile(sorted: ArrayLike<number>, part: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * part) - 1)] ?? 0;
}
