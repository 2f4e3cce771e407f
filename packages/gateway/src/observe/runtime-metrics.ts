import { monitorEventLoopDelay } from "node:perf_hooks";
import { getHeapStatistics } from "node:v8";
import type { MetricData } from "@opentelemetry/sdk-metrics";
import { gauge, one } from "./metric-data.ts";

/** What the runtime says of itself. */
export interface RuntimeMetrics {
  readonly read: () => MetricData[];
  readonly close: () => void;
}

/** How often the event loop is looked at, in milliseconds. */
const resolutionMs = 20;

/** For how long at least lags are gathered before older ones are forgotten, in milliseconds. */
const windowMs = 15_000;

/**
 * Watches the event loop and the heap. The lag is that of 15 seconds or more, however many read it: reading changes
 * nothing for whoever else reads.
 *
 * @param now a clock that does not jump, in milliseconds
 */
export function createRuntimeMetrics(now: () => number = () => performance.now()): RuntimeMetrics {
  let [current, previous] = [startWatch(), startWatch()];
  let since = now();
  const turn = (): void => {
    if (now() - since < windowMs) return;
    previous.disable();
    [previous, current] = [current, startWatch()];
    since = now();
  };
  return {
    read: () => {
      turn();
      const heap = getHeapStatistics();
      const lag = (percent: number) => lagSeconds(previous, percent);
      return [
        gauge("portico_event_loop_lag_seconds", "How late the event loop gets to what is due.", [
          [{ quantile: "0.5" }, lag(50)],
          [{ quantile: "0.99" }, lag(99)],
        ]),
        gauge("portico_heap_used_bytes", "What is on the heap of JavaScript.", one(heap.used_heap_size)),
        gauge("portico_heap_limit_bytes", "The most that the heap may have.", one(heap.heap_size_limit)),
      ];
    },
    close: () => {
      current.disable();
      previous.disable();
    },
  };
}

function startWatch() {
  const watch = monitorEventLoopDelay({ resolution: resolutionMs });
  watch.enable();
  return watch;
}

/** The histogram has the time between two looks, in nanoseconds. */
function lagSeconds(watch: ReturnType<typeof startWatch>, percent: number): number {
  return Math.max(0, watch.percentile(percent) / 1e9 - resolutionMs / 1e3);
}
