/** What the stages of the gateway know of themselves, read when metrics are. Counters count from the start. */
export interface MetricFacts {
  /** Whether the gateway wants traffic. */
  readonly ready?: boolean | undefined;
  readonly listener?: ListenerFacts | undefined;
  readonly overload?: OverloadFacts | undefined;
  /** By the name of the upstream. */
  readonly upstreams?: Readonly<Record<string, UpstreamFacts>> | undefined;
  readonly answers?: AnswerCacheFacts | undefined;
  readonly entities?: EntityCacheFacts | undefined;
  readonly tracing?: TracingFacts | undefined;
  readonly usage?: ProcessFacts | undefined;
}

/** Of the public port. */
export interface ListenerFacts {
  /** How many there are, by what is spoken on them. */
  readonly connections: { readonly h1: number; readonly h2: number; readonly undecided: number };
  /** Of the bodies that are held. */
  readonly inFlightBytes: number;
  readonly refusedConnections: number;
  /** Connections that were ended for their age. */
  readonly aged: number;
}

/** Of what keeps the gateway from taking more than it can do. */
export interface OverloadFacts {
  /** How many calls may run now. */
  readonly limit: number;
  readonly inFlight: number;
  /** Calls that were turned away, by the cause and by whether their caller was known. */
  readonly shed: Readonly<Record<string, Readonly<Record<string, number>>>>;
}

/** Of one upstream. */
export interface UpstreamFacts {
  /** Absent for a transport of a test. */
  readonly session?: UpstreamSessionFacts | undefined;
  readonly inFlight: number;
  readonly limit: number;
  /** Calls that the limit held back. */
  readonly refused: number;
  readonly breaker: "closed" | "half-open" | "open";
  readonly breakerOpened: number;
  readonly retries: number;
  /** Retries that were not made, for there had been too many. */
  readonly retriesDenied: number;
  readonly hedges: number;
}

/** Of the connections to one upstream. */
export interface UpstreamSessionFacts {
  readonly addresses: readonly {
    readonly state: "idle" | "connecting" | "ready" | "unreachable";
    readonly connections: number;
    readonly ejected: boolean;
  }[];
  readonly opened: number;
  readonly lost: number;
  readonly ejections: number;
  readonly pingTimeouts: number;
}

/** Of a cache. */
interface CacheFacts {
  readonly entries: number;
  readonly bytes: number;
  readonly hits: number;
  readonly misses: number;
  readonly coalesced: number;
  readonly stale: number;
  readonly failedRefreshes: number;
}

/** Of the kept answers. */
export interface AnswerCacheFacts extends CacheFacts {
  readonly shared: number;
}

/** Of the kept entities. */
export interface EntityCacheFacts extends CacheFacts {
  readonly negativeHits: number;
}

/** Of the spans that were sent. */
export interface TracingFacts {
  readonly exported: number;
  readonly failed: number;
}

/** Of the process, which only its main module touches. */
export interface ProcessFacts {
  /** The version of Node. */
  readonly node: string;
  /** Processor time since the start, in seconds. */
  readonly cpuSeconds: number;
  readonly residentBytes: number;
}
