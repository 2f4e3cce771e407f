import type { IncomingMessage } from "node:http";
import type { Logger } from "pino";
import type { CorsHeaders } from "../cors.ts";
import type { ListenerHandler } from "../listener.ts";
import { createAtWork } from "./at-work.ts";
import { type Caller, type CallerClass, createCallers } from "./caller.ts";
import { firstLimit, nextLimit } from "./limit.ts";
import { createRefuse, isPreflight } from "./refuse.ts";
import { type Vitals, type WatchVitals, watchProcess } from "./vitals.ts";

/** How much the gateway does at a time. */
export interface OverloadLimits {
  /** The most requests at work at a time. The limit that holds is found out, and seldom as high. */
  readonly maxConcurrency: number;
  /** How long a call may wait for the event loop in all, in milliseconds. */
  readonly maxLoopLagMs: number;
  /** How much of the heap may be in use, in percent of what V8 may have. */
  readonly maxHeapPercent: number;
}

/** What the refusal of requests needs. */
export interface OverloadOptions extends OverloadLimits {
  /** Of the errors' reasons. */
  readonly errorDomain: string;
  readonly cors: CorsHeaders;
  readonly log: Pick<Logger, "warn">;
  /** Who says how the process is. Default: {@link watchProcess}. */
  readonly watch?: WatchVitals;
}

/** Keeps out what the gateway could not do in time, so that it does the rest as fast as ever. */
export interface Overload {
  /** A handler that gets only the requests that are let in. All others are answered before anything is done for them. */
  readonly guard: (handler: ListenerHandler) => ListenerHandler;
  /** Whoever sent this request has proved who it is: from now on it goes before those who have not. */
  readonly recognise: (request: IncomingMessage, identity: string) => void;
  /** The credentials of this request are not good any more: they count as none. */
  readonly forget: (request: IncomingMessage) => void;
  readonly facts: () => OverloadFacts;
  readonly stop: () => void;
}

/**
 * Why a request is refused: too many at work, although the event loop keeps up; too many for the event loop; too little
 * memory; more than its caller's share of what there is.
 */
export type ShedCause = "concurrency" | "loop_lag" | "heap" | "fairness";

/** How things are, for metrics. */
export interface OverloadFacts {
  /** How many requests may be at work at a time, now. */
  readonly limit: number;
  /** How many are. Streams, and others that have gone on for long, do not count. */
  readonly inFlight: number;
  /** The requests that were refused since the start. */
  readonly shed: Readonly<Record<ShedCause, Readonly<Record<CallerClass, number>>>>;
  /** The longest that anything waited for the event loop within the last tenth of a second, in milliseconds. */
  readonly loopLagMs: number;
}

/** What callers who are not recognised may use of the limit: the rest is for those who are. */
const anonymousShare = 0.8;
/** From here on, nobody gets more than its share. */
const contendedShare = 0.8;
/** How many times the limit may be at work, if known callers come who have less than their share of it. */
const reserveFactor = 2;
/** Requests that go on for long cost memory and little else: how many times the limit there may be of all together. */
const openFactor = 4;
/** What one caller may have of these, so that nobody alone keeps all others out. */
const openShare = 0.5;
/**
 * Probes of health in a tenth of a second that are let in whatever happens. Not at a time: who sends a probe slowly would
 * keep others out, and who sends many that are answered at once would never be stopped.
 */
const maxProbes = 64;
/** Percent of the heap that must be free again before requests are let in again. */
const heapHysteresis = 5;
/** A second, in intervals of the vitals. */
const logIntervals = 10;

/**
 * Creates the door keeper of the public port. It holds the number of requests at work at a time to a limit that follows
 * the lag of the event loop; refuses strangers before known callers, and those first who take more than their share; and
 * never refuses a probe of health.
 *
 * @example
 * const overload = createOverload({ ...config.overload, errorDomain, cors, log });
 * fastify({ serverFactory: (handler) => createListener(overload.guard(handler), options).server });
 */
export function createOverload(options: OverloadOptions): Overload {
  const bounds = { most: options.maxConcurrency, maxLagMs: options.maxLoopLagMs };
  const atWork = createAtWork();
  const callers = createCallers();
  const refuse = createRefuse(options.errorDomain, options.cors);
  const shed = createShed(options.log);
  let limit = firstLimit(bounds);
  /** Whether it was the event loop that made the limit what it is. */
  let lowered = false;
  let starved = false;
  let loopLagMs = 0;
  let probes = 0;

  const adapt = ({ lagMs, maxLagMs, heapPercent }: Vitals): void => {
    loopLagMs = maxLagMs;
    probes = 0;
    starved = heapPercent > options.maxHeapPercent - (starved ? heapHysteresis : 0);
    // Unless turns are so long that those who would be done by now are still at work.
    if (lagMs <= bounds.maxLagMs) atWork.age();
    const next = nextLimit(limit, { lagMs, peak: atWork.peak() }, bounds);
    lowered = next < limit || (lowered && next < bounds.most);
    limit = next;
    shed.tell({ limit, inFlight: atWork.active(), loopLagMs, heapPercent });
  };

  /** Why this caller's request is not let in now; `undefined` if it is. */
  const whyNot = (caller: Caller): ShedCause | undefined => {
    const mostOpen = bounds.most * openFactor;
    if (atWork.open() >= roomOf(caller, mostOpen)) return "concurrency";
    if (atWork.openOf(caller) >= mostOpen * openShare) return "fairness";
    const active = atWork.active();
    // One at a time is let in: without any, no garbage would be collected, and the shortage would never end.
    if (starved) return active >= 1 ? "heap" : undefined;
    const room = roomOf(caller, limit);
    if (active < room * contendedShare) return undefined;
    const hasItsShare = atWork.hasItsShare(caller, room);
    if (active < room) return hasItsShare ? "fairness" : undefined;
    // Others have filled it: whoever is known and has less than its share does not pay for them.
    if (caller.kind === "known" && !hasItsShare && active < room * reserveFactor) return undefined;
    return lowered ? "loop_lag" : "concurrency";
  };

  const stop = (options.watch ?? watchProcess)(adapt);
  return {
    guard: (handler) => (request, response) => {
      if (probes < maxProbes && isProbe(request.url ?? "")) {
        probes += 1;
        return handler(request, response);
      }
      const caller = callers.of(request);
      const cause = whyNot(caller);
      if (cause !== undefined) {
        if (isPreflight(request)) return refuse.preflight(request, response);
        shed.count(cause, caller.kind);
        return refuse.overloaded(request, response);
      }
      const work = atWork.enter(caller);
      // Not before the next turn of the loop: else those that are answered at once would follow each other without end in
      // this one, and everybody else would wait.
      response.once("close", () => setImmediate(atWork.leave, work));
      return handler(request, response);
    },
    recognise: callers.recognise,
    forget: callers.forget,
    facts: () => ({ limit, inFlight: atWork.active(), shed: shed.counts(), loopLagMs }),
    stop,
  };
}

/** What of a limit the class of a caller may use. */
function roomOf({ kind }: Caller, limit: number): number {
  return kind === "known" ? limit : Math.ceil(limit * anonymousShare);
}

/** What load balancers and orchestrators ask: to refuse them would have a busy process killed. */
function isProbe(url: string): boolean {
  return probePaths.has(url.split("?", 1)[0] ?? "");
}

/** Not `Watch`, which is no question but a stream. */
const probePaths: ReadonlySet<string> = new Set(["/healthz", "/readyz", "/grpc.health.v1.Health/Check"]);

/** Counts refusals, and logs that there were some once a second at most. */
function createShed(log: Pick<Logger, "warn">) {
  const zero = () => ({ anonymous: 0, known: 0 });
  const counts = { concurrency: zero(), loop_lag: zero(), heap: zero(), fairness: zero() };
  let recent = 0;
  let intervals = logIntervals;
  return {
    count: (cause: ShedCause, kind: CallerClass): void => {
      counts[cause][kind] += 1;
      recent += 1;
    },
    counts: () => structuredClone(counts),
    /** To be called each interval. */
    tell: (state: Readonly<Record<string, number>>): void => {
      intervals += 1;
      if (recent === 0 || intervals < logIntervals) return;
      log.warn({ ...state, refused: recent, refusedSinceStart: structuredClone(counts) }, "shedding");
      [recent, intervals] = [0, 0];
    },
  };
}
