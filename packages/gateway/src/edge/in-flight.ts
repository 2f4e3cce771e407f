import type { IncomingMessage, ServerResponse } from "node:http";
import { constants, type Http2ServerRequest, type Http2ServerResponse } from "node:http2";

/** Milliseconds that a client may go on sending a body nobody reads, once it has its answer. */
const unreadBodyGraceMs = 500;

/** The requests that have been handed over and not been answered whole. */
export interface InFlight {
  /** Follows an HTTP/1 request. Call it before the handler. */
  addH1(req: IncomingMessage, res: ServerResponse): void;
  /** Follows an HTTP/2 request, and cuts it when its body is not there after the request timeout. */
  addH2(req: Http2ServerRequest, res: Http2ServerResponse): void;
  count(): number;
  /** From now on every HTTP/1 answer ends its connection, those in flight included. */
  closeConnections(): void;
  /** Resolves once nothing is in flight. */
  none(): Promise<void>;
}

/** `onDone` is called after each request that leaves. */
export function createInFlight(requestTimeoutMs: number, onDone: () => void): InFlight {
  const responses = new Set<ServerResponse | Http2ServerResponse>();
  const waiting: (() => void)[] = [];
  let closing = false;

  function add(res: ServerResponse | Http2ServerResponse): void {
    responses.add(res);
    res.once("close", () => {
      responses.delete(res);
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
    closeConnections() {
      closing = true;
      for (const res of responses) {
        // HTTP/2 has no such header: there, GOAWAY says it for the whole connection.
        if ("stream" in res || res.headersSent) continue;
        res.setHeader("connection", "close");
      }
    },
    none: () => (responses.size === 0 ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve))),
  };
}

/** The answer is out: a body that is still coming is read away for a moment, then cut off. */
function dropUnread(body: IncomingMessage | Http2ServerRequest["stream"], cut: () => void): void {
  if (body.readableEnded || body.destroyed) return;
  body.resume();
  const timer = setTimeout(cut, unreadBodyGraceMs).unref();
  body.once("end", () => clearTimeout(timer)).once("close", () => clearTimeout(timer));
}

/** Node's own request timeout knows HTTP/1 only. A body that is there and that nobody reads is not late. */
function cutWhenLate({ stream }: Http2ServerRequest, timeoutMs: number): void {
  if (stream.endAfterHeaders) return;
  const timer = setTimeout(() => {
    const whole = stream.state.state === constants.NGHTTP2_STREAM_STATE_HALF_CLOSED_REMOTE;
    if (!whole) stream.close(constants.NGHTTP2_CANCEL);
  }, timeoutMs).unref();
  stream.once("end", () => clearTimeout(timer)).once("close", () => clearTimeout(timer));
}
