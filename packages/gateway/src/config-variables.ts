import { BlockList, isIP } from "node:net";
import * as z from "zod";
import { defaultListenerLimits as listener } from "./edge/listener-limits.ts";
import { leastKeptBytes } from "./kept-bytes.ts";
import { parseLimits } from "./policy/limits/limits.ts";
import { isRedisUrl, redisUrlForm } from "./redis.ts";

// What each variable may be, by itself. The descriptions say what would do.

const wholeNumber = (low: number, high: number, fallback: number) =>
  z
    .string()
    .regex(/^\d+$/)
    .transform(Number)
    .pipe(z.number().min(low).max(high))
    .prefault(String(fallback))
    .describe(`a whole number from ${low} to ${high}, or nothing for ${fallback}`);
const file = z.string().optional().describe("the path of a readable file");
const url = z
  .url({ protocol: /^https?$/ })
  .optional()
  .describe("a URL that begins with https:// or http://");
const list = (isItem: (item: string) => boolean, description: string) =>
  z
    .string()
    .transform((text) => (text === "" ? [] : text.split(",").map((item) => item.trim())))
    .refine((items) => items.every(isItem))
    .prefault("")
    .describe(description);
const limits = (fallback: string) =>
  z
    .string()
    .transform((text, context) => {
      try {
        return parseLimits(text);
      } catch (error) {
        context.addIssue({ code: "custom", message: error instanceof Error ? error.message : String(error) });
        return z.NEVER;
      }
    })
    .prefault(fallback)
    .describe(`calls in a time, such as 600/1m or "50/1s, 10000/1d", or off; nothing for ${fallback}`);

/** How much may be kept in memory. Most is more than any process should have, least what can be bounded. */
const keptBytes = wholeNumber(0, 2 ** 34, 64 * 2 ** 20)
  .refine((bytes) => bytes === 0 || bytes >= leastKeptBytes)
  .describe(`0, a whole number from ${leastKeptBytes} to ${2 ** 34}, or nothing for ${64 * 2 ** 20}`);

const switched = (fallback: "on" | "off" | "") =>
  z.enum(["on", "off", ""]).default(fallback).describe("on or off");

/** The part of something, from none to all. */
const ratio = z
  .string()
  .regex(/^(0|1|0?\.\d+|1\.0+)$/)
  .transform(Number)
  .prefault("1")
  .describe("a number from 0 to 1, or nothing for 1");

/** Every variable but those of the upstreams. */
export const schema = z.object({
  PORTICO_MODE: z.enum(["production", "demo"]).default("production").describe("production or demo"),
  HOST: z.string().default("127.0.0.1"),
  PORT: wholeNumber(0, 65_535, 8_080),
  ADMIN_PORT: wholeNumber(0, 65_535, 9_464),
  TLS_CERT_FILE: file,
  TLS_KEY_FILE: file,
  TLS_CLIENT_CA_FILE: file,
  TRUSTED_PROXIES: list(isNetwork, "addresses or networks such as 10.0.0.0/8, joined by commas"),
  AUTH_ISSUER: url,
  AUTH_AUDIENCE: z.string().optional(),
  AUTH_JWKS_URL: url,
  AUTH_ROLES_CLAIM: z.string().default("roles"),
  AUTH_SUBJECT_CLAIM: z.string().default("sub"),
  AUTH_TENANT_CLAIM: z.string().optional(),
  AUTH_FILE: file,
  API_KEYS_FILE: file,
  ACCESS_FILE: file,
  GATEWAY_TOKEN_FILE: file,
  RATE_LIMIT_AUTHENTICATED: limits("6000/1m"),
  RATE_LIMIT_ANONYMOUS: limits("600/1m"),
  REDIS_URL: z.string().refine(isRedisUrl).optional().describe(redisUrlForm),
  ANSWER_CACHE_BYTES: keptBytes,
  ENTITY_CACHE_BYTES: keptBytes,
  ERROR_DOMAIN: z
    .string()
    .regex(/^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/)
    .default("portico")
    .describe("a name such as api.example.com"),
  CORS_ORIGINS: list(isOrigin, "origins such as https://app.example.com, joined by commas, without a path"),
  HEADERS_TIMEOUT_MS: wholeNumber(1, 600_000, listener.headersTimeoutMs),
  REQUEST_TIMEOUT_MS: wholeNumber(1, 3_600_000, listener.requestTimeoutMs),
  KEEP_ALIVE_TIMEOUT_MS: wholeNumber(1, 3_600_000, listener.keepAliveTimeoutMs),
  CONNECTION_AGE_MS: wholeNumber(0, 86_400_000, listener.connectionAgeMs),
  MAX_CONNECTIONS: wholeNumber(1, 1_000_000, listener.maxConnections),
  MAX_STREAMS_PER_CONNECTION: wholeNumber(1, 10_000, listener.maxConcurrentStreams),
  MAX_HEADER_BYTES: wholeNumber(1_024, 2 ** 20, listener.maxHeaderBytes),
  STREAM_WINDOW_BYTES: wholeNumber(65_535, 2 ** 30, listener.streamWindowBytes),
  CONNECTION_WINDOW_BYTES: wholeNumber(65_535, 2 ** 30, listener.connectionWindowBytes),
  MAX_SESSION_MEMORY_MB: wholeNumber(1, 4_096, listener.maxSessionMemoryMb),
  MAX_IN_FLIGHT_BYTES: wholeNumber(2 ** 20, 2 ** 34, 64 * 2 ** 20),
  GZIP_MIN_BYTES: wholeNumber(0, 2 ** 30, 16 * 2 ** 10),
  MAX_CONCURRENT_CALLS: wholeNumber(16, 1_000_000, 1_000),
  MAX_LOOP_LAG_MS: wholeNumber(10, 10_000, 50),
  MAX_HEAP_PERCENT: wholeNumber(10, 100, 85),
  MAX_REQUEST_BYTES: wholeNumber(1, 4 * 2 ** 20, 256 * 2 ** 10),
  MAX_RESPONSE_BYTES: wholeNumber(1, 64 * 2 ** 20, 4 * 2 ** 20),
  DEFAULT_TIMEOUT_MS: wholeNumber(1, 3_600_000, 10_000),
  MAX_TIMEOUT_MS: wholeNumber(1, 3_600_000, 30_000),
  STREAM_TIMEOUT_MS: wholeNumber(1, 86_400_000, 600_000),
  STREAM_IDLE_TIMEOUT_MS: wholeNumber(1, 86_400_000, 60_000),
  DRAIN_DELAY_MS: z
    .string()
    .regex(/^\d+$/)
    .transform(Number)
    .pipe(z.number().max(60_000))
    .optional()
    .describe("a whole number from 0 to 60000, or nothing for 3000 (0 in demo mode)"),
  DRAIN_TIMEOUT_MS: wholeNumber(0, 600_000, 10_000),
  UPSTREAMS_CA_FILE: file,
  UPSTREAMS_CERT_FILE: file,
  UPSTREAMS_KEY_FILE: file,
  READY_UPSTREAMS: z
    .string()
    .regex(/^[a-z][a-z0-9_]*( *, *[a-z][a-z0-9_]*)*$/)
    .default("any")
    .describe("none, any, all, or the names of upstreams joined by commas"),
  REFLECTION: switched(""),
  OTEL_EXPORTER_OTLP_ENDPOINT: url,
  OTEL_SERVICE_NAME: z.string().default("portico"),
  OTEL_TRACES_SAMPLER_ARG: ratio,
  LOG_SAMPLE_RATIO: ratio,
  LOG_LEVEL: z
    .enum(["debug", "info", "warn", "error", "silent"])
    .default("info")
    .describe("debug, info, warn, error or silent"),
});

/** The variables, read. */
export type Variables = z.infer<typeof schema>;

/** The variables that are set. */
export type Given = Readonly<Record<string, string | undefined>>;

/** What is wrong with a variable by itself. */
export function describeIssue(issue: z.core.$ZodIssue, given: Given): string {
  const name = String(issue.path[0]);
  const wanted = schema.shape[name as keyof Variables].description ?? issue.message;
  // The URL of Redis may have a password in it, which has no place in a log.
  const shown = name === "REDIS_URL" ? "not shown" : `"${String(given[name])}"`;
  return `${name} is ${shown}: it must be ${wanted}`;
}

function isOrigin(text: string): boolean {
  return URL.canParse(text) && new URL(text).origin === text;
}

function isNetwork(text: string): boolean {
  const [address = "", prefix] = text.split("/");
  if (isIP(address) === 0) return false;
  if (prefix === undefined) return true;
  if (!/^\d{1,3}$/.test(prefix)) return false;
  try {
    new BlockList().addSubnet(address, Number(prefix), isIP(address) === 4 ? "ipv4" : "ipv6");
    return true;
  } catch {
    return false;
  }
}
