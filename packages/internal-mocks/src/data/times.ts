import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Draw } from "./draw.ts";

/** Between which times rows were made, and how fast. */
interface TimesOptions {
  /** Before the first row, in ms since 1970. */
  from: number;
  /** After the last row, whatever its index, in ms since 1970. */
  to: number;
  /** How many rows fill the first half of the time. The later, the denser: a company that grows. */
  half: number;
  draw: Draw;
}

/**
 * Makes a function from a row's index to when it was made, in ms since 1970. It never falls as the index rises,
 * and does not depend on how many rows there are.
 */
export function createTimes({ from, to, half, draw }: TimesOptions): (index: number) => number {
  const slot = (index: number) => from + ((to - from) * index) / (index + half);
  return (index) => Math.floor(slot(index) + draw(index) * (slot(index + 1) - slot(index)));
}

/**
 * The first whole millisecond that is not before a time. Rows have whole milliseconds, so bounds may be rounded up.
 */
export function ceilMs(time: Timestamp): number {
  return Number(time.seconds) * 1_000 + Math.ceil(time.nanos / 1_000_000);
}

/** The smallest index from 0 to `size` at which `value` is at least `bound`, where `value` never falls. */
export function lowerBound(size: number, value: (index: number) => number, bound: number): number {
  let low = 0;
  let high = size;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (value(middle) < bound) low = middle + 1;
    else high = middle;
  }
  return low;
}
