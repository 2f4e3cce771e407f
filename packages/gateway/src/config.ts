import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { createSecureContext } from "node:tls";
import * as z from "zod";
import { StartError } from "./errors.ts";
import { type Access, parseAccess } from "./policy/access.ts";

/** The settings of a gateway, read once and never changed. Times are in milliseconds, sizes in bytes. */
export interface Config {
  /** `demo` has an identity of its own and is refused where it could be reached from outside. */
  readonly mode: "production" | "demo";
  readonly host: string;
  readonly port: number;
  readonly adminPort: number;
  /** PEM; absent for cleartext. */
  readonly tls: { readonly cert: string; readonly key: string } | undefined;
  /** Absent in demo mode. */
  readonly auth:
    | { readonly issuer: string; readonly audience: string; readonly jwksUrl: string | undefined }
    | undefined;
  readonly rolesClaim: string;
  readonly access: Access;
  /** The addresses of each upstream, by its name. */
  readonly upstreams: Readonly<Record<string, readonly URL[]>>;
  readonly corsOrigins: readonly string[];
  readonly limits: { readonly maxRequestBytes: number; readonly maxResponseBytes: number };
  readonly deadlines: { readonly defaultMs: number; readonly maxMs: number; readonly streamMs: number };
  readonly drain: { readonly delayMs: number; readonly timeoutMs: number };
  readonly logLevel: string;
}

/**
 * Reads the settings from the environment. An empty variable counts as not set.
 *
 * Throws a {@link StartError} that lists every problem: the name of the variable, what was given and what would do.
 *
 * @param environment such as `process.env`
 * @param upstreams the names of the upstreams, each of which needs a variable
 * @example const config = loadConfig(process.env, ["users", "orders"]); // reads UPSTREAM_USERS and UPSTREAM_ORDERS
 */
export function loadConfig(
  environment: Readonly<Record<string, string | undefined>>,
  upstreams: readonly string[],
): Config {
  const given: Given = Object.fromEntries(
    Object.entries(environment).filter(([, value]) => value !== undefined && value !== ""),
  );
  const issues = schema.safeParse(given).error?.issues ?? [];
  // What is wrong by itself is left out, so that the rest is checked all the same.
  const wrong = new Set(issues.map((issue) => String(issue.path[0])));
  const variables = schema.parse(
    Object.fromEntries(Object.entries(given).filter(([name]) => !wrong.has(name))),
  );
  const { addresses, problems: upstreamProblems } = readUpstreams(given, upstreams);
  const problems = [...issues.map((issue) => describe(issue, given)), ...upstreamProblems];
  const files = readFiles(variables, problems);
  problems.push(...contradictions(variables, given, wrong));
  if (problems.length > 0 || files === undefined) throw new StartError(problems);
  return toConfig(variables, addresses, files);
}

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

/** Every variable but those of the upstreams; the description says what would do. */
const schema = z.object({
  PORTICO_MODE: z.enum(["production", "demo"]).default("production").describe("production or demo"),
  HOST: z.string().default("127.0.0.1"),
  PORT: wholeNumber(0, 65_535, 8_080),
  ADMIN_PORT: wholeNumber(0, 65_535, 9_464),
  TLS_CERT_FILE: file,
  TLS_KEY_FILE: file,
  AUTH_ISSUER: url,
  AUTH_AUDIENCE: z.string().optional(),
  AUTH_JWKS_URL: url,
  AUTH_ROLES_CLAIM: z.string().default("roles"),
  ACCESS_FILE: file,
  CORS_ORIGINS: z
    .string()
    .transform((list) => (list === "" ? [] : list.split(",").map((origin) => origin.trim())))
    .refine((origins) => origins.every(isOrigin))
    .prefault("")
    .describe("origins such as https://app.example.com, joined by commas, without a path"),
  MAX_REQUEST_BYTES: wholeNumber(1, 4 * 2 ** 20, 256 * 2 ** 10),
  MAX_RESPONSE_BYTES: wholeNumber(1, 64 * 2 ** 20, 4 * 2 ** 20),
  DEFAULT_TIMEOUT_MS: wholeNumber(1, 3_600_000, 10_000),
  MAX_TIMEOUT_MS: wholeNumber(1, 3_600_000, 30_000),
  STREAM_TIMEOUT_MS: wholeNumber(1, 86_400_000, 600_000),
  DRAIN_DELAY_MS: wholeNumber(0, 60_000, 0),
  DRAIN_TIMEOUT_MS: wholeNumber(0, 600_000, 10_000),
  LOG_LEVEL: z
    .enum(["debug", "info", "warn", "error", "silent"])
    .default("info")
    .describe("debug, info, warn, error or silent"),
});
type Variables = z.infer<typeof schema>;
/** The variables that are set. */
type Given = Readonly<Record<string, string | undefined>>;

function describe(issue: z.core.$ZodIssue, given: Given): string {
  const name = String(issue.path[0]);
  const wanted = schema.shape[name as keyof Variables].description ?? issue.message;
  return `${name} is "${String(given[name])}": it must be ${wanted}`;
}

function isOrigin(text: string): boolean {
  return URL.canParse(text) && new URL(text).origin === text;
}

/** What each variable allows by itself, but not together with the others. */
function contradictions(variables: Variables, given: Given, wrong: ReadonlySet<string>): string[] {
  const problems = wrong.has("PORTICO_MODE") ? [] : identityProblems(variables, given);
  if ((variables.TLS_CERT_FILE === undefined) !== (variables.TLS_KEY_FILE === undefined))
    problems.push("TLS_CERT_FILE and TLS_KEY_FILE go together: set both for TLS, or none for cleartext");
  if (variables.ACCESS_FILE === undefined)
    problems.push(
      'ACCESS_FILE is not set: write the path of a JSON file such as { "roles": { "admin": ["*"] } }',
    );
  if (variables.PORT === variables.ADMIN_PORT && variables.PORT !== 0)
    problems.push(`PORT and ADMIN_PORT are both ${variables.PORT}: give them different ports`);
  if (!wrong.has("MAX_TIMEOUT_MS") && variables.DEFAULT_TIMEOUT_MS > variables.MAX_TIMEOUT_MS)
    problems.push(
      `DEFAULT_TIMEOUT_MS is ${variables.DEFAULT_TIMEOUT_MS}: it must not be more than MAX_TIMEOUT_MS, ${variables.MAX_TIMEOUT_MS}`,
    );
  return problems;
}

/** Callers have their identity from a provider or from the demo, never from both. */
function identityProblems(variables: Variables, given: Given): string[] {
  const problems: string[] = [];
  if (variables.PORTICO_MODE === "demo") {
    const identity = ["AUTH_ISSUER", "AUTH_AUDIENCE", "AUTH_JWKS_URL"].filter((name) => name in given);
    if (identity.length > 0)
      problems.push(
        `PORTICO_MODE is "demo", which has an identity of its own: remove ${identity.join(", ")}`,
      );
    if (!["127.0.0.1", "::1", "localhost"].includes(variables.HOST))
      problems.push(
        `PORTICO_MODE is "demo", where anyone can be anyone, so HOST must be 127.0.0.1, ::1 or localhost, not "${variables.HOST}"`,
      );
    if (given["NODE_ENV"] === "production")
      problems.push('PORTICO_MODE is "demo" although NODE_ENV is "production": remove one');
  } else {
    if (!("AUTH_ISSUER" in given))
      problems.push(
        "AUTH_ISSUER is not set: write the URL of your identity provider, as in the iss of its tokens",
      );
    if (!("AUTH_AUDIENCE" in given))
      problems.push("AUTH_AUDIENCE is not set: write what the aud of tokens for this API is");
  }
  return problems;
}

interface Files {
  readonly access: Access;
  readonly tls: Config["tls"];
}

/** Reads the files that variables name; what cannot be read is added to the problems. */
function readFiles(variables: Variables, problems: string[]): Files | undefined {
  const read = (name: "ACCESS_FILE" | "TLS_CERT_FILE" | "TLS_KEY_FILE"): string | undefined => {
    const path = variables[name];
    try {
      return path === undefined ? undefined : readFileSync(resolve(path), "utf8");
    } catch (error) {
      problems.push(
        `${name} is "${path}", which cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      );
      return undefined;
    }
  };
  const [accessText, cert, key] = [read("ACCESS_FILE"), read("TLS_CERT_FILE"), read("TLS_KEY_FILE")];
  if (cert !== undefined && key !== undefined) problems.push(...tlsProblems(cert, key));
  if (accessText === undefined) return undefined;
  try {
    const tls = cert === undefined || key === undefined ? undefined : { cert, key };
    return { access: parseAccess(accessText, `ACCESS_FILE (${variables.ACCESS_FILE})`), tls };
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    problems.push(...error.problems);
    return undefined;
  }
}

function tlsProblems(cert: string, key: string): string[] {
  try {
    createSecureContext({ cert, key });
    return [];
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return [`TLS_CERT_FILE and TLS_KEY_FILE must be a certificate and its key in PEM: ${reason}`];
  }
}

/** Reads `UPSTREAM_<NAME>` for each upstream, and finds variables of this form that belong to none. */
function readUpstreams(given: Given, upstreams: readonly string[]) {
  const names = new Map(upstreams.map((name) => [`UPSTREAM_${name.toUpperCase()}`, name]));
  const addresses: Record<string, URL[]> = {};
  const problems: string[] = [];
  for (const [variable, name] of names) {
    const value = given[variable];
    const parsed = value?.split(",").map((address) => parseAddress(address.trim())) ?? [];
    if (value === undefined)
      problems.push(`${variable} is not set: write where the service is, such as ${addressExamples}`);
    else if (parsed.includes(undefined))
      problems.push(`${variable} is "${value}": it must be ${addressExamples}, joined by commas`);
    addresses[name] = parsed.filter((address) => address !== undefined);
  }
  for (const variable of Object.keys(given).filter(
    (variable) => variable.startsWith("UPSTREAM_") && !names.has(variable),
  ))
    problems.push(`${variable} belongs to no upstream: this gateway knows ${[...names.keys()].join(", ")}`);
  return { addresses, problems };
}

const addressExamples = "http://host:port, https://host:port or dns:///name:port";

/** `dns:///name:port` is the name as gRPC writes it, in cleartext. */
function parseAddress(text: string): URL | undefined {
  const address = text.replace(/^dns:\/\/\//, "http://");
  if (!/^https?:\/\/[^/?#@]+\/?$/.test(address) || !URL.canParse(address)) return undefined;
  return new URL(address);
}

function toConfig(variables: Variables, upstreams: Config["upstreams"], { access, tls }: Files): Config {
  const { AUTH_ISSUER: issuer, AUTH_AUDIENCE: audience, AUTH_JWKS_URL: jwksUrl } = variables;
  return Object.freeze<Config>({
    mode: variables.PORTICO_MODE,
    host: variables.HOST,
    port: variables.PORT,
    adminPort: variables.ADMIN_PORT,
    tls,
    auth: issuer === undefined || audience === undefined ? undefined : { issuer, audience, jwksUrl },
    rolesClaim: variables.AUTH_ROLES_CLAIM,
    access,
    upstreams,
    corsOrigins: variables.CORS_ORIGINS,
    limits: { maxRequestBytes: variables.MAX_REQUEST_BYTES, maxResponseBytes: variables.MAX_RESPONSE_BYTES },
    deadlines: {
      defaultMs: variables.DEFAULT_TIMEOUT_MS,
      maxMs: variables.MAX_TIMEOUT_MS,
      streamMs: variables.STREAM_TIMEOUT_MS,
    },
    drain: { delayMs: variables.DRAIN_DELAY_MS, timeoutMs: variables.DRAIN_TIMEOUT_MS },
    logLevel: variables.LOG_LEVEL,
  });
}
