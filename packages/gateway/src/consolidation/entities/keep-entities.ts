import type { Logger } from "pino";
import { fingerprint } from "../../fingerprint.ts";
import { createKeptBytes } from "../../kept-bytes.ts";
import type { SharedStore } from "../../redis.ts";
import { type AnyUpstream, declaration } from "../../upstream/upstream.ts";
import { createEntityCache, type EntityCache } from "./entity-cache.ts";

/** Whose entities they are, and where they are kept. */
export interface KeepEntitiesOptions {
  /** What all entities together may take in memory; 0 for no cache. */
  readonly maxBytes: number;
  readonly redis: SharedStore | undefined;
  /** What tells this API from others that use the same Redis. */
  readonly domain: string;
  readonly upstreams: readonly AnyUpstream[];
  /** The longest time that a call can have, in milliseconds. */
  readonly maxMs: number;
  readonly log: Pick<Logger, "warn">;
}

/** The entity cache of a gateway, which logs what no caller learns. Throws a `StartError` for too few `maxBytes`. */
export function keepEntities(options: KeepEntitiesOptions): EntityCache | undefined {
  const { maxBytes, redis, domain, upstreams, maxMs, log } = options;
  if (maxBytes === 0) return undefined;
  const files = upstreams.map((upstream) => upstream[declaration].service.file);
  return createEntityCache({
    // Whoever reads the same bytes differently is another API.
    kept: createKeptBytes({ maxBytes, redis, namespace: `entities:${domain}:${fingerprint(files)}` }),
    maxMs,
    onError: (error, loader) => log.warn({ err: error, loader }, "kept entities could not be renewed"),
  });
}
