import { durationMs } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";

/** Beyond it, what an upstream says about when to call again means nothing to anyone who waits. */
const longestMs = 3_600_000;

/**
 * When an upstream wants to be called again, as its error says: in `google.rpc.RetryInfo`, or in gRPC's own trailer
 * `grpc-retry-pushback-ms`.
 *
 * @returns milliseconds, an hour at the most; `never` if it does not want to be; `undefined` if it does not say
 */
export function pushbackOf(error: unknown): number | "never" | undefined {
  if (!(error instanceof ConnectError)) return undefined;
  const pushback = error.metadata.get("grpc-retry-pushback-ms");
  // gRPC: what cannot be read is a no.
  if (pushback !== null) return /^\d{1,10}$/.test(pushback) ? Math.min(Number(pushback), longestMs) : "never";
  const [info] = error.findDetails(RetryInfoSchema);
  if (info?.retryDelay === undefined) return undefined;
  const delayMs = durationMs(info.retryDelay);
  return delayMs >= 0 ? Math.min(delayMs, longestMs) : "never";
}
