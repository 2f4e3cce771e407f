import { type Connection, type ConnectionOwner, createConnection } from "./connection.ts";
import type { Link, Target } from "./dial.ts";
import { watchHealth } from "./health.ts";
import type { SessionOptions } from "./options.ts";
import type { PingPace } from "./ping.ts";
import type { SessionManager } from "./transport.ts";

/** A connection of which it is known how old it is, and whether the server at the other end serves. */
export interface WatchedConnection extends Connection {
  /** What the health check says: `undefined` before it has said anything, true without one. */
  serving(): boolean | undefined;
}

/** Who is told of what becomes of it. */
export interface WatchedConnectionOwner extends ConnectionOwner {
  /** It is old. Resolves when it is no longer needed: then it is retired. With false, it is asked again later. */
  aged(): Promise<boolean>;
}

/** Makes a connection of a link to a target. What watches it ends when it takes no more calls. */
export function createWatchedConnection(
  target: Target,
  link: Link,
  name: string,
  pace: PingPace,
  { maxAgeMs, healthCheck, connectTimeoutMs }: SessionOptions,
  owner: WatchedConnectionOwner,
): WatchedConnection {
  const over = new AbortController();
  let serving = healthCheck === false ? true : undefined;
  let timer = setTimeout(age, withJitter(maxAgeMs)).unref();
  const connection = createConnection(link, name, pace, {
    ...owner,
    stopped(end) {
      over.abort();
      clearTimeout(timer);
      owner.stopped(end);
    },
  });

  async function age(): Promise<void> {
    if (await owner.aged()) connection.retire();
    else if (connection.isOpen()) timer = setTimeout(age, withJitter(maxAgeMs / 10)).unref();
  }

  function told(now: boolean): void {
    if (serving === now) return;
    serving = now;
    owner.changed();
  }

  async function check(service: string): Promise<void> {
    const late = setTimeout(() => told(serving ?? false), connectTimeoutMs).unref();
    await watchHealth(managerOf(target, connection), service, over.signal, told);
    clearTimeout(late);
  }

  if (healthCheck !== false) void check(healthCheck === true ? "" : healthCheck.service);
  return { ...connection, serving: () => serving };
}

/** Makes the transport of the health check use one connection. */
function managerOf({ address }: Target, connection: Connection): SessionManager {
  return {
    authority: address.origin,
    request: async (method, path, headers, requestOptions, signal) =>
      connection.request(
        { ...headers, ":authority": address.host, ":method": method, ":path": path },
        requestOptions,
        signal,
      ),
    notifyResponseByteRead() {},
  };
}

/** Give or take a tenth, so that not all connections are replaced at once. */
function withJitter(ms: number): number {
  return ms * (0.9 + Math.random() / 5);
}
