import { setMaxListeners } from "node:events";
import { Code, ConnectError } from "@connectrpc/connect";
import { PublicError } from "./errors.ts";

/** The time that a call has. */
export interface Deadline {
  /** Aborts at the deadline, or with the first of the signals that it was made from. */
  readonly signal: AbortSignal;
  /** Milliseconds until the deadline; negative once it has passed. */
  readonly remainingMs: () => number;
}

/**
 * Starts the clock of a call. The transport's signal has to abort when the call is over: that stops the clock.
 *
 * @param timeoutMs how long the call may take, in milliseconds
 * @param signals what else ends the call, with the reason to end it for
 */
export function startDeadline(timeoutMs: number, ...signals: readonly AbortSignal[]): Deadline {
  const endsAt = performance.now() + timeoutMs;
  const controller = new AbortController();
  // One call can have any number of upstream calls at a time, each of which listens.
  setMaxListeners(0, controller.signal);
  const timer = setTimeout(() => end(deadlineExceeded()), timeoutMs);
  const stops = signals.map((signal) => onAbort(signal, () => end(signal.reason)));
  function end(reason: unknown): void {
    clearTimeout(timer);
    for (const stop of stops) stop();
    controller.abort(isDeadline(reason) ? deadlineExceeded() : reason);
  }
  const ended = signals.find((signal) => signal.aborted);
  if (ended !== undefined) end(ended.reason);
  return { signal: controller.signal, remainingMs: () => endsAt - performance.now() };
}

/** Settles with the value, or rejects as soon as the signal aborts, even if nobody else listens to it. */
export function beforeAbort<T>(signal: AbortSignal, value: T | Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = onAbort(signal, () => reject(signal.reason));
    if (signal.aborted) reject(signal.reason);
    Promise.resolve(value).then(resolve, reject).finally(stop);
  });
}

/** Listens until the returned function is called. */
function onAbort(signal: AbortSignal, listener: () => void): () => void {
  signal.addEventListener("abort", listener, { once: true });
  return () => signal.removeEventListener("abort", listener);
}

/** The transport has a timer of its own for the time-out that the caller asked for. */
function isDeadline(reason: unknown): boolean {
  return reason instanceof ConnectError && reason.code === Code.DeadlineExceeded;
}

function deadlineExceeded(): PublicError {
  return new PublicError("DEADLINE_EXCEEDED");
}
