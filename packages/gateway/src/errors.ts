import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from "./gen/google/rpc/error_details_pb.ts";
import { type Reason, reasons } from "./reasons.ts";

/** What is wrong with one field of a request. */
export interface FieldViolation {
  /** The path of the field, as in the proto: `line_items[2].product`. Empty for the request as a whole. */
  readonly field: string;
  /** What is wrong, and what would do: `must not be negative, got -1`. */
  readonly description: string;
}

/** What a {@link PublicError} may carry besides its words. */
export interface PublicErrorOptions {
  /** The full story, for the log alone. */
  readonly cause?: unknown;
  /** Response headers, such as `www-authenticate`. */
  readonly headers?: Readonly<Record<string, string>>;
  /** What is wrong with each field: sent as `google.rpc.BadRequest`. */
  readonly violations?: readonly FieldViolation[];
  /** Facts for programs, sent in `google.rpc.ErrorInfo`. Everyone can read them. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** When to call again, in milliseconds: sent as `retry-after`, in whole seconds, and `google.rpc.RetryInfo`. */
  readonly retryAfterMs?: number;
}

/**
 * An error whose words the gateway itself chose, so that the caller may read them.
 *
 * This is the only kind of error that leaves the gateway as it is. Anything else that a handler throws,
 * another `ConnectError` included, reaches the caller as a bare `internal`, because its words may come from an
 * upstream, a database or a stack trace.
 *
 * @param reason from the catalogue; it decides the code
 * @param message in place of the catalogue's own words
 * @example throw new PublicError("NOT_FOUND", "id: there is no user with this id");
 */
export class PublicError extends ConnectError {
  readonly reason: Reason;
  readonly options: PublicErrorOptions;
  readonly #chosenByGateway = true;

  constructor(reason: Reason, message: string = reasons[reason].message, options: PublicErrorOptions = {}) {
    const { headers, retryAfterMs, cause } = options;
    const retry = retryAfterMs === undefined ? {} : { "retry-after": seconds(retryAfterMs) };
    super(publicText(message), reasons[reason].code, { ...headers, ...retry }, undefined, cause);
    this.reason = reason;
    this.options = options;
  }

  /** Only what this constructor made counts: `ConnectError` itself accepts anything of the same shape. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === "object" && value !== null && #chosenByGateway in value && value.#chosenByGateway;
  }
}

/**
 * The error for a request that breaks rules. Its message is about the first field; details name them all.
 *
 * @example throw invalid({ field: "page_size", description: "must not be negative, got -1" });
 */
export function invalid(...violations: readonly [FieldViolation, ...FieldViolation[]]): PublicError {
  const [{ field, description }] = violations;
  return new PublicError("INVALID_FIELDS", field === "" ? description : `${field}: ${description}`, {
    violations,
  });
}

/**
 * The same error once more, for another call that ends for the same reason: details are written into an error for the call
 * that it ends, so no two calls may get the same one.
 */
export function copyOf(error: PublicError): PublicError {
  return new PublicError(error.reason, error.rawMessage, { ...error.options, cause: error });
}

/** The error for what the caller can neither know nor mend; the cause is for the log. */
export function internalError(cause: unknown): PublicError {
  return new PublicError("INTERNAL", undefined, { cause });
}

/** What tells one error from all others of its kind. */
export interface ErrorContext {
  readonly requestId: string;
  /** Whose catalogue the reason is from: `google.rpc.ErrorInfo.domain`. */
  readonly domain: string;
}

/**
 * The details that an error is sent with (AIP-193): its reason, the request's id and, where there are any, the fields
 * that are wrong and when to call again. A list of what is sent: nothing else can be.
 */
export function errorDetails(
  reason: Reason,
  { requestId, domain }: ErrorContext,
  { metadata = {}, violations = [], retryAfterMs }: PublicErrorOptions = {},
): ConnectError["details"] {
  return [
    { desc: ErrorInfoSchema, value: create(ErrorInfoSchema, { reason, domain, metadata: { ...metadata } }) },
    { desc: RequestInfoSchema, value: create(RequestInfoSchema, { requestId }) },
    ...(violations.length === 0
      ? []
      : [{ desc: BadRequestSchema, value: create(BadRequestSchema, badRequest(violations)) }]),
    ...(retryAfterMs === undefined
      ? []
      : [
          {
            desc: RetryInfoSchema,
            value: create(RetryInfoSchema, { retryDelay: durationFromMs(retryAfterMs) }),
          },
        ]),
  ];
}

/** A request can break a rule in each of ten thousand items; so many details fit no header. */
const maxViolations = 20;

function badRequest(violations: readonly FieldViolation[]) {
  return {
    fieldViolations: violations.slice(0, maxViolations).map(({ field, description }) => ({
      field: field.slice(0, 200).toWellFormed(),
      description: description.slice(0, 200).toWellFormed(),
    })),
  };
}

function seconds(milliseconds: number): string {
  return String(Math.max(1, Math.ceil(milliseconds / 1_000)));
}

/**
 * A text that every protocol can carry: gRPC has it in a header, which must be valid Unicode and not grow without bound
 * with what a caller sent.
 */
export function publicText(text: string): string {
  return text.slice(0, 1_024).toWellFormed();
}

/**
 * The value, for what an upstream always sends. Without it the call fails with `internal`, rather than with a blank.
 *
 * @example
 * const { user } = await users.getUser({ id }, call);
 * return { user: await userView.one(present(user, "user"), call) };
 */
export function present<T>(value: T | undefined, name: string): T {
  if (value === undefined) throw new Error(`the upstream answered without ${name}`);
  return value;
}

/**
 * Gives the errors of a call the words that fit its place, by their reasons. Others keep theirs. Words about a field of
 * the request are written as a {@link FieldViolation}, which is sent along as such.
 *
 * @example
 * await reword(users.createUser({ email }, call), {
 *   ALREADY_EXISTS: { field: "email", description: "there is a user with this email already" },
 * });
 */
export async function reword<T>(
  call: Promise<T>,
  words: Partial<Record<Reason, string | FieldViolation>>,
): Promise<T> {
  try {
    return await call;
  } catch (error) {
    const better = error instanceof PublicError ? words[error.reason] : undefined;
    if (better === undefined || !(error instanceof PublicError)) throw error;
    const options = { ...error.options, cause: error };
    if (typeof better === "string") throw new PublicError(error.reason, better, options);
    // Now that the field is known, it is one of the request's own faults.
    const reason = error.reason === "REQUEST_REJECTED" ? "INVALID_FIELDS" : error.reason;
    throw new PublicError(reason, `${better.field}: ${better.description}`, {
      ...options,
      violations: [better],
    });
  }
}

/**
 * Something that must be put right before the gateway can start. Its message lists every problem found, each
 * with what to do.
 */
export class StartError extends Error {
  override readonly name = "StartError";
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(
      `Portico cannot start:\n${problems.map((problem) => `  - ${problem.replaceAll("\n", "\n    ")}`).join("\n")}`,
    );
    this.problems = problems;
  }
}
