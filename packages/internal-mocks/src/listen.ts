import {
  createServer,
  type Http2ServerRequest,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from "node:http2";
import type { AddressInfo, Socket } from "node:net";
import type { ConnectRouter } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";

/** A server that listens. */
export interface Listener {
  port: number;
  /** Ends all connections at once, whatever runs on them, and frees the port. */
  close(): Promise<void>;
}

/** Serves routes over HTTP/2 without TLS. Rejects with Node's error if it cannot listen. */
export async function listen(
  routes: (router: ConnectRouter) => void,
  host: string,
  port: number,
): Promise<Listener> {
  const server = createServer(serverOptions, withAuthority(connectNodeAdapter({ routes })));
  const sockets = new Set<Socket>();
  const sessions = new Set<ServerHttp2Session>();
  server.on("connection", (socket: Socket) => keep(sockets, socket));
  server.on("session", (session) => keep(sessions, session));
  server.on("stream", (stream) => stream.on("error", ignore));
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  });
  server.on("error", ignore);

  function close(): Promise<void> {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const session of sessions) session.destroy();
    for (const socket of sockets) socket.destroy();
    return closed;
  }

  // A TCP server's address is never the text that a Unix socket's is.
  return { port: (server.address() as AddressInfo).port, close };
}

// Node cuts off a client that resets many streams or has much in flight. A gateway under test does both, and it is
// the gateway that is tested.
const serverOptions = { maxSessionMemory: 1_000, streamResetBurst: 1_000_000, streamResetRate: 1_000_000 };

type Handler = (request: Http2ServerRequest, response: Http2ServerResponse) => void;

// The adapter throws for an authority that is absent or makes no URL, and a client could end the process with it.
// Node's own client sends such a one to an IPv6 address (no brackets). Nothing here depends on it.
function withAuthority(handler: Handler): Handler {
  return (request, response) => {
    request.headers[":authority"] = "internal";
    handler(request, response);
  };
}

// An error without a listener ends the process, and connections may fail at any time until they are gone.
function keep<T extends Socket | ServerHttp2Session>(open: Set<T>, connection: T): void {
  open.add(connection);
  connection.on("error", ignore);
  connection.on("close", () => open.delete(connection));
}

function ignore(): void {}
