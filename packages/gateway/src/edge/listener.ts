import type { Server } from "node:http";
import type { ServerHttp2Session } from "node:http2";
import { createServer as createTcp, type Socket, type Server as TcpServer } from "node:net";
import type { TLSSocket } from "node:tls";
import type { ByteBudget } from "./byte-budget.ts";
import { ageOfOne } from "./connection-age.ts";
import { createFloodGuard } from "./flood-guard.ts";
import { createInFlight, type InFlight } from "./in-flight.ts";
import { checkListenerLimits, type ListenerLimits } from "./listener-limits.ts";
import { detectProtocol } from "./preface.ts";
import { createH1, createH2, createTls, type ListenerHandler, type TlsOptions } from "./protocol-servers.ts";
import { createSessionEnd, type SessionEnd } from "./session-end.ts";

export { defaultListenerLimits, type ListenerLimits } from "./listener-limits.ts";
export type { ListenerHandler, TlsOptions } from "./protocol-servers.ts";

export interface ListenerOptions {
  /** With it the port speaks TLS 1.2 or later, and ALPN offers `h2` and `http/1.1`. Without: cleartext. */
  readonly tls?: TlsOptions;
  readonly limits: ListenerLimits;
  /** What the bodies of requests take, for {@link Listener.facts}. */
  readonly inFlightBytes?: ByteBudget;
}

/** What goes on at a port. Counters begin with the port. */
export interface ListenerFacts {
  /** Open connections, by their protocol as far as it is known. */
  readonly connections: { readonly h1: number; readonly h2: number; readonly undecided: number };
  /** Requests whose response is not complete. */
  readonly inFlight: number;
  /** Bytes that the bodies of these requests take. */
  readonly inFlightBytes: number;
  /** Connections that were closed at once because there were too many. */
  readonly refusedConnections: number;
  /** Connections that were ended because of their age. */
  readonly aged: number;
}

export interface Listener {
  /**
   * What Fastify's `serverFactory` returns. Not really an `http.Server`, the type that Fastify asks for: it has what
   * Fastify uses, which is a `net.Server` and `closeIdleConnections()`.
   */
  readonly server: Server;
  /** Requests, HTTP/1 and HTTP/2, whose response is not complete. */
  inFlight(): number;
  facts(): ListenerFacts;
  /** From now on every HTTP/1.1 answer ends its connection, so that who calls often has left before it closes. */
  retire(): void;
  /**
   * Takes no new connections, tells clients to go (`Connection: close`, GOAWAY), closes what is idle and waits for
   * what is in flight, for `timeoutMs` at most; then cuts off the rest. Never rejects. A second call gives the
   * first one's result.
   *
   * An HTTP/2 stream that crosses the GOAWAY is served as long as another is in flight, and for half a second at most.
   * Otherwise it is refused or not processed, which tells the client that it is safe to repeat.
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
    void startClosing(port);
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
    facts: () => ({
      connections: {
        h1: port.sockets.size - port.undecided.size - port.sessions.size,
        h2: port.sessions.size,
        undecided: port.undecided.size,
      },
      inFlight: port.inFlight.count(),
      inFlightBytes: options.inFlightBytes?.used() ?? 0,
      refusedConnections: port.refused,
      aged: port.aged,
    }),
    retire: port.inFlight.closeConnections,
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
  readonly sessions: Map<ServerHttp2Session, SessionEnd>;
  closing: boolean;
  refused: number;
  aged: number;
}

function createPort(handler: ListenerHandler, { tls, limits }: ListenerOptions): Port {
  const inFlight = createInFlight(limits, () => {
    // An answer that had begun before could not say "Connection: close".
    if (port.closing) port.h1.closeIdleConnections();
  });
  const floodGuard = createFloodGuard();
  const countAged = () => {
    port.aged += 1;
  };
  const ends = new WeakMap<Socket, number>();
  function isOld(socket: Socket): boolean {
    const old = performance.now() >= (ends.get(socket) ?? Number.POSITIVE_INFINITY);
    if (old) countAged();
    return old;
  }
  const parts = { handler, inFlight, limits, floodGuard, isOld };
  const h1 = createH1(parts);
  const h2 = createH2(parts);

  function serveH2(socket: Socket): void {
    const begin = (session: ServerHttp2Session) => {
      port.sessions.set(session, createSessionEnd(session, socket, limits, countAged));
      session.once("close", () => port.sessions.delete(session));
    };
    h2.once("session", begin);
    h2.emit("connection", socket);
    h2.off("session", begin);
  }
  function accept(socket: Socket | TLSSocket): void {
    prepare(socket);
    if (port.closing) return void socket.destroy();
    if ("alpnProtocol" in socket && socket.alpnProtocol === "h2") return void serveH2(socket);
    keep(port.undecided, socket);
    detectProtocol(socket, limits.headersTimeoutMs, (protocol) => {
      port.undecided.delete(socket);
      // Whether a client may end its side and still read the answer, http.Server decides by itself.
      if (protocol === "h1") {
        socket.allowHalfOpen = true;
        if (limits.connectionAgeMs > 0)
          ends.set(socket, performance.now() + ageOfOne(limits.connectionAgeMs));
      }
      if (protocol === "h1") h1.emit("connection", socket);
      else serveH2(socket);
    });
  }

  const outer = tls === undefined ? createTcp({ noDelay: true }, accept) : createTls(tls, limits, accept);
  const port: Port = {
    outer,
    h1,
    inFlight,
    sockets: new Set(),
    undecided: new Set(),
    sessions: new Map(),
    closing: false,
    refused: 0,
    aged: 0,
  };
  outer.on("drop", () => {
    port.refused += 1;
  });
  outer.maxConnections = limits.maxConnections;
  outer.on("connection", (socket: Socket) => keep(port.sockets, socket.on("error", ignore)));
  outer.on("listening", () => {
    // Only now: an error before it means that the port could not be had, and the caller has to hear that.
    outer.on("error", ignore);
    startTimeOuts(h1);
  });
  outer.on("close", () => {
    h1.close();
    floodGuard.stop();
    inFlight.stop();
  });
  return port;
}

/**
 * Starts the time-outs for headers and requests of a server that is given its connections: the event does it, of a server
 * that listens. See "A server that does not listen has no time-outs" in docs/upstream-bugs.md.
 */
function startTimeOuts(server: Server): void {
  server.emit("listening");
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
  const told = startClosing(port);
  await Promise.race([late, told.then(() => port.inFlight.none())]);
  const cut = port.inFlight.count();
  if (cut === 0) await Promise.race([late, gone(port.sockets)]);
  clearTimeout(timer);
  for (const socket of port.sockets) socket.destroy();
  return cut;
}

/** Resolves when all clients know, or had the time to. */
async function startClosing(port: Port): Promise<void> {
  port.closing = true;
  port.inFlight.closeConnections();
  closeIdle(port);
  await Promise.all(Array.from(port.sessions.values(), ({ end }) => end()));
}

function closeIdle({ h1, undecided }: Port): void {
  h1.closeIdleConnections();
  // The first request of a connection may be on its way.
  const giveUp = () => {
    for (const socket of undecided) socket.destroy();
  };
  setTimeout(giveUp, farewellMs).unref();
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
