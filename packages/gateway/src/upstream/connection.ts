import { type ClientHttp2Session, connect as connectH2, constants } from "node:http2";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { Code, ConnectError } from "@connectrpc/connect";
import type { SessionOptions } from "./session-options.ts";

/** The connection to one address of an upstream. Over time it is many HTTP/2 sessions, one after the other. */
export interface Connection {
  readonly address: URL;
  state(): "idle" | "connecting" | "ready" | "unreachable";
  /** The session that takes new requests, if there is one. */
  current(): ClientHttp2Session | undefined;
  /**
   * Opens a session, or joins the attempt that is under way. Rejects at once when an attempt has failed a moment
   * ago: a dead upstream is not called upon by every request.
   */
  open(): Promise<ClientHttp2Session>;
  /** For good. */
  close(): void;
}

/**
 * Milliseconds to wait after failed attempts. Kept below a second, so that an upstream that is back is soon in use.
 */
const backoffMs = { first: 100, most: 700 };

const longestPingIntervalMs = 3_600_000;

/** Milliseconds for the other side to end a connection that we ended. */
const farewellMs = 500;

export function createConnection(address: URL, options: SessionOptions): Connection {
  const links = new Set<Link>();
  let session: ClientHttp2Session | undefined;
  let dialing: Link | undefined;
  let attempt: Promise<ClientHttp2Session> | undefined;
  let failures = 0;
  let failure: Error | undefined;
  let retryAt = 0;
  let closed = false;
  const ping = { intervalMs: options.pingIntervalMs, timeoutMs: options.pingTimeoutMs };

  function current(): ClientHttp2Session | undefined {
    // A GOAWAY closes a session: what is in flight goes on, but it takes no more.
    return session !== undefined && !session.closed && !session.destroyed ? session : undefined;
  }

  async function dialOnce(): Promise<ClientHttp2Session> {
    const link = dial(address, options);
    dialing = link;
    links.add(link);
    link.socket.once("close", () => links.delete(link));
    try {
      await firstSettings(link, options.connectTimeoutMs);
      if (closed || link.session.closed || link.session.destroyed) throw new Error("hung up at once");
    } catch (error) {
      link.socket.destroy();
      failure = new Error(`${address.host}: ${describe(error)}`, { cause: error });
      failures += 1;
      retryAt = performance.now() + backoff(failures);
      throw failure;
    } finally {
      dialing = undefined;
    }
    failures = 0;
    failure = undefined;
    session = link.session;
    watch(link, ping);
    return session;
  }

  return {
    address,
    current,
    state() {
      if (current() !== undefined) return "ready";
      if (attempt !== undefined) return "connecting";
      return failure === undefined ? "idle" : "unreachable";
    },
    async open() {
      const ready = current();
      if (ready !== undefined) return ready;
      if (closed) throw new Error(`${address.host}: closed`);
      if (attempt === undefined && failure !== undefined && performance.now() < retryAt) throw failure;
      attempt ??= dialOnce().finally(() => {
        attempt = undefined;
      });
      return attempt;
    },
    close() {
      closed = true;
      for (const link of links) {
        if (link === dialing) link.socket.destroy();
        else link.session.close();
        setTimeout(() => link.socket.destroy(), options.closeGraceMs).unref();
      }
    },
  };
}

/** An HTTP/2 session, and its socket, which Node's session does not let one destroy. */
interface Link {
  readonly session: ClientHttp2Session;
  readonly socket: Socket;
}

function dial(address: URL, { tls }: SessionOptions): Link {
  const host = address.hostname.replace(/^\[|\]$/g, "");
  const secure = address.protocol === "https:";
  const port = Number(address.port) || (secure ? 443 : 80);
  const servername = isIP(host) === 0 ? { servername: host } : {};
  const socket = secure
    ? connectTls({ host, port, ALPNProtocols: ["h2"], ...servername, ...tls })
    : connectTcp({ host, port });
  // Both listeners stay for ever: an error that comes late must not bring the process down.
  socket.on("error", ignore);
  socket.once("finish", () => setTimeout(() => socket.destroy(), farewellMs).unref());
  const session = connectH2(address, {
    createConnection: () => socket,
    // What Node may hold for one connection. Its default of 10 MB is spent by a few large answers at once.
    maxSessionMemory: 128,
    // A page of a list comes without waiting for window updates.
    settings: { enablePush: false, initialWindowSize: 1_048_576 },
  });
  session.on("error", ignore);
  session.once("connect", () => session.setLocalWindowSize(16_777_216));
  return { session, socket };
}

/** An open port proves little: what answers may be a dead process's backlog, or no HTTP/2 at all. */
function firstSettings({ session }: Link, timeoutMs: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(() => {
    reject(new Error(`no HTTP/2 connection within ${timeoutMs} ms`));
  }, timeoutMs).unref();
  session.once("error", reject);
  session.once("close", () => reject(new Error("closed before HTTP/2 began")));
  session.once("remoteSettings", () => resolve());
  return promise.finally(() => clearTimeout(timer));
}

/** Pings until the session is gone, and ends it when there is no answer. */
function watch({ session, socket }: Link, ping: { intervalMs: number; timeoutMs: number }): void {
  let timer = setTimeout(send, ping.intervalMs).unref();
  session.once("close", () => clearTimeout(timer));
  session.on("goaway", (_code, _last, data?: Uint8Array) => {
    // What gRPC servers say to pings that they find too frequent. Doubling the interval is gRPC's own remedy.
    if (Buffer.from(data ?? []).toString("latin1") === "too_many_pings") {
      ping.intervalMs = Math.min(ping.intervalMs * 2, longestPingIntervalMs);
    }
  });

  function send(): void {
    if (session.destroyed) return;
    timer = setTimeout(cut, ping.timeoutMs).unref();
    session.ping(() => {
      clearTimeout(timer);
      if (!session.destroyed) timer = setTimeout(send, ping.intervalMs).unref();
    });
  }
  function cut(): void {
    const error = new ConnectError(`no answer to a ping for ${ping.timeoutMs} ms`, Code.Unavailable);
    session.destroy(error, constants.NGHTTP2_CANCEL);
    socket.destroy();
  }
}

/** With jitter, so that the replicas of a gateway do not come all at once. */
function backoff(failures: number): number {
  return Math.min(backoffMs.most, backoffMs.first * 2 ** (failures - 1)) * (0.5 + Math.random() / 2);
}

function describe(error: unknown): string {
  // Of a name with several addresses: Node's message is empty.
  if (error instanceof AggregateError) return error.errors.map(describe).join(", ");
  return error instanceof Error ? error.message : String(error);
}

function ignore(): void {}
