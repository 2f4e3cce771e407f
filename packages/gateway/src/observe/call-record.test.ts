import { expect, test } from "vitest";
import { createCallRecord, recordUpstreamCall } from "./call-record.ts";

const request = { requestId: "request-1", httpMethod: "POST", path: "/acme", address: "127.0.0.1" };

test("starts with what is known when the headers are there", () => {
  const before = performance.now();
  const record = createCallRecord(request);
  expect(record).toEqual({ ...request, startedAt: expect.any(Number), upstreamCalls: [] });
  expect(record.startedAt).toBeGreaterThanOrEqual(before);
  expect(record.startedAt).toBeLessThanOrEqual(performance.now());
});

test("keeps the first hundred calls to internal services, as a stream can make them without end", () => {
  const record = createCallRecord(request);
  for (let i = 0; i < 150; i++)
    recordUpstreamCall(record, { call: `warehouse.${i}`, durationMs: i, outcome: "ok" });
  expect(record.upstreamCalls).toHaveLength(100);
  expect(record.upstreamCalls[99]).toEqual({ call: "warehouse.99", durationMs: 99, outcome: "ok" });
});
