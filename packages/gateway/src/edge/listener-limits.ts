/** What one client, or all of them together, may take from the listener. Every value is a whole number above 0. */
export interface ListenerLimits {
  /** Milliseconds to send the first byte, to finish a TLS handshake, and to send the header of a request. */
  readonly headersTimeoutMs: number;
  /** Milliseconds to send a whole request, header and body. At least `headersTimeoutMs`. */
  readonly requestTimeoutMs: number;
  /**
   * Milliseconds that a client may leave an answer lying without taking any of it, after which the answer is cut off; up to a
   * sixth more, since it is looked at now and then.
   */
  readonly stallTimeoutMs: number;
  /**
   * Bytes that all answers together may leave lying. Above it, those that nobody takes are cut off after one or two seconds,
   * the oldest first.
   */
  readonly maxUntakenBytes: number;
  /** Milliseconds that a connection without a request in flight stays open. */
  readonly keepAliveTimeoutMs: number;
  /**
   * Milliseconds after which a connection is ended in good order, give or take a tenth, so that clients spread over new
   * replicas; 0 for never.
   */
  readonly connectionAgeMs: number;
  /** Bytes of a request's header: HTTP/1 answers 431 above it, HTTP/2 resets the stream. */
  readonly maxHeaderBytes: number;
  /** HTTP/2 header lines, above which the stream is reset. HTTP/1 shows every line that `maxHeaderBytes` allows. */
  readonly maxHeaderLines: number;
  /** Open connections. One more is closed as soon as it is accepted. */
  readonly maxConnections: number;
  /**
   * HTTP/1.1 requests on one connection that wait for their answer, since clients may send the next before. One more
   * destroys the connection.
   */
  readonly maxPipelined: number;
  /**
   * Requests at a time on all connections together, those included that are just being refused. A connection that brings
   * one more is closed: what could be on all connections at once would not fit into memory.
   */
  readonly maxInFlight: number;
  /** HTTP/2 requests at a time on one connection. */
  readonly maxConcurrentStreams: number;
  /** Bytes of request body that an HTTP/2 client may send ahead of the reader, a stream. At least 65,535. */
  readonly streamWindowBytes: number;
  /** The same for all streams of a connection together. At least 65,535. */
  readonly connectionWindowBytes: number;
  /** Megabytes that Node may hold for one HTTP/2 connection. */
  readonly maxSessionMemoryMb: number;
}

/**
 * Limits that suit a public entrance. Spread them to change one: `{ ...defaultListenerLimits, maxConnections: 64
 * }`.
 */
export const defaultListenerLimits: ListenerLimits = Object.freeze({
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  stallTimeoutMs: 30_000,
  maxUntakenBytes: 64 * 2 ** 20,
  // Longer than the 60 s of common load balancers: the side that reuses a connection must give up first.
  keepAliveTimeoutMs: 72_000,
  connectionAgeMs: 900_000,
  maxHeaderBytes: 16_384,
  // Above the 100 that a policy would refuse with a proper answer, so that it gets to see them.
  maxHeaderLines: 256,
  maxConnections: 4_096,
  // Browsers and agents do not pipeline at all; what does is a script in a hurry.
  maxPipelined: 16,
  // Some 30 kB each.
  maxInFlight: 6_000,
  maxConcurrentStreams: 100,
  streamWindowBytes: 65_536,
  connectionWindowBytes: 1_048_576,
  maxSessionMemoryMb: 10,
});

const smallest: Partial<Record<string, number>> = {
  connectionAgeMs: 0,
  streamWindowBytes: 65_535,
  connectionWindowBytes: 65_535,
};

/** Throws a RangeError that names every limit that cannot be, and what was given. */
export function checkListenerLimits(limits: ListenerLimits): void {
  const problems = Object.entries(limits).flatMap(([name, value]) => {
    const least = smallest[name] ?? 1;
    return Number.isInteger(value) && value >= least && value <= 0x7fff_ffff
      ? []
      : [`${name} must be a whole number from ${least} to 2147483647, got ${String(value)}`];
  });
  if (problems.length === 0 && limits.headersTimeoutMs > limits.requestTimeoutMs) {
    problems.push(
      `headersTimeoutMs (${limits.headersTimeoutMs}) must not exceed requestTimeoutMs (${limits.requestTimeoutMs})`,
    );
  }
  if (problems.length > 0) throw new RangeError(`listener limits: ${problems.join("; ")}`);
}
