import { type ClientHttp2Stream, constants } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";

/**
 * Makes a stream that the other side cuts end in an error event that says so. Left alone, connect-node waits for ever
 * when a stream closes without a response and without an error, and takes a connection that broke for a call that the
 * caller cancelled.
 *
 * To be called before anybody else listens to the stream. The listener stays: no late error can be without one.
 *
 * @param peer who is at the other end, for the log
 */
export function reportCuts(stream: ClientHttp2Stream, peer: string): void {
  let complete = false;
  let grpc = false;
  stream.once("response", (headers, flags) => {
    complete = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    grpc = headers["content-type"]?.startsWith("application/grpc") ?? false;
  });
  stream.once("trailers", () => {
    complete = true;
  });
  stream.once("end", () => {
    // A body that was cut off ends like a whole one. What tells them apart is that gRPC always ends with trailers.
    complete ||= !grpc && !stream.closed;
    if (!complete) stream.emit("error", cutError(stream, peer));
  });
  stream.once("close", () => {
    if (!complete) stream.emit("error", cutError(stream, peer));
  });
  // connect-node settles the call with the first error that it hears, so ours has to come before the original.
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error instanceof ConnectError || error.code === "ERR_STREAM_WRITE_AFTER_END") return;
    stream.emit("error", cutError(stream, peer, error));
  });
}

/**
 * Whether the upstream surely did nothing for the call that ended in this error: no connection could be had, or it
 * refused the stream. Such a call is safe to repeat, whatever it does.
 */
export function isNeverProcessed(error: unknown): boolean {
  return typeof error === "object" && error !== null && neverProcessed.has(error);
}

/** Makes {@link isNeverProcessed} true for an error, and gives it back. */
export function markNeverProcessed<E extends Error>(error: E): E {
  neverProcessed.add(error);
  return error;
}

const neverProcessed = new WeakSet<object>();

/** What the other side resets a stream with when one of the two does not speak HTTP/2 right. */
const protocolFaults: ReadonlySet<number | undefined> = new Set([
  constants.NGHTTP2_PROTOCOL_ERROR,
  constants.NGHTTP2_INTERNAL_ERROR,
  constants.NGHTTP2_FLOW_CONTROL_ERROR,
  constants.NGHTTP2_FRAME_SIZE_ERROR,
  constants.NGHTTP2_COMPRESSION_ERROR,
]);

function cutError(stream: ClientHttp2Stream, peer: string, cause?: NodeJS.ErrnoException): ConnectError {
  // A stream that ended with its whole connection carries that error, and any code.
  const lost = cause !== undefined && cause.code !== "ERR_HTTP2_STREAM_ERROR";
  const code = !lost && protocolFaults.has(stream.rstCode) ? Code.Internal : Code.Unavailable;
  const what = lost ? `lost the connection: ${cause.message}` : `cut the call: ${nameOf(stream.rstCode)}`;
  const error = new ConnectError(`${peer} ${what}`, code, undefined, undefined, cause);
  return stream.rstCode === constants.NGHTTP2_REFUSED_STREAM ? markNeverProcessed(error) : error;
}

/** The codes of RFC 9113, 7, in their order. */
const rstCodes = [
  "NO_ERROR",
  "PROTOCOL_ERROR",
  "INTERNAL_ERROR",
  "FLOW_CONTROL_ERROR",
  "SETTINGS_TIMEOUT",
  "STREAM_CLOSED",
  "FRAME_SIZE_ERROR",
  "REFUSED_STREAM",
  "CANCEL",
  "COMPRESSION_ERROR",
  "CONNECT_ERROR",
  "ENHANCE_YOUR_CALM",
  "INADEQUATE_SECURITY",
  "HTTP_1_1_REQUIRED",
];

function nameOf(rstCode = 0): string {
  return rstCodes[rstCode] ?? `code ${rstCode}`;
}
