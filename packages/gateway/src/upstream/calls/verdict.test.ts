import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { markNeverProcessed } from "../session/stream-faults.ts";
import { verdictOn } from "./verdict.ts";

const running = new AbortController().signal;

describe("what an upstream answers", () => {
  const failures = [Code.Unavailable, Code.Internal, Code.Unknown, Code.DataLoss, Code.Canceled];
  const codes = Object.values(Code).filter((code) => typeof code === "number");

  test.each(
    codes.filter((code) => code !== Code.DeadlineExceeded).map((code) => [Code[code], code] as const),
  )("%s", (_, code) => {
    expect(verdictOn(answered(code), running, true)).toBe(failures.includes(code) ? "fails" : "answers");
  });
});

test.each([
  ["a broken answer", new ConnectError("", Code.InvalidArgument), "fails"],
  ["a lost connection", new ConnectError("", Code.Unavailable), "fails"],
  ["an answer that is too large", new ConnectError("", Code.ResourceExhausted), "answers"],
  ["a call that never got there", markNeverProcessed(new ConnectError("", Code.Unavailable)), "unknown"],
  ["a fault of the gateway's own", new TypeError(), "unknown"],
] as const)("%s", (_, error, expected) => {
  expect(verdictOn(error, running, true)).toBe(expected);
});

test("time that is over is the upstream's fault only if it was its own time", () => {
  for (const error of [new ConnectError("", Code.DeadlineExceeded), answered(Code.DeadlineExceeded)]) {
    expect(verdictOn(error, running, true)).toBe("fails");
    expect(verdictOn(error, running, false)).toBe("unknown");
  }
});

test("what comes when the caller has left says nothing", () => {
  expect(verdictOn(answered(Code.Internal), AbortSignal.abort(), true)).toBe("unknown");
});

function answered(code: Code): ConnectError {
  return Object.assign(new ConnectError("", code), { isWireError: true });
}
