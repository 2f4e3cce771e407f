import { describe, expect, test } from "vitest";
import { assembleEnvelopes } from "./envelopes.ts";

const max = 1_000;

function envelope(length: number, fill: number, declared = length): Buffer {
  const bytes = Buffer.alloc(5 + length, fill);
  bytes.writeUInt8(0);
  bytes.writeUInt32BE(declared, 1);
  return bytes;
}

/** What comes out, piece by piece, and in the end. */
function assemble(pieces: readonly Uint8Array[]): { out: Buffer[]; rest: Buffer } {
  const assembly = assembleEnvelopes(max);
  const out = pieces.flatMap((piece) => {
    const whole = assembly.add(piece);
    return whole === undefined ? [] : [Buffer.from(whole)];
  });
  return { out, rest: Buffer.from(assembly.rest()) };
}

function cut(bytes: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
    bytes.subarray(index * size, (index + 1) * size),
  );
}

describe("messages in envelopes", () => {
  const messages = [0, 1, 4, 5, 6, 700, 0, 999, 1_000].map((length, index) => envelope(length, index + 1));
  const all = Buffer.concat(messages);

  test.each([1, 2, 3, 4, 5, 6, 7, 100, 704, 1_005, 5_000])(
    "come out as they were, in pieces of %d bytes, and are never cut",
    (size) => {
      const { out, rest } = assemble(cut(all, size));
      expect(Buffer.concat(out)).toEqual(all);
      expect(rest).toHaveLength(0);
      const ends = messages.map((_, index) => Buffer.concat(messages.slice(0, index + 1)).length);
      let end = 0;
      for (const { length } of out) {
        end += length;
        expect(ends).toContain(end);
      }
    },
  );

  test("come out as soon as they are whole", () => {
    const assembly = assembleEnvelopes(max);
    const [one, two] = [envelope(10, 1), envelope(20, 2)];
    expect(assembly.add(Buffer.concat([one, two.subarray(0, 3)]))).toEqual(one);
    expect(assembly.add(two.subarray(3, 24))).toBeUndefined();
    expect(assembly.add(two.subarray(24))).toEqual(two);
  });

  test("are not copied when they come in one piece", () => {
    const piece = Buffer.concat([envelope(10, 1), envelope(20, 2)]);
    expect(assembleEnvelopes(max).add(piece)?.buffer).toBe(piece.buffer);
  });
});

test("half a message is left over", () => {
  const half = envelope(10, 1).subarray(0, 12);
  expect(assemble(cut(half, 1))).toEqual({ out: [], rest: half });
});

test("an envelope that declares too much is handed out at once", () => {
  const lie = envelope(1, 7, max + 1);
  expect(assemble([envelope(3, 1), lie]).out).toEqual([envelope(3, 1), lie]);
});

test("the largest length that can be declared is no negative one", () => {
  const lie = envelope(1, 7, 0xffff_ffff);
  expect(assemble([lie]).out).toEqual([lie]);
});
