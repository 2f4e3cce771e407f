import type { Interceptor, Transport } from "@connectrpc/connect";
import { createConnection } from "./connection.ts";

/** A bearer token, or a function that gets one; see {@link CallDefaults.token}. */
export type Token = string | (() => string | Promise<string>);

/** Headers to send. Values must be plain ASCII. */
export type HeaderValues = Readonly<Record<string, string>> | Headers;

/** What every call of a client has in common. */
export interface CallDefaults {
  /**
   * Who calls: sent as `authorization: Bearer <token>`. A function is asked before every call, so keep the token
   * there until it expires; calls that start while it is still at work share its answer. If it throws, the call
   * fails with an `AuthenticationError`. An `authorization` header of the call wins, and the function is not asked.
   */
  token?: Token | undefined;
  /**
   * How many milliseconds a unary call may take, getting the token included; 30,000 by default. Streams have no
   * limit unless the call sets one.
   */
  timeoutMs?: number | undefined;
  /** Sent with every call. In a browser the server must allow them in its CORS answer. */
  headers?: HeaderValues | undefined;
}

/** Where the server is, and how to get there. */
export interface Address {
  /** Where the server is: `https://api.example.com`, with a path if it has one; in a browser also just `/path`. */
  baseUrl: string;
  /** Replaces the global `fetch`. */
  fetch?: typeof globalThis.fetch | undefined;
  /** Connect interceptors, the first one outermost. They see the `ConnectError`, not yet the `PorticoError`. */
  interceptors?: readonly Interceptor[] | undefined;
  transport?: undefined;
}

/** Somebody else's way to the server, which then has its own address and interceptors. */
export interface OwnTransport {
  /** Any Connect transport: in memory for a test, or gRPC in Node. */
  transport: Transport;
  baseUrl?: undefined;
  fetch?: undefined;
  interceptors?: undefined;
}

/** Options of a client: an address or a transport, and what its calls have in common. */
export type PorticoOptions = CallDefaults & (Address | OwnTransport);

/** Options that were checked and filled in. */
export interface Settings {
  readonly transport: Transport;
  readonly token: Token | undefined;
  readonly timeoutMs: number;
  readonly headers: Headers;
}

/** Checks options. @throws TypeError that names the option and what was given, but never a token. */
export function checkOptions(options: PorticoOptions): Settings {
  if (typeof options !== "object" || options === null) refuse("options", "an object", options);
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) {
      throw new TypeError(`Portico: there is no option "${name}"; there are ${known.join(", ")}.`);
    }
  }
  return {
    transport: checkTransport(options),
    token: checkToken(options.token),
    timeoutMs: checkTimeout(options.timeoutMs) ?? 30_000,
    headers: checkHeaders(options.headers),
  };
}

/** Tells whether a number of milliseconds can be a time limit: timers hold no more than 31 bits. */
export function isTimeout(timeoutMs: unknown): timeoutMs is number {
  return typeof timeoutMs === "number" && timeoutMs > 0 && timeoutMs <= longestTimeoutMs;
}

/** What {@link isTimeout} asks for, in words. */
export const timeoutWords = "a number of milliseconds from 1 to 2147483647";

/** Tells whether a token can stand in a header. */
export function isToken(token: string): boolean {
  return /^[\x21-\x7e]+$/.test(token);
}

const longestTimeoutMs = 2 ** 31 - 1;
const known = ["baseUrl", "token", "timeoutMs", "headers", "fetch", "interceptors", "transport"];

function checkTransport(options: Address | OwnTransport): Transport {
  const { baseUrl, fetch, interceptors, transport } = options;
  if (transport === undefined) {
    if (fetch !== undefined && typeof fetch !== "function") refuse("fetch", "a function", fetch);
    if (interceptors !== undefined && !isFunctions(interceptors)) {
      refuse("interceptors", "an array of functions", interceptors);
    }
    return createConnection({ baseUrl: checkBaseUrl(baseUrl), fetch, interceptors });
  }
  for (const [name, given] of Object.entries({ baseUrl, fetch, interceptors })) {
    if (given !== undefined) {
      throw new TypeError(`Portico: give \`transport\` or \`${name}\`, not both; a transport has its own.`);
    }
  }
  if (typeof transport?.unary !== "function" || typeof transport.stream !== "function") {
    refuse("transport", "a Connect transport", transport);
  }
  return transport;
}

function checkBaseUrl(baseUrl: unknown): string {
  const wanted = 'an absolute http or https URL, such as "https://api.example.com"';
  if (typeof baseUrl !== "string") return refuse("baseUrl", wanted, baseUrl);
  // In a browser a path is enough. `location` is not there in Node.
  const { location } = globalThis as { readonly location?: { readonly href: string } };
  const page = /^\/(?!\/)/.test(baseUrl) ? location?.href : undefined;
  if (!URL.canParse(baseUrl, page)) return refuse("baseUrl", wanted, baseUrl);
  const url = new URL(baseUrl, page);
  if (url.protocol !== "http:" && url.protocol !== "https:") return refuse("baseUrl", wanted, baseUrl);
  if (url.username || url.password) {
    throw new TypeError("Portico: option `baseUrl` must not hold a user name or a password; use `token`.");
  }
  if (url.search || url.hash) return refuse("baseUrl", "a URL without query and fragment", baseUrl);
  return baseUrl;
}

function checkToken(token: Token | undefined): Token | undefined {
  if (token === undefined || typeof token === "function") return token;
  if (typeof token === "string" && isToken(token)) return token;
  // Whatever was given may be a secret, or nearly one.
  const given = typeof token === "string" ? `${token.length} characters` : typeof token;
  const wanted = "a token without spaces or line breaks (and without `Bearer`), or a function that gets one";
  throw new TypeError(`Portico: option \`token\` must be ${wanted}; got ${given}.`);
}

function checkTimeout(timeoutMs: unknown): number | undefined {
  if (timeoutMs === undefined || isTimeout(timeoutMs)) return timeoutMs;
  return refuse("timeoutMs", timeoutWords, timeoutMs);
}

function checkHeaders(headers: HeaderValues | undefined): Headers {
  try {
    return new Headers(headers);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new TypeError(`Portico: option \`headers\` must hold valid names and values: ${why}`, { cause });
  }
}

function isFunctions(value: unknown): boolean {
  return Array.isArray(value) && value.every((item) => typeof item === "function");
}

function refuse(option: string, wanted: string, given: unknown): never {
  throw new TypeError(`Portico: option \`${option}\` must be ${wanted}; got ${show(given)}.`);
}

function show(given: unknown): string {
  if (typeof given === "string") return JSON.stringify(given);
  if (Array.isArray(given)) return "an array";
  if (typeof given === "object" && given !== null) return "an object";
  return typeof given === "function" ? "a function" : String(given);
}
