import { expect, test } from "vitest";
import { createRetryBudget, type RetryBudget } from "./retry-budget.ts";

function takeAll(budget: RetryBudget, wanted: number): number {
  let taken = 0;
  for (let times = 0; times < wanted; times++) taken += budget.take() ? 1 : 0;
  return taken;
}

test("has little at the start: 20 calls that all fail are at most 22", () => {
  expect(takeAll(createRetryBudget(), 20)).toBe(2);
});

test("has one retry for ten calls that succeed", () => {
  const budget = createRetryBudget();
  takeAll(budget, 2);
  for (let times = 0; times < 55; times++) budget.earn();
  expect(takeAll(budget, 100)).toBe(5);
});

test("saves up 10 at the most: 100 calls that all fail are at most 110", () => {
  const budget = createRetryBudget();
  for (let times = 0; times < 10_000; times++) budget.earn();
  expect(takeAll(budget, 100)).toBe(10);
});
