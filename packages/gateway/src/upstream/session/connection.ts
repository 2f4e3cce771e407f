import {
  type ClientHttp2Stream,
  type ClientSessionRequestOptions,
  constants,
  type OutgoingHttpHeaders,
} from "node:http2";
import type { Link } from "./dial.ts";
import { keepPinging, type PingPace } from "./ping.ts";
import { reportCuts, type StreamOutcome } from "./stream-faults.ts";

/** One open HTTP/2 connection. */
export interface Connection {
  /** Whether it takes new calls. */
  isOpen(): boolean;
  /** How many calls are on it. */
  inFlight(): number;
  /** Whether the other side allows one more. */
  hasRoom(): boolean;
  /**
   * Starts a call. What it costs to be called without room is that Node keeps it waiting, nobody knows for how long.
   *
   * @param over ends with the call
   * @param outcome told once, when the stream is over; absent for what is no call
   */
  request(
    headers: OutgoingHttpHeaders,
    options: ClientSessionRequestOptions,
    over: AbortSignal | undefined,
    outcome?: (outcome: StreamOutcome) => void,
  ): ClientHttp2Stream;
  /** Takes no more calls, and ends when the last of those in flight has. */
  retire(): void;
  /** Ends it, with all its calls. */
  cut(): void;
}

/**
 * Why a connection takes no more calls.
 *
 * - `goodbye`: the other side said so in good order
 * - `retired`: we did
 * - `lost`: it broke off
 * - `unanswered`: it broke off soon, before anything was answered
 * - `unused`: it ended soon, in whatever way, before anything was asked
 */
export type ConnectionEnd = "goodbye" | "retired" | "lost" | "unanswered" | "unused";

/** Who is told of what becomes of a connection. */
export interface ConnectionOwner {
  /** A stream is over: there is room for one more. */
  freed(): void;
  /** The other side allows another number of calls. */
  changed(): void;
  /** It takes no more calls. Once. */
  stopped(end: ConnectionEnd): void;
  /** It is gone, and nothing of it is left. Once, after `stopped`. */
  closed(): void;
  /** It did not answer a ping. It is lost. */
  pingTimedOut(): void;
}

/** What `soon` is, in milliseconds. */
const soonMs = 1_000;

/**
 * Makes a connection of a session that is open. It is pinged until it is gone.
 *
 * @param name who is at the other end, for the log
 */
export function createConnection(
  link: Link,
  name: string,
  pace: PingPace,
  owner: ConnectionOwner,
): Connection {
  const { session, socket } = link;
  const peer = {
    name,
    lastStream: () => lastStream,
    leaving: () => stopped || session.destroyed,
    broken: () => socket.destroyed,
  };
  const openedAt = performance.now();
  let calls = 0;
  let streams = 0;
  let asked = false;
  let answered = false;
  let stopped = false;
  let lastStream: number | undefined;

  function stop(end: "goodbye" | "retired" | "lost"): void {
    if (stopped) return;
    stopped = true;
    const soon = performance.now() - openedAt < soonMs;
    if (end === "retired" || answered || !soon) owner.stopped(end);
    else if (!asked) owner.stopped("unused");
    else owner.stopped(end === "lost" ? "unanswered" : end);
  }

  session.on("goaway", (code, last) => {
    // A first goodbye may name no last stream, and a second one does.
    lastStream = last;
    stop(code === constants.NGHTTP2_NO_ERROR ? "goodbye" : "lost");
  });
  session.on("remoteSettings", owner.changed);
  session.once("close", () => {
    stop("lost");
    owner.closed();
  });
  keepPinging(link, pace, () => {
    owner.pingTimedOut();
    stop("lost");
  });

  return {
    isOpen: () => !stopped && !session.closed && !session.destroyed,
    inFlight: () => calls,
    hasRoom: () => streams < (session.remoteSettings.maxConcurrentStreams ?? Number.POSITIVE_INFINITY),
    request(headers, options, over, outcome) {
      const stream = session.request(headers, options);
      const weight = outcome === undefined ? 0 : 1;
      asked ||= outcome !== undefined;
      streams += 1;
      calls += weight;
      stream.once("response", () => {
        answered = true;
      });
      reportCuts(stream, peer, over, (end) => {
        streams -= 1;
        calls -= weight;
        outcome?.(end);
        owner.freed();
      });
      return stream;
    },
    retire() {
      stop("retired");
      session.close();
    },
    cut: () => void socket.destroy(),
  };
}
