import { Code, ConnectError } from "@connectrpc/connect";
import { PublicError } from "../errors.ts";
import type { Reason } from "../reasons.ts";
import { pushbackOf } from "./calls/pushback.ts";
import type { UpstreamDeclaration } from "./upstream.ts";

/**
 * Turns whatever a call to an upstream ended in into an error that may be shown to the public: a reason that is true
 * for the caller, and the gateway's own words. What the upstream said is kept as the cause, for the log; of its details
 * and metadata, only when to call again is passed on.
 *
 * @param error what was thrown
 * @param signal the signal of the public call: it tells a caller who left from an upstream that broke off
 * @param upstream its name is for the log; one that is told who calls is believed when it refuses the caller
 */
export function toPublicError(
  error: unknown,
  signal: AbortSignal,
  upstream: Pick<UpstreamDeclaration, "name" | "identity">,
): PublicError {
  if (error instanceof PublicError) return error;
  if (signal.aborted && signal.reason instanceof PublicError) return signal.reason;
  const cause = new Error(`the upstream ${upstream.name} failed`, { cause: error });
  if (signal.aborted) return new PublicError("CALLER_LEFT", undefined, { cause });
  const reason = publicReason(error, upstream.identity.length > 0);
  const retryAfterMs = retryReasons.has(reason) ? retryDelayOf(error) : undefined;
  return new PublicError(reason, undefined, { cause, ...(retryAfterMs !== undefined && { retryAfterMs }) });
}

/** Whether an upstream answered that it does not have the method. */
export function isUnimplemented(error: unknown): boolean {
  if (error instanceof ConnectError && !(error instanceof PublicError))
    return error.isWireError && error.code === Code.Unimplemented;
  return error instanceof Error && error.cause !== undefined && isUnimplemented(error.cause);
}

/** An upstream that answered is believed about the request, but not about itself or about the gateway. */
function publicReason(error: unknown, knowsCaller: boolean): Reason {
  if (!(error instanceof ConnectError)) return "INTERNAL";
  if (!error.isWireError) return localReasons[error.code] ?? "INTERNAL";
  if (error.code === Code.PermissionDenied && knowsCaller) return "CONDITION_NOT_MET";
  return wireReasons[error.code] ?? "INTERNAL";
}

/**
 * From the code that an upstream answered. What is not listed is `internal`: so is `unauthenticated`, since it was the
 * gateway's own credentials that did not do.
 */
const wireReasons: Partial<Record<Code, Reason>> = {
  [Code.InvalidArgument]: "REQUEST_REJECTED",
  [Code.NotFound]: "NOT_FOUND",
  [Code.AlreadyExists]: "ALREADY_EXISTS",
  [Code.FailedPrecondition]: "FAILED_PRECONDITION",
  [Code.OutOfRange]: "OUT_OF_RANGE",
  [Code.Aborted]: "CONFLICT",
  [Code.ResourceExhausted]: "SERVICE_BUSY",
  [Code.Unavailable]: "SERVICE_UNAVAILABLE",
  [Code.DeadlineExceeded]: "SERVICE_TIMEOUT",
  [Code.Canceled]: "SERVICE_UNAVAILABLE",
};

/** From the code that the client gives to a broken connection or a broken answer: never the public caller's fault. */
const localReasons: Partial<Record<Code, Reason>> = {
  [Code.Unavailable]: "SERVICE_UNAVAILABLE",
  [Code.Aborted]: "SERVICE_UNAVAILABLE",
  [Code.Canceled]: "SERVICE_UNAVAILABLE",
  [Code.DeadlineExceeded]: "SERVICE_TIMEOUT",
};

const retryReasons: ReadonlySet<Reason> = new Set<Reason>(["SERVICE_BUSY", "SERVICE_UNAVAILABLE"]);

function retryDelayOf(error: unknown): number | undefined {
  const delayMs = pushbackOf(error);
  return delayMs === "never" || delayMs === 0 ? undefined : delayMs;
}
