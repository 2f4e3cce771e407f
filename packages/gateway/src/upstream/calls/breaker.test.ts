import { expect, test } from "vitest";
import { type Breaker, createBreaker, type Verdict } from "./breaker.ts";

const options = { failureRatio: 0.5, minCalls: 4, windowMs: 1_000, openMs: 200 };

function start(given: Partial<typeof options> = {}) {
  const clock = { ms: 5_000 };
  return { clock, breaker: createBreaker({ ...options, ...given }, () => clock.ms) };
}

function enter(breaker: Breaker): (verdict: Verdict) => void {
  const leave = breaker.enter();
  if (typeof leave === "number") throw new Error(`not let through for ${leave} ms`);
  return leave;
}

function calls(breaker: Breaker, ...verdicts: readonly Verdict[]): void {
  for (const verdict of verdicts) enter(breaker)(verdict);
}

test("opens when the part of the calls that fail is reached, and not before there are enough", () => {
  const { breaker } = start();
  calls(breaker, "fails", "fails", "fails");
  expect(breaker.state()).toBe("closed");
  calls(breaker, "fails");
  expect(breaker.state()).toBe("open");
  expect(breaker.opened()).toBe(1);
  expect(breaker.enter()).toBe(200);
});

test("stays closed while fewer fail", () => {
  const { breaker } = start();
  for (let round = 0; round < 50; round++) calls(breaker, "answers", "fails", "answers");
  expect(breaker.state()).toBe("closed");
});

test("calls that say nothing do not count", () => {
  const { breaker } = start();
  calls(breaker, "fails", "fails", "fails", "unknown", "unknown");
  expect(breaker.state()).toBe("closed");
});

test("forgets what was before the window, however long nobody called", () => {
  const { breaker, clock } = start();
  calls(breaker, "fails", "fails", "fails");
  clock.ms += 1_000;
  calls(breaker, "fails");
  clock.ms += 1_000_000;
  calls(breaker, "fails", "fails");
  expect(breaker.state()).toBe("closed");
});

test("lets one call try after a while, and no other meanwhile", () => {
  const { breaker, clock } = start();
  calls(breaker, "fails", "fails", "fails", "fails");
  clock.ms += 199;
  expect(breaker.enter()).toBe(1);
  clock.ms += 1;
  expect(breaker.state()).toBe("half-open");
  const leave = enter(breaker);
  expect(breaker.enter()).toBe(200);
  leave("answers");
  expect(breaker.state()).toBe("closed");
  calls(breaker, "fails", "fails", "fails");
  expect(breaker.state()).toBe("closed");
});

test("opens again when the call that tries fails", () => {
  const { breaker, clock } = start();
  calls(breaker, "fails", "fails", "fails", "fails");
  clock.ms += 200;
  calls(breaker, "fails");
  expect(breaker.state()).toBe("open");
  expect(breaker.enter()).toBe(200);
  expect(breaker.opened()).toBe(2);
});

test("lets the next call try when the first says nothing", () => {
  const { breaker, clock } = start();
  calls(breaker, "fails", "fails", "fails", "fails");
  clock.ms += 200;
  calls(breaker, "unknown", "answers");
  expect(breaker.state()).toBe("closed");
});

test("does not wait for ever for the call that tries", () => {
  const { breaker, clock } = start();
  calls(breaker, "fails", "fails", "fails", "fails");
  clock.ms += 200;
  const silent = enter(breaker);
  clock.ms += 200;
  const second = enter(breaker);
  second("answers");
  silent("fails");
  expect(breaker.state()).toBe("closed");
});

test("what was under way when it opened says nothing about how the upstream is later", () => {
  const { breaker, clock } = start();
  const late = Array.from({ length: 4 }, () => enter(breaker));
  calls(breaker, "fails", "fails", "fails", "fails");
  for (const leave of late.slice(0, 2)) leave("fails");
  clock.ms += 200;
  calls(breaker, "answers");
  for (const leave of late.slice(2)) leave("fails");
  calls(breaker, "fails", "fails", "fails");
  expect(breaker.state()).toBe("closed");
});

test("a ratio of 1 opens when all calls fail", () => {
  const { breaker } = start({ failureRatio: 1 });
  calls(breaker, "fails", "fails", "fails", "answers", "fails");
  expect(breaker.state()).toBe("closed");
});
