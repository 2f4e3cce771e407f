import { errorToJsonBytes } from "@connectrpc/connect/protocol-connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { type ErrorContext, errorDetails, type PublicError } from "../errors.ts";

// How a request is refused that no protocol of the router answers.

/** The body of an error as Connect writes it, with its details; right for everybody who reads JSON. */
export function refusalBody(error: PublicError, context: ErrorContext): Buffer {
  error.details = errorDetails(error.reason, context, error.options);
  return Buffer.from(errorToJsonBytes(error, undefined));
}

/** The headers of an error in gRPC and gRPC-Web. */
export function refusalHeaders(error: PublicError, context: ErrorContext): Record<string, string> {
  error.details = errorDetails(error.reason, context, error.options);
  const headers = new Headers();
  setTrailerStatus(headers, error);
  return Object.fromEntries(headers);
}
