import { lookup } from "node:dns/promises";
import {
  createSecureContext,
  getCACertificates,
  type SecureContext,
  type SecureContextOptions,
} from "node:tls";

/** How connections to an internal service are made and watched. Times are in milliseconds, whole and above 0. */
export interface SessionOptions {
  /** For TCP, TLS and the other side's first SETTINGS together, and as long for the name before. Default: 1,000. */
  readonly connectTimeoutMs: number;
  /** From the answer to one ping to the next ping, whether there are calls or not. Default: 10,000. */
  readonly pingIntervalMs: number;
  /** For the answer to a ping. A connection that does not answer is cut, with all its calls. Default: 2,000. */
  readonly pingTimeoutMs: number;
  /** For calls in flight to finish after `close()`. Default: 2,000. */
  readonly closeGraceMs: number;
  /**
   * After which a connection is replaced, give or take a tenth. The new one is opened first; calls on the old one
   * finish there. A virtual IP address in front of many servers spreads connections, not calls: only new ones find
   * new servers. Default: 900,000.
   */
  readonly maxAgeMs: number;
  /** After which the names of addresses are looked up again. Default: 30,000. */
  readonly dnsTtlMs: number;
  /** How many connections to each address are open at least, once there are calls. Default: 1. */
  readonly connections: number;
  /** How many may be, when those that are open have much to do. Default: 4. */
  readonly maxConnections: number;
  /**
   * Whether each address is asked by `grpc.health.v1.Health/Watch` whether it serves; one that says no gets no calls.
   * `true` asks about the server as a whole. One that does not have the method counts as serving. Default: false.
   */
  readonly healthCheck: boolean | { readonly service: string };
  /** For `https://` addresses: who is trusted besides the public authorities, and a client certificate. PEM. */
  readonly tls: Pick<SecureContextOptions, "ca" | "cert" | "key">;
  /**
   * Finds the IP addresses of a name. The default is the system's `getaddrinfo`, which knows `/etc/hosts`, search
   * domains and whatever else the machine is set up for, but tells no TTL: hence `dnsTtlMs`. A DNS query of our own
   * would know the TTL, and would not find names that everything else on the machine finds.
   */
  readonly resolve: (host: string) => Promise<readonly string[]>;
}

/** The defaults of {@link SessionOptions}. */
export const defaultSessionOptions: SessionOptions = Object.freeze({
  connectTimeoutMs: 1_000,
  pingIntervalMs: 10_000,
  pingTimeoutMs: 2_000,
  closeGraceMs: 2_000,
  maxAgeMs: 900_000,
  dnsTtlMs: 30_000,
  connections: 1,
  maxConnections: 4,
  healthCheck: false,
  tls: Object.freeze({}),
  resolve: async (host: string) => (await lookup(host, { all: true })).map(({ address }) => address),
});

/** Throws a RangeError that names each option that cannot be, and what was given. */
export function checkSessionOptions(name: string, options: SessionOptions): void {
  const { tls, healthCheck: _, resolve: __, ...numbers } = options;
  const problems = Object.entries(numbers)
    .filter(([, value]) => !Number.isInteger(value) || value < 1 || value > 0x7fff_ffff)
    .map(([option, value]) => `${option} must be a whole number from 1 to 2147483647, got ${String(value)}`);
  if (options.maxConnections < options.connections)
    problems.push(`maxConnections must not be less than connections, got ${options.maxConnections}`);
  problems.push(...tlsProblems(tls));
  if (problems.length > 0) throw new RangeError(`upstream ${name}: ${problems.join("; ")}`);
}

/** What is wrong with the certificates and the key, if anything is. */
export function tlsProblems(tls: SessionOptions["tls"]): string[] {
  if (Object.keys(tls).length === 0) return [];
  try {
    createSecureContext(tls);
    return [];
  } catch (error) {
    return [`tls must be PEM that belongs together: ${error instanceof Error ? error.message : error}`];
  }
}

/** What TLS connections are made with. Node would trust the given authorities in place of its own. */
export function secureContextOf({ ca, ...own }: SessionOptions["tls"]): SecureContext {
  return createSecureContext(ca === undefined ? own : { ...own, ca: [...getCACertificates(), ca].flat() });
}
