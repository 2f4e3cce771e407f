import type { SecureContext } from "node:tls";
import { createBackoff } from "./backoff.ts";
import type { Connection, ConnectionEnd } from "./connection.ts";
import { dial, type Link, type Target } from "./dial.ts";
import { createEjection } from "./ejection.ts";
import type { SessionOptions } from "./options.ts";
import type { StreamOutcome } from "./stream-faults.ts";
import { createWatchedConnection, type WatchedConnection } from "./watched-connection.ts";

/** The connections to one address: none, one, or several. */
export interface Endpoint {
  readonly target: Target;
  /** Whether a connection takes calls, whether there is room on it or not. */
  isUsable(): boolean;
  isEjected(): boolean;
  /** Whether it may soon be usable: a connection is being opened, or not yet known to serve. */
  isPending(): boolean;
  /** How many calls are on its connections. */
  inFlight(): number;
  /** The connection for the next call, if one has room. Opens another one when those that are open have much to do. */
  take(): Connection | undefined;
  /** Opens what is lacking, unless that failed a moment ago: a dead server is not called upon by every call. */
  open(): void;
  /** Notes how a call ended. */
  note(outcome: StreamOutcome): void;
  /** Why it is not usable, for the log. */
  problem(): string | undefined;
  facts(): EndpointFacts;
  /** Takes no more calls. Those in flight may finish. */
  retire(): void;
  /** Ends all calls. */
  cut(): void;
  /** Whether nothing is left of it. */
  isGone(): boolean;
}

/** What is known about one address. */
export interface EndpointFacts {
  /** `host:port`, and the IP address that the host was found at if that is another. */
  readonly address: string;
  readonly state: "idle" | "connecting" | "ready" | "unreachable";
  /** How many take calls. */
  readonly connections: number;
  /** How many calls are on its connections, also on those that take no more. */
  readonly inFlight: number;
  /** Whether it is left out for a while, because calls to it failed. */
  readonly ejected: boolean;
  /** What its health check says; true without one. */
  readonly serving: boolean;
}

/** Counted since the start, over all addresses. */
export interface SessionCounts {
  /** Connections that were opened. */
  opened: number;
  /** Connections that ended otherwise than in good order. */
  lost: number;
  /** How often an address was left out because calls to it failed. */
  ejections: number;
  /** Connections that were cut because they did not answer a ping. */
  pingTimeouts: number;
}

/** What an endpoint needs from its session. */
export interface EndpointOwner {
  /** The name of the upstream. */
  readonly name: string;
  readonly options: SessionOptions;
  readonly secureContext: SecureContext;
  readonly counts: SessionCounts;
  /** Calls may find something else than before. */
  changed(): void;
  /** A call is over. */
  freed(): void;
  /** A connection was not to be had, or ended: the host may have moved. */
  disappointed(): void;
  /** Whether one more address may be left out. */
  mayEject(): boolean;
}

/** From this many calls on a connection, another one is opened. */
const busyCalls = 100;

/** Makes an endpoint. It opens its first connection when it is told to. */
export function createEndpoint(target: Target, owner: EndpointOwner): Endpoint {
  const { options, counts } = owner;
  const pace = { intervalMs: options.pingIntervalMs, timeoutMs: options.pingTimeoutMs };
  const backoff = createBackoff();
  const ejection = createEjection(owner.mayEject, (ejected) => {
    if (ejected) counts.ejections += 1;
    owner.changed();
  });
  const dialing = new AbortController();
  const connections = new Set<WatchedConnection>();
  let attempts = 0;
  let unanswered = 0;
  let retired = false;
  let retryTimer: NodeJS.Timeout | undefined;

  const opened = () => [...connections].filter((connection) => connection.isOpen());
  const usable = () => opened().filter((connection) => connection.serving() === true);

  // These two are for each call: no lists.
  function inFlight(): number {
    let sum = 0;
    for (const connection of connections) sum += connection.inFlight();
    return sum;
  }

  function leastBusy(): Connection | undefined {
    let least: Connection | undefined;
    for (const one of connections) {
      const isFree = one.isOpen() && one.serving() === true && one.hasRoom();
      if (isFree && (least === undefined || one.inFlight() < least.inFlight())) least = one;
    }
    return least;
  }

  function open(): void {
    if (retired || !backoff.may()) return;
    const wanted = backoff.failure() === undefined ? options.connections : 1;
    for (let has = opened().length + attempts; has < wanted; has += 1) void openOne();
  }

  function openAnother(): void {
    const most = opened().length >= options.maxConnections;
    if (!retired && !most && attempts === 0 && backoff.may()) void openOne();
  }

  async function openOne(): Promise<void> {
    attempts += 1;
    try {
      add(await dial(target, owner.secureContext, options.connectTimeoutMs, dialing.signal));
    } catch (error) {
      failed(error instanceof Error ? error : new Error(String(error)));
    } finally {
      attempts -= 1;
      owner.changed();
    }
  }

  function failed(error: Error): void {
    if (retired) return;
    backoff.failed(error);
    retryLater();
    owner.disappointed();
  }

  /** Though no call needs it: whoever sends calls may wait until it is reachable. */
  function retryLater(): void {
    clearTimeout(retryTimer);
    if (!retired) retryTimer = setTimeout(open, backoff.unaskedMs()).unref();
  }

  function add(link: Link): void {
    counts.opened += 1;
    backoff.worked();
    const peer = `upstream ${owner.name} (${target.label})`;
    const connection = createWatchedConnection(target, link, peer, pace, options, {
      freed: owner.freed,
      changed: owner.changed,
      stopped,
      closed() {
        connections.delete(connection);
        owner.changed();
      },
      pingTimedOut() {
        counts.pingTimeouts += 1;
      },
      aged: () => replace(connection),
    });
    connections.add(connection);
  }

  /** Opens a new one, unless there are enough without this one. */
  async function replace(old: WatchedConnection): Promise<boolean> {
    const isSpare = () => usable().filter((it) => it !== old).length >= options.connections;
    if (!isSpare() && opened().length <= options.connections) await openOne();
    return isSpare();
  }

  function stopped(end: ConnectionEnd): void {
    const broke = end === "lost" || end === "unanswered" || end === "unused";
    if (broke) {
      counts.lost += 1;
      ejection.note("failed");
      retryLater();
    }
    // One call may bring a server down. When the next one does too, calls are not what opens connections.
    unanswered = end === "unanswered" ? unanswered + 1 : 0;
    if (end === "unused" || unanswered > 1) failed(new Error(`${target.label}: hung up at once`));
    else if (end !== "unanswered") backoff.lasted();
    if (end !== "retired") owner.disappointed();
    owner.changed();
  }

  function state(): EndpointFacts["state"] {
    if (opened().length > 0) return "ready";
    if (attempts > 0) return "connecting";
    return backoff.failure() === undefined ? "idle" : "unreachable";
  }

  return {
    target,
    isUsable: () => usable().length > 0,
    isEjected: ejection.ejected,
    isPending: () => attempts > 0 || opened().some((connection) => connection.serving() === undefined),
    inFlight,
    take() {
      const least = leastBusy();
      if (least === undefined || least.inFlight() >= busyCalls) openAnother();
      return least;
    },
    open,
    note: ejection.note,
    problem() {
      if (backoff.failure() !== undefined) return backoff.failure()?.message;
      return opened().length > 0 ? `${target.label}: does not serve` : undefined;
    },
    facts: () => ({
      address: target.label,
      state: state(),
      connections: opened().length,
      inFlight: inFlight(),
      ejected: ejection.ejected(),
      serving: opened().every((connection) => connection.serving() !== false),
    }),
    retire() {
      retired = true;
      dialing.abort();
      clearTimeout(retryTimer);
      ejection.close();
      for (const connection of connections) connection.retire();
    },
    cut() {
      for (const connection of connections) connection.cut();
    },
    isGone: () => connections.size === 0 && attempts === 0,
  };
}
