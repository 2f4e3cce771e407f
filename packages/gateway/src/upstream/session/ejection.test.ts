import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createEjection } from "./ejection.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

function ejection(may = () => true) {
  const changes: boolean[] = [];
  const it = createEjection(may, (ejected) => changes.push(ejected));
  const fail = (times = 5) => {
    for (let i = 0; i < times; i += 1) it.note("failed");
  };
  return { ...it, changes, fail };
}

test("five failures in a row take an address out, and it comes back after a second", () => {
  const it = ejection();
  it.fail(4);
  expect(it.ejected()).toBe(false);
  it.fail(1);
  expect(it.ejected()).toBe(true);
  vi.advanceTimersByTime(999);
  expect(it.ejected()).toBe(true);
  vi.advanceTimersByTime(1);
  expect(it.ejected()).toBe(false);
  expect(it.changes).toEqual([true, false]);
});

test("an answer in between starts the count again", () => {
  const it = ejection();
  it.fail(4);
  it.note("answered");
  it.fail(4);
  expect(it.ejected()).toBe(false);
});

test("what the caller did, and what went down with a connection, counts neither way", () => {
  const it = ejection();
  it.fail(4);
  for (let times = 0; times < 10; times += 1) it.note(times % 2 === 0 ? "left" : "lost");
  expect(it.ejected()).toBe(false);
  it.fail(1);
  expect(it.ejected()).toBe(true);
});

test("each time is twice as long, 30 s at most, and after 30 s in order the first again", () => {
  const it = ejection();
  const outFor = () => {
    it.fail();
    const since = Date.now();
    while (it.ejected()) vi.advanceTimersByTime(500);
    return Date.now() - since;
  };
  expect(Array.from({ length: 7 }, outFor)).toEqual([1, 2, 4, 8, 16, 30, 30].map((s) => s * 1_000));
  vi.advanceTimersByTime(30_001);
  expect(outFor()).toBe(1_000);
});

test("one that may not go stays, and goes with the next failure once it may", () => {
  let may = false;
  const it = ejection(() => may);
  it.fail(20);
  expect(it.ejected()).toBe(false);
  may = true;
  it.fail(1);
  expect(it.ejected()).toBe(true);
});

test("closed, nothing comes back any more", () => {
  const it = ejection();
  it.fail();
  it.close();
  expect(it.ejected()).toBe(false);
  vi.advanceTimersByTime(60_000);
  expect(it.changes).toEqual([true]);
  expect(vi.getTimerCount()).toBe(0);
});

test("once it is closed, nothing takes it out any more", () => {
  const it = ejection();
  it.close();
  it.fail();
  expect(it.ejected()).toBe(false);
  expect([it.changes, vi.getTimerCount()]).toEqual([[], 0]);
});
