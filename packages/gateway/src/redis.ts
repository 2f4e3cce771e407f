import { isIP } from "node:net";
import { Redis, type RedisOptions, ReplyError } from "ioredis";
import type { Logger } from "pino";

/**
 * What all gateways of an API share, in Redis. It is there to be better informed, never to be waited for: whoever asks
 * it has an answer of its own for when there is none.
 */
export interface SharedStore {
  /**
   * Asks Redis. Resolves to `undefined` if it does not answer in time, answers with an error, or is not connected.
   * From then on it is not asked, which takes no time at all, but for one question a second that finds out whether it is
   * back; less and less often, down to one a minute, if it is back again and again only to answer with an error. Never
   * rejects.
   *
   * @example const kept = await store.ask((client) => client.getBuffer(key)); // null if there is no such key
   */
  ask<T>(question: (client: Redis) => Promise<T>): Promise<T | undefined>;
  /** Hangs up, and does not connect again. */
  close(): void;
}

/** How Redis is asked. */
export interface RedisSettings {
  /** How long an answer is waited for, in milliseconds. Default: 15, as Redis in trouble may cost a call 20. */
  readonly answerMs?: number;
  /** A clock in milliseconds, for how long Redis is left alone. */
  readonly now?: () => number;
}

/**
 * Connects to Redis 6.0 or later, and connects again whenever the connection is lost. Returns at once.
 *
 * Writes one line to the log when Redis is lost, and one when it is back. What can be in the URL besides the host and
 * the port, such as a password, is never written.
 *
 * Throws a `TypeError` if the URL is none of Redis, without repeating it.
 *
 * @param url `redis://host:port`, or `rediss://` for TLS, with `user:password@` before and `/database` after the host
 * @example const store = createRedis("rediss://gateway:secret@redis.internal:6380", log);
 */
export function createRedis(
  url: string,
  log: Pick<Logger, "info" | "warn">,
  { answerMs = 15, now = () => performance.now() }: RedisSettings = {},
): SharedStore {
  const { protocol, hostname, host } = parseRedisUrl(url);
  const client = new Redis(url, {
    ...options,
    ...(protocol === "rediss:" ? { tls: tlsOptions(hostname) } : {}),
  });
  let lost = false;
  let restsUntil = 0;
  let backAt = Number.NEGATIVE_INFINITY;
  let relapses = 0;
  let closed = false;

  const lose = (reason: string, isRefusal = false) => {
    if (!lost) relapses = isRefusal && now() - backAt < longestRestMs ? relapses + 1 : 0;
    restsUntil = now() + Math.min(restMs * 2 ** relapses, longestRestMs);
    if (lost || closed) return;
    lost = true;
    log.warn({ redis: host, reason }, "Redis is lost: the gateway goes on with what it has in memory");
  };
  // The message alone: the error itself has the command that failed, and so the password if that was AUTH.
  client.on("error", (error: Error) => lose(error.message));
  client.on("close", () => lose("the connection was closed"));
  client.on("ready", () => {
    if (relapses === 0) restsUntil = 0;
  });

  return {
    ask: async (question) => {
      const probes = lost;
      if (client.status !== "ready" || (probes && now() < restsUntil)) return undefined;
      if (probes) restsUntil = now() + restMs;
      try {
        const answer = await within(answerMs, question(client));
        // Only a probe: of many questions on their way when Redis gets slow, the first that is late decides.
        if (probes && lost) {
          lost = false;
          backAt = now();
          log.info({ redis: host }, "Redis is back");
        }
        return answer;
      } catch (error) {
        lose(error instanceof Error ? error.message : String(error), error instanceof ReplyError);
        return undefined;
      }
    },
    close: () => {
      closed = true;
      client.disconnect();
    },
  };
}

/** Which URLs are those of a Redis, in words. */
export const redisUrlForm =
  "a URL such as redis://host:6379 or rediss://user:password@host:6380/0, without a query, and with special characters of the password percent-encoded";

/** Whether {@link createRedis} takes the URL. */
export function isRedisUrl(url: string): boolean {
  return readRedisUrl(url) !== undefined;
}

/** How long Redis is left alone when it did not answer. */
const restMs = 1_000;

/** How long at the most, where it reads and does not write: a probe that reads succeeds, and the next write fails. */
const longestRestMs = 60_000;

const options = {
  // A command fails rather than waits for a connection, and is not sent again: its caller has gone on.
  enableOfflineQueue: false,
  autoResendUnfulfilledCommands: false,
  maxRetriesPerRequest: 0,
  connectTimeout: 1_000,
  // A peer that has vanished without a word is noticed by its silence, and the connection made anew.
  socketTimeout: 2_000,
  // What was the primary may be a replica now, and its name lead elsewhere.
  reconnectOnError: ({ message }: Error) => message.includes("READONLY"),
  // Spread, so that not all gateways come at once when Redis is back.
  retryStrategy: (times: number) => Math.min(100 * 2 ** times, 2_000) * (0.5 + Math.random() / 2),
} satisfies RedisOptions;

/** The name for SNI, which the library leaves out. RFC 6066 forbids addresses there. */
function tlsOptions(hostname: string): { servername?: string } {
  return isIP(hostname.replace(/^\[|\]$/g, "")) === 0 ? { servername: hostname } : {};
}

function parseRedisUrl(url: string): URL {
  const parsed = readRedisUrl(url);
  if (parsed === undefined) throw new TypeError(`must be ${redisUrlForm}`);
  return parsed;
}

/** A query is refused because it would override the options above. */
function readRedisUrl(url: string): URL | undefined {
  const parsed = /^rediss?:\/\/[^/?#]+(\/\d{0,5})?$/.test(url) ? URL.parse(url) : null;
  if (parsed === null || parsed.hostname === "") return undefined;
  return isPercentEncoded(parsed.username + parsed.password) ? parsed : undefined;
}

function isPercentEncoded(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

/** Rejects if the promise takes longer than so many milliseconds. */
function within<T>(milliseconds: number, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = () => reject(new Error(`no answer within ${milliseconds} ms`));
    // After a pause of this process itself, timers run before sockets are read: an answer may be there already.
    const timer = setTimeout(() => setImmediate(late), milliseconds);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}
