import type { Caller, CallerClass } from "./caller.ts";

/** A request that was let in and is not answered yet. */
export interface Work {
  readonly caller: Caller;
  /** The interval in which it came. */
  readonly since: number;
}

/** The requests that were let in: all of them, and those that count. */
export interface AtWork {
  readonly enter: (caller: Caller) => Work;
  readonly leave: (work: Work) => void;
  /** How many count. */
  readonly active: () => number;
  /** The most that counted since this was asked last. */
  readonly peak: () => number;
  /** How many there are, those included that have gone on for so long that they do not count any more. */
  readonly open: () => number;
  /** The same, of one caller alone. */
  readonly openOf: (caller: Caller) => number;
  /** Whether a caller has more requests at work than it would if its class shared the limit evenly, and at least two. */
  readonly hasItsShare: (caller: Caller, limit: number) => boolean;
  /** Begins the next interval. Whoever came long before stops to count. */
  readonly age: () => void;
}

/** Intervals after which a request does not count any more: a second. */
const activeIntervals = 10;

/**
 * Counts requests at work. One that goes on for longer than a second is a stream, or waits for an upstream: it has no
 * part in how busy the process is, and hundreds of silent streams must not keep everybody else out.
 */
export function createAtWork(): AtWork {
  // In the order in which they came.
  const active = new Set<Work>();
  const activeByCaller = createCounts();
  const openByCaller = createCounts();
  let [open, interval, peak] = [0, 0, 0];
  const retire = (work: Work): void => {
    if (active.delete(work)) activeByCaller.add(work.caller, -1);
  };
  return {
    enter: (caller) => {
      const work: Work = { caller, since: interval };
      active.add(work);
      activeByCaller.add(caller, 1);
      openByCaller.add(caller, 1);
      open += 1;
      peak = Math.max(peak, active.size);
      return work;
    },
    leave: (work) => {
      retire(work);
      openByCaller.add(work.caller, -1);
      open -= 1;
    },
    active: () => active.size,
    peak: () => {
      const most = peak;
      peak = active.size;
      return most;
    },
    open: () => open,
    openOf: openByCaller.of,
    hasItsShare: (caller, limit) =>
      activeByCaller.of(caller) >= Math.max(2, limit / Math.max(1, activeByCaller.callers(caller.kind))),
    age: () => {
      interval += 1;
      for (const work of active) {
        if (interval - work.since <= activeIntervals) return;
        retire(work);
      }
    },
  };
}

/** A number for each caller who has one above 0. */
function createCounts() {
  const counts: Readonly<Record<CallerClass, Map<string, number>>> = {
    known: new Map(),
    anonymous: new Map(),
  };
  const of = ({ kind, key }: Caller): number => counts[kind].get(key) ?? 0;
  return {
    of,
    add: (caller: Caller, change: 1 | -1): void => {
      const now = of(caller) + change;
      if (now === 0) counts[caller.kind].delete(caller.key);
      else counts[caller.kind].set(caller.key, now);
    },
    /** How many callers of a class there are. */
    callers: (kind: CallerClass): number => counts[kind].size,
  };
}
