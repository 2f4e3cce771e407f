import type { IncomingMessage, ServerResponse } from "node:http";
import { constants, type Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import type { ListenerLimits } from "./listener-limits.ts";

/** Milliseconds that a client may go on sending a body nobody reads, once it has its answer. */
const unreadBodyGraceMs = 500;

type AnyResponse = ServerResponse | Http2ServerResponse;

/** The requests that have been handed over and not been answered whole. */
export interface InFlight {
  /** Follows an HTTP/1 request. Call it before the handler. */
  addH1(req: IncomingMessage, res: ServerResponse): void;
  /** Follows an HTTP/2 request, and cuts it when its body is not there after the request timeout. */
  addH2(req: Http2ServerRequest, res: Http2ServerResponse): void;
  count(): number;
  /**
   * The same and those that were answered in this turn of the event loop: what they took is free after it, and one turn can
   * bring what all connections have sent.
   */
  held(): number;
  /** From now on every HTTP/1 answer ends its connection, those in flight included. */
  closeConnections(): void;
  /** Resolves once nothing is in flight. */
  none(): Promise<void>;
  /** Looks after nobody any more. */
  stop(): void;
}

/**
 * Also cuts off who does not take its answer: after a while, and much sooner when such answers take too much memory.
 *
 * @param limits `requestTimeoutMs`, `stallTimeoutMs` and `maxUntakenBytes`
 * @param onDone is called after each request that leaves
 */
export function createInFlight(
  limits: Pick<ListenerLimits, "requestTimeoutMs" | "stallTimeoutMs" | "maxUntakenBytes">,
  onDone: () => void,
): InFlight {
  const { requestTimeoutMs, stallTimeoutMs } = limits;
  const responses = new Map<AnyResponse, Untaken>();
  const waiting: (() => void)[] = [];
  let closing = false;
  let held = 0;
  const leave = () => {
    held -= 1;
  };
  const lookMs = Math.min(pressedMs, Math.ceil(stallTimeoutMs / 6));
  const timer = setInterval(cutUntaken, lookMs, responses, limits).unref();

  function add(res: AnyResponse): void {
    const untaken: Untaken = { bytes: 0, drains: 0, drainsBefore: 0, since: 0 };
    responses.set(res, untaken);
    held += 1;
    res.on("drain", () => {
      untaken.drains += 1;
    });
    res.once("close", () => {
      responses.delete(res);
      setImmediate(leave);
      onDone();
      if (responses.size === 0) for (const resolve of waiting.splice(0)) resolve();
    });
  }

  return {
    addH1(req, res) {
      add(res);
      if (closing) res.setHeader("connection", "close");
      res.once("finish", () => {
        if (!req.complete) dropUnread(req, () => req.socket.destroy());
      });
    },
    addH2(req, res) {
      add(res);
      cutWhenLate(req, requestTimeoutMs);
      const { stream } = req;
      // Of the stream: the response's own "finish" comes only when the client, too, has ended.
      stream.once("finish", () => {
        if (stream.endAfterHeaders) return;
        // The request passes data on, and pauses the stream when its own buffer is full, which nobody empties any more.
        stream.removeAllListeners("data");
        dropUnread(stream, () => stream.close(constants.NGHTTP2_NO_ERROR));
      });
    },
    count: () => responses.size,
    held: () => held,
    closeConnections() {
      closing = true;
      for (const res of responses.keys()) {
        // HTTP/2 has no such header: there, GOAWAY says it for the whole connection.
        if ("stream" in res || res.headersSent) continue;
        res.setHeader("connection", "close");
      }
    },
    none: () => (responses.size === 0 ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve))),
    stop: () => clearInterval(timer),
  };
}

/** The answer is out: a body that is still coming is read away for a moment, then cut off. */
function dropUnread(body: IncomingMessage | Http2ServerRequest["stream"], cut: () => void): void {
  if (body.readableEnded || body.destroyed) return;
  body.resume();
  const timer = setTimeout(cut, unreadBodyGraceMs).unref();
  body.once("end", () => clearTimeout(timer)).once("close", () => clearTimeout(timer));
}

/**
 * Node's own request timeout knows HTTP/1 only. A body that is there and that nobody reads is not late; nor is one that goes
 * on while it is answered, as that of a conversation does, whose end is for its own time limits.
 */
function cutWhenLate({ stream }: Http2ServerRequest, timeoutMs: number): void {
  if (stream.endAfterHeaders) return;
  const timer = setTimeout(() => {
    const whole = stream.state.state === constants.NGHTTP2_STREAM_STATE_HALF_CLOSED_REMOTE;
    if (!whole && !stream.headersSent) stream.close(constants.NGHTTP2_CANCEL);
  }, timeoutMs).unref();
  stream.once("end", () => clearTimeout(timer)).once("close", () => clearTimeout(timer));
}

/** What of an answer waited to be taken when it was last looked at. */
interface Untaken {
  bytes: number;
  /** How often the client took all that was there, which made room for more. */
  drains: number;
  drainsBefore: number;
  /** `performance.now()` when it was like this for the first time. */
  since: number;
}

/** Milliseconds that answers may lie while all of them together take too much memory. */
const pressedMs = 1_000;
/** What an answer takes beside its bytes, about. */
const answerBytes = 32 * 2 ** 10;

function cutUntaken(
  responses: ReadonlyMap<AnyResponse, Untaken>,
  { stallTimeoutMs, maxUntakenBytes }: Pick<ListenerLimits, "stallTimeoutMs" | "maxUntakenBytes">,
): void {
  const now = performance.now();
  let sum = 0;
  for (const [res, untaken] of responses) {
    const bytes = untakenBytes(res);
    if (bytes > 0) sum += bytes + answerBytes;
    const isSame = bytes === untaken.bytes && untaken.drains === untaken.drainsBefore;
    if (bytes === 0 || !isSame)
      Object.assign(untaken, { bytes, drainsBefore: untaken.drains, since: now } satisfies Partial<Untaken>);
  }
  // The oldest first.
  for (const [res, { bytes, since }] of responses) {
    const mayLieMs = sum > maxUntakenBytes ? Math.min(pressedMs, stallTimeoutMs) : stallTimeoutMs;
    if (bytes === 0 || now - since < mayLieMs) continue;
    cut(res);
    sum -= bytes + answerBytes;
  }
}

function untakenBytes(res: AnyResponse): number {
  if ("stream" in res) {
    const stream: Http2ServerRequest["stream"] | undefined = res.stream;
    // Node counts what it has handed to its HTTP/2 library as gone: what is open after its end has not been taken.
    return Math.max(stream?.writableLength ?? 0, stream?.writableEnded === true && !stream.destroyed ? 1 : 0);
  }
  // One that waits for its turn behind others has none.
  return res.socket?.writableLength ?? 0;
}

function cut(res: AnyResponse): void {
  if ("stream" in res) {
    // One that was closed in good order waits for its answer to be taken.
    if (res.stream.closed) res.stream.destroy();
    else res.stream.close(constants.NGHTTP2_CANCEL);
  } else res.socket?.destroy();
}
