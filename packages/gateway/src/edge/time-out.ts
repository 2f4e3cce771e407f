/** Longer than any deadline of ours can be. */
const longestMs = 24 * 3_600_000;

const unitMs: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 0.001,
  n: 0.000_001,
};

/**
 * Shortens the time-out that a caller asks for, in Connect's header or gRPC's, to a day. The router gives it to a
 * timer, and a timer of more than 31 bits is over at once: who asks for the most would get nothing.
 *
 * What is not a valid time-out is left for the router to refuse.
 */
export function capTimeOut(header: Headers): void {
  const connect = /^\d{1,10}$/.exec(header.get("connect-timeout-ms") ?? "");
  if (connect !== null && Number(connect[0]) > longestMs) header.set("connect-timeout-ms", String(longestMs));
  const grpc = /^(\d{1,8})([HMSmun])$/.exec(header.get("grpc-timeout") ?? "");
  const grpcMs = Number(grpc?.[1] ?? 0) * (unitMs[grpc?.[2] ?? ""] ?? 0);
  if (grpcMs > longestMs) header.set("grpc-timeout", `${longestMs / 1_000}S`);
}
