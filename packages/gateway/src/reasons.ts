import { Code } from "@connectrpc/connect";

/** One reason for which a call fails, as callers can rely on it. */
export interface ReasonEntry {
  /** The code of the error, in every protocol. */
  readonly code: Code;
  /** What the error says, unless the place where it happens has better words. */
  readonly message: string;
  /** When it happens: for the page of errors. */
  readonly when: string;
  /** What a caller does about it: for the page of errors. */
  readonly remedy: string;
}

/** The name of a reason: what `google.rpc.ErrorInfo.reason` carries. */
export type Reason = keyof typeof reasons;

/**
 * Every reason for which the gateway fails a call. This catalogue is a promise: a name is never given another meaning,
 * and never taken away. `docs/errors.md` is made from it.
 */
export const reasons = {
  CREDENTIALS_MISSING: {
    code: Code.Unauthenticated,
    message: "This method needs credentials.",
    when: "The method is not open to everyone, and the call has no credentials.",
    remedy: "Send a token in `authorization: Bearer`, or an API key in `x-api-key`.",
  },
  CREDENTIALS_INVALID: {
    code: Code.Unauthenticated,
    message: "The credentials are not valid.",
    when: "The token, API key or client certificate is malformed, unknown, revoked, not meant for this API, or sent beside another.",
    remedy: "Get new credentials, and send one kind of them. The same ones will not do later either.",
  },
  CREDENTIALS_EXPIRED: {
    code: Code.Unauthenticated,
    message: "The credentials have expired.",
    when: "The token, API key or client certificate was valid once.",
    remedy: "Get new credentials and call again.",
  },
  CREDENTIALS_UNVERIFIABLE: {
    code: Code.Unavailable,
    message: "Credentials cannot be verified at the moment. Try again shortly.",
    when: "The keys of the issuer of the token cannot be had.",
    remedy: "Call again later with the same credentials.",
  },
  PERMISSION_MISSING: {
    code: Code.PermissionDenied,
    message: "Your credentials do not allow this method.",
    when: "None of the caller's roles has the permission that the method, or a field that must not be left out of its answer, asks for.",
    remedy: "Ask for a role that allows it.",
  },
  CONDITION_NOT_MET: {
    code: Code.PermissionDenied,
    message: "Your credentials do not allow this request.",
    when: "The caller may call the method, but not with this request: one for somebody else's data, for example.",
    remedy: "Change the request, or ask for a role that allows it.",
  },
  FIELD_NOT_ALLOWED: {
    code: Code.PermissionDenied,
    message: "Your credentials do not allow a field of the request to be set.",
    when: "The request sets a field that only some callers may set. `metadata.field` names it.",
    remedy: "Leave the field out, or ask for a role that allows it.",
  },
  RIGHTS_CHANGED: {
    code: Code.Unavailable,
    message: "What you may do has changed. Connect again.",
    when: "The roles of the caller of a stream, or what they may do, changed while it was open.",
    remedy: "Connect again: what is still allowed will be answered.",
  },
  RATE_LIMIT_EXCEEDED: {
    code: Code.ResourceExhausted,
    message: "Too many calls. Try again later.",
    when: "The caller, or its address if it has no credentials, has used up what it may call. `metadata.limit` names the limit.",
    remedy: "Wait as long as `retry-after` says.",
  },
  INVALID_FIELDS: {
    code: Code.InvalidArgument,
    message: "The request is not valid.",
    when: "Fields of the request break a rule. `google.rpc.BadRequest` names each of them, and says what would do.",
    remedy: "Change the request.",
  },
  REQUEST_REJECTED: {
    code: Code.InvalidArgument,
    message: "The request is not valid.",
    when: "A service behind the API does not accept the request, although it breaks no rule of the API's own.",
    remedy: "Change the request.",
  },
  MALFORMED_REQUEST: {
    code: Code.InvalidArgument,
    message: "The request cannot be read.",
    when: "The request is not what its protocol, its content type or HTTP says that it is.",
    remedy: "Change the client: a generated one does not do this.",
  },
  REQUEST_TOO_LARGE: {
    code: Code.ResourceExhausted,
    message: "The request is too large.",
    when: "The request message has more bytes than the method takes.",
    remedy: "Send less.",
  },
  ANSWER_TOO_LARGE: {
    code: Code.ResourceExhausted,
    message: "The answer would be too large.",
    when: "The answer would have more bytes than the gateway gives.",
    remedy: "Ask for less, such as a smaller page.",
  },
  METHOD_UNKNOWN: {
    code: Code.Unimplemented,
    message: "There is no such method.",
    when: "The path names no method that there is for this caller.",
    remedy: "Mend the path, or bring the client up to date.",
  },
  PROTOCOL_UNSUPPORTED: {
    code: Code.Unimplemented,
    message: "The method cannot be called in this way.",
    when: "The HTTP method or the content type is none that the method can be called with.",
    remedy: "Use what the message names.",
  },
  NOT_FOUND: {
    code: Code.NotFound,
    message: "What the request asks for does not exist.",
    when: "Something that the request names does not exist, or not for this caller.",
    remedy: "Change the request.",
  },
  ALREADY_EXISTS: {
    code: Code.AlreadyExists,
    message: "What the request would create exists already.",
    when: "Something that must be unique is taken.",
    remedy: "Change the request, or use what exists.",
  },
  FAILED_PRECONDITION: {
    code: Code.FailedPrecondition,
    message: "The request does not fit the present state.",
    when: "What the request asks for could be done, but not in the state that things are in.",
    remedy: "Bring about that state first.",
  },
  OUT_OF_RANGE: {
    code: Code.OutOfRange,
    message: "The request is out of range.",
    when: "The request goes past the end of what there is.",
    remedy: "Change the request.",
  },
  CONFLICT: {
    code: Code.Aborted,
    message: "Another request got in the way. Try again.",
    when: "Two requests changed the same thing at once.",
    remedy: "Read what is there now, and call again.",
  },
  SERVICE_BUSY: {
    code: Code.ResourceExhausted,
    message: "A service that this request needs has too much to do. Try again later.",
    when: "A service behind the API takes no more work.",
    remedy: "Call again later, as `retry-after` says if it is there.",
  },
  SERVICE_UNAVAILABLE: {
    code: Code.Unavailable,
    message: "A service that this request needs is not available. Try again shortly.",
    when: "A service behind the API cannot be reached, or broke off.",
    remedy: "Call again, if the method has no side effects or you can tell whether it had any.",
  },
  SERVICE_TIMEOUT: {
    code: Code.DeadlineExceeded,
    message: "A service that this request needs did not answer in time.",
    when: "A service behind the API took longer than it may.",
    remedy: "Call again, if the method has no side effects or you can tell whether it had any.",
  },
  DEADLINE_EXCEEDED: {
    code: Code.DeadlineExceeded,
    message: "The call took longer than it may.",
    when: "The call's deadline passed: the caller's own, or the method's.",
    remedy: "Ask for less, or allow more time.",
  },
  OVERLOADED: {
    code: Code.Unavailable,
    message: "The API has too much to do. Try again shortly.",
    when: "The instance of the API that got the request has as much to do as it can. Nothing was done for the request.",
    remedy: "Wait as long as `retry-after` says, and call again.",
  },
  RESTARTING: {
    code: Code.Unavailable,
    message: "The API is restarting. Connect again.",
    when: "The instance of the API that served a stream is stopping.",
    remedy: "Connect again: another instance will answer.",
  },
  CALLER_LEFT: {
    code: Code.Canceled,
    message: "The caller ended the call.",
    when: "The caller hung up before the answer was there.",
    remedy: "Nothing: the caller knows.",
  },
  INTERNAL: {
    code: Code.Internal,
    message: "The request failed inside the API.",
    when: "Something is wrong with the API or a service behind it.",
    remedy: "Report it with the request id.",
  },
} as const satisfies Record<string, ReasonEntry>;
