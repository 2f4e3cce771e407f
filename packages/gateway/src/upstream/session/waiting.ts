/** Calls that wait for something to change, first come, first served. */
export interface WaitingLine {
  /** Whether no more calls may join. */
  isFull(): boolean;
  /** Resolves when there is news, when the signal ends, and at the latest at that time of `performance.now()`. */
  wait(until: number, signal: AbortSignal | undefined): Promise<void>;
  /** There is room for one more. */
  wakeOne(): void;
  /** Much may be different. */
  wakeAll(): void;
}

/** Makes a line for at most so many. */
export function createWaitingLine(most: number): WaitingLine {
  const waiting = new Set<() => void>();
  return {
    isFull: () => waiting.size >= most,
    wait(until, signal) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const wake = () => {
        waiting.delete(wake);
        clearTimeout(timer);
        signal?.removeEventListener("abort", wake);
        resolve();
      };
      const timer = setTimeout(wake, Math.max(1, until - performance.now()));
      signal?.addEventListener("abort", wake);
      waiting.add(wake);
      return promise;
    },
    wakeOne() {
      for (const wake of waiting) return wake();
    },
    wakeAll() {
      for (const wake of waiting) wake();
    },
  };
}
