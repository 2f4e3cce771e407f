import type { OutgoingHttpHeaders } from "node:http2";

/** Milliseconds before the deadline of a call: what is found out by then is still told. */
const marginMs = 5;

/**
 * When the time of a call is as good as over, as its headers say, by `performance.now()`: a moment before the timers of
 * either side strike. Never, for a call without a deadline.
 */
export function nearlyOverAt(headers: OutgoingHttpHeaders | undefined): number {
  // The form in which connect writes it.
  const timeout = /^(\d+)m$/.exec(String(headers?.["grpc-timeout"] ?? ""));
  return timeout === null ? Number.POSITIVE_INFINITY : performance.now() + Number(timeout[1]) - marginMs;
}
