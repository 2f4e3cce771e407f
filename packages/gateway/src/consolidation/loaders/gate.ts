/** Lets so many pieces of work run at a time; the others wait for their turn. */
export type Gate = <T>(work: () => Promise<T>) => Promise<T>;

/**
 * Creates a gate.
 *
 * @param most how many may run at a time
 * @example const gate = createGate(10); await Promise.all(ids.map((id) => gate(() => fetchOne(id))));
 */
export function createGate(most: number): Gate {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (work) => {
    if (running >= most) await new Promise<void>((resolve) => void waiting.push(resolve));
    else running += 1;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      // The place of one that is through goes to the next, so that nobody comes in between.
      if (next === undefined) running -= 1;
      else next();
    }
  };
}
