import type { ConnectionOptions } from "node:tls";

/** How connections to an internal service are made and watched. Times are in milliseconds, whole and above 0. */
export interface SessionOptions {
  /** For TCP, TLS and the other side's first SETTINGS together. Default: 1,000. */
  readonly connectTimeoutMs: number;
  /** From the answer to one ping to the next ping, whether there are calls or not. Default: 10,000. */
  readonly pingIntervalMs: number;
  /** For the answer to a ping. A connection that does not answer is cut, with all its calls. Default: 2,000. */
  readonly pingTimeoutMs: number;
  /** For calls in flight to finish after `close()`. Default: 2,000. */
  readonly closeGraceMs: number;
  /** For `https://` addresses: what Node's own trust store does not know, and a client certificate. PEM. */
  readonly tls: Pick<ConnectionOptions, "ca" | "cert" | "key">;
}

/** The defaults of {@link SessionOptions}. */
export const defaultSessionOptions: SessionOptions = Object.freeze({
  connectTimeoutMs: 1_000,
  pingIntervalMs: 10_000,
  pingTimeoutMs: 2_000,
  closeGraceMs: 2_000,
  tls: Object.freeze({}),
});

/** Throws a RangeError that names each time that cannot be, and what was given. */
export function checkSessionOptions(name: string, { tls: _, ...times }: SessionOptions): void {
  const problems = Object.entries(times)
    .filter(([, value]) => !Number.isInteger(value) || value < 1 || value > 0x7fff_ffff)
    .map(([option, value]) => `${option} must be a whole number from 1 to 2147483647, got ${String(value)}`);
  if (problems.length > 0) throw new RangeError(`upstream ${name}: ${problems.join("; ")}`);
}
