import { Code, ConnectError } from "@connectrpc/connect";
import { isNeverProcessed } from "../session/session.ts";
import type { Verdict } from "./breaker.ts";

/**
 * What the error that a call ended in says about the upstream. Whatever a caller can bring about says that the upstream
 * answers, or nothing: else a caller could keep the others from it.
 *
 * @param isOwnDeadline whether the call had the upstream's own time-out, and not a shorter one of the public call
 */
export function verdictOn(error: unknown, signal: AbortSignal, isOwnDeadline: boolean): Verdict {
  // What cannot be reached is found out at once, and not by calls.
  if (signal.aborted || isNeverProcessed(error) || !(error instanceof ConnectError)) return "unknown";
  if (error.code === Code.DeadlineExceeded) return isOwnDeadline ? "fails" : "unknown";
  if (error.isWireError) return failures.has(error.code) ? "fails" : "answers";
  // The client's own code for an answer that is larger than is taken: the caller may have asked for it.
  return error.code === Code.ResourceExhausted ? "answers" : "fails";
}

const failures: ReadonlySet<Code> = new Set([
  Code.Unavailable,
  Code.Internal,
  Code.Unknown,
  Code.DataLoss,
  Code.Canceled,
]);
