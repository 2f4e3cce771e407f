import { PublicError } from "../../errors.ts";
import { isWorthRepeating } from "../session/session.ts";
import type { Verdict } from "./breaker.ts";
import type { Gate } from "./gate.ts";
import type { MethodCallPolicy } from "./policy.ts";
import { verdictOn } from "./verdict.ts";

/** One call to an upstream, which may be made several times. */
export interface CallPlan<T> {
  readonly policy: MethodCallPolicy;
  readonly gate: Gate;
  /** Ends the call, with all of its attempts. */
  readonly signal: AbortSignal;
  /** Milliseconds that the public call has left for it. */
  readonly callLeftMs: () => number;
  readonly send: (attempt: Attempt) => Promise<T>;
  readonly clock: CallClock;
}

/** What time and chance are, so that a test can say. */
export interface CallClock {
  /** Milliseconds that only go up. */
  readonly now: () => number;
  /** From 0 to less than 1. */
  readonly random: () => number;
}

/** One attempt, as it is sent. */
export interface Attempt {
  readonly signal: AbortSignal;
  /** In whole milliseconds: the protocols have no fractions. */
  readonly timeoutMs: number;
  /** How many were sent before it. */
  readonly previous: number;
}

/** What became of a call, as far as it is known. */
export interface CallProgress {
  /** How many attempts were sent. */
  attempts: number;
  /** Whether one was sent while another was on its way. */
  hedged: boolean;
}

/** Makes attempts of one call, one after the other or side by side. */
export interface Attempts<T> {
  /**
   * Makes one, and others if it was turned away: the upstream did nothing, so that it is safe whatever the call does. The first of
   * these is free, the others are paid for like retries. Rejects with what the last attempt ended in, or with the gate's
   * refusal of the first.
   */
  make(signal: AbortSignal): Promise<T>;
  /** Milliseconds that the call has left; not above 0 when it is over. */
  leftMs(): number;
  /** Whether an error is that an attempt, and not the call, took too long. */
  isAttemptTimeout(error: unknown): boolean;
}

/** A call can meet the goodbye of one connection after the other while an upstream is rolled out. */
const mostRepeats = 3;

/** An attempt that has less time is not worth being sent, in milliseconds. */
export const shortestAttemptMs = 10;

/** Starts the clock of a call. Nothing is sent yet. */
export function createAttempts<T>(plan: CallPlan<T>, progress: CallProgress): Attempts<T> {
  const { policy, gate, callLeftMs, clock } = plan;
  const startedAt = clock.now();
  const cutShort = new WeakSet<object>();
  let repeatsLeft = mostRepeats;

  /** What the method's own time-out leaves. Rounded up: the clock ticks between the start and the first attempt. */
  const ownLeftMs = () =>
    Math.ceil((policy.timeoutMs ?? Number.POSITIVE_INFINITY) - (clock.now() - startedAt));
  const leftMs = () => Math.min(ownLeftMs(), Math.floor(callLeftMs()));

  async function once(signal: AbortSignal): Promise<T> {
    const callMs = leftMs();
    if (callMs <= 0) throw timeIsOver();
    const attemptMs = policy.retry?.attemptTimeoutMs ?? Number.POSITIVE_INFINITY;
    const timeoutMs = Math.min(callMs, Math.ceil(attemptMs));
    const isOwnDeadline = timeoutMs < Math.floor(callLeftMs());
    const leave = gate.enter("call");
    let verdict: Verdict = "answers";
    try {
      return await plan.send({ signal, timeoutMs, previous: progress.attempts++ });
    } catch (error) {
      verdict = verdictOn(error, signal, isOwnDeadline);
      if (timeoutMs < callMs && error instanceof Error) cutShort.add(error);
      throw error;
    } finally {
      leave(verdict);
    }
  }

  return {
    async make(signal) {
      for (let failure: unknown; ; ) {
        try {
          return await once(signal);
        } catch (error) {
          // The gate's refusal is not what was wrong.
          if (error instanceof PublicError && failure !== undefined) throw failure;
          const isRepeatable = repeatsLeft > 0 && isWorthRepeating(error) && leftMs() >= shortestAttemptMs;
          if (!isRepeatable || signal.aborted) throw error;
          if (repeatsLeft < mostRepeats && !gate.mayRetry("retry")) throw error;
          repeatsLeft -= 1;
          failure = error;
        }
      }
    },
    leftMs,
    isAttemptTimeout: (error) => typeof error === "object" && error !== null && cutShort.has(error),
  };
}

/** The error of a call that has no time left to be sent. */
export function timeIsOver(): PublicError {
  return new PublicError("DEADLINE_EXCEEDED", "The time for this call is over.");
}
