import type { Labels, Point } from "./metric-data.ts";

/** Counts how often each combination of labels occurred. */
export interface Tally {
  /** One more, of the values of the labels in their order. */
  readonly add: (...values: readonly string[]) => void;
  readonly points: () => readonly Point[];
}

/** Creates a tally. Whoever adds to it sees to it that there are few combinations. */
export function createTally(...names: readonly string[]): Tally {
  const counts = new Map<string, { readonly labels: Labels; count: number }>();
  return {
    add: (...values) => {
      const key = values.join("\n");
      const counted = counts.get(key);
      if (counted !== undefined) counted.count += 1;
      else
        counts.set(key, {
          labels: Object.fromEntries(names.map((name, index) => [name, values[index] ?? ""])),
          count: 1,
        });
    },
    points: () => Array.from(counts.values(), ({ labels, count }) => [labels, count] as const),
  };
}
