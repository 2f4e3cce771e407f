import { PublicError } from "../../errors.ts";
import { createBreaker, type Verdict } from "./breaker.ts";
import { type ConcurrencyLimit, createConcurrencyLimit } from "./concurrency.ts";
import type { CallPolicy } from "./policy.ts";
import { createRetryBudget } from "./retry-budget.ts";

/** What stands between the calls to one upstream and the upstream: what all of them share. */
export interface Gate {
  /**
   * Lets one attempt of a call through. Streams have as many places of their own: many that are open leave room for
   * calls.
   *
   * @returns a function to be called once when it is over, with what it said about the upstream
   *
   * Errors: `SERVICE_BUSY` if too many are in flight, `SERVICE_UNAVAILABLE` while the breaker is open.
   */
  enter(kind: "call" | "stream"): (verdict: Verdict) => void;
  /** Takes what one more attempt costs out of the budget. False if it must not be made. */
  mayRetry(kind: "retry" | "hedge"): boolean;
  facts(): GateFacts;
}

/** What operators see of the calls to one upstream. Counts are since the start. */
export interface GateFacts {
  /** The unary calls in flight, each attempt for itself. */
  readonly inFlight: number;
  /** The streams that are open. */
  readonly streams: number;
  /** How many of each there may be. */
  readonly limit: number;
  /** How many were refused since there were as many. */
  readonly refused: number;
  readonly breaker: "closed" | "open" | "half-open";
  readonly breakerOpened: number;
  readonly retries: number;
  /** The retries and hedges that the budget had nothing left for. */
  readonly retriesDenied: number;
  readonly hedges: number;
}

/** When to call again an upstream that has as many calls as it may have. */
const busyRetryMs = 1_000;

/**
 * Creates what the calls to one upstream share.
 *
 * @param now milliseconds that only go up
 */
export function createGate(name: string, policy: CallPolicy, now: () => number): Gate {
  const breaker = policy.breaker && createBreaker(policy.breaker, now);
  const budget = createRetryBudget();
  const limits = {
    call: createConcurrencyLimit(policy.maxConcurrent),
    stream: createConcurrencyLimit(policy.maxConcurrent),
  };
  const counts = { retry: 0, hedge: 0, denied: 0 };

  function passBreaker(limit: ConcurrencyLimit): (verdict: Verdict) => void {
    const passed = breaker?.enter() ?? (() => {});
    if (typeof passed === "function") return passed;
    limit.leave();
    const cause = new Error(`the breaker of the upstream ${name} is open`);
    throw new PublicError("SERVICE_UNAVAILABLE", undefined, { cause, retryAfterMs: Math.ceil(passed) });
  }

  return {
    enter(kind) {
      const limit = limits[kind];
      if (!limit.enter()) {
        const cause = new Error(`the upstream ${name} has ${policy.maxConcurrent} ${kind}s in flight`);
        throw new PublicError("SERVICE_BUSY", undefined, { cause, retryAfterMs: busyRetryMs });
      }
      const leaveBreaker = passBreaker(limit);
      return (verdict) => {
        limit.leave();
        leaveBreaker(verdict);
        if (verdict === "answers") budget.earn();
      };
    },
    mayRetry(kind) {
      const granted = budget.take();
      counts[granted ? kind : "denied"] += 1;
      return granted;
    },
    facts: () => ({
      inFlight: limits.call.inFlight(),
      streams: limits.stream.inFlight(),
      limit: policy.maxConcurrent,
      refused: limits.call.refused() + limits.stream.refused(),
      breaker: breaker?.state() ?? "closed",
      breakerOpened: breaker?.opened() ?? 0,
      retries: counts.retry,
      retriesDenied: counts.denied,
      hedges: counts.hedge,
    }),
  };
}
