import { LRUCache } from "lru-cache";
import { type Bill, digest, type Standing } from "./bucket.ts";

/** What a caller used of a bucket, until when. */
interface Window {
  readonly endsAt: number;
  used: number;
}

/** Of one kind of caller. */
const maxWindows = 100_000;
/** A subject is as long as its issuer likes; longer keys are kept as their hash. */
const maxKeyLength = 200;

/**
 * Counts in this process, in fixed windows. Not with the library's `RateLimiterMemory`, which cannot be bounded: it
 * keeps each key, and a timer for it, until the window ends; a million addresses hold 480 MB for as long as 31 days. And
 * a window of more than 24.8 days does not fit a timer: it ends after a millisecond.
 *
 * When there are too many windows, those unused for longest are forgotten. Addresses have their own, so that a flood of
 * them, which anyone can make, does not make the gateway forget callers with credentials.
 */
export function createMemory(now: () => number): (key: string, bills: readonly Bill[]) => Standing[] {
  const callers = new LRUCache<string, Window>({ max: maxWindows });
  const addresses = new LRUCache<string, Window>({ max: maxWindows });
  return (key, bills) => {
    const windows = key.startsWith("address:") ? addresses : callers;
    const owner = key.length > maxKeyLength ? digest(key) : key;
    const time = now();
    const found = bills.map(({ bucket, cost }) => {
      const id = `${bucket.name}:${owner}`;
      const kept = windows.get(id);
      const window =
        kept !== undefined && kept.endsAt > time
          ? kept
          : { endsAt: time + bucket.limit.windowSeconds * 1_000, used: 0 };
      return { bucket, cost, id, window, refused: window.used + cost > bucket.limit.calls };
    });
    const refusal = found.some(({ refused }) => refused);
    return found.map(({ bucket, cost, id, window, refused }) => {
      if (!refusal && window.used === 0) windows.set(id, window);
      if (!refusal) window.used += cost;
      const remaining = Math.max(bucket.limit.calls - window.used, 0);
      return { bucket, cost, refused, remaining, resetMs: window.endsAt - time };
    });
  };
}
