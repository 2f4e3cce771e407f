import { getHeapStatistics } from "node:v8";

/** How the process is, over one interval. */
export interface Vitals {
  /** How late timers ran, which is how long anything waits for its turn: on average and at most, in milliseconds. */
  readonly lagMs: number;
  readonly maxLagMs: number;
  /** How much of the heap that V8 may have is in use. */
  readonly heapPercent: number;
}

/** Reports the vitals, time and again. @returns what ends it */
export type WatchVitals = (report: (vitals: Vitals) => void) => () => void;

/** Milliseconds between two looks at the clock, and between two reports. */
const tickMs = 10;
export const intervalMs = 100;

/**
 * Watches this process. An own timer, because its lateness is exactly what a request waits for its turn; the average of
 * many, because a single pause does not mean that there is too much to do.
 */
export const watchProcess: WatchVitals = (report) => {
  let [since, last, ticks, sum, most] = [performance.now(), performance.now(), 0, 0, 0];
  const look = () => {
    const now = performance.now();
    // Timers are exact to a millisecond.
    const lag = Math.max(0, now - last - tickMs - 1);
    last = now;
    ticks += 1;
    sum += lag;
    most = Math.max(most, lag);
    if (now - since < intervalMs) return;
    report({ lagMs: sum / ticks, maxLagMs: most, heapPercent: heapPercent() });
    [since, ticks, sum, most] = [now, 0, 0, 0];
  };
  const timer = setInterval(look, tickMs).unref();
  return () => clearInterval(timer);
};

function heapPercent(): number {
  const { used_heap_size: used, heap_size_limit: limit } = getHeapStatistics();
  return (100 * used) / limit;
}
