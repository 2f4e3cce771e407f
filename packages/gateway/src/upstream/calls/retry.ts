import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { PublicError } from "../../errors.ts";
import { type Attempts, type CallPlan, shortestAttemptMs } from "./attempts.ts";
import type { RetryPolicy } from "./policy.ts";
import { pushbackOf } from "./pushback.ts";

/** Makes a call again while it fails in a way that may pass, there is time, and the budget allows it. */
export async function withRetries<T>(
  attempts: Attempts<T>,
  retry: RetryPolicy,
  { gate, signal, clock }: CallPlan<T>,
): Promise<T> {
  let failure: unknown;
  for (let made = 1; ; made += 1) {
    try {
      return await attempts.make(signal);
    } catch (error) {
      // A refusal of the gate hides what was wrong before.
      if (error instanceof PublicError) throw failure ?? error;
      failure = error;
    }
    const waitMs = made < retry.maxAttempts ? retryDelayMs(failure, made) : undefined;
    if (waitMs === undefined || signal.aborted || !hasTimeAfter(waitMs) || !gate.mayRetry("retry"))
      throw failure;
    // What it rejects with when the call ends is not what was wrong.
    await sleep(waitMs, undefined, { signal }).catch(() => {});
    if (signal.aborted || !hasTimeAfter(0)) throw failure;
  }

  function hasTimeAfter(waitMs: number): boolean {
    return attempts.leftMs() - waitMs >= shortestAttemptMs;
  }

  /** `undefined` if the call must not be made again. */
  function retryDelayMs(error: unknown, made: number): number | undefined {
    if (!isRetriable(error, attempts, retry.codes)) return undefined;
    const pushback = pushbackOf(error);
    if (pushback === "never") return undefined;
    return pushback ?? backoffMs(retry, made, clock.random());
  }
}

/** Whether an error is of a kind that may pass. */
export function isRetriable(
  error: unknown,
  attempts: Pick<Attempts<unknown>, "isAttemptTimeout">,
  codes: ReadonlySet<Code>,
): boolean {
  if (!(error instanceof ConnectError) || error instanceof PublicError) return false;
  if (error.code === Code.DeadlineExceeded && attempts.isAttemptTimeout(error)) return true;
  return codes.has(error.code);
}

/**
 * Between the shortest wait and a ceiling that grows with each attempt, at random: calls that failed together do not come
 * back together.
 *
 * @param made how many attempts were made
 * @param random from 0 to less than 1
 */
export function backoffMs(
  { minDelayMs, maxDelayMs }: Pick<RetryPolicy, "minDelayMs" | "maxDelayMs">,
  made: number,
  random: number,
): number {
  const ceiling = Math.min(maxDelayMs, minDelayMs * 4 ** made);
  return minDelayMs + random * (ceiling - minDelayMs);
}
