import type { Redis } from "ioredis";
import { RateLimiterRedis, RateLimiterRes } from "rate-limiter-flexible";
import { type Bill, type Bucket, digest, type Standing } from "./bucket.ts";

/**
 * In place of the library's own script, which also counts what it refuses: a call that costs more than is left would use
 * up what is left. Takes `ARGV[1]` of `ARGV[3]` for `ARGV[2]` seconds; less than nothing gives it back.
 */
const takeScript = `
local left = redis.call('pttl', KEYS[1])
local used = left > 0 and tonumber(redis.call('get', KEYS[1])) or 0
local cost = math.max(tonumber(ARGV[1]), -used)
if used + cost <= tonumber(ARGV[3]) and cost ~= 0 then
  if left > 0 then
    redis.call('incrby', KEYS[1], cost)
  else
    redis.call('set', KEYS[1], cost, 'EX', ARGV[2])
  end
end
return { used + cost, left > 0 and left or ARGV[2] * 1000 }
`;

/**
 * Takes what a call costs from its caller's buckets in Redis: from all of them, or from none. Rejects if Redis fails.
 */
export async function takeFromRedis(client: Redis, key: string, bills: readonly Bill[]): Promise<Standing[]> {
  // No subject or address is to be read in Redis.
  const owner = digest(key);
  const taken = await Promise.all(
    bills.map(async ({ bucket, cost }) => {
      bucket.limiter ??= createLimiter(client, bucket);
      const { refused, result } = await consume(bucket.limiter, owner, cost);
      return { bucket, limiter: bucket.limiter, cost, refused, result };
    }),
  );
  const refusal = taken.some(({ refused }) => refused);
  return taken.map(({ bucket, limiter, cost, refused, result }) => {
    // Nobody waits for this; if it is lost, the call was paid for once in vain.
    if (refusal && !refused) limiter.reward(owner, cost).catch(() => {});
    const used = result.consumedPoints - (refusal ? cost : 0);
    const remaining = Math.max(bucket.limit.calls - used, 0);
    return { bucket, cost, refused, remaining, resetMs: result.msBeforeNext };
  });
}

function createLimiter(client: Redis, { name, limit }: Bucket): RateLimiterRedis {
  return new RateLimiterRedis({
    storeClient: client,
    keyPrefix: `portico:limit:${name}`,
    points: limit.calls,
    duration: limit.windowSeconds,
    customIncrTtlLuaScript: takeScript,
  });
}

/** The library rejects with the result if the call is refused, and with an error if Redis fails. */
async function consume(limiter: RateLimiterRedis, owner: string, cost: number) {
  try {
    return { refused: false, result: await limiter.consume(owner, cost) };
  } catch (error) {
    if (error instanceof RateLimiterRes) return { refused: true, result: error };
    throw error;
  }
}
