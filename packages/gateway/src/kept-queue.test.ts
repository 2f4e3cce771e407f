import { expect, test } from "vitest";
import type { Kept } from "./kept-bytes.ts";
import { createKeptQueue, type KeptQueue } from "./kept-queue.ts";

const sized = (byteLength: number, bornAt = 0): Kept => ({
  bytes: new Uint8Array(byteLength),
  bornAt,
  freshUntil: 0,
  staleUntil: 0,
});

/** All that waits, in the batches in which it is taken out. */
function drain(queue: KeptQueue): (readonly [string, Kept])[][] {
  const batches: (readonly [string, Kept])[][] = [];
  for (let batch = queue.take(); batch.length > 0; batch = queue.take()) batches.push([...batch]);
  return batches;
}

test("what came first is taken first, each key once and as it was put there last", () => {
  const queue = createKeptQueue();
  queue.add("a", sized(1, 1));
  queue.add("b", sized(1, 2));
  queue.add("c", sized(1, 3));
  queue.add("b", sized(1, 4));
  expect(drain(queue).map((batch) => batch.map(([key, { bornAt }]) => [key, bornAt]))).toEqual([
    [
      ["a", 1],
      ["c", 3],
      ["b", 4],
    ],
  ]);
  expect(queue.take()).toEqual([]);
});

test("a batch has 200 entries at the most, and a mebibyte, or one entry that is larger", () => {
  const queue = createKeptQueue();
  for (let index = 0; index < 450; index++) queue.add(`small ${index}`, sized(1));
  expect(drain(queue).map((batch) => batch.length)).toEqual([200, 200, 50]);
  for (const [index, kib] of [600, 424, 1, 2_000, 1].entries())
    queue.add(`large ${index}`, sized(kib * 1024));
  expect(drain(queue).map((batch) => batch.length)).toEqual([2, 1, 1, 1]);
});

test("ever so much may be put in while nothing is taken out: what is too much is refused", () => {
  const queue = createKeptQueue();
  for (let index = 0; index < 20_000; index++) queue.add(`small ${index}`, sized(0));
  expect(drain(queue).flat()).toHaveLength(10_000);
  for (let index = 0; index < 100; index++) queue.add(`large ${index}`, sized(2 ** 20));
  expect(drain(queue).flat()).toHaveLength(16);
});

test("there is room again for what was taken out, replaced or given up", () => {
  const queue = createKeptQueue();
  for (let index = 0; index < 100; index++) queue.add("replaced", sized(2 ** 20));
  for (let index = 0; index < 100; index++) {
    queue.add(`key ${index}`, sized(2 ** 20));
    expect(queue.take()).toHaveLength(1);
  }
  for (let index = 0; index < 100; index++) {
    queue.add(`key ${index}`, sized(8 * 2 ** 20));
    queue.clear();
  }
  queue.add("whole", sized(16 * 2 ** 20));
  expect(drain(queue).flat()).toHaveLength(1);
});
