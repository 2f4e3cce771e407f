import type { ClientHttp2Session } from "node:http2";
import { Code, ConnectError } from "@connectrpc/connect";
import type { GrpcTransportOptions } from "@connectrpc/connect-node";
import { type Connection, createConnection } from "./connection.ts";
import { checkSessionOptions, defaultSessionOptions, type SessionOptions } from "./session-options.ts";
import { markNeverProcessed, reportCuts } from "./stream-faults.ts";

export { defaultSessionOptions, type SessionOptions } from "./session-options.ts";
export { isNeverProcessed } from "./stream-faults.ts";

/** What connect-node asks of `sessionManager`. It does not export the type itself. */
type SessionManager = NonNullable<GrpcTransportOptions["sessionManager"]>;

/** The connections to one internal service, as connect-node's transports use them. */
export interface UpstreamSession extends SessionManager {
  /**
   * - `ready`: at least one address has an open connection
   * - `connecting`: none has, and one is being opened
   * - `unreachable`: none has, and the last attempt failed
   * - `idle`: nothing was tried yet, or connections ended in good order; the next call opens them
   */
  state(): "idle" | "connecting" | "ready" | "unreachable";
  /** Resolves once one address is ready. Rejects like a call does. For warming up; calls connect by themselves. */
  connect(): Promise<void>;
  /** Takes no more calls. Those in flight may finish within `closeGraceMs`; then everything is released. */
  close(): void;
}

/**
 * Makes the connections to one internal service: one HTTP/2 connection for each address, opened with the first
 * call, watched by pings, and opened again by the next call after it was lost. Calls go to the ready addresses in
 * turn; one that is not ready gets its connection in the background, or within the call when there is no other.
 *
 * A call fails with a {@link ConnectError} of code `unavailable` when no address can be reached, and when its
 * stream is cut by the other side. Its message names addresses: it is for the log, not for the public.
 *
 * Throws a TypeError for no address or one that is not http or https, and a RangeError for an option that cannot be.
 *
 * @example
 * const session = createSession("users", [new URL("http://127.0.0.1:9101")]);
 * const transport = createGrpcTransport({ baseUrl: session.authority, sessionManager: session });
 */
export function createSession(
  name: string,
  addresses: readonly URL[],
  options: Partial<SessionOptions> = {},
): UpstreamSession {
  const authority = checkAddresses(name, addresses);
  const settings = { ...defaultSessionOptions, ...options };
  checkSessionOptions(name, settings);
  const connections = addresses.map((address) => createConnection(address, settings));
  let turn = 0;
  let closed = false;

  async function pick(): Promise<Ready> {
    if (closed) throw unavailable(`upstream ${name}: the session is closed`);
    const ready = connections.flatMap(readyNow);
    const opening = connections.flatMap((connection) => openInBackground(connection));
    turn += 1;
    const chosen = ready[turn % ready.length];
    if (chosen !== undefined) return chosen;
    try {
      return await Promise.any(opening);
    } catch (error) {
      throw unavailable(`upstream ${name} cannot be reached: ${causes(error)}`, error);
    }
  }

  return {
    authority,
    async request(method, path, headers, requestOptions) {
      for (let attempt = 1; ; attempt += 1) {
        const { address, session } = await pick();
        try {
          const target = { ":authority": address.host, ":method": method, ":path": path };
          const stream = session.request({ ...headers, ...target }, requestOptions);
          reportCuts(stream, `upstream ${name} (${address.host})`);
          return stream;
        } catch (error) {
          // A connection may end between being picked and being used.
          if (!session.closed && !session.destroyed) throw error;
          if (attempt > connections.length) throw unavailable(`upstream ${name} keeps hanging up`, error);
        }
      }
    },
    // Pings tell whether a connection lives, whatever calls do.
    notifyResponseByteRead() {},
    state: () => {
      const states = connections.map((connection) => connection.state());
      return (["ready", "connecting", "unreachable"] as const).find((it) => states.includes(it)) ?? "idle";
    },
    connect: async () => void (await pick()),
    close() {
      closed = true;
      for (const connection of connections) connection.close();
    },
  };
}

interface Ready {
  readonly address: URL;
  readonly session: ClientHttp2Session;
}

function readyNow(connection: Connection): Ready[] {
  const session = connection.current();
  return session === undefined ? [] : [{ address: connection.address, session }];
}

function openInBackground(connection: Connection): Promise<Ready>[] {
  const { address } = connection;
  if (connection.current() !== undefined) return [];
  const opened = connection.open().then((session) => ({ address, session }));
  opened.catch(() => {}); // whoever waits for it hears of it
  return [opened];
}

/** @returns the origin that requests are made to, whatever address they take */
function checkAddresses(name: string, addresses: readonly URL[]): string {
  const wrong = addresses.find(({ protocol }) => protocol !== "http:" && protocol !== "https:");
  if (wrong !== undefined) {
    throw new TypeError(`upstream ${name}: an address must be http:// or https://, got ${wrong.href}`);
  }
  if (addresses[0] === undefined) throw new TypeError(`upstream ${name}: at least one address is needed`);
  return addresses[0].origin;
}

function unavailable(message: string, cause?: unknown): ConnectError {
  return markNeverProcessed(new ConnectError(message, Code.Unavailable, undefined, undefined, cause));
}

function causes(error: unknown): string {
  const errors: unknown[] = error instanceof AggregateError ? error.errors : [error];
  return errors.map((each) => (each instanceof Error ? each.message : String(each))).join("; ");
}
