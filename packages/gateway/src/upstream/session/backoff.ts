/** When to try again what failed. */
export interface Backoff {
  /** Why the last attempt failed; absent after one that did not. */
  failure(): Error | undefined;
  /** Whether whoever needs it may try now. */
  may(): boolean;
  failed(error: Error): void;
  /** It worked, though it is not known yet whether it lasts. */
  worked(): void;
  /** It lasted: the next failure is the first. */
  lasted(): void;
  /** How long to wait before trying though nobody needs it, in milliseconds. */
  unaskedMs(): number;
}

/**
 * Milliseconds. Kept below a second for calls, so that a server that is back is soon in use; longer for attempts that
 * nobody waits for.
 */
const delaysMs = { first: 100, most: 700, mostUnasked: 5_000 };

/** Waits are longer from failure to failure, with jitter, so that the replicas of a gateway do not come all at once. */
export function createBackoff(): Backoff {
  let failures = 0;
  let failure: Error | undefined;
  let retryAt = 0;
  const delay = (most: number) =>
    Math.min(most, delaysMs.first * 2 ** Math.max(0, failures - 1)) * (0.5 + Math.random() / 2);
  return {
    failure: () => failure,
    may: () => failure === undefined || performance.now() >= retryAt,
    failed(error) {
      failure = error;
      failures += 1;
      retryAt = performance.now() + delay(delaysMs.most);
    },
    worked() {
      failure = undefined;
    },
    lasted() {
      failures = 0;
    },
    unaskedMs: () => Math.max(delaysMs.most, delay(delaysMs.mostUnasked)),
  };
}
