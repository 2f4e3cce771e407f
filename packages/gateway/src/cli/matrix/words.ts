import type { MatrixMethod } from "../../policy/matrix.ts";

/** A time in the largest unit that fits without a fraction: `250ms`, `5s`, `10m`. */
export function shortTime(milliseconds: number): string {
  const { short, size } = unitOf(milliseconds);
  return `${milliseconds / size}${short}`;
}

/** The same in words: `250 milliseconds`, `1 minute`. */
export function longTime(milliseconds: number): string {
  const { unit, size } = unitOf(milliseconds);
  return new Intl.NumberFormat("en", { style: "unit", unit, unitDisplay: "long" }).format(
    milliseconds / size,
  );
}

/** A number of bytes in the largest unit that fits without a fraction: `64 KiB`. */
export function byteCount(count: number): string {
  if (count % 2 ** 20 === 0) return `${count / 2 ** 20} MiB`;
  return count % 2 ** 10 === 0 ? `${count / 2 ** 10} KiB` : `${count} bytes`;
}

/** `package.Service/Method` in its parts. */
export function partsOf(name: string): readonly [service: string, method: string] {
  const [service = "", method = ""] = name.split("/");
  return [service, method];
}

/** `ListCratesOfOwner` and `owner_name` as people write them: `List crates of owner`, `Owner name`. */
export function wordsOf(name: string): string {
  const text = name
    .replaceAll("_", " ")
    .replace(/([a-z0-9])([A-Z])/g, "$1 $2")
    .replace(/([A-Z])([A-Z][a-z])/g, "$1 $2")
    .replace(/\b[A-Z](?=[a-z]|\b)/g, (letter) => letter.toLowerCase());
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Who gets the same answer from a cache. */
export function sharersOf({ scope }: NonNullable<MatrixMethod["cache"]>): string {
  return { public: "for all callers", tenant: "for each tenant", principal: "for each caller" }[scope];
}

/**
 * A text on one line, with every character that is there to be seen: what is reviewed must not look like something else.
 * A comment of CEL ends at its line, so that the ends of lines show.
 */
export function visible(text: string): string {
  return text
    .trim()
    .replace(/[ \t]*\r?\n[ \t]*/g, " ⏎ ")
    .replace(
      /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
      (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`,
    );
}

function unitOf(milliseconds: number) {
  return units.find(({ size }) => milliseconds % size === 0) ?? { unit: "millisecond", short: "ms", size: 1 };
}

const units = [
  { unit: "day", short: "d", size: 86_400_000 },
  { unit: "hour", short: "h", size: 3_600_000 },
  { unit: "minute", short: "m", size: 60_000 },
  { unit: "second", short: "s", size: 1_000 },
];
