import type { ScalarType } from "@bufbuild/protobuf";
import {
  isReflectList,
  isReflectMap,
  isReflectMessage,
  type ReflectMessage,
  scalarZeroValue,
} from "@bufbuild/protobuf/reflect";

/**
 * Makes values that stand nowhere else, so that a value in a request tells whose answer it was taken from: even a part of
 * a longer text does.
 */
export interface Mint<Maker> {
  /** A value of this type. There are no two booleans to tell apart: those are all true. */
  readonly value: (type: ScalarType, name: string) => unknown;
  /** From now on, this one makes the values; before, nobody does. */
  readonly madeBy: (maker: Maker) => void;
  /** Those who made the values in a message. */
  readonly makersOf: (message: ReflectMessage) => ReadonlySet<Maker>;
}

/** Values count from here: all have ten digits, fit into every type of number, and are no sizes or limits. */
const firstValue = 1_000_000_000;

/** Creates a mint. */
export function createMint<Maker>(): Mint<Maker> {
  let next = firstValue;
  const begins: { readonly at: number; readonly maker: Maker }[] = [];
  const makerOf = (value: number) => {
    if (value < firstValue || value >= next) return undefined;
    return begins[countUpTo(begins, value) - 1]?.maker;
  };
  return {
    value: (type, name) => makeValue(type, name, next++),
    madeBy: (maker) => {
      if (begins.at(-1)?.maker !== maker) begins.push({ at: next, maker });
    },
    makersOf: (message) => {
      const makers = new Set<Maker>();
      for (const value of numbersIn(message)) {
        const maker = makerOf(value);
        if (maker !== undefined) makers.add(maker);
      }
      return makers;
    },
  };
}

function makeValue(type: ScalarType, name: string, value: number): unknown {
  switch (typeof scalarZeroValue(type, false)) {
    case "string":
      return `${name}-${value}`;
    case "number":
      return value;
    case "bigint":
      return BigInt(value);
    case "boolean":
      return true;
    default:
      return Buffer.from(`${name}-${value}`);
  }
}

/** How many of them begin at a value or before it. */
function countUpTo(begins: readonly { readonly at: number }[], value: number): number {
  let [low, high] = [0, begins.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((begins[middle]?.at ?? 0) <= value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** All numbers of ten digits in a value, and in what it holds. */
function* numbersIn(value: unknown): Iterable<number> {
  if (typeof value === "number" || typeof value === "bigint") yield Number(value);
  else if (typeof value === "string") yield* numbersInText(value);
  else if (value instanceof Uint8Array) yield* numbersInText(Buffer.from(value).toString("latin1"));
  else if (isReflectList(value)) for (const item of value) yield* numbersIn(item);
  else if (isReflectMap(value)) for (const entry of value) for (const part of entry) yield* numbersIn(part);
  else if (isReflectMessage(value))
    for (const field of value.fields) if (value.isSet(field)) yield* numbersIn(value.get(field));
}

function* numbersInText(text: string): Iterable<number> {
  for (const [digits] of text.matchAll(/\d{10}/g)) yield Number(digits);
}
