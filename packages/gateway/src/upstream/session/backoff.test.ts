import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createBackoff } from "./backoff.ts";

beforeEach(() => {
  vi.useFakeTimers();
  vi.spyOn(Math, "random").mockReturnValue(1);
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

const refused = new Error("ECONNREFUSED");

/** How long nobody may try after so many failures, in milliseconds. */
function waitAfter(failures: number): number {
  const backoff = createBackoff();
  for (let i = 0; i < failures; i += 1) backoff.failed(refused);
  for (let waited = 0; ; waited += 1) {
    if (backoff.may()) return waited;
    vi.advanceTimersByTime(1);
  }
}

test("an attempt may be made at once, until one has failed", () => {
  const backoff = createBackoff();
  expect(backoff.may()).toBe(true);
  backoff.failed(refused);
  expect(backoff.may()).toBe(false);
  expect(backoff.failure()).toBe(refused);
});

test("waits get longer from failure to failure, but whoever needs it waits less than a second", () => {
  expect([1, 2, 3, 4, 100].map(waitAfter)).toEqual([100, 200, 400, 700, 700]);
});

test("waits have jitter: they are half as long at the least", () => {
  vi.mocked(Math.random).mockReturnValue(0);
  expect([1, 2, 3, 4, 100].map(waitAfter)).toEqual([50, 100, 200, 350, 350]);
});

test("attempts that nobody needs are rarer, 5 s apart at the most", () => {
  const backoff = createBackoff();
  backoff.failed(refused);
  expect(backoff.unaskedMs()).toBe(700);
  for (let i = 0; i < 20; i += 1) backoff.failed(refused);
  expect(backoff.unaskedMs()).toBe(5_000);
});

test("one that worked opens the way; that failures are over is known when it has lasted", () => {
  const backoff = createBackoff();
  for (let i = 0; i < 3; i += 1) backoff.failed(refused);
  backoff.worked();
  expect([backoff.may(), backoff.failure()]).toEqual([true, undefined]);
  backoff.failed(refused);
  expect(backoff.unaskedMs()).toBe(800);
  backoff.worked();
  backoff.lasted();
  backoff.failed(refused);
  expect(backoff.unaskedMs()).toBe(700);
});
