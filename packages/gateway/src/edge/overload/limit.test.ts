import { describe, expect, test } from "vitest";
import { firstLimit, type LimitBounds, nextLimit } from "./limit.ts";

const bounds: LimitBounds = { most: 1_000, maxLagMs: 50 };

function after(intervals: number, limit: number, lagMs: number, peakOf: (limit: number) => number): number {
  let now = limit;
  for (let i = 0; i < intervals; i++) now = nextLimit(now, { lagMs, peak: peakOf(now) }, bounds);
  return now;
}

describe("the limit", () => {
  test("starts low enough that a flood right after the start does no harm", () => {
    expect(firstLimit(bounds)).toBe(128);
    expect(firstLimit({ ...bounds, most: 20 })).toBe(20);
  });

  test("grows to the most while it is used and the loop keeps up", () => {
    expect(after(30, 128, 1, (limit) => limit)).toBe(1_000);
  });

  test("stays while it is not used", () => {
    expect(after(30, 128, 1, () => 10)).toBe(128);
  });

  test("shrinks in proportion to the lag that is too much", () => {
    expect(nextLimit(100, { lagMs: 12.5, peak: 100 }, bounds)).toBe(80);
  });

  test("shrinks by a third at once, however late the loop is", () => {
    expect(nextLimit(99, { lagMs: 5_000, peak: 99 }, bounds)).toBe(66);
  });

  test("never shrinks below what does not queue", () => {
    expect(after(30, 1_000, 500, (limit) => limit)).toBe(8);
  });

  test("does not shrink for a late loop that the few requests at work cannot have made late", () => {
    expect(nextLimit(100, { lagMs: 20, peak: 3 }, bounds)).toBe(100);
  });

  test("shrinks if few requests are enough to stop the loop", () => {
    expect(nextLimit(99, { lagMs: 60, peak: 3 }, bounds)).toBe(66);
  });

  test("finds the number of requests that make the loop as late as it may be", () => {
    let limit = 128;
    // Each request at work makes the loop 0.2 ms late.
    for (let i = 0; i < 100; i++) limit = nextLimit(limit, { lagMs: limit * 0.2, peak: limit }, bounds);
    expect(limit).toBeGreaterThanOrEqual(45);
    expect(limit).toBeLessThanOrEqual(56);
  });

  test("is the most where that is less than what does not queue", () => {
    expect(nextLimit(8, { lagMs: 500, peak: 8 }, { ...bounds, most: 8 })).toBe(8);
  });
});
