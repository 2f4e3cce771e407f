import { constants as tlsFlags } from "node:crypto";
import type { EventEmitter } from "node:events";
import {
  createServer as createH1Server,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from "node:http";
import {
  constants,
  createServer as createH2Server,
  type Http2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from "node:http2";
import type { Socket } from "node:net";
import {
  createServer as createTlsServer,
  type TLSSocket,
  type Server as TlsServer,
  type TlsOptions as TlsServerOptions,
} from "node:tls";
import { clientCaProblem } from "./client-certificate.ts";
import { continueWhenRead } from "./expect.ts";
import type { FloodGuard } from "./flood-guard.ts";
import type { InFlight } from "./in-flight.ts";
import type { ListenerLimits } from "./listener-limits.ts";

/** Receives every request. An HTTP/2 one comes as Node's compatibility classes, of the same shape. */
export type ListenerHandler = (req: IncomingMessage, res: ServerResponse) => void;

/** What the servers of a port share. */
export interface ServerParts {
  readonly handler: ListenerHandler;
  readonly inFlight: InFlight;
  readonly limits: ListenerLimits;
  readonly floodGuard: FloodGuard;
  /** Whether a connection is so old that it ends with its next answer. */
  readonly isOld: (socket: Socket) => boolean;
}

/** An HTTP/1.1 server that never listens: connections are given to it by `emit("connection")`. */
export function createH1({ handler, inFlight, limits, isOld }: ServerParts): Server {
  const mayWait = limitPipelining(limits.maxPipelined);
  const isClear = refuseDoubtfulEnds();
  function serve(req: IncomingMessage, res: ServerResponse, prepare?: ListenerHandler): void {
    ignoreErrors(req, res);
    if (!mayWait(req.socket, res) || !isClear(req, res)) return;
    if (inFlight.held() >= limits.maxInFlight) {
      req.socket.destroy();
      return;
    }
    inFlight.addH1(req, res);
    if (isOld(req.socket)) res.setHeader("connection", "close");
    prepare?.(req, res);
    handler(req, res);
  }
  const server = createH1Server({
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    maxHeaderSize: limits.maxHeaderBytes,
    // How often the first two are looked at: Node's 30 s would make them three times as long.
    connectionsCheckingInterval: Math.ceil(limits.headersTimeoutMs / 10),
  });
  // No limit: the rules for requests have a lower one, and say what is wrong. Node before 24.18.1 dropped lines silently.
  server.maxHeadersCount = 0;
  server.on("request", (req, res) => serve(req, res));
  server.on("checkContinue", (req, res) => serve(req, res, continueWhenRead));
  return server.on("error", ignore);
}

/** The same for HTTP/2. */
export function createH2({ handler, inFlight, limits, floodGuard }: ServerParts): Http2Server {
  const server = createH2Server({
    maxSessionMemory: limits.maxSessionMemoryMb,
    maxHeaderListPairs: limits.maxHeaderLines,
    settings: {
      maxConcurrentStreams: limits.maxConcurrentStreams,
      initialWindowSize: limits.streamWindowBytes,
      maxHeaderListSize: limits.maxHeaderBytes,
    },
  });
  function serve(req: Http2ServerRequest, res: Http2ServerResponse, prepare?: ListenerHandler): void {
    ignoreErrors(req, res);
    if (isEarlyAndLong(req, limits.maxHeaderBytes)) {
      req.stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
      return;
    }
    if (inFlight.held() >= limits.maxInFlight) {
      // Not the stream alone: whatever else this client has sent would be read, and each stream costs memory.
      req.stream.session?.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM);
      return;
    }
    inFlight.addH2(req, res);
    // Node made these classes to stand in for the HTTP/1 ones, but its types are unrelated.
    const [h1Req, h1Res] = [req as unknown as IncomingMessage, res as unknown as ServerResponse];
    prepare?.(h1Req, h1Res);
    handler(h1Req, h1Res);
  }
  server.on("request", (req, res) => serve(req, res));
  server.on("checkContinue", (req, res) => serve(req, res, continueWhenRead));
  return server.on("error", ignore).on("session", (session: ServerHttp2Session) => {
    session.on("error", ignore);
    session.setLocalWindowSize(limits.connectionWindowBytes);
    floodGuard.watch(session);
  });
}

/** How a port speaks TLS. */
export interface TlsOptions {
  /** PEM. */
  readonly cert: string | Buffer;
  /** PEM. */
  readonly key: string | Buffer;
  /**
   * PEM: the CAs whose client certificates count, each with those above it up to the root. With it every client is
   * asked for a certificate, and may do without: browsers have none. Whether one is good enough is for the policy to
   * say, see `clientCertificateOf`.
   */
  readonly clientCa?: string | undefined;
}

/**
 * Takes TLS connections, and agrees on a protocol with each.
 *
 * With `clientCa` no session is resumed: one that is brings the certificate of an earlier connection along, and nobody
 * looks at its dates and its signature again. A connection is never renegotiated, with or without: a client could
 * change its certificate for another one after the first was checked, and HTTP/2 forbids it (RFC 9113, 9.2.1).
 *
 * Throws a TypeError if `clientCa` is not what it must be.
 */
export function createTls(
  tls: TlsOptions,
  limits: ListenerLimits,
  accept: (socket: TLSSocket) => void,
): TlsServer {
  const server = createTlsServer({
    cert: tls.cert,
    key: tls.key,
    secureOptions: tlsFlags.SSL_OP_NO_RENEGOTIATION,
    ...(tls.clientCa !== undefined && askForCertificates(tls.clientCa)),
    minVersion: "TLSv1.2",
    ALPNProtocols: ["h2", "http/1.1"],
    handshakeTimeout: limits.headersTimeoutMs,
    noDelay: true,
  });
  server.on("tlsClientError", (_error: Error, socket: Socket) => socket.destroy());
  return server.on("secureConnection", accept);
}

function askForCertificates(clientCa: string): TlsServerOptions {
  const problem = clientCaProblem(clientCa);
  if (problem !== undefined) throw new TypeError(`clientCa ${problem}`);
  return {
    ca: clientCa,
    requestCert: true,
    rejectUnauthorized: false,
    secureOptions: tlsFlags.SSL_OP_NO_RENEGOTIATION | tlsFlags.SSL_OP_NO_TICKET,
  };
}

/**
 * For as long as they live: who reads a request takes its own listener off when the response closes, and Node may
 * report the error of a connection that is gone after that. An error without a listener ends the process.
 */
function ignoreErrors(req: EventEmitter, res: EventEmitter): void {
  req.on("error", ignore);
  res.on("error", ignore);
}

/** Destroys a connection on which more than `limit` requests wait. Says whether this one may. */
function limitPipelining(limit: number): (socket: Socket, res: ServerResponse) => boolean {
  const waiting = new WeakMap<Socket, number>();
  return (socket, res) => {
    const count = (waiting.get(socket) ?? 0) + 1;
    if (count > limit) socket.destroy();
    // Node goes on to parse what it has read before.
    if (socket.destroyed) return false;
    waiting.set(socket, count);
    res.once("close", () => waiting.set(socket, (waiting.get(socket) ?? 1) - 1));
    return true;
  };
}

/**
 * Refuses a request whose body has another coding than `chunked`, alone and once. Node reads `identity, chunked` as if it were
 * that; whoever stands before it may see another end of the body, and so another request behind it. What follows on such a
 * connection is no request.
 */
function refuseDoubtfulEnds(): (req: IncomingMessage, res: ServerResponse) => boolean {
  const ending = new WeakSet<Socket>();
  return ({ socket, headers }, res) => {
    // Node has parsed what was read with it.
    if (ending.has(socket)) return false;
    const coding = headers["transfer-encoding"];
    if (coding === undefined || coding.toLowerCase() === "chunked") return true;
    ending.add(socket);
    res.writeHead(400, { connection: "close" }).end();
    return false;
  };
}

/**
 * Node applies the header limit only once the client has acknowledged the settings, and a client may never do that.
 */
function isEarlyAndLong({ rawHeaders, stream }: Http2ServerRequest, maxHeaderBytes: number): boolean {
  if (stream.session?.pendingSettingsAck !== true) return false;
  return rawHeaders.reduce((bytes, text) => bytes + text.length, 0) > maxHeaderBytes;
}

function ignore(): void {}
