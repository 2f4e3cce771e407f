import { lowerBound } from "./times.ts";

/** Rising numbers. */
export type Rising = ArrayLike<number>;

/**
 * Goes through several rising lists as if they were one, from `start` upwards. It takes from the lists only what
 * is asked for, so a page costs its own length and not that of the lists.
 */
export function mergeUp(lists: readonly Rising[], start: number): Generator<number> {
  return merge(lists, 1, (list) => lowerBound(list.length, (at) => list[at] ?? 0, start));
}

/** Goes through several rising lists as if they were one, downwards from the first number below `bound`. */
export function mergeDown(lists: readonly Rising[], bound: number): Generator<number> {
  return merge(lists, -1, (list) => lowerBound(list.length, (at) => list[at] ?? 0, bound) - 1);
}

/** Goes through the numbers from `start` up to, not including, `end`. */
export function* countUp(start: number, end: number): Generator<number> {
  for (let value = start; value < end; value++) yield value;
}

/** Goes through the numbers below `bound` down to 0. */
export function* countDown(bound: number): Generator<number> {
  for (let value = bound - 1; value >= 0; value--) yield value;
}

interface Cursor {
  list: Rising;
  at: number;
  value: number;
}

function* merge(lists: readonly Rising[], step: 1 | -1, first: (list: Rising) => number): Generator<number> {
  const heap: Cursor[] = [];
  for (const list of lists) {
    const at = first(list);
    const value = list[at];
    if (value !== undefined) heap.push({ list, at, value });
  }
  heap.sort((a, b) => (a.value - b.value) * step); // a sorted array is a heap
  for (let head = heap[0]; head !== undefined; head = heap[0]) {
    yield head.value;
    advance(heap, head, step);
    sink(heap, step);
  }
}

// Moves the head on; if its list is at an end, the last cursor takes its place.
function advance(heap: Cursor[], head: Cursor, step: 1 | -1): void {
  head.at += step;
  const value = head.list[head.at];
  if (value !== undefined) {
    head.value = value;
    return;
  }
  const last = heap.pop();
  if (last !== undefined && last !== head) heap[0] = last;
}

function sink(heap: Cursor[], step: 1 | -1): void {
  for (let at = 0; ; ) {
    const parent = heap[at];
    const left = heap[2 * at + 1];
    const right = heap[2 * at + 2];
    if (parent === undefined || left === undefined) return;
    const goRight = right !== undefined && (right.value - left.value) * step < 0;
    const child = goRight ? right : left;
    if ((parent.value - child.value) * step <= 0) return;
    const childAt = 2 * at + (goRight ? 2 : 1);
    heap[at] = child;
    heap[childAt] = parent;
    at = childAt;
  }
}
