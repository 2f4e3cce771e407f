/** Wakes those who wait for something to happen. */
export interface Changes {
  /** Wakes all who wait now. */
  notify(): void;
  /** Resolves at the next `notify`, or at once when the signal aborts; either way nothing stays registered. */
  next(signal: AbortSignal): Promise<void>;
  /** How many wait now. */
  waiting(): number;
}

/**
 * Makes a bell, not a queue: who wakes looks for himself what is new. So a watcher that is slow holds no memory,
 * and any number of them may wait.
 */
export function createChanges(): Changes {
  const waiting = new Set<() => void>();
  return {
    notify() {
      for (const wake of [...waiting]) wake();
    },
    next(signal) {
      if (signal.aborted) return Promise.resolve();
      return new Promise((resolve) => {
        function wake() {
          waiting.delete(wake);
          signal.removeEventListener("abort", wake);
          resolve();
        }
        waiting.add(wake);
        signal.addEventListener("abort", wake);
      });
    },
    waiting: () => waiting.size,
  };
}
