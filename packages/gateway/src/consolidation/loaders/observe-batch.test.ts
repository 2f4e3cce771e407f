import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { PublicError } from "../../errors.ts";
import { type BatchRecord, createCallRecord, unwatched } from "../../observe/call-record.ts";
import { noSpan, type Span } from "../../observe/span.ts";
import { testCall, thrownBy } from "../../testing/call.ts";
import { observeBatch } from "./observe-batch.ts";

function watchedCall() {
  const told: BatchRecord[] = [];
  const spans: { name: string; outcome?: "ok" | Code }[] = [];
  const child: Span["child"] = (name) => {
    const span: (typeof spans)[number] = { name };
    spans.push(span);
    return { ...noSpan, headers: { part: name }, end: (outcome) => void Object.assign(span, { outcome }) };
  };
  const request = { requestId: "request-1", httpMethod: "POST", path: "/", address: "127.0.0.1" };
  const record = createCallRecord(request, {
    span: { ...noSpan, child },
    observer: { ...unwatched.observer, batch: (batch) => void told.push(batch) },
  });
  return { call: testCall({ record }), told, spans, record };
}

test("a batch is noted and traced, and what it calls is a part of it", async () => {
  const { call, told, spans, record } = watchedCall();
  const found = await observeBatch("warehouse.batchGetKeepers", 3, call, async (within) => {
    expect(within.record.span.headers).toEqual({ part: "loader warehouse.batchGetKeepers" });
    expect(within.record.upstreamCalls).toBe(record.upstreamCalls);
    return [[], [], []];
  });
  expect(found).toHaveLength(3);
  const noted = {
    loader: "warehouse.batchGetKeepers",
    keys: 3,
    durationMs: expect.any(Number),
    outcome: "ok",
  };
  expect(told).toEqual([noted]);
  expect(record.batches).toEqual([noted]);
  expect(spans).toEqual([{ name: "loader warehouse.batchGetKeepers", outcome: "ok" }]);
});

test("a batch in which a key failed ends as that key did", async () => {
  const { call, told, spans } = watchedCall();
  await observeBatch("a.b", 2, call, async () => [[], new PublicError("SERVICE_UNAVAILABLE")]);
  expect([told[0]?.outcome, spans[0]?.outcome]).toEqual([Code.Unavailable, Code.Unavailable]);
});

test("a batch whose call is over ends as the call did", async () => {
  for (const [error, code] of [
    [new PublicError("DEADLINE_EXCEEDED"), Code.DeadlineExceeded],
    [new Error("a bug"), Code.Internal],
  ] as const) {
    const { call, told } = watchedCall();
    expect(await thrownBy(observeBatch("a.b", 1, call, () => Promise.reject(error)))).toBe(error);
    expect(told[0]?.outcome).toBe(code);
  }
});

test("without tracing, the call is handed on as it is", async () => {
  const call = testCall();
  await observeBatch("a.b", 1, call, async (within) => {
    expect(within).toBe(call);
    return [[]];
  });
});
