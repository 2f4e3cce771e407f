import type { MetricData } from "@opentelemetry/sdk-metrics";
import type { BatchRecord, UpstreamCallRecord } from "./call-record.ts";
import { codeName } from "./codes.ts";
import { createHistogram, type Histogram, keyBounds, secondBounds } from "./histogram.ts";
import { counter, distribution } from "./metric-data.ts";
import { createTally } from "./tally.ts";

/** Counts something that is done for requests. */
export interface CallMetrics<T> {
  readonly note: (done: T) => void;
  readonly read: () => MetricData[];
}

/** Counts calls to internal services. */
export function createUpstreamMetrics(): CallMetrics<UpstreamCallRecord> {
  const ends = createTally("upstream", "method", "code");
  const attempts = createTally("upstream");
  const durations = new Map<string, Histogram>();
  return {
    note: ({ call, durationMs, outcome, attempts: sent }) => {
      // The names are those of declared upstreams and of their protos; an upstream's has no dot.
      const dot = call.indexOf(".");
      const [upstream, method] = [call.slice(0, dot), call.slice(dot + 1)];
      ends.add(upstream, method, codeName(outcome));
      for (let attempt = 0; attempt < sent; attempt++) attempts.add(upstream);
      histogramOf(durations, call, { upstream, method }, secondBounds).observe(durationMs / 1_000);
    },
    read: () => [
      counter("portico_upstream_calls_total", "Calls to internal services that are over.", ends.points()),
      counter(
        "portico_upstream_attempts_total",
        "How often calls to internal services were sent.",
        attempts.points(),
      ),
      distribution(
        "portico_upstream_call_duration_seconds",
        "How long calls to internal services took, with all of their attempts.",
        durations.values(),
      ),
    ],
  };
}

/** Counts batches of loaders. */
export function createBatchMetrics(): CallMetrics<BatchRecord> {
  const ends = createTally("loader", "code");
  const keys = new Map<string, Histogram>();
  const durations = new Map<string, Histogram>();
  return {
    note: ({ loader, keys: count, durationMs, outcome }) => {
      ends.add(loader, codeName(outcome));
      histogramOf(keys, loader, { loader }, keyBounds).observe(count);
      histogramOf(durations, loader, { loader }, secondBounds).observe(durationMs / 1_000);
    },
    read: () => [
      counter("portico_loader_batches_total", "Batches of loaders.", ends.points()),
      distribution("portico_loader_batch_keys", "How many keys a batch was for.", keys.values()),
      distribution(
        "portico_loader_batch_duration_seconds",
        "How long batches of loaders took.",
        durations.values(),
      ),
    ],
  };
}

function histogramOf(
  histograms: Map<string, Histogram>,
  key: string,
  labels: Histogram["labels"],
  bounds: readonly number[],
): Histogram {
  const known = histograms.get(key);
  if (known !== undefined) return known;
  const histogram = createHistogram(labels, bounds);
  histograms.set(key, histogram);
  return histogram;
}
