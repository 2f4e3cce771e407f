import { Code } from "@connectrpc/connect";
import { PublicError } from "../../errors.ts";
import { type Attempts, type CallPlan, type CallProgress, shortestAttemptMs } from "./attempts.ts";
import type { HedgeOptions } from "./options.ts";
import { pushbackOf } from "./pushback.ts";
import { isRetriable } from "./retry.ts";

/** After which an attempt that failed leaves the call to the others. */
const passing: ReadonlySet<Code> = new Set([Code.Unavailable]);

/**
 * Makes a call a second time when the first is not answered within a while, and so on. The first answer is the call's; the
 * attempts that are still on their way then are cancelled.
 */
export async function withHedges<T>(
  attempts: Attempts<T>,
  { delayMs, maxAttempts }: Required<HedgeOptions>,
  { gate, signal }: CallPlan<T>,
  progress: CallProgress,
): Promise<T> {
  const answer = Promise.withResolvers<T>();
  const over = new AbortController();
  const ends = AbortSignal.any([signal, over.signal]);
  let made = 0;
  let running = 0;
  let failure: unknown;
  let timer: NodeJS.Timeout | undefined;

  function make(): void {
    made += 1;
    running += 1;
    clearTimeout(timer);
    if (made < maxAttempts) timer = setTimeout(makeAnother, delayMs);
    attempts.make(ends).then(answer.resolve, (error: unknown) => {
      running -= 1;
      fail(error);
    });
  }

  /** @returns whether there is another */
  function makeAnother(): boolean {
    const isPossible = made < maxAttempts && !ends.aborted && attempts.leftMs() >= shortestAttemptMs;
    if (!isPossible || !gate.mayRetry("hedge")) return false;
    if (running > 0) progress.hedged = true;
    make();
    return true;
  }

  function fail(error: unknown): void {
    const isRefused = error instanceof PublicError;
    if (!isRefused || failure === undefined) failure = error;
    if (!isRefused && !isRetriable(error, attempts, passing)) answer.reject(error);
    // An upstream that asks for a pause gets no more; what is on its way may still be answered.
    if (isRefused || pushbackOf(error) !== undefined) made = maxAttempts;
    if (running === 0 && !makeAnother()) answer.reject(failure);
  }

  try {
    make();
    return await answer.promise;
  } finally {
    clearTimeout(timer);
    over.abort();
  }
}
