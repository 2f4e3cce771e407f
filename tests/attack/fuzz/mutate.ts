import type { Random } from "./random.ts";

/** Changes bytes in one to four places: as a broken client would, or one that looks for what breaks. */
export function mutate(bytes: Buffer, random: Random): Buffer {
  let changed = bytes;
  for (let times = 1 + random.below(4); times > 0; times--) changed = random.pick(changes)(changed, random);
  return changed;
}

type Change = (bytes: Buffer, random: Random) => Buffer;

/** What parsers are known to stumble over. */
const nasty: readonly [Buffer, ...Buffer[]] = [
  Buffer.from([0]),
  Buffer.from([0xff, 0xff, 0xff, 0xff]),
  Buffer.from([0x7f, 0xff, 0xff, 0xff]),
  Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
  Buffer.from([0xed, 0xa0, 0x80]),
  Buffer.from([0xc0, 0x80]),
  Buffer.from("\r\n"),
  Buffer.from("\r\n\r\n"),
  Buffer.from("\ufeff"),
  Buffer.from("%00"),
  Buffer.from("%2f..%2f"),
  Buffer.from('"'),
  Buffer.from("\\ud800"),
  Buffer.from("1e999"),
  Buffer.from("-0"),
  Buffer.from("9223372036854775808"),
  Buffer.from('{"__proto__":{"a":1}}'),
  Buffer.from("[".repeat(200)),
  Buffer.from('{"a":'.repeat(200)),
];

const changes: readonly [Change, ...Change[]] = [
  (bytes, random) => {
    if (bytes.length === 0) return bytes;
    const copy = Buffer.from(bytes);
    const at = random.below(copy.length);
    copy[at] = (copy[at] ?? 0) ^ (1 << random.below(8));
    return copy;
  },
  (bytes, random) => splice(bytes, random, random.bytes(1 + random.below(8)), 0),
  (bytes, random) => splice(bytes, random, random.pick(nasty), 0),
  (bytes, random) => splice(bytes, random, random.pick(nasty), 1 + random.below(8)),
  (bytes, random) => splice(bytes, random, Buffer.alloc(0), 1 + random.below(16)),
  (bytes, random) => bytes.subarray(0, random.below(bytes.length + 1)),
  (bytes, random) => {
    const from = random.below(bytes.length + 1);
    const part = bytes.subarray(from, from + random.below(64));
    return splice(bytes, random, Buffer.concat(Array.from({ length: 1 + random.below(8) }, () => part)), 0);
  },
];

/** Puts bytes in, in place of so many others. */
function splice(bytes: Buffer, random: Random, given: Buffer, instead: number): Buffer {
  const at = random.below(bytes.length + 1);
  return Buffer.concat([bytes.subarray(0, at), given, bytes.subarray(at + instead)]);
}
