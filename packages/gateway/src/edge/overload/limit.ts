/** What the limit follows, measured over one interval. */
export interface LoadSample {
  /** How long work that was ready waited for its turn of the event loop, on average, in milliseconds. */
  readonly lagMs: number;
  /** The most requests that were at work at a time. */
  readonly peak: number;
}

/** Between what the limit moves. */
export interface LimitBounds {
  readonly most: number;
  /** How long a call may wait for the event loop in all, in milliseconds. */
  readonly maxLagMs: number;
}

/**
 * How often a call waits for the event loop on its way: for its headers and body, for the check of a signature, for the
 * answers of upstreams, for its own answer to be written.
 */
const turnsOfACall = 5;

/** Below this, requests would be refused that hardly queue at all. */
const leastLimit = 8;

/** The limit that a gateway starts with: what it can bear is found out from there. */
export function firstLimit({ most }: LimitBounds): number {
  return Math.min(most, 128);
}

/** Whether the event loop is so busy that calls wait longer for it than they may. */
function isLagging({ lagMs }: Pick<LoadSample, "lagMs">, { maxLagMs }: LimitBounds): boolean {
  return lagMs > maxLagMs / turnsOfACall;
}

/**
 * How many requests may be at work at a time in the next interval.
 *
 * It follows the event loop alone. A slow upstream makes more requests wait, and none of them wait for the process: the
 * limit may grow. Too much to compute makes turns of the loop long, in proportion to the requests that take part in
 * each: so the limit shrinks in that proportion, and by a third at most at once, since those who are at work already have
 * yet to leave.
 */
export function nextLimit(limit: number, sample: LoadSample, bounds: LimitBounds): number {
  const least = Math.min(leastLimit, bounds.most);
  const isUsed = sample.peak * 2 >= limit;
  if (isLagging(sample, bounds)) {
    // Another process, or a collection of garbage, also makes the loop late: the few that are at work do not.
    if (!isUsed && sample.lagMs < bounds.maxLagMs) return limit;
    const share = bounds.maxLagMs / turnsOfACall / sample.lagMs;
    return Math.max(least, Math.floor(limit * Math.max(2 / 3, share)));
  }
  return isUsed ? Math.min(bounds.most, Math.ceil(limit * 1.1)) : limit;
}
