import { Code, ConnectError } from "@connectrpc/connect";
import { internalWords, PublicError } from "../errors.ts";

/**
 * Turns whatever a call to an upstream ended in into an error that may be shown to the public: a code that is true
 * for the caller, and the gateway's own words. What the upstream said is kept as the cause, for the log.
 *
 * @param error what was thrown
 * @param signal the signal of the public call: it tells a caller who left from an upstream that broke off
 * @param upstream the upstream's name, for the log
 */
export function toPublicError(error: unknown, signal: AbortSignal, upstream: string): PublicError {
  if (error instanceof PublicError) return error;
  if (signal.aborted && signal.reason instanceof PublicError) return signal.reason;
  const cause = new Error(`the upstream ${upstream} failed`, { cause: error });
  if (signal.aborted) return new PublicError(Code.Canceled, "The caller ended the call.", { cause });
  const code = publicCode(error);
  return new PublicError(code, words[code], { cause });
}

/** The codes that the public can get because of an upstream. */
type PublicCode = keyof typeof words;

const words = {
  [Code.InvalidArgument]: "The request is not valid.",
  [Code.NotFound]: "What the request asks for does not exist.",
  [Code.AlreadyExists]: "What the request would create exists already.",
  [Code.FailedPrecondition]: "The request does not fit the present state.",
  [Code.OutOfRange]: "The request is out of range.",
  [Code.Aborted]: "Another request got in the way. Try again.",
  [Code.ResourceExhausted]: "A service that this request needs has too much to do. Try again later.",
  [Code.Unavailable]: "A service that this request needs is not available. Try again shortly.",
  [Code.DeadlineExceeded]: "A service that this request needs did not answer in time.",
  [Code.Internal]: internalWords,
} as const;

/** An upstream that answered is believed about the request, but not about itself or about the gateway. */
function publicCode(error: unknown): PublicCode {
  if (!(error instanceof ConnectError)) return Code.Internal;
  return error.isWireError
    ? (wireCodes[error.code] ?? Code.Internal)
    : (localCodes[error.code] ?? Code.Internal);
}

/**
 * From the code that an upstream answered. What is not listed is `internal`, `permission_denied` too: it was the
 * gateway's own credentials that did not do.
 */
const wireCodes: Partial<Record<Code, PublicCode>> = {
  [Code.InvalidArgument]: Code.InvalidArgument,
  [Code.NotFound]: Code.NotFound,
  [Code.AlreadyExists]: Code.AlreadyExists,
  [Code.FailedPrecondition]: Code.FailedPrecondition,
  [Code.OutOfRange]: Code.OutOfRange,
  [Code.Aborted]: Code.Aborted,
  [Code.ResourceExhausted]: Code.ResourceExhausted,
  [Code.Unavailable]: Code.Unavailable,
  [Code.DeadlineExceeded]: Code.DeadlineExceeded,
  [Code.Canceled]: Code.Unavailable,
};

/** From the code that the client gives to a broken connection or a broken answer: never the public caller's fault. */
const localCodes: Partial<Record<Code, PublicCode>> = {
  [Code.Unavailable]: Code.Unavailable,
  [Code.Aborted]: Code.Unavailable,
  [Code.Canceled]: Code.Unavailable,
  [Code.DeadlineExceeded]: Code.DeadlineExceeded,
};
