import { gzipSync } from "node:zlib";
import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { gzip } from "./compression.ts";

test("what was compressed is what comes out", async () => {
  const bytes = Buffer.from("again and again ".repeat(1_000));
  const compressed = await gzip.compress(bytes);
  expect(compressed.length).toBeLessThan(bytes.length / 10);
  expect(Buffer.from(await gzip.decompress(compressed, bytes.length))).toEqual(bytes);
});

test("a hundred bombs at once are each given up, and the next request is read", async () => {
  const bomb = gzipSync(Buffer.alloc(2 ** 24));
  const ends = await Promise.allSettled(Array.from({ length: 100 }, () => gzip.decompress(bomb, 65_536)));
  for (const end of ends)
    expect(end).toMatchObject({ status: "rejected", reason: { code: Code.ResourceExhausted } });
  expect(await gzip.decompress(gzipSync("fine"), 65_536)).toEqual(Buffer.from("fine"));
});

test("what is no gzip is refused, and holds up nobody", async () => {
  const ends = await Promise.allSettled(
    Array.from({ length: 50 }, (_, index) =>
      gzip.decompress(index % 2 === 0 ? Buffer.from("no gzip") : gzipSync("gzip"), 100),
    ),
  );
  expect(ends.filter(({ status }) => status === "fulfilled")).toHaveLength(25);
});
