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
  type ServerHttp2Session,
} from "node:http2";
import type { Socket } from "node:net";
import { createServer as createTlsServer, type TLSSocket, type Server as TlsServer } from "node:tls";
import type { InFlight } from "./in-flight.ts";
import type { ListenerLimits } from "./listener-limits.ts";

/** Receives every request. An HTTP/2 one comes as Node's compatibility classes, of the same shape. */
export type ListenerHandler = (req: IncomingMessage, res: ServerResponse) => void;

/** An HTTP/1.1 server that never listens: connections are given to it by `emit("connection")`. */
export function createH1(handler: ListenerHandler, inFlight: InFlight, limits: ListenerLimits): Server {
  const server = createH1Server(
    {
      headersTimeout: limits.headersTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      keepAliveTimeout: limits.keepAliveTimeoutMs,
      maxHeaderSize: limits.maxHeaderBytes,
      // How often the first two are looked at: Node's 30 s would make them three times as long.
      connectionsCheckingInterval: Math.ceil(limits.headersTimeoutMs / 10),
    },
    (req, res) => {
      inFlight.addH1(req, res);
      handler(req, res);
    },
  );
  // No limit: above it Node would drop header lines silently, and a policy could not see that there are too many.
  server.maxHeadersCount = 0;
  return server.on("error", ignore);
}

/** The same for HTTP/2. */
export function createH2(handler: ListenerHandler, inFlight: InFlight, limits: ListenerLimits): Http2Server {
  const server = createH2Server(
    {
      maxSessionMemory: limits.maxSessionMemoryMb,
      maxHeaderListPairs: limits.maxHeaderLines,
      settings: {
        maxConcurrentStreams: limits.maxConcurrentStreams,
        initialWindowSize: limits.streamWindowBytes,
        maxHeaderListSize: limits.maxHeaderBytes,
      },
    },
    (req, res) => {
      if (isEarlyAndLong(req, limits.maxHeaderBytes)) {
        req.stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM);
        return;
      }
      inFlight.addH2(req, res);
      // Node made these classes to stand in for the HTTP/1 ones, but its types are unrelated.
      handler(req as unknown as IncomingMessage, res as unknown as ServerResponse);
    },
  );
  return server.on("error", ignore).on("session", (session: ServerHttp2Session) => {
    session.on("error", ignore);
    session.setLocalWindowSize(limits.connectionWindowBytes);
    closeWhenIdle(session, limits.keepAliveTimeoutMs);
  });
}

/** Takes TLS connections, and agrees on a protocol with each. */
export function createTls(
  tls: { readonly cert: string | Buffer; readonly key: string | Buffer },
  limits: ListenerLimits,
  accept: (socket: TLSSocket) => void,
): TlsServer {
  const server = createTlsServer({
    cert: tls.cert,
    key: tls.key,
    minVersion: "TLSv1.2",
    ALPNProtocols: ["h2", "http/1.1"],
    handshakeTimeout: limits.headersTimeoutMs,
    noDelay: true,
  });
  server.on("tlsClientError", (_error: Error, socket: Socket) => socket.destroy());
  return server.on("secureConnection", accept);
}

/**
 * Node applies the header limit only once the client has acknowledged the settings, and a client may never do that.
 */
function isEarlyAndLong({ rawHeaders, stream }: Http2ServerRequest, maxHeaderBytes: number): boolean {
  if (stream.session?.pendingSettingsAck !== true) return false;
  return rawHeaders.reduce((bytes, text) => bytes + text.length, 0) > maxHeaderBytes;
}

/** Idle is without an open stream: one that is open and silent keeps its session. */
function closeWhenIdle(session: ServerHttp2Session, timeoutMs: number): void {
  let streams = 0;
  session.on("stream", (stream) => {
    streams += 1;
    stream.once("close", () => {
      streams -= 1;
    });
  });
  session.setTimeout(timeoutMs);
  session.on("timeout", () => {
    if (streams === 0) session.close();
    else session.setTimeout(timeoutMs);
  });
}

function ignore(): void {}
