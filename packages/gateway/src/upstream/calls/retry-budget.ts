/** How many calls to an upstream may be made once more. */
export interface RetryBudget {
  /** Takes what one more attempt costs. False if there is not enough left: then it must not be made. */
  take(): boolean;
  /** Notes a call that succeeded. */
  earn(): void;
}

/** What each call that succeeds adds: one retry for ten of them. */
const earned = 0.1;

/** What can be saved up. */
const most = 10;

/** What there is at the start, so that the first calls of a gateway that has just started are not without. */
const atStart = 2;

/**
 * Creates a budget of one retry for ten calls that succeed. Since failures earn nothing, an upstream that fails every call
 * gets at most 10 calls more than there would be without retries, for however long; right after the start, 2 more.
 */
export function createRetryBudget(): RetryBudget {
  let tokens = atStart;
  return {
    take() {
      if (tokens < 1) return false;
      tokens -= 1;
      return true;
    },
    earn() {
      tokens = Math.min(most, tokens + earned);
    },
  };
}
