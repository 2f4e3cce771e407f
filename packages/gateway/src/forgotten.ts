/** Which keys were forgotten, and when: what is older may not come back. */
export interface Marks {
  /** Marks a key as forgotten at a time, which must not be before that of an earlier mark. */
  readonly add: (key: string, time: number) => void;
  /** Whether what was born then may be kept under the key: it was not forgotten at that time or later. */
  readonly allow: (key: string, bornAt: number) => boolean;
}

/**
 * Creates marks that take a bounded amount of memory: of more than `max` keys, the oldest mark is made one for all keys.
 * That forgets more than was asked for, and never less.
 */
export function createMarks(max = 10_000): Marks {
  // In the order of their times.
  const marks = new Map<string, number>();
  let forAll = Number.NEGATIVE_INFINITY;
  return {
    add: (key, time) => {
      marks.delete(key);
      marks.set(key, time);
      const [oldest] = marks;
      if (marks.size <= max || oldest === undefined) return;
      marks.delete(oldest[0]);
      forAll = oldest[1];
    },
    allow: (key, bornAt) => bornAt > Math.max(forAll, marks.get(key) ?? forAll),
  };
}
