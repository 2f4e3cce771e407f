import { Code, ConnectError } from "@connectrpc/connect";
import { PublicError } from "../errors.ts";
import type { MessageLimits } from "./protocols.ts";

/**
 * Corrects the errors that the Connect router itself makes while it decodes a request or encodes an answer: malformed
 * protobuf and broken compression are reported as `internal` although the caller sent it, sizes are explained by the names of options, and what
 * cannot be encoded is described by its values.
 *
 * The router gives no place to choose these errors, but it aborts the call's signal with each of them before it writes it
 * down. So they are changed in place, here and nowhere else.
 */
export function rewordProtocolError(error: unknown, limits: MessageLimits): void {
  if (!(error instanceof ConnectError) || error instanceof PublicError) return;
  const { rawMessage } = error;
  if (rawMessage.startsWith("parse binary: ")) {
    change(
      error,
      Code.InvalidArgument,
      `The request is not valid protobuf: ${rawMessage.slice("parse binary: ".length)}`,
    );
  } else if (rawMessage === "decompression failed") {
    change(error, Code.InvalidArgument, "The request cannot be decompressed.");
  } else if (rawMessage.startsWith("received compressed envelope")) {
    change(error, Code.InvalidArgument, "The request is compressed, but does not say how.");
  } else if (rawMessage.startsWith("serialize binary: ") || isEncodingError(error)) {
    change(error, Code.Internal, "The request failed inside the API.");
  } else if (rawMessage.includes("readMaxBytes")) {
    change(error, Code.ResourceExhausted, `The request is larger than ${limits.maxRequestBytes} bytes.`);
  } else if (rawMessage.includes("writeMaxBytes")) {
    change(
      error,
      Code.ResourceExhausted,
      `The answer would be larger than ${limits.maxResponseBytes} bytes: ask for less.`,
    );
  } else if (
    error.cause instanceof TypeError &&
    "code" in error.cause &&
    error.cause.code === "ERR_ENCODING_INVALID_ENCODED_DATA"
  ) {
    change(error, Code.InvalidArgument, "The request is not valid UTF-8.");
  }
}

/** JSON is encoded by protobuf-es, whose errors name the field and its value. */
function isEncodingError(error: ConnectError): boolean {
  return error.code === Code.Internal && error.cause instanceof Error;
}

/** The properties are read-only for those who use an error; this is the one who corrects it. */
function change(error: ConnectError, code: Code, message: string): void {
  const cause = new Error(error.message, { cause: error.cause });
  Object.assign(error, { code, rawMessage: message, message, cause });
}
