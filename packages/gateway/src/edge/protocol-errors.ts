import { Code, ConnectError } from "@connectrpc/connect";
import { internalWords, PublicError, publicText } from "../errors.ts";
import type { MessageLimits } from "./protocols.ts";

/** What the words of an error are made from. */
export interface ProtocolErrorFacts {
  readonly limits: MessageLimits;
  /** The field that the JSON decoder could not read, if that can be told. */
  readonly faultyField: () => string | undefined;
}

/**
 * Corrects the errors that the Connect router itself makes while it decodes a request or encodes an answer: malformed
 * protobuf and broken compression are reported as `internal` although the caller sent them, sizes are explained by
 * the names of options, and what cannot be encoded is described by its values.
 *
 * The router gives no place to choose these errors, but it aborts the call's signal with each of them before it
 * writes it down. So they are changed in place, here and nowhere else.
 */
export function rewordProtocolError(error: unknown, facts: ProtocolErrorFacts): void {
  if (!(error instanceof ConnectError) || error instanceof PublicError) return;
  const rule = rules.find(({ when }) => when(error)) ?? {
    code: error.code,
    words: (message: string) => message,
  };
  const message = publicText(rule.words(error.rawMessage, facts));
  const cause = new Error(error.message, { cause: error.cause });
  // The properties are read-only for those who use an error; this is the one who corrects it.
  Object.assign(error, { code: rule.code, rawMessage: message, message, cause });
}

interface Rule {
  readonly when: (error: ConnectError) => boolean;
  readonly code: Code;
  readonly words: (message: string, facts: ProtocolErrorFacts) => string;
}

/** The first that fits is used. */
const rules: readonly Rule[] = [
  {
    when: ({ rawMessage }) => rawMessage.startsWith("parse binary: "),
    code: Code.InvalidArgument,
    words: (message) => message.replace("parse binary:", "The request is not valid protobuf:"),
  },
  {
    when: ({ rawMessage }) => /^cannot decode .* from JSON/.test(rawMessage),
    code: Code.InvalidArgument,
    words: (message, { faultyField }) => [faultyField(), message].filter(Boolean).join(": "),
  },
  {
    when: ({ rawMessage }) => rawMessage === "decompression failed",
    code: Code.InvalidArgument,
    words: () => "The request cannot be decompressed.",
  },
  {
    when: ({ rawMessage }) => rawMessage.startsWith("received compressed envelope"),
    code: Code.InvalidArgument,
    words: () => "The request is compressed, but does not say how.",
  },
  {
    when: ({ cause }) => cause instanceof TypeError && "code" in cause && cause.code === invalidEncoding,
    code: Code.InvalidArgument,
    words: () => "The request is not valid UTF-8.",
  },
  {
    // JSON is encoded by protobuf-es, whose errors name the field and its value.
    when: ({ code, rawMessage, cause }) =>
      rawMessage.startsWith("serialize binary: ") || (code === Code.Internal && cause instanceof Error),
    code: Code.Internal,
    words: () => internalWords,
  },
  {
    when: ({ rawMessage }) => rawMessage.includes("readMaxBytes"),
    code: Code.ResourceExhausted,
    words: (_, { limits }) => `The request is larger than ${limits.maxRequestBytes} bytes.`,
  },
  {
    when: ({ rawMessage }) => rawMessage.includes("writeMaxBytes"),
    code: Code.ResourceExhausted,
    words: (_, { limits }) =>
      `The answer would be larger than ${limits.maxResponseBytes} bytes: ask for less.`,
  },
];

/** What Node's decoder throws. */
const invalidEncoding = "ERR_ENCODING_INVALID_ENCODED_DATA";
