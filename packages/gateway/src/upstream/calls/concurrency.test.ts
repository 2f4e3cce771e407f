import { expect, test } from "vitest";
import { createConcurrencyLimit } from "./concurrency.ts";

test("has as many places as it was made with, and gives those that are left to others", () => {
  const limit = createConcurrencyLimit(2);
  expect([limit.enter(), limit.enter(), limit.enter()]).toEqual([true, true, false]);
  expect([limit.inFlight(), limit.refused()]).toEqual([2, 1]);
  limit.leave();
  expect([limit.enter(), limit.enter()]).toEqual([true, false]);
  expect([limit.inFlight(), limit.refused()]).toEqual([2, 2]);
});
