import { expect, test } from "vitest";
import {
  type CallRecord,
  createCallRecord,
  recordBatch,
  recordUpstreamCall,
  unwatched,
} from "./call-record.ts";

const request = { requestId: "request-1", httpMethod: "POST", path: "/acme", address: "127.0.0.1" };

test("starts with what is known when the headers are there", () => {
  const before = performance.now();
  const record = createCallRecord(request);
  expect(record).toEqual({
    ...request,
    ...unwatched,
    startedAt: expect.any(Number),
    requestBytes: 0,
    responseBytes: 0,
    upstreamCalls: [],
    batches: [],
  });
  expect(record.startedAt).toBeGreaterThanOrEqual(before);
  expect(record.startedAt).toBeLessThanOrEqual(performance.now());
});

test("keeps the first hundred calls and batches, as a stream can make them without end, and tells the observer of all", () => {
  const told: unknown[] = [];
  const observer: CallRecord["observer"] = {
    upstreamCall: (call) => void told.push(call),
    batch: (batch) => void told.push(batch),
  };
  const record = createCallRecord(request, { ...unwatched, observer });
  const call = { durationMs: 1, outcome: "ok", attempts: 1, hedged: false } as const;
  const batch = { loader: "warehouse.batchGetKeepers", durationMs: 1, outcome: "ok" } as const;
  for (let i = 0; i < 150; i++) {
    recordUpstreamCall(record, { call: `warehouse.${i}`, ...call });
    recordBatch(record, { keys: i, ...batch });
  }
  expect(record.upstreamCalls).toHaveLength(100);
  expect(record.upstreamCalls[99]).toEqual({ call: "warehouse.99", ...call });
  expect(record.batches).toHaveLength(100);
  expect(record.batches[99]).toEqual({ keys: 99, ...batch });
  expect(told).toHaveLength(300);
});
