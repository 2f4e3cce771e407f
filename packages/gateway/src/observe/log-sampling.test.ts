import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { type CallRecord, createCallRecord } from "./call-record.ts";
import { isLogged } from "./log-sampling.ts";
import type { AnswerFacts } from "./request-log.ts";

const whole: AnswerFacts = { status: 200, complete: true };

function record(parts: Partial<CallRecord> = {}, requestId = "request-1"): CallRecord {
  return {
    ...createCallRecord({ requestId, httpMethod: "POST", path: "/", address: "127.0.0.1" }),
    outcome: "ok",
    ...parts,
  };
}

describe("even if nothing else is logged, there is a line for", () => {
  test.each<[string, Partial<CallRecord>, Partial<AnswerFacts>, number]>([
    ["a call that failed", { outcome: Code.NotFound }, {}, 1],
    ["an HTTP error", {}, { status: 404 }, 1],
    ["an answer that was not heard to its end", {}, { complete: false }, 1],
    ["an answer that lacks something", { partial: { count: 1, cause: undefined } }, {}, 1],
    ["an error after all", { error: new Error("late") }, {}, 1],
    ["a call that was slow", {}, {}, 1_000],
  ])("%s", (_, parts, answer, durationMs) => {
    expect(isLogged(record(parts), { ...whole, ...answer }, durationMs, 0)).toBe(true);
    expect(isLogged(record(), whole, 999, 0)).toBe(false);
  });
});

test("of what went well, the ratio is logged", () => {
  const ids = Array.from({ length: 10_000 }, (_, index) => `request-${index}`);
  const logged = ids.filter((id) => isLogged(record({}, id), whole, 1, 0.1));
  expect(logged.length).toBeGreaterThan(900);
  expect(logged.length).toBeLessThan(1_100);
  // Each replica decides the same.
  expect(ids.filter((id) => isLogged(record({}, id), whole, 1, 0.1))).toEqual(logged);
  // Whoever logs more logs these as well.
  expect(logged.every((id) => isLogged(record({}, id), whole, 1, 0.2))).toBe(true);
});

test("the parts of one trace are logged together", () => {
  const { span } = record();
  const inTrace = (id: string) =>
    isLogged(record({ span: { ...span, traceId: "trace-1" } }, id), whole, 1, 0.5);
  expect(new Set(["a", "b", "c", "d", "e", "f", "g", "h"].map(inTrace)).size).toBe(1);
});
