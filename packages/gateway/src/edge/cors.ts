import { cors as connectCors } from "@connectrpc/connect";
import { partialHeader } from "./partial-header.ts";

// What web pages of other origins may send and read: Connect's own header lists, and what Portico adds to them.

const methods = [...connectCors.allowedMethods];
const allowedHeaders = [
  ...connectCors.allowedHeaders,
  "authorization",
  "x-api-key",
  "x-request-id",
  "if-none-match",
];
const exposedHeaders = [
  ...connectCors.exposedHeaders,
  "x-request-id",
  "retry-after",
  "ratelimit",
  "ratelimit-policy",
  "etag",
  partialHeader,
];
/** Browsers ask again after two hours; Chromium allows no longer. */
const maxAge = 7_200;

/** What `@fastify/cors` takes. */
export function corsOptions(origins: readonly string[]) {
  return {
    origin: origins.length === 0 ? false : [...origins],
    ...{ methods, allowedHeaders, exposedHeaders, maxAge },
  };
}

/** The same headers, for an answer that Fastify does not write. */
export interface CorsHeaders {
  /** For an answer to a page of this origin, which may be none of those that are allowed. */
  readonly forAnswer: (origin: string | undefined) => Readonly<Record<string, string>>;
  /** For the answer to a page that asks whether it may call. */
  readonly forPreflight: (origin: string | undefined) => Readonly<Record<string, string>>;
}

/** Makes the headers of each allowed origin once. */
export function createCorsHeaders(origins: readonly string[]): CorsHeaders {
  const others = origins.length === 0 ? {} : { vary: "Origin" };
  const answers = new Map(origins.map((origin) => [origin, answerHeaders(origin)]));
  const preflights = new Map(
    [...answers].map(([origin, headers]) => [origin, { ...headers, ...preflightHeaders }]),
  );
  return {
    forAnswer: (origin) => answers.get(origin ?? "") ?? others,
    forPreflight: (origin) => preflights.get(origin ?? "") ?? others,
  };
}

function answerHeaders(origin: string): Record<string, string> {
  return {
    vary: "Origin",
    "access-control-allow-origin": origin,
    "access-control-expose-headers": exposedHeaders.join(", "),
  };
}

const preflightHeaders: Readonly<Record<string, string>> = {
  "access-control-allow-methods": methods.join(", "),
  "access-control-allow-headers": allowedHeaders.join(", "),
  "access-control-max-age": String(maxAge),
};
