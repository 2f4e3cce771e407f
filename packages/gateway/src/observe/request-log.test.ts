import { Code, ConnectError } from "@connectrpc/connect";
import { errors } from "jose";
import { pino } from "pino";
import { describe, expect, test } from "vitest";
import { type CallRecord, createCallRecord } from "./call-record.ts";
import { type AnswerFacts, createRequestLog } from "./request-log.ts";
import { noSpan } from "./span.ts";

const whole: AnswerFacts = { status: 200, complete: true };

test("writes one line with everything that is known", () => {
  const line = logged({
    protocol: "grpc",
    rpc: "acme.api.warehouse.v1.WarehouseService/GetCrate",
    caller: "ada",
    outcome: "ok",
    requestBytes: 12,
    responseBytes: 345,
    span: { ...noSpan, traceId: "trace-1" },
    upstreamCalls: [
      { call: "warehouse.getCrate", durationMs: 1.23456, outcome: "ok", attempts: 1, hedged: false },
      {
        call: "warehouse.batchGetKeepers",
        durationMs: 2,
        outcome: Code.ResourceExhausted,
        attempts: 3,
        hedged: true,
      },
    ],
    batches: [
      { loader: "warehouse.batchGetKeepers", keys: 40, durationMs: 2.345, outcome: Code.ResourceExhausted },
    ],
  });
  expect(line).toEqual({
    level: 30,
    time: expect.any(Number),
    msg: "request",
    requestId: "request-1",
    traceId: "trace-1",
    method: "POST",
    path: "/acme",
    status: 200,
    complete: true,
    protocol: "grpc",
    rpc: "acme.api.warehouse.v1.WarehouseService/GetCrate",
    caller: "ada",
    code: "ok",
    durationMs: expect.any(Number),
    requestBytes: 12,
    responseBytes: 345,
    upstreamCalls: [
      { call: "warehouse.getCrate", code: "ok", durationMs: 1.23 },
      {
        call: "warehouse.batchGetKeepers",
        code: "resource_exhausted",
        durationMs: 2,
        attempts: 3,
        hedged: true,
      },
    ],
    batches: [
      { loader: "warehouse.batchGetKeepers", keys: 40, code: "resource_exhausted", durationMs: 2.35 },
    ],
  });
});

test("what is not known is left out", () => {
  expect(Object.keys(logged({})).sort()).toEqual(
    [
      "complete",
      "durationMs",
      "level",
      "method",
      "msg",
      "path",
      "requestBytes",
      "requestId",
      "responseBytes",
      "status",
      "time",
      "upstreamCalls",
    ].sort(),
  );
});

describe("the level", () => {
  test.each<[string, CallRecord["outcome"], number, number]>([
    ["a success", "ok", 200, 30],
    ["the caller's fault", Code.InvalidArgument, 400, 30],
    ["no permission", Code.PermissionDenied, 403, 30],
    ["a caller who left", Code.Canceled, 499, 30],
    ["an upstream that is down", Code.Unavailable, 503, 40],
    ["no time left", Code.DeadlineExceeded, 504, 40],
    ["a bug", Code.Internal, 500, 50],
    ["something nobody knows", Code.Unknown, 500, 50],
    ["data that is lost", Code.DataLoss, 500, 50],
    ["no RPC, not found", undefined, 404, 30],
    ["no RPC, a bug", undefined, 500, 50],
  ])("%s", (_, outcome, status, level) => {
    const record = outcome === undefined ? {} : { outcome };
    expect(logged(record, { status, complete: true })).toMatchObject({ level });
  });
});

test.each([
  [Code.NotFound, "not_found"],
  [Code.DeadlineExceeded, "deadline_exceeded"],
  [Code.Internal, "internal"],
])("a code is written as on the wire: %i is %s", (outcome, code) => {
  expect(logged({ outcome })).toMatchObject({ code });
});

test("an answer that lacks something says how much, and why", () => {
  const cause = new Error("connect ECONNREFUSED");
  expect(logged({ outcome: "ok", partial: { count: 500, cause } })).toMatchObject({
    level: 30,
    code: "ok",
    partial: 500,
    err: { message: "connect ECONNREFUSED" },
  });
});

describe("an error", () => {
  test("with its causes", () => {
    const root = new Error("connect ECONNREFUSED");
    const error = new Error("the upstream warehouse failed", { cause: root });
    const { err } = logged({ outcome: Code.Unavailable, error });
    expect(err).toEqual({
      type: "Error",
      message: "the upstream warehouse failed: connect ECONNREFUSED",
      stack: expect.stringContaining("caused by: Error: connect ECONNREFUSED"),
    });
  });

  test.each([
    ["text", "text"],
    [5, "5"],
    [null, "null"],
  ])("that is none: %j", (error, message) => {
    expect(logged({ error })["err"]).toEqual({ message });
  });

  test("without what hangs on it: claims of a token, headers of an upstream", () => {
    const payload = { sub: "ada", name: "Ada Canary" };
    const expired = new errors.JWTExpired("too old", payload, "exp", "check_failed");
    const refused = new ConnectError("no", Code.NotFound, { "x-canary": "canary" }, [], expired);
    for (const error of [expired, refused, new Error("outer", { cause: expired })])
      expect(JSON.stringify(logged({ error }))).not.toMatch(/canary/i);
  });

  test("without the addresses of people", () => {
    const error = new Error("no row for ada.l+x@mail.acme.example", {
      cause: new Error("nor for BOB@ACME.EXAMPLE"),
    });
    const text = JSON.stringify(logged({ error }));
    expect(text).not.toMatch(/acme\.example/i);
    expect(text).toContain("no row for (email)");
  });

  test("of any length, in no time to speak of", () => {
    // What grows with the square of the length would take minutes for this.
    const message = "a".repeat(1_000_000);
    expect(logged({ error: new Error(message) })["err"]).toMatchObject({ message });
  });
});

function logged(parts: Partial<CallRecord>, answer = whole): Record<string, unknown> {
  const lines: string[] = [];
  const log = pino({ base: null, level: "debug" }, { write: (line) => void lines.push(line) });
  const record = createCallRecord({
    requestId: "request-1",
    httpMethod: "POST",
    path: "/acme",
    address: "127.0.0.1",
  });
  createRequestLog(log)({ ...record, ...parts }, answer);
  expect(lines).toHaveLength(1);
  return JSON.parse(lines[0] ?? "");
}
