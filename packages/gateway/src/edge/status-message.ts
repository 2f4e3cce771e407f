import type { UniversalServerResponse } from "@connectrpc/connect/protocol";

/**
 * Writes the message of a gRPC status as the gRPC specification has it: only what is not printable ASCII, and `%`, is
 * percent-encoded. The router encodes punctuation as well, and grpc-js shows that undecoded: `page_size%3A must be`.
 */
export function plainStatusMessage(answer: UniversalServerResponse): UniversalServerResponse {
  const { body, trailer } = answer;
  if (body === undefined || trailer === undefined) return answer;
  return { ...answer, body: rewriting(body, trailer) };
}

/** The router fills in the trailers while it writes the body. */
async function* rewriting<T>(body: AsyncIterable<T>, trailer: Headers): AsyncGenerator<T> {
  yield* body;
  const message = trailer.get("grpc-message");
  if (message !== null) trailer.set("grpc-message", encodeStatusMessage(decodeURIComponent(message)));
}

/** A message as gRPC writes it into a header. */
export function encodeStatusMessage(message: string): string {
  return message.replace(/[^ -$&-~]/gu, encodeURIComponent);
}
