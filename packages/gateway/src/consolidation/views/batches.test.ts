import { setImmediate } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { batches, type EachOptions } from "./batches.ts";

const forever = 600_000;
const going = new AbortController().signal;

async function all<T>(source: AsyncIterable<T>, options?: EachOptions): Promise<T[][]> {
  const given: T[][] = [];
  for await (const batch of batches(source, going, options)) given.push([...batch]);
  return given;
}

async function* count(to: number): AsyncGenerator<number> {
  for (let value = 1; value <= to; value++) yield value;
}

describe("batches", () => {
  test("are as large as may be while messages come quickly", async () => {
    expect(await all(count(7), { maxSize: 3, maxWaitMs: forever })).toEqual([[1, 2, 3], [4, 5, 6], [7]]);
    expect(await all(count(250), { maxWaitMs: forever })).toMatchObject([
      { length: 100 },
      { length: 100 },
      { length: 50 },
    ]);
    expect(await all(count(0))).toEqual([]);
  });

  test("end with their time, and what is late comes in the next", async () => {
    const late = Promise.withResolvers<void>();
    async function* source() {
      yield 1;
      yield 2;
      await late.promise;
      yield 3;
    }
    const given: (readonly number[])[] = [];
    for await (const batch of batches(source(), going, { maxSize: 10, maxWaitMs: 1 })) {
      given.push(batch);
      late.resolve();
    }
    expect(given).toEqual([[1, 2], [3]]);
  });

  test("give what came before the source failed, and then the error", async () => {
    async function* failing() {
      yield 1;
      yield 2;
      throw new RangeError("broken");
    }
    const given: (readonly number[])[] = [];
    const reading = async () => {
      for await (const batch of batches(failing(), going, { maxWaitMs: forever })) given.push(batch);
    };
    await expect(reading()).rejects.toThrow(RangeError);
    expect(given).toEqual([[1, 2]]);
  });

  test("read no further than their reader has come", async () => {
    let read = 0;
    async function* endless() {
      for (;;) yield ++read;
    }
    const reader = batches(endless(), going, { maxSize: 5, maxWaitMs: forever });
    await reader.next();
    for (let turn = 0; turn < 20; turn++) await setImmediate();
    expect(read).toBeLessThanOrEqual(6);
    await reader.next();
    expect(read).toBeLessThanOrEqual(11);
    await reader.return();
  });

  test("tell the source at once when the reader leaves, even while it has nothing to give", async () => {
    const ended = Promise.withResolvers<void>();
    let asked = 0;
    const source: AsyncIterable<number> = {
      [Symbol.asyncIterator]: () => ({
        next: () => (++asked === 1 ? Promise.resolve({ done: false, value: 1 }) : new Promise(() => {})),
        return: async () => {
          ended.resolve();
          return { done: true, value: undefined };
        },
      }),
    };
    for await (const batch of batches(source, going, { maxWaitMs: 1 })) {
      expect(batch).toEqual([1]);
      break;
    }
    await ended.promise;
  });

  test("tell the source at once when the signal aborts, even while it has nothing to give", async () => {
    const ended = Promise.withResolvers<void>();
    const source = byHand({
      next: () => new Promise(() => {}),
      return: async () => {
        ended.resolve();
        return end;
      },
    });
    const controller = new AbortController();
    const reading = batches(source, controller.signal).next();
    controller.abort(new RangeError("left"));
    await expect(reading).rejects.toThrow(RangeError);
    await ended.promise;
  });

  test("of a source that throws where others reject, too, come before its error", async () => {
    let asked = 0;
    const source = byHand({
      next: () => {
        if (++asked === 3) throw new RangeError("broken");
        return Promise.resolve({ done: false, value: asked });
      },
    });
    const given: (readonly number[])[] = [];
    const reading = async () => {
      for await (const batch of batches(source, going, { maxWaitMs: forever })) given.push(batch);
    };
    await expect(reading()).rejects.toThrow("broken");
    expect(given).toEqual([[1, 2]]);
  });

  test.each([
    ["throws", () => bang()],
    ["rejects", async () => bang()],
    ["gives no promise", () => end as never],
    ["never ends", () => new Promise<never>(() => {})],
  ])("disturb nobody with a source that %s when it is told to end", async (_, leave) => {
    let asked = 0;
    const next = async () => (++asked === 1 ? { done: false as const, value: 1 } : end);
    expect(await all(byHand({ next, return: leave }))).toEqual([[1]]);
  });
});

const end = { done: true, value: undefined } as const;

function byHand(iterator: AsyncIterator<number>): AsyncIterable<number> {
  return { [Symbol.asyncIterator]: () => iterator };
}

function bang(): never {
  throw new RangeError("cannot end");
}
