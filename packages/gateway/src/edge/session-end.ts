import type { ServerHttp2Session } from "node:http2";
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { ageOfOne } from "./connection-age.ts";
import type { ListenerLimits } from "./listener-limits.ts";

/** The end of an HTTP/2 connection, when its time has come. */
export interface SessionEnd {
  /**
   * Ends the connection without failing a request (RFC 9113, 6.8): tells the client to begin no more, serves what it begins
   * before it hears that, and closes after the last of it. Resolves when no more requests are taken.
   *
   * Over TLS, what the client begins before it hears that is not processed. GOAWAY says so, which makes it safe to repeat.
   */
  readonly end: () => Promise<void>;
}

/** Milliseconds for a client to hear that its connection ends. */
const hearingMs = 500;

/**
 * Ends a connection by itself when it is without a request for too long, whatever else comes: a ping now and then must not
 * keep a place for ever. And when it is too old: then with a request in flight, so that none is on its way to a connection
 * that has just been closed.
 *
 * @param socket what the session runs on; the session's own is a stand-in
 * @param aged is called when it is ended because of its age
 */
export function createSessionEnd(
  session: ServerHttp2Session,
  socket: Socket,
  { keepAliveTimeoutMs, connectionAgeMs }: Pick<ListenerLimits, "keepAliveTimeoutMs" | "connectionAgeMs">,
  aged: () => void,
): SessionEnd {
  const endsAt =
    performance.now() + (connectionAgeMs === 0 ? Number.POSITIVE_INFINITY : ageOfOne(connectionAgeMs));
  let streams = 0;
  let ended: Promise<void> | undefined;
  const end = () => {
    ended ??= announce(session, socket).then(() => close(session));
    return ended;
  };
  const endWhenIdle = () => {
    if (streams === 0) void end();
  };
  const idle = setTimeout(endWhenIdle, keepAliveTimeoutMs).unref();
  session.once("close", () => clearTimeout(idle));
  const endIfUsed = () => {
    if (streams === 0 || ended !== undefined) return;
    aged();
    void end();
  };
  session.on("stream", (stream) => {
    streams += 1;
    stream.once("close", () => {
      streams -= 1;
      if (streams === 0 && !session.destroyed) idle.refresh();
    });
    if (performance.now() >= endsAt) endIfUsed();
  });
  if (connectionAgeMs > 0) {
    // For streams that are open then, and stay so. Timers may be early by a fraction: the clock is not asked again.
    const timer = setTimeout(endIfUsed, endsAt - performance.now()).unref();
    session.once("close", () => clearTimeout(timer));
  }
  return { end };
}

function close(session: ServerHttp2Session): void {
  if (!session.closed && !session.destroyed) session.close();
}

/** Resolves when the client has heard, or had the time to. */
async function announce(session: ServerHttp2Session, socket: Socket): Promise<void> {
  if (session.closed || session.destroyed || !noticeShutdown(socket)) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, hearingMs).unref();
  session.once("close", resolve);
  // What comes before the answer to a ping was sent before the client knew; one answer may overtake what the client had
  // ready to send, two cannot.
  session.ping(() => {
    if (session.destroyed || !session.ping(() => resolve())) resolve();
  });
  await promise;
  clearTimeout(timer);
}

/**
 * Sends a GOAWAY that refuses nothing, since it names the last stream that there can be.
 *
 * Node has no function for that: with `goaway()` it hears no new requests any more, whatever stream that names. So the
 * frame is written between its own, which are always written whole. Over TLS that is not possible: a write while another is
 * under way ends the process.
 *
 * @returns whether it was sent
 */
function noticeShutdown(socket: Socket): boolean {
  if (socket instanceof TLSSocket || !socket.writable) return false;
  socket.write(shutdownNotice);
  return true;
}

/** 8 bytes of GOAWAY, on the connection itself: the last stream, and no error. */
const shutdownNotice = Buffer.of(0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0);
