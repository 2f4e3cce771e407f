import { type CallPlan, type CallProgress, createAttempts } from "./attempts.ts";
import { withHedges } from "./hedge.ts";
import { withRetries } from "./retry.ts";

/**
 * Makes one unary call to an upstream, as often as its policy allows and its failures ask for.
 *
 * @param progress is kept up to date, however the call ends
 */
export function makeCall<T>(plan: CallPlan<T>, progress: CallProgress): Promise<T> {
  const { retry, hedge } = plan.policy;
  const attempts = createAttempts(plan, progress);
  if (hedge !== undefined) return withHedges(attempts, hedge, plan, progress);
  if (retry !== undefined) return withRetries(attempts, retry, plan);
  return attempts.make(plan.signal);
}
