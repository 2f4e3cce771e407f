import { promisify } from "node:util";
import { gzip as zlibGzip } from "node:zlib";
import type { Compression } from "@connectrpc/connect/protocol";
import { compressionGzip } from "@connectrpc/connect-node";

const compress = promisify(zlibGzip);

/**
 * How many messages are compressed or decompressed at a time. One less than Node has threads for it: signatures are checked
 * and names looked up by the same ones, and those who wait for that must not wait for large messages of strangers. And a
 * request can become as large as the largest message, from next to nothing.
 */
const turns = createTurns(3);

/**
 * The one compression that is offered. Level 4 costs a fraction of zlib's default for nearly the same size; brotli
 * at its default quality costs 100 times as much, and a stranger chooses it with one header.
 *
 * A request that would become larger than what it may be is given up as soon as that shows.
 */
export const gzip: Compression = {
  name: compressionGzip.name,
  compress: (bytes) => turns(async () => new Uint8Array(await compress(bytes, { level: 4 }))),
  decompress: (bytes, maxBytes) => turns(() => compressionGzip.decompress(bytes, maxBytes)),
};

/** Runs at most so many tasks at a time, the others in the order in which they came. */
function createTurns(most: number): <T>(task: () => Promise<T>) => Promise<T> {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (task) => {
    if (running >= most) await new Promise<void>((resolve) => waiting.push(resolve));
    else running++;
    try {
      return await task();
    } finally {
      // The turn is passed on, or given up.
      const next = waiting.shift();
      if (next === undefined) running--;
      else next();
    }
  };
}
