import { constants } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Link } from "./dial.ts";

/** How often pings are sent, in milliseconds. Shared by the connections to an address, which may ask for fewer. */
export interface PingPace {
  intervalMs: number;
  readonly timeoutMs: number;
}

const longestPingIntervalMs = 3_600_000;

/**
 * Pings until the session is gone, and ends it when there is no answer. Pings do not depend on calls: a connection
 * that nobody uses is watched too, so that the next call does not find out.
 *
 * @param onTimeout before a session that does not answer is ended
 */
export function keepPinging({ session, socket }: Link, pace: PingPace, onTimeout: () => void): void {
  let timer = setTimeout(send, pace.intervalMs).unref();
  session.once("close", () => clearTimeout(timer));
  session.on("goaway", (_code, _last, data?: Uint8Array) => {
    // What gRPC servers say to pings that they find too frequent. Doubling the interval is gRPC's own remedy.
    if (Buffer.from(data ?? []).toString("latin1") === "too_many_pings") {
      pace.intervalMs = Math.min(pace.intervalMs * 2, longestPingIntervalMs);
    }
  });

  function send(): void {
    if (session.destroyed) return;
    timer = setTimeout(cut, pace.timeoutMs).unref();
    session.ping(() => {
      clearTimeout(timer);
      if (!session.destroyed) timer = setTimeout(send, pace.intervalMs).unref();
    });
  }
  function cut(): void {
    onTimeout();
    const error = new ConnectError(`no answer to a ping for ${pace.timeoutMs} ms`, Code.Unavailable);
    session.destroy(error, constants.NGHTTP2_CANCEL);
    socket.destroy();
  }
}
