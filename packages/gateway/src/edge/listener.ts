import type { Server } from "node:http";
import type { ServerHttp2Session } from "node:http2";
import { createServer as createTcp, type Socket, type Server as TcpServer } from "node:net";
import type { TLSSocket } from "node:tls";
import { createInFlight, type InFlight } from "./in-flight.ts";
import { checkListenerLimits, type ListenerLimits } from "./listener-limits.ts";
import { detectProtocol } from "./preface.ts";
import { createH1, createH2, createTls, type ListenerHandler, type TlsOptions } from "./protocol-servers.ts";

export { defaultListenerLimits, type ListenerLimits } from "./listener-limits.ts";
export type { ListenerHandler, TlsOptions } from "./protocol-servers.ts";

export interface ListenerOptions {
  /** With it the port speaks TLS 1.2 or later, and ALPN offers `h2` and `http/1.1`. Without: cleartext. */
  readonly tls?: TlsOptions;
  readonly limits: ListenerLimits;
}

export interface Listener {
  /**
   * What Fastify's `serverFactory` returns. Not really an `http.Server`, the type that Fastify asks for: it has what
   * Fastify uses, which is a `net.Server` and `closeIdleConnections()`.
   */
  readonly server: Server;
  /** Requests, HTTP/1 and HTTP/2, whose response is not complete. */
  inFlight(): number;
  /**
   * Takes no new connections, tells clients to go (`Connection: close`, GOAWAY), closes what is idle and waits for
   * what is in flight, for `timeoutMs` at most; then cuts off the rest. Never rejects. A second call gives the
   * first one's result.
   *
   * An HTTP/2 stream that crosses the GOAWAY ends with REFUSED_STREAM, which tells the client that it is safe to
   * repeat. Keep serving for a moment after the load balancer was told, and there are few of them.
   *
   * @returns the number of requests that were cut off
   */
  drain(timeoutMs: number): Promise<number>;
}

/** Milliseconds for a client to end its side of a connection after we ended ours. */
const farewellMs = 500;

/**
 * One port for HTTP/1.1 and HTTP/2, in cleartext (with prior knowledge) or over TLS. Node answers malformed HTTP/1
 * by itself: a bare 400, 408 or 431, and the connection closes.
 *
 * Throws a RangeError when a limit makes no sense, a TypeError when `tls.clientCa` is none.
 *
 * @example
 * const app = Fastify({
 *   serverFactory: (handler) => createListener(handler, { limits: defaultListenerLimits }).server,
 * });
 */
export function createListener(handler: ListenerHandler, options: ListenerOptions): Listener {
  checkListenerLimits(options.limits);
  const port = createPort(handler, options);
  const stopListening = port.outer.close.bind(port.outer);
  let drained: Promise<number> | undefined;

  function close(done?: (error?: Error) => void): Server {
    stopListening(done);
    startClosing(port);
    return server;
  }
  // Why the cast: see Listener.server.
  const server = Object.assign(port.outer, {
    close,
    closeIdleConnections: () => closeIdle(port),
  }) as unknown as Server;

  return {
    server,
    inFlight: port.inFlight.count,
    drain(timeoutMs) {
      drained ??= drain(port, stopListening, timeoutMs);
      return drained;
    },
  };
}

interface Port {
  /** The one that listens. */
  readonly outer: TcpServer;
  readonly h1: Server;
  readonly inFlight: InFlight;
  readonly sockets: Set<Socket>;
  /** Those of the sockets that have not sent enough to tell their protocol. */
  readonly undecided: Set<Socket>;
  readonly sessions: Set<ServerHttp2Session>;
  closing: boolean;
}

function createPort(handler: ListenerHandler, { tls, limits }: ListenerOptions): Port {
  const inFlight = createInFlight(limits.requestTimeoutMs, () => {
    // An answer that had begun before could not say "Connection: close".
    if (port.closing) port.h1.closeIdleConnections();
  });
  const h1 = createH1(handler, inFlight, limits);
  const h2 = createH2(handler, inFlight, limits);

  function accept(socket: Socket | TLSSocket): void {
    prepare(socket);
    if (port.closing) return void socket.destroy();
    if ("alpnProtocol" in socket && socket.alpnProtocol === "h2") return void h2.emit("connection", socket);
    keep(port.undecided, socket);
    detectProtocol(socket, limits.headersTimeoutMs, (protocol) => {
      port.undecided.delete(socket);
      // Whether a client may end its side and still read the answer, http.Server decides by itself.
      if (protocol === "h1") socket.allowHalfOpen = true;
      (protocol === "h1" ? h1 : h2).emit("connection", socket);
    });
  }

  const outer = tls === undefined ? createTcp({ noDelay: true }, accept) : createTls(tls, limits, accept);
  const port: Port = {
    outer,
    h1,
    inFlight,
    sockets: new Set(),
    undecided: new Set(),
    sessions: new Set(),
    closing: false,
  };
  h2.on("session", (session: ServerHttp2Session) => {
    port.sessions.add(session);
    session.once("close", () => port.sessions.delete(session));
  });
  outer.maxConnections = limits.maxConnections;
  outer.on("connection", (socket: Socket) => keep(port.sockets, socket.on("error", ignore)));
  outer.on("listening", () => {
    // Only now: an error before it means that the port could not be had, and the caller has to hear that.
    outer.on("error", ignore);
    // h1 never listens, yet this event is what starts its header and request timeouts.
    h1.emit("listening");
  });
  outer.on("close", () => h1.close());
  return port;
}

/** An error must never be without a listener, and a peer that does not end its side cannot keep the socket. */
function prepare(socket: Socket): void {
  socket.on("error", ignore);
  socket.once("finish", () => setTimeout(() => socket.destroy(), farewellMs).unref());
}

async function drain(port: Port, stopListening: () => void, timeoutMs: number): Promise<number> {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, timeoutMs);
  stopListening();
  startClosing(port);
  await Promise.race([late, port.inFlight.none()]);
  const cut = port.inFlight.count();
  if (cut === 0) await Promise.race([late, gone(port.sockets)]);
  clearTimeout(timer);
  for (const socket of port.sockets) socket.destroy();
  return cut;
}

function startClosing(port: Port): void {
  port.closing = true;
  port.inFlight.closeConnections();
  closeIdle(port);
  // GOAWAY. Node ends the session after its last stream.
  for (const session of port.sessions) session.close();
}

function closeIdle({ h1, undecided }: Port): void {
  h1.closeIdleConnections();
  for (const socket of undecided) socket.destroy();
}

/** Resolves once all have closed, or when they had the time to. */
async function gone(sockets: ReadonlySet<Socket>): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, farewellMs);
  const closed = [...sockets].map((socket) => new Promise((done) => socket.once("close", done)));
  await Promise.race([late, Promise.all(closed)]);
  clearTimeout(timer);
}

function keep(set: Set<Socket>, socket: Socket): void {
  set.add(socket);
  socket.once("close", () => set.delete(socket));
}

function ignore(): void {}
