import { promisify } from "node:util";
import { gzip as zlibGzip } from "node:zlib";
import type { Compression } from "@connectrpc/connect/protocol";
import { compressionGzip } from "@connectrpc/connect-node";

const compress = promisify(zlibGzip);

/**
 * The one compression that is offered. Level 4 costs a fraction of zlib's default for nearly the same size; brotli
 * at its default quality costs 100 times as much, and a stranger chooses it with one header.
 */
export const gzip: Compression = {
  name: compressionGzip.name,
  compress: async (bytes) => new Uint8Array(await compress(bytes, { level: 4 })),
  decompress: compressionGzip.decompress,
};
