import { Code, ConnectError } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { pushbackOf } from "./pushback.ts";

const trailer = (value: string) =>
  new ConnectError("", Code.Unavailable, { "grpc-retry-pushback-ms": value });
const info = (seconds: number) =>
  new ConnectError("", Code.Unavailable, undefined, [
    { desc: RetryInfoSchema, value: { retryDelay: { seconds: BigInt(seconds), nanos: 0 } } },
  ]);

test.each([
  ["a trailer", trailer("120"), 120],
  ["a trailer of 0", trailer("0"), 0],
  ["a trailer that is far off", trailer("9999999999"), 3_600_000],
  ["a negative trailer", trailer("-1"), "never"],
  ["a trailer that is no number", trailer("soon"), "never"],
  ["a detail", info(2), 2_000],
  ["a detail that is far off", info(1e9), 3_600_000],
  ["a negative detail", info(-1), "never"],
  ["nothing", new ConnectError("", Code.Unavailable), undefined],
  ["an error of another kind", new Error(), undefined],
])("%s", (_, error, expected) => {
  expect(pushbackOf(error)).toBe(expected);
});
