import { Code, ConnectError } from "@connectrpc/connect";
import { type ErrorContext, errorDetails, type FieldViolation, PublicError, publicText } from "../errors.ts";
import { type Reason, reasons } from "../reasons.ts";

/** What the words and details of an error are made from. */
export interface ProtocolErrorFacts {
  readonly context: ErrorContext;
  /** In bytes. */
  readonly maxRequestBytes: number;
  readonly maxResponseBytes: number;
  /** The field that the JSON decoder could not read, if that can be told. */
  readonly faultyField: () => string | undefined;
}

/**
 * Gives every error that ends a call its details, and corrects those that the Connect router itself makes while it
 * decodes a request or encodes an answer: malformed protobuf and broken compression are reported as `internal` although
 * the caller sent them, sizes are explained by the names of options, and what cannot be encoded is described by its
 * values.
 *
 * The router gives no place to choose these errors, but it aborts the call's signal with each of them before it
 * writes it down. So they are changed in place, here and nowhere else.
 *
 * @returns the reason that the caller is given; `undefined` if the call ended well
 */
export function explainError(error: unknown, facts: ProtocolErrorFacts): Reason | undefined {
  if (!(error instanceof ConnectError)) return undefined;
  if (error instanceof PublicError) {
    Object.assign(error, { details: errorDetails(error.reason, facts.context, error.options) });
    return error.reason;
  }
  const { reason, words, violations } = explain(error, facts);
  const message = publicText(words);
  const cause = new Error(error.message, { cause: error.cause });
  const details = errorDetails(reason, facts.context, { violations });
  // The properties are read-only for those who use an error; this is the one who corrects it.
  Object.assign(error, { code: reasons[reason].code, rawMessage: message, message, cause, details });
  return reason;
}

interface Explanation {
  readonly reason: Reason;
  readonly words: string;
  readonly violations: readonly FieldViolation[];
}

function explain(error: ConnectError, facts: ProtocolErrorFacts): Explanation {
  const rule = rules.find(({ when }) => when(error));
  const reason = rule?.reason ?? reasonsByCode[error.code] ?? "INTERNAL";
  const words = rule?.words?.(error.rawMessage, facts) ?? error.rawMessage;
  const field = rule?.namesField === true ? facts.faultyField() : undefined;
  if (field === undefined) return { reason, words, violations: [] };
  return {
    reason: "INVALID_FIELDS",
    words: `${field}: ${words}`,
    violations: [{ field, description: publicText(words) }],
  };
}

interface Rule {
  readonly when: (error: ConnectError) => boolean;
  readonly reason: Reason;
  /** In place of the error's own. */
  readonly words?: (message: string, facts: ProtocolErrorFacts) => string;
  /** Whether a field may be at fault. */
  readonly namesField?: boolean;
}

/** The first that fits is used. */
const rules: readonly Rule[] = [
  {
    when: isReset,
    reason: "CALLER_LEFT",
    words: () => reasons.CALLER_LEFT.message,
  },
  {
    when: ({ rawMessage }) => rawMessage.startsWith("parse binary: "),
    reason: "MALFORMED_REQUEST",
    words: (message) => message.replace("parse binary:", "The request is not valid protobuf:"),
  },
  {
    when: ({ rawMessage }) => /^cannot decode .* from JSON/.test(rawMessage),
    reason: "MALFORMED_REQUEST",
    namesField: true,
  },
  {
    when: ({ rawMessage }) => rawMessage === "decompression failed",
    reason: "MALFORMED_REQUEST",
    words: () => "The request cannot be decompressed.",
  },
  {
    when: ({ rawMessage }) => rawMessage.startsWith("received compressed envelope"),
    reason: "MALFORMED_REQUEST",
    words: () => "The request is compressed, but does not say how.",
  },
  {
    when: ({ cause }) => cause instanceof TypeError && "code" in cause && cause.code === invalidEncoding,
    reason: "MALFORMED_REQUEST",
    words: () => "The request is not valid UTF-8.",
  },
  {
    // JSON is encoded by protobuf-es, whose errors name the field and its value.
    when: ({ code, rawMessage, cause }) =>
      rawMessage.startsWith("serialize binary: ") || (code === Code.Internal && cause instanceof Error),
    reason: "INTERNAL",
    words: () => reasons.INTERNAL.message,
  },
  {
    when: ({ rawMessage }) => rawMessage.includes("readMaxBytes"),
    reason: "REQUEST_TOO_LARGE",
    words: (_, { maxRequestBytes }) => `The request is larger than ${maxRequestBytes} bytes.`,
  },
  {
    when: ({ rawMessage }) => rawMessage.includes("writeMaxBytes"),
    reason: "ANSWER_TOO_LARGE",
    words: (_, { maxResponseBytes }) =>
      `The answer would be larger than ${maxResponseBytes} bytes: ask for less.`,
  },
];

/**
 * Whether an error says that the caller reset its HTTP/2 stream, with whatever code: those that are not for leaving would
 * look like faults of the API. See "Whoever leaves by a reset decides whose fault it is" in docs/upstream-bugs.md.
 */
function isReset({ rawMessage }: ConnectError): boolean {
  return rawMessage.startsWith("http/2 stream closed with error code");
}

/** What Node's decoder throws. */
const invalidEncoding = "ERR_ENCODING_INVALID_ENCODED_DATA";

/** For the errors of the router that have good words already. */
const reasonsByCode: Partial<Record<Code, Reason>> = {
  [Code.InvalidArgument]: "MALFORMED_REQUEST",
  [Code.Unimplemented]: "PROTOCOL_UNSUPPORTED",
  [Code.DeadlineExceeded]: "DEADLINE_EXCEEDED",
  [Code.Canceled]: "CALLER_LEFT",
  [Code.Aborted]: "CALLER_LEFT",
};
