import { type ClientHttp2Session, connect as connectH2 } from "node:http2";
import { connect as connectTcp, isIP, type Socket } from "node:net";
import { connect as connectTls, type SecureContext, TLSSocket } from "node:tls";

/** Where one connection goes. */
export interface Target {
  /** What the address is called: calls are made to its host, and its certificate is for it. */
  readonly address: URL;
  /** What is dialled: an IP address that the host was found at, or the host itself. */
  readonly host: string;
  /** For the log. */
  readonly label: string;
}

/** An HTTP/2 session, and its socket, which Node's session does not let one destroy. */
export interface Link {
  readonly session: ClientHttp2Session;
  readonly socket: Socket;
}

/** Milliseconds for the other side to end a connection that we ended. */
const farewellMs = 500;

/** The target of an address whose host needs no looking up. */
export function literalTarget(address: URL): Target {
  return { address, host: hostOf(address), label: address.host };
}

/** The host of an address; of an IPv6 address without its brackets. */
export function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, "");
}

/**
 * Opens a connection. It is open once the other side has said its SETTINGS: an open port proves little, since what
 * answers may be a dead process's backlog, or no HTTP/2 at all.
 *
 * @param timeoutMs for all of it
 * @param signal ends the attempt
 */
export async function dial(
  target: Target,
  secureContext: SecureContext,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Link> {
  const link = connect(target, secureContext);
  try {
    await firstSettings(link, timeoutMs, signal);
    if (link.session.closed || link.session.destroyed) throw new Error("hung up at once");
    return link;
  } catch (error) {
    link.socket.destroy();
    throw new Error(`${target.label}: ${describe(error)}`, { cause: error });
  }
}

function connect({ address, host }: Target, secureContext: SecureContext): Link {
  const secure = address.protocol === "https:";
  const port = Number(address.port) || (secure ? 443 : 80);
  const name = hostOf(address);
  const servername = isIP(name) === 0 ? { servername: name } : {};
  const socket = secure
    ? connectTls({ host, port, ALPNProtocols: ["h2"], ...servername, secureContext })
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

function firstSettings({ session, socket }: Link, timeoutMs: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(() => {
    reject(new Error(`no HTTP/2 connection within ${timeoutMs} ms`));
  }, timeoutMs).unref();
  const end = () => reject(new Error("closed"));
  signal.addEventListener("abort", end);
  if (signal.aborted) end();
  session.once("error", reject);
  session.once("close", () => reject(new Error("closed before HTTP/2 began")));
  session.once("remoteSettings", () => resolve());
  requireHttp2(socket, reject);
  return promise.finally(() => {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
  });
}

/**
 * Refuses a TLS connection on which HTTP/2 was not agreed: the server would read it as something else. See "An HTTP/2
 * client does not mind what was agreed on" in docs/upstream-bugs.md.
 */
function requireHttp2(socket: Socket, refuse: (error: Error) => void): void {
  if (!(socket instanceof TLSSocket)) return;
  socket.once("secureConnect", () => {
    if (socket.alpnProtocol !== "h2") refuse(new Error("TLS was agreed on, but not HTTP/2 (ALPN)"));
  });
}

function describe(error: unknown): string {
  // Of a name with several addresses: Node's message is empty.
  if (error instanceof AggregateError) return error.errors.map(describe).join(", ");
  return error instanceof Error ? error.message : String(error);
}

function ignore(): void {}
