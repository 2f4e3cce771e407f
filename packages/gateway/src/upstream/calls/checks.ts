import { Code } from "@connectrpc/connect";
import type { BreakerOptions, HedgeOptions, RetryOptions } from "./options.ts";

// What is wrong with the options of an upstream: each problem names the option, what would do, and what was given.

/** @param at what stands before the names of the options: `retry.` */
export function retryProblems(at: string, retry: RetryOptions = {}, timeoutMs: number): string[] {
  const { minDelayMs, maxDelayMs, attemptTimeoutMs, codes } = retry;
  return [
    ...attemptsProblem(at, retry.maxAttempts),
    ...timeProblem(`${at}minDelayMs`, minDelayMs),
    ...timeProblem(`${at}maxDelayMs`, maxDelayMs),
    ...timeProblem(`${at}attemptTimeoutMs`, attemptTimeoutMs),
    ...(minDelayMs !== undefined && maxDelayMs !== undefined && minDelayMs > maxDelayMs
      ? [`${at}minDelayMs must not be more than maxDelayMs, got ${minDelayMs} and ${maxDelayMs}`]
      : []),
    ...(attemptTimeoutMs !== undefined && attemptTimeoutMs >= timeoutMs
      ? [`${at}attemptTimeoutMs must be less than timeoutMs, got ${attemptTimeoutMs} and ${timeoutMs}`]
      : []),
    ...(codes === undefined ? [] : codesProblem(at, codes)),
  ];
}

export function hedgeProblems(at: string, { delayMs, maxAttempts }: HedgeOptions): string[] {
  return [...timeProblem(`${at}delayMs`, delayMs), ...attemptsProblem(at, maxAttempts)];
}

export function breakerProblems(at: string, breaker: BreakerOptions = {}): string[] {
  const { failureRatio = 1, minCalls, windowMs, openMs } = breaker;
  return [
    ...(failureRatio > 0 && failureRatio <= 1
      ? []
      : [`${at}failureRatio must be above 0 and at most 1, got ${failureRatio}`]),
    ...wholeProblem(`${at}minCalls`, minCalls, 1, 1_000_000),
    ...timeProblem(`${at}windowMs`, windowMs),
    ...timeProblem(`${at}openMs`, openMs),
  ];
}

/** Beyond it, a timer of Node's fires at once. */
const longestMs = 0x7fff_ffff;

export function timeProblem(option: string, ms: number | undefined): string[] {
  if (ms === undefined || (ms > 0 && ms <= longestMs)) return [];
  return [`${option} must be more than 0${ms > longestMs ? ` and at most ${longestMs}` : ""}, got ${ms}`];
}

export function wholeProblem(option: string, value: number | undefined, from: number, to: number): string[] {
  if (value === undefined || (Number.isInteger(value) && value >= from && value <= to)) return [];
  return [`${option} must be a whole number from ${from} to ${to}, got ${value}`];
}

/** gRPC's own upper bound. */
function attemptsProblem(at: string, maxAttempts: number | undefined): string[] {
  return wholeProblem(`${at}maxAttempts`, maxAttempts, 2, 5);
}

function codesProblem(at: string, codes: readonly Code[]): string[] {
  if (codes.length === 0) return [`${at}codes must not be empty: retry: false stops retries`];
  return codes
    .filter((code) => Code[code] === undefined)
    .map((code) => `${at}codes must be of Code, got ${String(code)}`);
}
