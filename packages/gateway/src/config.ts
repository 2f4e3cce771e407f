import { type Files, readFiles } from "./config-files.ts";
import { describeIssue, type Given, schema, type Variables } from "./config-variables.ts";
import { defaultListenerLimits, type ListenerLimits } from "./edge/listener-limits.ts";
import { StartError } from "./errors.ts";
import type { CommonLimits } from "./policy/limits/meter.ts";

/** The settings of a gateway, read once and never changed. Times are in milliseconds, sizes in bytes. */
export interface Config {
  /** `demo` has an identity of its own and is refused where it could be reached from outside. */
  readonly mode: "production" | "demo";
  readonly host: string;
  readonly port: number;
  readonly adminPort: number;
  /** PEM; absent for cleartext. With `clientCa`, callers may present certificates that it signed. */
  readonly tls:
    | { readonly cert: string; readonly key: string; readonly clientCa: string | undefined }
    | undefined;
  /** The addresses and networks (CIDR) whose `x-forwarded-for` is believed. */
  readonly trustedProxies: readonly string[];
  /** Whose tokens are accepted. None in demo mode. */
  readonly issuers: readonly IssuerConfig[];
  /** Where the facts about a caller stand in the demo's tokens. */
  readonly claims: ClaimNames;
  /** Files that are read again whenever they change, by their paths. */
  readonly files: {
    readonly access: string;
    readonly apiKeys: string | undefined;
    readonly gatewayToken: string | undefined;
  };
  readonly rateLimits: CommonLimits;
  /** Shares limits among all replicas. Absent, each counts by itself. */
  readonly redisUrl: string | undefined;
  /** How much memory kept answers may take; 0 for none. */
  readonly answerCacheBytes: number;
  /** How much memory kept entities of internal services may take; 0 for none. */
  readonly entityCacheBytes: number;
  /** Whose catalogue the reasons of errors are from. */
  readonly errorDomain: string;
  /** The addresses of each upstream, by its name. */
  readonly upstreams: Readonly<Record<string, readonly URL[]>>;
  readonly corsOrigins: readonly string[];
  /** What clients may take from the public port. */
  readonly listener: ListenerLimits;
  readonly limits: {
    readonly maxRequestBytes: number;
    readonly maxResponseBytes: number;
    /** What requests that are not answered yet may hold together. */
    readonly maxInFlightBytes: number;
    /** Below it, answers are not compressed. */
    readonly gzipMinBytes: number;
  };
  /** When the gateway refuses what it cannot do in time. */
  readonly overload: {
    /** The most calls at a time; the gateway lowers it by itself. */
    readonly maxConcurrency: number;
    readonly maxLoopLagMs: number;
    readonly maxHeapPercent: number;
  };
  readonly deadlines: {
    readonly defaultMs: number;
    readonly maxMs: number;
    readonly streamMs: number;
    /** Without a message, a stream ends. */
    readonly streamIdleMs: number;
  };
  /** PEM: whom to trust at upstreams with `https://` beyond what everyone trusts, and the gateway's own certificate. */
  readonly upstreamTls: { readonly ca?: string; readonly cert?: string; readonly key?: string };
  /** Which upstreams must not be unreachable for the gateway to be ready. */
  readonly readyUpstreams: "none" | "any" | "all" | readonly string[];
  /** Whether callers may ask which methods there are. */
  readonly reflection: boolean;
  /** Where traces go. Absent, there are none. */
  readonly tracing:
    | { readonly endpoint: string; readonly serviceName: string; readonly sampleRatio: number }
    | undefined;
  /** The part of the successful requests that is logged. */
  readonly logSampleRatio: number;
  readonly drain: { readonly delayMs: number; readonly timeoutMs: number };
  readonly logLevel: string;
}

/** One issuer of tokens. */
export interface IssuerConfig {
  /** The exact `iss` of its tokens. */
  readonly issuer: string;
  /** What `aud` must be or contain: one of these. */
  readonly audience: string | readonly string[];
  /** Where its keys are. Absent, its discovery document says. */
  readonly jwksUrl: string | undefined;
  readonly claims: ClaimNames;
  /** The roles that its tokens may give. Absent, all of them. */
  readonly roles?: readonly string[];
}

/** The claims that say who a caller is: a name, or a path with dots such as `realm_access.roles`. */
export interface ClaimNames {
  readonly subject: string;
  readonly roles: string;
  readonly tenant?: string;
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
  const problems = [...issues.map((issue) => describeIssue(issue, given)), ...upstreamProblems];
  const files = readFiles(variables, problems);
  problems.push(...contradictions(variables, given, wrong), ...unknownReady(variables, upstreams));
  const { ACCESS_FILE: access } = variables;
  if (problems.length > 0 || access === undefined) throw new StartError(problems);
  return toConfig(variables, addresses, files, access);
}

/** What each variable allows by itself, but not together with the others. */
function contradictions(variables: Variables, given: Given, wrong: ReadonlySet<string>): string[] {
  const problems = wrong.has("PORTICO_MODE") ? [] : identityProblems(variables, given);
  if ((variables.TLS_CERT_FILE === undefined) !== (variables.TLS_KEY_FILE === undefined))
    problems.push("TLS_CERT_FILE and TLS_KEY_FILE go together: set both for TLS, or none for cleartext");
  if ((variables.UPSTREAMS_CERT_FILE === undefined) !== (variables.UPSTREAMS_KEY_FILE === undefined))
    problems.push(
      "UPSTREAMS_CERT_FILE and UPSTREAMS_KEY_FILE go together: set both for a client certificate, or none",
    );
  if (variables.HEADERS_TIMEOUT_MS > variables.REQUEST_TIMEOUT_MS)
    problems.push(
      `HEADERS_TIMEOUT_MS is ${variables.HEADERS_TIMEOUT_MS}: it must not be more than REQUEST_TIMEOUT_MS, ${variables.REQUEST_TIMEOUT_MS}`,
    );
  if (variables.TLS_CLIENT_CA_FILE !== undefined && variables.TLS_CERT_FILE === undefined)
    problems.push("TLS_CLIENT_CA_FILE needs TLS: set TLS_CERT_FILE and TLS_KEY_FILE too");
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
  // One caller gets half of it: larger requests would always be refused.
  if (variables.MAX_IN_FLIGHT_BYTES < 2 * variables.MAX_REQUEST_BYTES)
    problems.push(
      `MAX_IN_FLIGHT_BYTES is ${variables.MAX_IN_FLIGHT_BYTES}: it must be at least twice MAX_REQUEST_BYTES, ${variables.MAX_REQUEST_BYTES}`,
    );
  return problems;
}

/** The upstreams that readiness is to follow, but that there are not. */
function unknownReady(variables: Variables, upstreams: readonly string[]): string[] {
  const rule = readyUpstreams(variables);
  if (typeof rule === "string") return [];
  return rule
    .filter((name) => !upstreams.includes(name))
    .map((name) => `READY_UPSTREAMS names "${name}": this gateway knows ${upstreams.join(", ")}`);
}

const identityVariables = ["AUTH_ISSUER", "AUTH_AUDIENCE", "AUTH_JWKS_URL"];
const claimVariables = ["AUTH_ROLES_CLAIM", "AUTH_SUBJECT_CLAIM", "AUTH_TENANT_CLAIM"];

/** Callers have their identity from a provider or from the demo, never from both. */
function identityProblems(variables: Variables, given: Given): string[] {
  const problems: string[] = [];
  if (variables.PORTICO_MODE === "demo") {
    const identity = [...identityVariables, "AUTH_FILE"].filter((name) => name in given);
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
  } else if ("AUTH_FILE" in given) {
    const single = [...identityVariables, ...claimVariables].filter((name) => name in given);
    if (single.length > 0)
      problems.push(`AUTH_FILE lists the issuers: move ${single.join(", ")} into it, or leave AUTH_FILE out`);
  } else {
    if (!("AUTH_ISSUER" in given))
      problems.push(
        "AUTH_ISSUER is not set: write the URL of your identity provider, as in the iss of its tokens (or AUTH_FILE, for several)",
      );
    if (!("AUTH_AUDIENCE" in given))
      problems.push("AUTH_AUDIENCE is not set: write what the aud of tokens for this API is");
  }
  return problems;
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

function toConfig(
  variables: Variables,
  upstreams: Config["upstreams"],
  { issuers, tls, upstreamTls }: Files,
  access: string,
): Config {
  return Object.freeze<Config>({
    mode: variables.PORTICO_MODE,
    host: variables.HOST,
    port: variables.PORT,
    adminPort: variables.ADMIN_PORT,
    tls,
    trustedProxies: variables.TRUSTED_PROXIES,
    issuers: [...issuers, ...singleIssuer(variables)],
    claims: claimNames(variables),
    files: {
      access,
      apiKeys: variables.API_KEYS_FILE,
      gatewayToken: variables.GATEWAY_TOKEN_FILE,
    },
    rateLimits: {
      authenticated: variables.RATE_LIMIT_AUTHENTICATED,
      anonymous: variables.RATE_LIMIT_ANONYMOUS,
    },
    redisUrl: variables.REDIS_URL,
    answerCacheBytes: variables.ANSWER_CACHE_BYTES,
    entityCacheBytes: variables.ENTITY_CACHE_BYTES,
    errorDomain: variables.ERROR_DOMAIN,
    upstreams,
    corsOrigins: variables.CORS_ORIGINS,
    listener: {
      ...defaultListenerLimits,
      headersTimeoutMs: variables.HEADERS_TIMEOUT_MS,
      requestTimeoutMs: variables.REQUEST_TIMEOUT_MS,
      keepAliveTimeoutMs: variables.KEEP_ALIVE_TIMEOUT_MS,
      connectionAgeMs: variables.CONNECTION_AGE_MS,
      maxConnections: variables.MAX_CONNECTIONS,
      maxUntakenBytes: Math.min(variables.MAX_IN_FLIGHT_BYTES, 0x7fff_ffff),
      // Room for those that may be open, and for those that are being refused.
      maxInFlight: Math.max(1_024, 6 * variables.MAX_CONCURRENT_CALLS),
      maxConcurrentStreams: variables.MAX_STREAMS_PER_CONNECTION,
      maxHeaderBytes: variables.MAX_HEADER_BYTES,
      streamWindowBytes: variables.STREAM_WINDOW_BYTES,
      connectionWindowBytes: variables.CONNECTION_WINDOW_BYTES,
      maxSessionMemoryMb: variables.MAX_SESSION_MEMORY_MB,
    },
    limits: {
      maxRequestBytes: variables.MAX_REQUEST_BYTES,
      maxResponseBytes: variables.MAX_RESPONSE_BYTES,
      maxInFlightBytes: variables.MAX_IN_FLIGHT_BYTES,
      gzipMinBytes: variables.GZIP_MIN_BYTES,
    },
    overload: {
      maxConcurrency: variables.MAX_CONCURRENT_CALLS,
      maxLoopLagMs: variables.MAX_LOOP_LAG_MS,
      maxHeapPercent: variables.MAX_HEAP_PERCENT,
    },
    deadlines: {
      defaultMs: variables.DEFAULT_TIMEOUT_MS,
      maxMs: variables.MAX_TIMEOUT_MS,
      streamMs: variables.STREAM_TIMEOUT_MS,
      streamIdleMs: variables.STREAM_IDLE_TIMEOUT_MS,
    },
    upstreamTls,
    readyUpstreams: readyUpstreams(variables),
    reflection:
      variables.REFLECTION === "" ? variables.PORTICO_MODE === "demo" : variables.REFLECTION === "on",
    tracing: tracing(variables),
    logSampleRatio: variables.LOG_SAMPLE_RATIO,
    drain: { delayMs: drainDelayMs(variables), timeoutMs: variables.DRAIN_TIMEOUT_MS },
    logLevel: variables.LOG_LEVEL,
  });
}

function readyUpstreams({ READY_UPSTREAMS: rule }: Variables): Config["readyUpstreams"] {
  if (rule === "none" || rule === "any" || rule === "all") return rule;
  return rule.split(",").map((name) => name.trim());
}

/** A balancer needs a moment to see that a replica is not ready any more; who tries the demo out has none. */
function drainDelayMs({ DRAIN_DELAY_MS: delayMs, PORTICO_MODE: mode }: Variables): number {
  return delayMs ?? (mode === "demo" ? 0 : 3_000);
}

function tracing(variables: Variables): Config["tracing"] {
  const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, OTEL_SERVICE_NAME: serviceName } = variables;
  if (endpoint === undefined) return undefined;
  return { endpoint, serviceName, sampleRatio: variables.OTEL_TRACES_SAMPLER_ARG };
}

function singleIssuer(variables: Variables): IssuerConfig[] {
  const { AUTH_ISSUER: issuer, AUTH_AUDIENCE: audience, AUTH_JWKS_URL: jwksUrl } = variables;
  if (issuer === undefined || audience === undefined) return [];
  return [{ issuer, audience, jwksUrl, claims: claimNames(variables) }];
}

function claimNames(variables: Variables): ClaimNames {
  const { AUTH_SUBJECT_CLAIM: subject, AUTH_ROLES_CLAIM: roles, AUTH_TENANT_CLAIM: tenant } = variables;
  return { subject, roles, ...(tenant !== undefined && { tenant }) };
}
