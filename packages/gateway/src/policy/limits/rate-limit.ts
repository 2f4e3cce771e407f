import { LRUCache } from "lru-cache";
import { PublicError } from "../../errors.ts";
import type { SharedStore } from "../../redis.ts";
import type { Limit } from "../principal.ts";
import type { Bucket, Standing } from "./bucket.ts";
import { formatLimit } from "./limits.ts";
import { createMemory } from "./memory-limits.ts";
import { takeFromRedis } from "./redis-limits.ts";

/** What one call takes, and from which limits. */
export interface Charge {
  /** Whose limits these are: `common` for those of all methods, or the full name of the one method that they are of. */
  readonly scope: string;
  readonly limits: readonly Limit[];
  /** How many calls' worth this one takes. */
  readonly cost: number;
}

/**
 * Takes what a call costs from the limits of its caller. All limits must have that much left, else nothing is taken.
 *
 * Each limit counts in a window that begins with the first call. Calls that are refused do not prolong it.
 *
 * Errors: `RATE_LIMIT_EXCEEDED`, with `retry-after`: when this call would be let in.
 *
 * @param key the caller: the `id` of a principal, or an {@link addressKey}
 * @param charges at most one of each scope
 */
export type RateLimit = (key: string, charges: readonly Charge[]) => Promise<RateLimitFacts>;

/** What a caller learns about its limits. */
export interface RateLimitFacts {
  /**
   * `ratelimit-policy` and `ratelimit` (draft-ietf-httpapi-ratelimit-headers-10): for each limit its quota `q` and window
   * `w`, what remains of it, `r`, and the seconds until it is whole again, `t`. None if there is no limit.
   */
  readonly headers: Readonly<Record<string, string>>;
}

/** What limits are counted with. */
export interface RateLimitOptions {
  /** Lets gateways count together. Without it, and while it does not answer, each counts by itself, in memory. */
  readonly redis?: SharedStore | undefined;
  /** A clock in milliseconds, for what is counted in memory. */
  readonly now?: () => number;
}

/**
 * Creates what counts calls. There is nothing to close: it holds no timer.
 *
 * @example
 * const { consume } = createRateLimit({ redis });
 * const { headers } = await consume(principal.id, [{ scope: "common", limits: parseLimits("600/1m"), cost: 1 }]);
 */
export function createRateLimit({ redis, now = () => performance.now() }: RateLimitOptions = {}): {
  readonly consume: RateLimit;
} {
  const bucketOf = createBuckets();
  const takeFromMemory = createMemory(now);
  return {
    consume: async (key, charges) => {
      const bills = charges.flatMap(({ scope, limits, cost }) =>
        limits.map((limit) => ({ bucket: bucketOf(scope, limit), cost })),
      );
      if (bills.length === 0) return unlimited;
      const shared = await redis?.ask((client) => takeFromRedis(client, key, bills));
      return settle(shared ?? takeFromMemory(key, bills));
    },
  };
}

/**
 * Why no call can ever be paid for, if that is so: to be found at start.
 *
 * @example chargeProblem({ scope: "common", limits: parseLimits("10/1s"), cost: 20 }); // "a call costs 20, which ..."
 */
export function chargeProblem({ limits, cost }: Charge): string | undefined {
  const tight = limits.filter(({ calls }) => calls < cost).sort((a, b) => a.calls - b.calls)[0];
  if (tight === undefined) return undefined;
  return `a call costs ${cost}, which is more than the limit ${formatLimit(tight)} ever allows: lower the cost to ${tight.calls} at most, or raise the limit`;
}

const unlimited: RateLimitFacts = { headers: {} };

/** Buckets come from settings, protos and API keys: they are few, but keys come and go while the gateway runs. */
function createBuckets(): (scope: string, limit: Limit) => Bucket {
  const buckets = new LRUCache<string, Bucket>({ max: 10_000 });
  return (scope, limit) => {
    const id = `${scope}:${limit.windowSeconds}:${limit.calls}`;
    const known = buckets.get(id);
    if (known !== undefined) return known;
    const name = `${scope}:${limit.windowSeconds}`;
    const label = `"${scope}-${limit.windowSeconds}"`;
    const policy = `${label};q=${limit.calls};w=${limit.windowSeconds}`;
    const bucket: Bucket = { limit, name, label, policy };
    buckets.set(id, bucket);
    return bucket;
  };
}

/** What the caller learns; throws if a bucket refused the call. */
function settle(standings: readonly Standing[]): RateLimitFacts {
  const headers = {
    "ratelimit-policy": standings.map(({ bucket }) => bucket.policy).join(", "),
    ratelimit: standings
      .map(
        ({ bucket, remaining, resetMs }) => `${bucket.label};r=${remaining};t=${Math.ceil(resetMs / 1_000)}`,
      )
      .join(", "),
  };
  const refusals = standings.filter(({ refused }) => refused);
  if (refusals.length === 0) return { headers };
  const never = refusals.find(({ bucket, cost }) => cost > bucket.limit.calls);
  const { bucket, resetMs } = never ?? refusals.reduce((a, b) => (b.resetMs > a.resetMs ? b : a));
  throw new PublicError("RATE_LIMIT_EXCEEDED", never && "The call costs more than its limit allows.", {
    headers,
    metadata: { limit: formatLimit(bucket.limit) },
    ...(never ? {} : { retryAfterMs: Math.ceil(resetMs) }),
  });
}
