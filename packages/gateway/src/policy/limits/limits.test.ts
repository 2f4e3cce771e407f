import { describe, expect, test } from "vitest";
import { formatLimit, parseLimits } from "./limits.ts";

test("reads calls in a time, in each unit", () => {
  expect(parseLimits("600/1m")).toEqual([{ calls: 600, windowSeconds: 60 }]);
  expect(parseLimits("50/1s, 10000/1d")).toEqual([
    { calls: 50, windowSeconds: 1 },
    { calls: 10_000, windowSeconds: 86_400 },
  ]);
  expect(parseLimits(" 5/10s,7/2h ")).toEqual([
    { calls: 5, windowSeconds: 10 },
    { calls: 7, windowSeconds: 7_200 },
  ]);
});

test("reads the smallest and the largest", () => {
  expect(parseLimits("1/1s")).toEqual([{ calls: 1, windowSeconds: 1 }]);
  expect(parseLimits("1000000000/31d")).toEqual([{ calls: 1_000_000_000, windowSeconds: 2_678_400 }]);
  expect(parseLimits("1/1s,1/1m,1/1h,1/1d")).toHaveLength(4);
});

test("off is no limit, and the only way to say so", () => {
  expect(parseLimits("off")).toEqual([]);
  expect(() => parseLimits("")).toThrow(
    'must be calls in a time (s, m, h or d), such as "600/1m" or "50/1s, 10000/1d", or "off"; not ""',
  );
});

describe("refuses what makes no sense, and says what would do", () => {
  test.each([
    ["600", 'or "off"; not "600"'],
    ["600/m", 'not "600/m"'],
    ["600/1w", 'not "600/1w"'],
    ["600 / 1m", 'not "600 / 1m"'],
    ["-1/1m", 'not "-1/1m"'],
    ["1.5/1m", 'not "1.5/1m"'],
    ["1e3/1m", 'not "1e3/1m"'],
    ["600/1m,", 'not ""'],
    ["off, 600/1m", 'not "off"'],
    ["0/1m", 'must allow from 1 to 1000000000 calls, not the 0 of "0/1m"'],
    ["1000000001/1m", "not the 1000000001 of"],
    ["600/0s", 'must be for a time from 1s to 31d, not the 0s of "600/0s"'],
    ["600/32d", "not the 32d of"],
    ["600/9999999d", "not the 9999999d of"],
    ["1/1s,1/2s,1/3s,1/4s,1/5s", "must be at most 4 limits, not the 5 of"],
    ["600/1m, 700/60s", "must have one limit for each time, not two for 1m as"],
  ])("%j", (text, words) => {
    expect(() => parseLimits(text)).toThrow(TypeError);
    expect(() => parseLimits(text)).toThrow(words);
  });

  test("without all of a text that is far too long", () => {
    expect(() => parseLimits("x".repeat(100_000))).toThrow(/^.{0,300}$/);
  });
});

test("writes limits so that they read back the same", () => {
  const written = (text: string) => parseLimits(text).map(formatLimit).join(", ");
  for (const text of ["600/1m", "50/1s, 10000/1d", "1/90s", "7/36h", "1000000000/31d"])
    expect(written(text)).toBe(text);
  expect(written("1/60s, 2/24h, 3/120m")).toBe("1/1m, 2/1d, 3/2h");
});
