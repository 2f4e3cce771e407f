import { Code, ConnectError } from "@connectrpc/connect";
import { nearlyOverAt } from "./call-end.ts";
import type { EndpointFacts, SessionCounts } from "./endpoint.ts";
import { checkSessionOptions, defaultSessionOptions, type SessionOptions } from "./options.ts";
import { createPool, type Taken } from "./pool.ts";
import { markNeverProcessed } from "./stream-faults.ts";
import type { SessionManager } from "./transport.ts";
import { createWaitingLine } from "./waiting.ts";

export type { EndpointFacts } from "./endpoint.ts";
export { defaultSessionOptions, type SessionOptions } from "./options.ts";
export { isNeverProcessed, isWorthRepeating } from "./stream-faults.ts";

/** The connections to one internal service, as transports use them. */
export interface UpstreamSession extends SessionManager {
  /**
   * - `ready`: at least one address has an open connection, and serves as far as is known
   * - `connecting`: none has, and one is being looked up, opened, or asked whether it serves
   * - `unreachable`: none has, and the last attempt failed; it is repeated, with or without calls
   * - `idle`: nothing was tried yet, or connections ended in good order; the next call opens them
   */
  state(): EndpointFacts["state"];
  /** What is known about each address, and what was counted since the start. */
  facts(): SessionFacts;
  /** Resolves once one address is ready. Rejects like a call does. For warming up; calls connect by themselves. */
  connect(): Promise<void>;
  /** Takes no more calls. Those in flight may finish within `closeGraceMs`; then everything is released. */
  close(): void;
}

/** What operators see of the connections to one internal service. */
export interface SessionFacts extends Readonly<SessionCounts> {
  readonly addresses: readonly EndpointFacts[];
}

/** How many calls may wait for a connection, or for room on one. */
const maxWaiting = 1_000;

/**
 * Makes the connections to one internal service: opened with the first call, watched by pings, replaced when they are
 * old, and opened again after they were lost. Names are looked up again and again.
 *
 * Calls go to the ready addresses, to the one with fewer calls of two random ones. An address on which calls fail one
 * after the other is left out for a while, as long as half of them are left. One that is not ready gets its connection
 * in the background, or within the call when there is no other. Where all connections have as many calls as the other
 * side allows, and no more connections may be opened, calls wait for room, for twice `connectTimeoutMs` at most, and not
 * beyond their own deadline.
 *
 * A call fails with a {@link ConnectError} of code `unavailable` when no address can be reached, and when its
 * stream is cut by the other side. Its message names addresses: it is for the log, not for the public.
 *
 * Throws a TypeError for no address or one that is not http or https, and a RangeError for an option that cannot be.
 *
 * @example
 * const session = createSession("users", [new URL("http://127.0.0.1:9101")]);
 * const transport = createSessionTransport(session, 4_194_304);
 */
export function createSession(
  name: string,
  addresses: readonly URL[],
  options: Partial<SessionOptions> = {},
): UpstreamSession {
  const authority = checkAddresses(name, addresses);
  const settings = { ...defaultSessionOptions, ...options };
  checkSessionOptions(name, settings);
  const counts: SessionCounts = { opened: 0, lost: 0, ejections: 0, pingTimeouts: 0 };
  const waiting = createWaitingLine(maxWaiting);
  const pool = createPool(name, addresses, settings, counts, {
    changed: waiting.wakeAll,
    freed: waiting.wakeOne,
  });
  let closed = false;

  /** Uses a connection as soon as there is one with room: at once, before anybody else sees the same room. */
  async function take<T>(use: (taken: Taken) => T, callEndsAt: number, signal?: AbortSignal): Promise<T> {
    const until = Math.min(callEndsAt, performance.now() + 2 * settings.connectTimeoutMs);
    for (;;) {
      // Whoever opens a stream and cancels it at once, again and again, looks like an attacker.
      signal?.throwIfAborted();
      if (closed) throw unavailable(`upstream ${name}: the session is closed`);
      const taken = pool.take();
      if (taken !== undefined) return use(taken);
      const problem = whyNotWait(until);
      if (problem !== undefined) throw unavailable(`upstream ${name}${problem}`);
      await waiting.wait(until, signal);
    }
  }

  function whyNotWait(until: number): string | undefined {
    const isLate = performance.now() >= until;
    if (waiting.isFull()) return ": too many calls wait for a connection";
    if (pool.isUsable()) return isLate ? ": no connection has room for another call" : undefined;
    if (!pool.isPending()) return ` cannot be reached: ${pool.problems()}`;
    return isLate ? ": no connection in time" : undefined;
  }

  return {
    authority,
    request: (method, path, headers, requestOptions, signal) => {
      const open = ({ endpoint, connection }: Taken) => {
        const target = { ":authority": endpoint.target.address.host, ":method": method, ":path": path };
        return connection.request({ ...headers, ...target }, requestOptions, signal, endpoint.note);
      };
      return take(open, nearlyOverAt(headers), signal);
    },
    // Pings tell whether a connection lives, whatever calls do.
    notifyResponseByteRead() {},
    state() {
      if (pool.isUsable()) return "ready";
      if (pool.isPending()) return "connecting";
      return pool.problems() === "" ? "idle" : "unreachable";
    },
    facts: () => ({ ...counts, addresses: pool.facts() }),
    connect: () => take(() => {}, Number.POSITIVE_INFINITY),
    close() {
      closed = true;
      pool.close();
      waiting.wakeAll();
    },
  };
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

function unavailable(message: string): ConnectError {
  return markNeverProcessed(new ConnectError(message, Code.Unavailable), "no connection");
}
