import { describe, expect, test } from "vitest";
import { createAtWork } from "./at-work.ts";
import type { Caller } from "./caller.ts";

const ada: Caller = { kind: "known", key: "ada" };
const bob: Caller = { kind: "known", key: "bob" };
const stranger: Caller = { kind: "anonymous", key: "203.0.113.7" };

describe("a request at work", () => {
  test("counts until it leaves", () => {
    const atWork = createAtWork();
    const work = atWork.enter(ada);
    expect([atWork.active(), atWork.open()]).toEqual([1, 1]);
    atWork.leave(work);
    expect([atWork.active(), atWork.open()]).toEqual([0, 0]);
  });

  test("stops to count after a second, and still is open", () => {
    const atWork = createAtWork();
    const work = atWork.enter(ada);
    for (let i = 0; i < 5; i++) atWork.age();
    atWork.enter(bob);
    for (let i = 0; i < 6; i++) atWork.age();
    expect([atWork.active(), atWork.open()]).toEqual([1, 2]);
    expect([ada, bob, stranger].map(atWork.openOf)).toEqual([1, 1, 0]);
    atWork.leave(work);
    expect(atWork.openOf(ada)).toBe(0);
    expect([atWork.active(), atWork.open()]).toEqual([1, 1]);
  });

  test("is in the peak of its interval", () => {
    const atWork = createAtWork();
    const works = [ada, bob, stranger].map((caller) => atWork.enter(caller));
    for (const work of works) atWork.leave(work);
    expect(atWork.peak()).toBe(3);
    expect(atWork.peak()).toBe(0);
  });
});

describe("a share", () => {
  test("is the whole limit for a caller who is alone in its class", () => {
    const atWork = createAtWork();
    for (let i = 0; i < 9; i++) atWork.enter(ada);
    atWork.enter(stranger);
    expect(atWork.hasItsShare(ada, 10)).toBe(false);
    atWork.enter(ada);
    expect(atWork.hasItsShare(ada, 10)).toBe(true);
  });

  test("is half the limit for each of two", () => {
    const atWork = createAtWork();
    for (let i = 0; i < 5; i++) atWork.enter(ada);
    atWork.enter(bob);
    expect(atWork.hasItsShare(ada, 10)).toBe(true);
    expect(atWork.hasItsShare(bob, 10)).toBe(false);
  });

  test("is two at least", () => {
    const atWork = createAtWork();
    for (const key of ["a", "b", "c", "d"]) atWork.enter({ kind: "known", key });
    expect(atWork.hasItsShare({ kind: "known", key: "a" }, 2)).toBe(false);
    atWork.enter({ kind: "known", key: "a" });
    expect(atWork.hasItsShare({ kind: "known", key: "a" }, 2)).toBe(true);
  });

  test("is free again when the requests have left", () => {
    const atWork = createAtWork();
    const works = [ada, ada, bob].map((caller) => atWork.enter(caller));
    for (const work of works) atWork.leave(work);
    expect(atWork.hasItsShare(ada, 4)).toBe(false);
  });
});
