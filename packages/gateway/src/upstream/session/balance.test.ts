import { expect, test } from "vitest";
import { createBalancer } from "./balance.ts";
import type { Endpoint } from "./endpoint.ts";

/** Of an endpoint, balancing looks at the calls alone. */
const endpoints = (...inFlight: number[]) =>
  inFlight.map((calls) => ({ inFlight: () => calls }) as unknown as Endpoint);

test("nothing is chosen from nothing, and the only one from one", () => {
  const balance = createBalancer();
  const [only] = endpoints(7);
  expect(balance([])).toBeUndefined();
  expect(balance(only === undefined ? [] : [only])).toBe(only);
});

test("of two, the one with fewer calls is chosen", () => {
  const balance = createBalancer();
  const [busy, free] = endpoints(3, 2);
  if (busy === undefined || free === undefined) throw new Error("two were made");
  for (let times = 0; times < 20; times += 1) expect(balance([busy, free])).toBe(free);
});

test("of two with as many calls, they take turns", () => {
  const balance = createBalancer();
  const both = endpoints(0, 0);
  const chosen = Array.from({ length: 10 }, () => indexOf(both, balance(both)));
  expect(new Set(chosen.map((index, i) => (index + i) % 2)).size).toBe(1);
});

test("two different ones are compared, and each of many may be", () => {
  const many = endpoints(5, 4, 3, 2, 1);
  const balance = createBalancer();
  const chosen = new Set(Array.from({ length: 1_000 }, () => indexOf(many, balance(many))));
  expect(chosen, "the busiest is never better than another").toEqual(new Set([1, 2, 3, 4]));
});

test("a call more on each that is chosen keeps them even", () => {
  const load = [0, 0, 0, 0, 0, 0, 0, 0];
  const balance = createBalancer();
  const eight = load.map((_, index) => ({ inFlight: () => load[index] ?? 0 }) as unknown as Endpoint);
  for (let calls = 0; calls < 800; calls += 1) {
    const index = indexOf(eight, balance(eight));
    load[index] = (load[index] ?? 0) + 1;
  }
  // 800 random choices of one would be spread by more than 40.
  expect(Math.max(...load) - Math.min(...load)).toBeLessThan(12);
});

function indexOf(all: readonly Endpoint[], chosen: Endpoint | undefined): number {
  return chosen === undefined ? -1 : all.indexOf(chosen);
}
