import { describe, expect, test } from "vitest";
import { createSample } from "./trace-sampling.ts";

test("the ratio is kept, whoever asks not to be recorded", () => {
  const draws = [0, 0.09, 0.1, 0.5, 0.99];
  const sample = createSample(
    0.1,
    () => 0,
    () => draws.shift() ?? 1,
  );
  expect([false, false, false, false, false].map(sample)).toEqual([true, true, false, false, false]);
});

describe("callers who record their own part", () => {
  test("are recorded too, ten times a second and no more", () => {
    let now = 0;
    const sample = createSample(
      0.01,
      () => now,
      () => 0.5,
    );
    const recorded = (tries: number) =>
      Array.from({ length: tries }, () => sample(true)).filter(Boolean).length;
    expect(recorded(1_000)).toBe(10);
    now += 500;
    expect(recorded(1_000)).toBe(5);
    now += 3_600_000;
    expect(recorded(1_000)).toBe(10);
  });

  test("are not, where nothing is to be recorded", () => {
    expect(createSample(0)(true)).toBe(false);
  });
});
