import { Code, ConnectError } from "@connectrpc/connect";

/** What went wrong, in the words of the Connect protocol. */
export type ErrorCode =
  | "canceled"
  | "unknown"
  | "invalid_argument"
  | "deadline_exceeded"
  | "not_found"
  | "already_exists"
  | "permission_denied"
  | "resource_exhausted"
  | "failed_precondition"
  | "aborted"
  | "out_of_range"
  | "unimplemented"
  | "internal"
  | "unavailable"
  | "data_loss"
  | "unauthenticated";

/** What an error may carry besides its words and its code. */
export interface ErrorFacts {
  /** The server's name for this call, from its `x-request-id` header. Quote it when you report a problem. */
  requestId?: string | undefined;
  /** How many milliseconds the server asks the caller to wait, from its `retry-after` header. */
  retryAfterMs?: number | undefined;
  /** What was thrown underneath: a `ConnectError` with the server's details, or the error of `fetch`. */
  cause?: unknown;
}

/**
 * Every failed call ends in a `PorticoError`, or in one of its subclasses where the kind has one.
 *
 * @example
 * try {
 *   await api.users.getUser({ id });
 * } catch (error) {
 *   if (error instanceof PorticoError) report(error.code, error.requestId);
 * }
 */
export class PorticoError extends Error {
  override readonly name: string = "PorticoError";
  readonly code: ErrorCode;
  readonly requestId: string | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(message: string, code: ErrorCode, { requestId, retryAfterMs, cause }: ErrorFacts = {}) {
    super(
      requestId ? `${message} (request id: ${requestId})` : message,
      cause === undefined ? {} : { cause },
    );
    this.code = code;
    this.requestId = requestId;
    this.retryAfterMs = retryAfterMs;
  }
}

/** The server does not know who calls: there is no token, or it is not valid, or getting one failed. */
export class AuthenticationError extends PorticoError {
  override readonly name = "AuthenticationError";
  declare readonly code: "unauthenticated";

  constructor(message: string, facts?: ErrorFacts) {
    super(message, "unauthenticated", facts);
  }
}

/** The caller is known and may not do this. */
export class PermissionError extends PorticoError {
  override readonly name = "PermissionError";
  declare readonly code: "permission_denied";

  constructor(message: string, facts?: ErrorFacts) {
    super(message, "permission_denied", facts);
  }
}

/** The request is wrong in itself: calling again with the same request fails again. */
export class ValidationError extends PorticoError {
  override readonly name = "ValidationError";
  declare readonly code: "invalid_argument";

  constructor(message: string, facts?: ErrorFacts) {
    super(message, "invalid_argument", facts);
  }
}

/** What the request names does not exist. */
export class NotFoundError extends PorticoError {
  override readonly name = "NotFoundError";
  declare readonly code: "not_found";

  constructor(message: string, facts?: ErrorFacts) {
    super(message, "not_found", facts);
  }
}

/** Too many calls. `retryAfterMs` says how long to wait, if the server said so. */
export class RateLimitError extends PorticoError {
  override readonly name = "RateLimitError";
  declare readonly code: "resource_exhausted";

  constructor(message: string, facts?: ErrorFacts) {
    super(message, "resource_exhausted", facts);
  }
}

/** No answer in time. The server may have done the work all the same. */
export class TimeoutError extends PorticoError {
  override readonly name = "TimeoutError";
  declare readonly code: "deadline_exceeded";

  constructor(message: string, facts?: ErrorFacts) {
    super(message, "deadline_exceeded", facts);
  }
}

/** The server could not be reached, the connection broke, or the server says that it cannot serve now. */
export class ConnectionError extends PorticoError {
  override readonly name = "ConnectionError";
  declare readonly code: "unavailable";

  constructor(message: string, facts?: ErrorFacts) {
    super(message, "unavailable", facts);
  }
}

/**
 * Makes whatever a call threw into a `PorticoError`. `requestId` is for errors that carry none themselves, such
 * as a connection that breaks in the middle of an answer.
 */
export function toPorticoError(thrown: unknown, requestId?: string): PorticoError {
  if (thrown instanceof PorticoError) return thrown;
  const error = ConnectError.from(thrown);
  // Thrown on this side of the wire, in an interceptor for example, and wrapped by the transport.
  if (error.cause instanceof PorticoError) return error.cause;
  const code = codeNames[error.code];
  return errorOf(code, error.rawMessage || code.replaceAll("_", " "), {
    requestId: error.metadata.get("x-request-id") ?? requestId,
    retryAfterMs: millisecondsOf(error.metadata.get("retry-after")),
    cause: error.cause ?? error,
  });
}

const codeNames: Record<Code, ErrorCode> = {
  [Code.Canceled]: "canceled",
  [Code.Unknown]: "unknown",
  [Code.InvalidArgument]: "invalid_argument",
  [Code.DeadlineExceeded]: "deadline_exceeded",
  [Code.NotFound]: "not_found",
  [Code.AlreadyExists]: "already_exists",
  [Code.PermissionDenied]: "permission_denied",
  [Code.ResourceExhausted]: "resource_exhausted",
  [Code.FailedPrecondition]: "failed_precondition",
  [Code.Aborted]: "aborted",
  [Code.OutOfRange]: "out_of_range",
  [Code.Unimplemented]: "unimplemented",
  [Code.Internal]: "internal",
  [Code.Unavailable]: "unavailable",
  [Code.DataLoss]: "data_loss",
  [Code.Unauthenticated]: "unauthenticated",
};

function errorOf(code: ErrorCode, message: string, facts: ErrorFacts): PorticoError {
  switch (code) {
    case "unauthenticated":
      return new AuthenticationError(message, facts);
    case "permission_denied":
      return new PermissionError(message, facts);
    case "invalid_argument":
      return new ValidationError(message, facts);
    case "not_found":
      return new NotFoundError(message, facts);
    case "resource_exhausted":
      return new RateLimitError(message, facts);
    case "deadline_exceeded":
      return new TimeoutError(message, facts);
    case "unavailable":
      return new ConnectionError(message, facts);
    default:
      return new PorticoError(message, code, facts);
  }
}

/** `retry-after` is a number of seconds, or a date, which is left out: clocks differ. */
function millisecondsOf(seconds: string | null): number | undefined {
  return seconds !== null && /^\d{1,9}$/.test(seconds.trim()) ? Number(seconds) * 1_000 : undefined;
}
