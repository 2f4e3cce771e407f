import { type HrTime, ValueType } from "@opentelemetry/api";
import { AggregationTemporality, DataPointType, type MetricData } from "@opentelemetry/sdk-metrics";
import type { Histogram } from "./histogram.ts";

/** What tells the values of one metric apart. */
export type Labels = Readonly<Record<string, string>>;

/** One value of a metric. */
export type Point = readonly [labels: Labels, value: number];

/** A metric as it is when it is read: a counter, which only grows. Its name ends with `_total`. */
export function counter(name: string, help: string, points: Iterable<Point>): MetricData {
  return { ...single(name, help, points), dataPointType: DataPointType.SUM, isMonotonic: true };
}

/** A metric as it is when it is read: a value that goes up and down. */
export function gauge(name: string, help: string, points: Iterable<Point>): MetricData {
  return { ...single(name, help, points), dataPointType: DataPointType.GAUGE };
}

/** A metric as it is when it is read: how values are distributed. */
export function distribution(name: string, help: string, histograms: Iterable<Histogram>): MetricData {
  return {
    ...common(name, help),
    dataPointType: DataPointType.HISTOGRAM,
    dataPoints: Array.from(histograms, ({ labels, bounds, counts, sum, count }) => ({
      ...timeless,
      attributes: labels,
      value: { buckets: { boundaries: [...bounds], counts: [...counts] }, sum: sum(), count: count() },
    })),
  };
}

/** A metric without labels is one point. */
export function one(value: number): readonly Point[] {
  return [[{}, value]];
}

function single(name: string, help: string, points: Iterable<Point>) {
  return {
    ...common(name, help),
    dataPoints: Array.from(points, ([attributes, value]) => ({ ...timeless, attributes, value })),
  };
}

function common(name: string, description: string) {
  return {
    descriptor: { name, description, unit: "", valueType: ValueType.DOUBLE },
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
  } as const;
}

/** Whoever reads the metrics knows when. */
const never: HrTime = [0, 0];
const timeless = { startTime: never, endTime: never } as const;
