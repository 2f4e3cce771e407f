import { once } from "node:events";
import {
  constants,
  createSecureServer,
  createServer,
  type Http2Server,
  type SecureServerOptions,
  type ServerHttp2Session,
  type ServerHttp2Stream,
  type ServerOptions,
} from "node:http2";
import {
  type AddressInfo,
  createServer as createTcpServer,
  type Socket,
  connect as tcpConnect,
} from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError, type ConnectRouter, createClient } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import { createSession, type SessionOptions } from "../upstream/session/session.ts";
import { createSessionTransport } from "../upstream/session/transport.ts";
import { internal } from "./protos.ts";

// Internal services over real sockets, in order and not, and sessions with them.

const closers: (() => unknown)[] = [];

/** Ends all servers and sessions that were started here. For `afterEach`. */
export async function endAll(): Promise<void> {
  for (const close of closers.splice(0).reverse()) await close();
}

/** A session with these ports of 127.0.0.1, or with these addresses, and a client that uses it. */
export function connectTo(
  where: readonly (number | URL)[],
  options: Partial<SessionOptions> = {},
  scheme = "http",
) {
  const addresses = where.map((it) => (it instanceof URL ? it : new URL(`${scheme}://127.0.0.1:${it}`)));
  const session = createSession("warehouse", addresses, options);
  closers.push(() => session.close());
  const transport = createSessionTransport(session, 4_194_304);
  return { session, client: createClient(internal.WarehouseService, transport) };
}

/** How the warehouse is served. */
export interface WarehouseOptions {
  readonly host?: string;
  readonly port?: number;
  readonly tls?: SecureServerOptions;
  readonly http2?: ServerOptions;
  /** Other services beside it. */
  readonly routes?: (router: ConnectRouter) => void;
}

/** The warehouse service over HTTP/2. Codes with a meaning: `missing`, `down`, `slow` (300 ms), `hang`. */
export async function startWarehouse({ host, port = 0, tls, http2 = {}, routes }: WarehouseOptions = {}) {
  let calls = 0;
  let running = 0;
  const authorities = new Set<string>();
  const adapter = connectNodeAdapter({
    routes: (router) => {
      routes?.(router);
      router.service(internal.WarehouseService, {
        async getCrate({ code }, { signal }) {
          calls += 1;
          running += 1;
          try {
            if (code === "missing") throw new ConnectError("no such crate", Code.NotFound);
            if (code === "down") throw new ConnectError("the disk is away", Code.Unavailable);
            if (code === "slow") await sleep(300);
            if (code === "hang" && !signal.aborted) await once(signal, "abort");
            return { crate: { code } };
          } finally {
            running -= 1;
          }
        },
      });
    },
  });
  const server = tls === undefined ? createServer(http2, adapter) : createSecureServer(tls, adapter);
  server.on("stream", (_stream: ServerHttp2Stream, headers: Record<string, unknown>) => {
    authorities.add(String(headers[":authority"]));
  });
  const listening = await listen(server, port, host);
  return { ...listening, calls: () => calls, running: () => running, authorities: () => [...authorities] };
}

/** A server that speaks HTTP/2, and whose streams nobody answers but the test. */
export async function startRaw(
  onSession: (session: ServerHttp2Session) => void,
  options: ServerOptions = {},
) {
  return listen(createServer(options).on("session", onSession), 0);
}

async function listen(server: Http2Server, wanted: number, host = "127.0.0.1") {
  const sessions = new Set<ServerHttp2Session>();
  let accepted = 0;
  let refused = 0;
  let refusing = false;
  let pings = 0;
  server.prependListener("connection", (socket: Socket) => {
    if (!refusing) return;
    refused += 1;
    socket.destroy();
  });
  server.on("session", (session: ServerHttp2Session) => {
    accepted += 1;
    sessions.add(session);
    session.on("error", () => {});
    session.on("ping", () => {
      pings += 1;
    });
    session.once("close", () => sessions.delete(session));
  });
  const breakConnections = () => {
    for (const session of sessions) session.destroy();
  };
  const stop = async () => {
    breakConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  server.on("stream", (stream: ServerHttp2Stream) => stream.on("error", () => {}));
  server.listen(wanted, host);
  await once(server, "listening");
  closers.push(stop);
  return {
    // A TCP server's address is never a string.
    port: (server.address() as AddressInfo).port,
    accepted: () => accepted,
    /** How many connections are open. */
    open: () => sessions.size,
    pings: () => pings,
    /** From now on, takes no connections; those that are open go on. */
    refuse: () => {
      refusing = true;
    },
    refused: () => refused,
    breakConnections,
    stop,
    goAway(code: number = constants.NGHTTP2_NO_ERROR, data = "") {
      for (const session of sessions) {
        if (code === constants.NGHTTP2_NO_ERROR) session.close();
        else session.goaway(code, 0x7fff_ffff, Buffer.from(data));
        if (code !== constants.NGHTTP2_NO_ERROR) setTimeout(() => session.destroy(), 20);
      }
    },
  };
}

/** A server that does with its sockets what the test wants. */
export async function startTcp(onSocket: (socket: Socket) => void) {
  let accepted = 0;
  const sockets = new Set<Socket>();
  const server = createTcpServer((socket) => {
    accepted += 1;
    sockets.add(socket);
    socket.on("error", () => {});
    onSocket(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, accepted: () => accepted };
}

/** Passes bytes on, or drops them while the connections stay open: a cable that was pulled. */
export async function startProxy(target: number) {
  let swallowing = false;
  const proxy = await startTcp((inbound) => {
    const outbound = tcpConnect(target, "127.0.0.1").on("error", () => {});
    inbound.on("data", (bytes) => swallowing || outbound.write(bytes));
    outbound.on("data", (bytes) => swallowing || inbound.write(bytes));
    closers.push(() => outbound.destroy());
  });
  return {
    port: proxy.port,
    swallow: (on: boolean) => {
      swallowing = on;
    },
  };
}

/** What a call failed with; the test fails if it did not fail. */
export async function failure(call: Promise<unknown>): Promise<ConnectError> {
  const outcome = await call.catch((error: unknown) => error);
  if (outcome instanceof ConnectError) return outcome;
  throw new Error("expected a ConnectError", { cause: outcome });
}

/** Waits until it is so, for less than the test may take. */
export async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  const until = performance.now() + 15_000;
  while (!(await condition())) {
    if (performance.now() > until) throw new Error(`it was never so: ${condition}`);
    await sleep(5);
  }
}
