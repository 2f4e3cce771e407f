/** Answers a number from 0 to 1 (1 excluded) for a row, and for the nth part of that row. */
export type Draw = (index: number, part?: number) => number;

/**
 * Makes one source of chance for one fact, such as `"orders.status"`.
 *
 * It has no state: the same seed, name and index always give the same number. So any row can be made on its
 * own, in any order, and a million rows need no memory until somebody asks for them.
 */
export function createDraw(seed: number, name: string): Draw {
  const start = hashText(`${seed}/${name}`);
  return (index, part = 0) => mix(start ^ mix(Math.imul(index + 1, 0x9e3779b1) ^ (part << 24))) / 2 ** 32;
}

/** Picks one of a list that is not empty, by a number from 0 to 1 (1 excluded). */
export function pick<T>(list: readonly [T, ...T[]], fraction: number): T {
  return list[Math.floor(fraction * list.length)] ?? list[0];
}

// FNV-1a.
function hashText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash;
}

// The finalizer of MurmurHash3: every bit of the input changes about half of the bits of the output.
function mix(value: number): number {
  let hash = value ^ (value >>> 16);
  hash = Math.imul(hash, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
