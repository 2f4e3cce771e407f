import { type ClientHttp2Stream, constants, type IncomingHttpHeaders } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import { nearlyOverAt } from "./call-end.ts";

/**
 * How a stream ended, as far as it says something about the address that it went to.
 *
 * - `answered`: with a status, be it an error, that a server in order gives
 * - `failed`: with `unavailable`, `internal`, no gRPC at all, or cut by the other side
 * - `lost`: with its connection
 * - `left`: by us, before there was an answer: the caller went away, or its time was over
 */
export type StreamOutcome = "answered" | "failed" | "lost" | "left";

/** What is known about the connection of a stream. */
export interface StreamPeer {
  /** Who is at the other end, for the log. */
  readonly name: string;
  /** The last stream that the other side looked at before it said goodbye, by GOAWAY. */
  readonly lastStream: () => number | undefined;
  /** Whether the connection is over, or about to be. */
  readonly leaving: () => boolean;
  /** Whether its socket is gone. */
  readonly broken: () => boolean;
}

/**
 * Makes a stream that the other side cuts end in an error event that says so. Left alone, connect-node waits for ever
 * when a stream closes without a response and without an error, and takes a connection that broke for a call that the
 * caller cancelled.
 *
 * To be called before anybody else listens to the stream. The listener stays: no late error can be without one.
 *
 * @param over ends with the call: nobody is going to read what is left of the stream then
 * @param ended called once, when the stream is over
 */
export function reportCuts(
  stream: ClientHttp2Stream,
  peer: StreamPeer,
  over: AbortSignal | undefined,
  ended: (outcome: StreamOutcome) => void,
): void {
  let began = false;
  let complete = false;
  let grpc = false;
  let status: string | undefined;
  const endedHere = noteOwnEnd(stream, peer);
  const late = noteDeadline(stream);
  over?.addEventListener("abort", () => {
    if (!endedHere()) dropUnread(stream);
  });
  const cut = (cause?: NodeJS.ErrnoException) => {
    const error = late() ? lateError(peer) : cutError(stream, peer, cause);
    // Whoever has begun to answer has looked at the call, whatever it says.
    return !began && isUntouched(stream, peer, cause) ? markNeverProcessed(error) : error;
  };
  stream.once("response", (headers, flags) => {
    began = true;
    complete = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
    grpc = headers["content-type"]?.startsWith("application/grpc") ?? false;
    if (grpc && complete) status = statusOf(headers);
  });
  stream.once("trailers", (trailers) => {
    complete = true;
    status = statusOf(trailers);
  });
  stream.once("end", () => {
    if (endedHere()) return;
    // A body that was cut off ends like a whole one. What tells them apart is that gRPC always ends with trailers.
    complete ||= !grpc && !stream.closed;
    if (complete) return;
    stream.emit("error", grpc && isWhole(stream, peer) ? statusMissing(peer) : cut());
  });
  stream.once("close", () => {
    if (complete) return ended(isFailure(status) ? "failed" : "answered");
    if (endedHere()) return ended("left");
    stream.emit("error", cut());
    ended(late() ? "left" : peer.leaving() ? "lost" : "failed");
  });
  // connect-node settles the call with the first error that it hears, so ours has to come before the original.
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error instanceof ConnectError || error.code === "ERR_STREAM_WRITE_AFTER_END" || endedHere()) return;
    stream.emit("error", cut(error));
  });
}

/**
 * Lets go of a stream that the other side has ended: Node keeps it until its last byte is read. See "A stream that nobody
 * reads is kept" in docs/upstream-bugs.md.
 */
function dropUnread(stream: ClientHttp2Stream): void {
  if (stream.closed) stream.destroy();
}

/**
 * Whether the upstream surely did nothing for the call that ended in this error: no connection could be had, or it
 * refused the stream, or said in its goodbye that it never looked at it. Such a call is safe to repeat, whatever it does.
 */
export function isNeverProcessed(error: unknown): boolean {
  return typeof error === "object" && error !== null && neverProcessed.has(error);
}

/**
 * Whether, besides, it is worth repeating at once: a connection was there and did not take the call, so that another may.
 * Whoever found no connection would find none again.
 */
export function isWorthRepeating(error: unknown): boolean {
  return typeof error === "object" && error !== null && neverProcessed.get(error) === "turned away";
}

/** Makes {@link isNeverProcessed} true for an error, and gives it back. */
export function markNeverProcessed<E extends Error>(error: E, why: NeverProcessed = "turned away"): E {
  neverProcessed.set(error, why);
  return error;
}

/** By a connection, or for want of one. */
type NeverProcessed = "turned away" | "no connection";

const neverProcessed = new WeakMap<object, NeverProcessed>();

/**
 * Tells whether it was this side that ended a stream, which Node does not remember. connect-node always does so by
 * `close()`, with INTERNAL_ERROR when the time of the call is over; in gRPC, whatever ends a call from the caller's side is
 * CANCEL. Node itself calls `close()` only when the socket is gone.
 */
function noteOwnEnd(stream: ClientHttp2Stream, { broken }: StreamPeer): () => boolean {
  let own = false;
  const close = stream.close.bind(stream);
  stream.close = (_code, callback) => {
    own ||= !stream.closed && !broken();
    close(constants.NGHTTP2_CANCEL, callback);
  };
  return () => own;
}

/** What the other side resets a stream with when one of the two does not speak HTTP/2 right. */
const protocolFaults: ReadonlySet<number | undefined> = new Set([
  constants.NGHTTP2_PROTOCOL_ERROR,
  constants.NGHTTP2_INTERNAL_ERROR,
  constants.NGHTTP2_FLOW_CONTROL_ERROR,
  constants.NGHTTP2_FRAME_SIZE_ERROR,
  constants.NGHTTP2_COMPRESSION_ERROR,
]);

/**
 * Tells whether the other side cancelled a call whose time was over. Its clock may strike a moment before the timer of this
 * side does, and that the call was late is no fault of the other side.
 */
function noteDeadline(stream: ClientHttp2Stream): () => boolean {
  const endsAt = nearlyOverAt(stream.sentHeaders);
  return () => stream.rstCode === constants.NGHTTP2_CANCEL && performance.now() >= endsAt;
}

/** Whether an answer came to its end, on a connection that goes on. */
function isWhole({ rstCode }: ClientHttp2Stream, peer: StreamPeer): boolean {
  return (rstCode ?? 0) === constants.NGHTTP2_NO_ERROR && !peer.leaving() && !peer.broken();
}

function statusMissing({ name }: StreamPeer): ConnectError {
  return new ConnectError(`${name} ended its answer without a status`, Code.Internal);
}

function lateError({ name }: StreamPeer): ConnectError {
  return new ConnectError(`${name} gave up at the deadline`, Code.DeadlineExceeded);
}

function cutError(
  { rstCode }: ClientHttp2Stream,
  { name }: StreamPeer,
  cause: NodeJS.ErrnoException | undefined,
): ConnectError {
  const lost = isLoss(cause);
  const code = !lost && protocolFaults.has(rstCode) ? Code.Internal : Code.Unavailable;
  const what = lost ? `lost the connection: ${cause.message}` : `cut the call: ${nameOf(rstCode)}`;
  return new ConnectError(`${name} ${what}`, code, undefined, undefined, cause);
}

/** A stream that ended with its whole connection carries that error, and any code. */
function isLoss(cause: NodeJS.ErrnoException | undefined): cause is NodeJS.ErrnoException {
  return cause !== undefined && cause.code !== "ERR_HTTP2_STREAM_ERROR";
}

/**
 * Whether the other side did not look at a call: it refused the stream. A stream without an id was not sent; one above the
 * last that a GOAWAY names was not looked at (RFC 9113, 6.8 and 8.7).
 */
function isUntouched(
  { id, rstCode }: ClientHttp2Stream,
  { lastStream }: StreamPeer,
  cause: NodeJS.ErrnoException | undefined,
): boolean {
  if (!isLoss(cause) && rstCode === constants.NGHTTP2_REFUSED_STREAM) return true;
  return id === undefined || id > (lastStream() ?? Number.POSITIVE_INFINITY);
}

function statusOf(headers: IncomingHttpHeaders): string | undefined {
  const status = headers["grpc-status"];
  return typeof status === "string" ? status : undefined;
}

/** Without a status, it was no gRPC: a proxy answers for a server that is away. */
function isFailure(status: string | undefined): boolean {
  return status === undefined || Number(status) === Code.Unavailable || Number(status) === Code.Internal;
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
