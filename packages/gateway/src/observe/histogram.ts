import type { Labels } from "./metric-data.ts";

/** How the values of one kind are distributed. */
export interface Histogram {
  readonly labels: Labels;
  /** The upper bounds of the buckets, ascending; one more bucket has what is above. */
  readonly bounds: readonly number[];
  /** How many values fell into each bucket. */
  readonly counts: readonly number[];
  /** Counts a value, which is at most the bound of its bucket. */
  readonly observe: (value: number) => void;
  readonly sum: () => number;
  readonly count: () => number;
}

/** Seconds, from what is quick to the longest deadline. */
export const secondBounds = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
] as const;

/** Bytes of messages. */
export const byteBounds = [256, 1_024, 4_096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304] as const;

/** The keys of a batch. */
export const keyBounds = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000] as const;

/** Creates a histogram. Counting a value takes tens of nanoseconds: the labels were settled before. */
export function createHistogram(labels: Labels, bounds: readonly number[]): Histogram {
  const counts: number[] = Array.from({ length: bounds.length + 1 }, () => 0);
  let sum = 0;
  let count = 0;
  return {
    labels,
    bounds,
    counts,
    observe: (value) => {
      let bucket = 0;
      while (bucket < bounds.length && value > (bounds[bucket] ?? 0)) bucket += 1;
      counts[bucket] = (counts[bucket] ?? 0) + 1;
      sum += value;
      count += 1;
    },
    sum: () => sum,
    count: () => count,
  };
}
