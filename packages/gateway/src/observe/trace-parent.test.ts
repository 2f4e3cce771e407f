import { expect, test } from "vitest";
import { readTraceParent, traceHeaders } from "./trace-parent.ts";

const traceId = "0af7651916cd43dd8448eb211c80319c";
const spanId = "b7ad6b7169203331";

test("a caller's trace is read", () => {
  expect(readTraceParent({ traceparent: `00-${traceId}-${spanId}-01`, tracestate: "acme=1" })).toEqual({
    traceId,
    spanId,
    sampled: true,
    state: "acme=1",
  });
});

test.each([
  ["00", false],
  ["02", false],
  ["03", true],
  ["ff", true],
])("of the flags %s, only the lowest bit says whether it is recorded", (flags, sampled) => {
  expect(readTraceParent({ traceparent: `00-${traceId}-${spanId}-${flags}` })?.sampled).toBe(sampled);
});

test("of a later version, what this one has is read", () => {
  expect(readTraceParent({ traceparent: `cc-${traceId}-${spanId}-01-what-comes` })).toMatchObject({
    traceId,
  });
});

test.each([
  "",
  "00",
  `00-${traceId}-${spanId}`,
  `00-${traceId}-${spanId}-01-more`,
  `ff-${traceId}-${spanId}-01`,
  `00-${"0".repeat(32)}-${spanId}-01`,
  `00-${traceId}-${"0".repeat(16)}-01`,
  `00-${traceId.toUpperCase()}-${spanId}-01`,
  `00-${traceId}-${spanId}-01, 00-${traceId}-${spanId}-01`,
  `cc-${traceId}-${spanId}-01-${"x".repeat(100_000)}`,
])("%.70s is no trace", (traceparent) => {
  expect(readTraceParent({ traceparent, tracestate: "acme=1" })).toBeUndefined();
});

test.each([
  ["is too long", "a".repeat(513)],
  ["has what is no text", "acme=\u0000"],
  ["is empty", ""],
])("a tracestate that %s is left out", (_, tracestate) => {
  expect(readTraceParent({ traceparent: `00-${traceId}-${spanId}-01`, tracestate })?.state).toBeUndefined();
});

test("what is handed on can be read again", () => {
  for (const sampled of [true, false])
    expect(readTraceParent({ ...traceHeaders(traceId, spanId, sampled, "a=b") })).toEqual({
      traceId,
      spanId,
      sampled,
      state: "a=b",
    });
});
