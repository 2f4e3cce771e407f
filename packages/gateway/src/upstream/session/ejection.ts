import type { StreamOutcome } from "./stream-faults.ts";

/** Whether one address of several is left out for a while, because calls to it fail. */
export interface Ejection {
  /** Whether it is out. It comes back by itself. */
  ejected(): boolean;
  /** Notes how a call ended, or that a connection was lost. */
  note(outcome: StreamOutcome): void;
  /** For good: nothing comes back any more. */
  close(): void;
}

const failuresInARow = 5;
const ejectionMs = { first: 1_000, most: 30_000 };

/**
 * Counts the failures of one address, and takes it out when five came in a row: for a second at first, twice as long each
 * time it fails again soon after it came back, 30 s at most.
 *
 * What counts is what the address did: calls that ended as `unavailable` or `internal`, or were cut, and connections that
 * broke off; the calls that went down with a connection are one failure together. What the caller did counts neither way:
 * leaving, and a deadline that passed. Deadlines come from the public, and whoever sends short ones could else take
 * half of the servers out. An address that stays silent is avoided all the same: its calls pile up, and balancing takes
 * the one with fewer.
 *
 * @param may asked before it is taken out: it could be the last that is left
 * @param changed told when it goes and when it comes back
 */
export function createEjection(may: () => boolean, changed: (ejected: boolean) => void): Ejection {
  let failures = 0;
  let times = 0;
  let backAt = Number.NEGATIVE_INFINITY;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  function eject(): void {
    if (performance.now() - backAt > ejectionMs.most) times = 0;
    const forMs = Math.min(ejectionMs.first * 2 ** times, ejectionMs.most);
    times += 1;
    timer = setTimeout(comeBack, forMs).unref();
    changed(true);
  }
  function comeBack(): void {
    timer = undefined;
    failures = 0;
    backAt = performance.now();
    changed(false);
  }

  return {
    ejected: () => timer !== undefined,
    note(outcome) {
      if (closed) return;
      if (outcome === "answered") failures = 0;
      if (outcome !== "failed") return;
      failures += 1;
      if (failures >= failuresInARow && timer === undefined && may()) eject();
    },
    close() {
      clearTimeout(timer);
      timer = undefined;
      closed = true;
    },
  };
}
