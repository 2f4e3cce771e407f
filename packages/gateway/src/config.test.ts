import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { loadConfig } from "./config.ts";
import { defaultListenerLimits } from "./edge/listener-limits.ts";
import { StartError } from "./errors.ts";

const folder = mkdtempSync(join(tmpdir(), "portico-config-"));
afterAll(() => rmSync(folder, { recursive: true }));
const file = (name: string, text: string): string => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const tls = { cert: fixture("cert.pem"), key: fixture("key.pem") };
const access = file("access.json", '{ "roles": { "admin": ["*"] } }');

type Environment = Record<string, string | undefined>;
const production: Environment = {
  AUTH_ISSUER: "https://identity.acme.example",
  AUTH_AUDIENCE: "warehouse-api",
  ACCESS_FILE: access,
  UPSTREAM_WAREHOUSE: "http://127.0.0.1:9201",
};
const demo: Environment = {
  PORTICO_MODE: "demo",
  ACCESS_FILE: access,
  UPSTREAM_WAREHOUSE: "http://127.0.0.1:9201",
};
const load = (change: Environment = {}, base = production) =>
  loadConfig({ ...base, ...change }, ["warehouse"]);

describe("reads", () => {
  test("as little as there must be, with the defaults", () => {
    expect(load()).toEqual({
      mode: "production",
      host: "127.0.0.1",
      port: 8_080,
      adminPort: 9_464,
      tls: undefined,
      trustedProxies: [],
      issuers: [
        {
          issuer: "https://identity.acme.example",
          audience: "warehouse-api",
          jwksUrl: undefined,
          claims: { subject: "sub", roles: "roles" },
        },
      ],
      claims: { subject: "sub", roles: "roles" },
      files: { access, apiKeys: undefined, gatewayToken: undefined },
      rateLimits: {
        authenticated: [{ calls: 6_000, windowSeconds: 60 }],
        anonymous: [{ calls: 600, windowSeconds: 60 }],
      },
      redisUrl: undefined,
      answerCacheBytes: 67_108_864,
      entityCacheBytes: 67_108_864,
      errorDomain: "portico",
      upstreams: { warehouse: [new URL("http://127.0.0.1:9201")] },
      corsOrigins: [],
      listener: defaultListenerLimits,
      limits: {
        maxRequestBytes: 262_144,
        maxResponseBytes: 4_194_304,
        maxInFlightBytes: 67_108_864,
        gzipMinBytes: 16_384,
      },
      overload: { maxConcurrency: 1_000, maxLoopLagMs: 50, maxHeapPercent: 85 },
      deadlines: { defaultMs: 10_000, maxMs: 30_000, streamMs: 600_000, streamIdleMs: 60_000 },
      upstreamTls: {},
      readyUpstreams: "any",
      reflection: false,
      tracing: undefined,
      logSampleRatio: 1,
      drain: { delayMs: 3_000, timeoutMs: 10_000 },
      logLevel: "info",
    });
  });

  test("everything", () => {
    const config = load({
      HOST: "0.0.0.0",
      PORT: "0",
      ADMIN_PORT: "65535",
      TLS_CERT_FILE: tls.cert,
      TLS_KEY_FILE: tls.key,
      AUTH_JWKS_URL: "https://identity.acme.example/keys",
      AUTH_ROLES_CLAIM: "groups",
      AUTH_SUBJECT_CLAIM: "client_id",
      AUTH_TENANT_CLAIM: "org.id",
      TRUSTED_PROXIES: "10.0.0.0/8, 192.168.0.1, fd00::/8",
      GATEWAY_TOKEN_FILE: file("token", "a.b.c\n"),
      API_KEYS_FILE: file("keys.json", '{ "keys": [] }'),
      RATE_LIMIT_AUTHENTICATED: "50/1s, 10000/1d",
      RATE_LIMIT_ANONYMOUS: "off",
      REDIS_URL: "rediss://gateway:secret@redis.acme.example:6380",
      ANSWER_CACHE_BYTES: "0",
      ENTITY_CACHE_BYTES: "20480",
      ERROR_DOMAIN: "api.acme.example",
      CORS_ORIGINS: "https://app.acme.example, http://localhost:3000",
      MAX_REQUEST_BYTES: "1",
      MAX_RESPONSE_BYTES: "67108864",
      DEFAULT_TIMEOUT_MS: "1",
      MAX_TIMEOUT_MS: "2",
      STREAM_TIMEOUT_MS: "3",
      DRAIN_DELAY_MS: "4",
      DRAIN_TIMEOUT_MS: "5",
      STREAM_IDLE_TIMEOUT_MS: "6",
      HEADERS_TIMEOUT_MS: "7",
      REQUEST_TIMEOUT_MS: "8",
      KEEP_ALIVE_TIMEOUT_MS: "9",
      CONNECTION_AGE_MS: "0",
      MAX_CONNECTIONS: "11",
      MAX_STREAMS_PER_CONNECTION: "12",
      MAX_HEADER_BYTES: "8192",
      STREAM_WINDOW_BYTES: "70000",
      CONNECTION_WINDOW_BYTES: "80000",
      MAX_SESSION_MEMORY_MB: "13",
      MAX_IN_FLIGHT_BYTES: "1048576",
      GZIP_MIN_BYTES: "0",
      MAX_CONCURRENT_CALLS: "16",
      MAX_LOOP_LAG_MS: "10",
      MAX_HEAP_PERCENT: "100",
      UPSTREAMS_CA_FILE: tls.cert,
      UPSTREAMS_CERT_FILE: tls.cert,
      UPSTREAMS_KEY_FILE: tls.key,
      READY_UPSTREAMS: "warehouse",
      REFLECTION: "on",
      OTEL_EXPORTER_OTLP_ENDPOINT: "http://collector:4318",
      OTEL_SERVICE_NAME: "api",
      OTEL_TRACES_SAMPLER_ARG: "0.25",
      LOG_SAMPLE_RATIO: "0",
      LOG_LEVEL: "debug",
    });
    expect(config).toMatchObject({
      host: "0.0.0.0",
      port: 0,
      adminPort: 65_535,
      tls: { cert: readFileSync(tls.cert, "utf8"), key: readFileSync(tls.key, "utf8") },
      issuers: [
        {
          jwksUrl: "https://identity.acme.example/keys",
          claims: { subject: "client_id", roles: "groups", tenant: "org.id" },
        },
      ],
      trustedProxies: ["10.0.0.0/8", "192.168.0.1", "fd00::/8"],
      files: { apiKeys: join(folder, "keys.json"), gatewayToken: join(folder, "token") },
      rateLimits: {
        authenticated: [
          { calls: 50, windowSeconds: 1 },
          { calls: 10_000, windowSeconds: 86_400 },
        ],
        anonymous: [],
      },
      redisUrl: "rediss://gateway:secret@redis.acme.example:6380",
      answerCacheBytes: 0,
      entityCacheBytes: 20_480,
      errorDomain: "api.acme.example",
      corsOrigins: ["https://app.acme.example", "http://localhost:3000"],
      listener: {
        headersTimeoutMs: 7,
        requestTimeoutMs: 8,
        keepAliveTimeoutMs: 9,
        connectionAgeMs: 0,
        maxConnections: 11,
        maxConcurrentStreams: 12,
        maxHeaderBytes: 8_192,
        streamWindowBytes: 70_000,
        connectionWindowBytes: 80_000,
        maxSessionMemoryMb: 13,
      },
      limits: {
        maxRequestBytes: 1,
        maxResponseBytes: 67_108_864,
        maxInFlightBytes: 1_048_576,
        gzipMinBytes: 0,
      },
      overload: { maxConcurrency: 16, maxLoopLagMs: 10, maxHeapPercent: 100 },
      deadlines: { defaultMs: 1, maxMs: 2, streamMs: 3, streamIdleMs: 6 },
      upstreamTls: { ca: readFileSync(tls.cert, "utf8"), key: readFileSync(tls.key, "utf8") },
      readyUpstreams: ["warehouse"],
      reflection: true,
      tracing: { endpoint: "http://collector:4318", serviceName: "api", sampleRatio: 0.25 },
      logSampleRatio: 0,
      drain: { delayMs: 4, timeoutMs: 5 },
      logLevel: "debug",
    });
  });

  test("demo mode, which has no identity provider", () => {
    expect(load({}, demo)).toMatchObject({ mode: "demo", issuers: [] });
    expect(load({ HOST: "localhost" }, demo).host).toBe("localhost");
    expect(load({ HOST: "::1" }, demo).host).toBe("::1");
  });

  test("a pause before it drains, but not in demo mode", () => {
    expect(load().drain.delayMs).toBe(3_000);
    expect(load({}, demo).drain.delayMs).toBe(0);
    expect(load({ DRAIN_DELAY_MS: "7" }, demo).drain.delayMs).toBe(7);
  });

  test("reflection, which is on in demo mode alone unless it is asked for", () => {
    expect(load({}, demo).reflection).toBe(true);
    expect(load({ REFLECTION: "off" }, demo).reflection).toBe(false);
    expect(load({ REFLECTION: "on" }).reflection).toBe(true);
  });

  test("an empty variable as one that is not set", () => {
    expect(load({ PORT: "", LOG_LEVEL: "", TLS_CERT_FILE: "", CORS_ORIGINS: "" })).toEqual(load());
    expect(problemsOf({ AUTH_ISSUER: "" })).toEqual([expect.stringMatching(/^AUTH_ISSUER is not set/)]);
  });

  test.each([
    ["http://a:1, http://b:2", ["http://a:1/", "http://b:2/"]],
    ["https://warehouse.acme.example:443", ["https://warehouse.acme.example/"]],
    ["http://[::1]:9201", ["http://[::1]:9201/"]],
    ["dns:///warehouse:9201", ["http://warehouse:9201/"]],
  ])("upstreams at %s", (value, addresses) => {
    const { upstreams } = load({ UPSTREAM_WAREHOUSE: value });
    expect(upstreams["warehouse"]?.map(({ href }) => href)).toEqual(addresses);
  });

  test("and never changes", () => {
    expect(Object.isFrozen(load())).toBe(true);
  });
});

describe("a variable that is wrong is named, with what was given and what would do", () => {
  const ports = "it must be a whole number from 0 to 65535, or nothing for 8080";
  test.each([
    ["PORTICO_MODE", "demos", "it must be production or demo"],
    ["PORT", "80a", ports],
    ["PORT", "65536", ports],
    ["PORT", "-1", ports],
    ["PORT", "80.5", ports],
    ["PORT", " ", ports],
    ["ADMIN_PORT", "x", "it must be a whole number from 0 to 65535, or nothing for 9464"],
    ["AUTH_ISSUER", "identity.acme.example", "it must be a URL that begins with https:// or http://"],
    ["AUTH_JWKS_URL", "file:///etc/keys", "it must be a URL that begins with https:// or http://"],
    [
      "CORS_ORIGINS",
      "*",
      "it must be origins such as https://app.example.com, joined by commas, without a path",
    ],
    [
      "CORS_ORIGINS",
      "https://a.example/path",
      "it must be origins such as https://app.example.com, joined by commas, without a path",
    ],
    [
      "CORS_ORIGINS",
      "https://a.example,",
      "it must be origins such as https://app.example.com, joined by commas, without a path",
    ],
    ["MAX_REQUEST_BYTES", "0", "it must be a whole number from 1 to 4194304, or nothing for 262144"],
    ["MAX_RESPONSE_BYTES", "1e9", "it must be a whole number from 1 to 67108864, or nothing for 4194304"],
    ["DEFAULT_TIMEOUT_MS", "0", "it must be a whole number from 1 to 3600000, or nothing for 10000"],
    ["MAX_TIMEOUT_MS", "3600001", "it must be a whole number from 1 to 3600000, or nothing for 30000"],
    ["STREAM_TIMEOUT_MS", "never", "it must be a whole number from 1 to 86400000, or nothing for 600000"],
    [
      "DRAIN_DELAY_MS",
      "60001",
      "it must be a whole number from 0 to 60000, or nothing for 3000 (0 in demo mode)",
    ],
    ["DRAIN_TIMEOUT_MS", "10s", "it must be a whole number from 0 to 600000, or nothing for 10000"],
    [
      "TRUSTED_PROXIES",
      "10.0.0.0/33",
      "it must be addresses or networks such as 10.0.0.0/8, joined by commas",
    ],
    [
      "TRUSTED_PROXIES",
      "proxy.acme",
      "it must be addresses or networks such as 10.0.0.0/8, joined by commas",
    ],
    [
      "RATE_LIMIT_ANONYMOUS",
      "many",
      'it must be calls in a time, such as 600/1m or "50/1s, 10000/1d", or off; nothing for 600/1m',
    ],
    [
      "ANSWER_CACHE_BYTES",
      "64M",
      "it must be 0, a whole number from 20480 to 17179869184, or nothing for 67108864",
    ],
    [
      "ANSWER_CACHE_BYTES",
      "20479",
      "it must be 0, a whole number from 20480 to 17179869184, or nothing for 67108864",
    ],
    ["ERROR_DOMAIN", "API!", "it must be a name such as api.example.com"],
    ["LOG_LEVEL", "loud", "it must be debug, info, warn, error or silent"],
  ])("%s=%s", (name, value, wanted) => {
    expect(problemsOf({ [name]: value })).toEqual([`${name} is "${value}": ${wanted}`]);
  });

  test.each<[Environment, RegExp]>([
    [{ READY_UPSTREAMS: "warehouse, shop" }, /^READY_UPSTREAMS names "shop": this gateway knows warehouse$/],
    [{ READY_UPSTREAMS: "Any!" }, /^READY_UPSTREAMS is "Any!": it must be none, any, all, or the names/],
    [
      { HEADERS_TIMEOUT_MS: "40000" },
      /^HEADERS_TIMEOUT_MS is 40000: it must not be more than REQUEST_TIMEOUT_MS, 30000$/,
    ],
    [{ UPSTREAMS_CERT_FILE: tls.cert }, /^UPSTREAMS_CERT_FILE and UPSTREAMS_KEY_FILE go together/],
    [{ UPSTREAMS_CERT_FILE: tls.cert, UPSTREAMS_KEY_FILE: tls.cert }, /cannot be used together/],
    [{ LOG_SAMPLE_RATIO: "2" }, /^LOG_SAMPLE_RATIO is "2": it must be a number from 0 to 1/],
    [{ REFLECTION: "yes" }, /^REFLECTION is "yes": it must be on or off$/],
  ])("refuses %j", (change, problem) => {
    expect(problemsOf(change)).toEqual([expect.stringMatching(problem)]);
  });

  test("but no password that is part of it", () => {
    expect(problemsOf({ REDIS_URL: "http://:se/cret@redis:6379" })).toEqual([
      expect.stringMatching(
        /^REDIS_URL is not shown: it must be a URL such as redis:\/\/host:6379 or rediss:/,
      ),
    ]);
  });

  test.each([
    "127.0.0.1:9201",
    "http://",
    "ftp://a:1",
    "http://a:1/path",
    "http://a:1?q",
    "http://me@a:1",
    "http://a:99999",
    "http://a:1,,",
    "dns://a:1",
  ])("UPSTREAM_WAREHOUSE=%s", (value) => {
    expect(problemsOf({ UPSTREAM_WAREHOUSE: value })).toEqual([
      `UPSTREAM_WAREHOUSE is "${value}": it must be http://host:port, https://host:port or dns:///name:port, joined by commas`,
    ]);
  });
});

describe("a variable that is missing", () => {
  test.each([
    [
      "AUTH_ISSUER",
      "write the URL of your identity provider, as in the iss of its tokens (or AUTH_FILE, for several)",
    ],
    ["AUTH_AUDIENCE", "write what the aud of tokens for this API is"],
    ["ACCESS_FILE", 'write the path of a JSON file such as { "roles": { "admin": ["*"] } }'],
    [
      "UPSTREAM_WAREHOUSE",
      "write where the service is, such as http://host:port, https://host:port or dns:///name:port",
    ],
  ])("%s", (name, advice) => {
    expect(problemsOf({ [name]: undefined })).toEqual([`${name} is not set: ${advice}`]);
  });

  test("of an upstream is named even if a similar one is there, and so is that one", () => {
    expect(problemsOf({ UPSTREAM_WAREHOUSE: undefined, UPSTREAM_WAREHOUSES: "http://a:1" })).toEqual([
      expect.stringMatching(/^UPSTREAM_WAREHOUSE is not set/),
      "UPSTREAM_WAREHOUSES belongs to no upstream: this gateway knows UPSTREAM_WAREHOUSE",
    ]);
  });
});

describe("variables that contradict each other", () => {
  test("demo mode has an identity of its own", () => {
    expect(problemsOf({ ...production, PORTICO_MODE: "demo", AUTH_JWKS_URL: "https://a.example" })).toEqual([
      'PORTICO_MODE is "demo", which has an identity of its own: remove AUTH_ISSUER, AUTH_AUDIENCE, AUTH_JWKS_URL',
    ]);
  });

  test.each(["0.0.0.0", "192.168.0.5", "gateway.acme.example"])(
    "demo mode is not reachable from outside: %s",
    (HOST) => {
      expect(problemsOf({ HOST }, demo)).toEqual([
        `PORTICO_MODE is "demo", where anyone can be anyone, so HOST must be 127.0.0.1, ::1 or localhost, not "${HOST}"`,
      ]);
    },
  );

  test("demo mode does not run in production", () => {
    expect(problemsOf({ NODE_ENV: "production" }, demo)).toEqual([
      'PORTICO_MODE is "demo" although NODE_ENV is "production": remove one',
    ]);
  });

  test("requests that could never be taken", () => {
    expect(problemsOf({ MAX_REQUEST_BYTES: "1048576", MAX_IN_FLIGHT_BYTES: "2097151" })).toEqual([
      "MAX_IN_FLIGHT_BYTES is 2097151: it must be at least twice MAX_REQUEST_BYTES, 1048576",
    ]);
  });

  test.each(["TLS_CERT_FILE", "TLS_KEY_FILE"])("%s alone", (name) => {
    expect(problemsOf({ [name]: file("half.pem", "half") })).toEqual([
      "TLS_CERT_FILE and TLS_KEY_FILE go together: set both for TLS, or none for cleartext",
    ]);
  });

  test("authorities of clients without TLS", () => {
    expect(problemsOf({ TLS_CLIENT_CA_FILE: tls.cert })).toEqual([
      "TLS_CLIENT_CA_FILE needs TLS: set TLS_CERT_FILE and TLS_KEY_FILE too",
    ]);
  });

  test("several issuers, and one besides", () => {
    const AUTH_FILE = file(
      "issuers.json",
      '{ "issuers": [{ "issuer": "https://a.example", "audience": "api" }] }',
    );
    expect(problemsOf({ AUTH_FILE, AUTH_TENANT_CLAIM: "org" })).toEqual([
      "AUTH_FILE lists the issuers: move AUTH_ISSUER, AUTH_AUDIENCE, AUTH_TENANT_CLAIM into it, or leave AUTH_FILE out",
    ]);
  });

  test("a default time-out over the most", () => {
    expect(problemsOf({ DEFAULT_TIMEOUT_MS: "30001" })).toEqual([
      "DEFAULT_TIMEOUT_MS is 30001: it must not be more than MAX_TIMEOUT_MS, 30000",
    ]);
  });
});

describe("files", () => {
  test.each(["ACCESS_FILE", "TLS_CERT_FILE"])("%s that cannot be read", (name) => {
    const both = { TLS_CERT_FILE: tls.cert, TLS_KEY_FILE: tls.key };
    const [problem, ...others] = problemsOf({ ...both, [name]: "/nowhere/at/all" });
    expect(problem).toMatch(`${name} is "/nowhere/at/all", which cannot be read: ENOENT`);
    expect(others).toEqual([]);
  });

  test("what is no certificate, and a key that is another's", () => {
    expect(problemsOf({ TLS_CERT_FILE: access, TLS_KEY_FILE: access })).toEqual([
      expect.stringMatching(/^TLS_CERT_FILE and TLS_KEY_FILE must be a certificate and its key in PEM: /),
    ]);
  });

  test("several issuers, each with claims of its own", () => {
    const issuers = [
      {
        issuer: "https://a.example",
        audience: "api",
        claims: { roles: "realm_access.roles", tenant: "org" },
      },
      { issuer: "https://b.example", audience: ["api", "web"], jwksUrl: "https://b.example/keys" },
    ];
    const AUTH_FILE = file("auth.json", JSON.stringify({ issuers }));
    const { issuers: read } = load({ AUTH_FILE, AUTH_ISSUER: undefined, AUTH_AUDIENCE: undefined });
    expect(read).toEqual([
      {
        issuer: "https://a.example",
        audience: "api",
        jwksUrl: undefined,
        claims: { subject: "sub", roles: "realm_access.roles", tenant: "org" },
      },
      {
        issuer: "https://b.example",
        audience: ["api", "web"],
        jwksUrl: "https://b.example/keys",
        claims: { subject: "sub", roles: "roles" },
      },
    ]);
  });

  test.each([
    ["no JSON", "{", /^AUTH_FILE \(.*\) is not JSON: /],
    ["no issuers", '{ "issuers": [] }', /^AUTH_FILE \(.*\): issuers: /],
    ["no audience", '{ "issuers": [{ "issuer": "https://a.example" }] }', /issuers\[0\]\.audience: /],
    [
      "one twice",
      '{ "issuers": [{ "issuer": "https://a.example", "audience": "a" }, { "issuer": "https://a.example", "audience": "b" }] }',
      /the issuer https:\/\/a\.example is there twice$/,
    ],
  ])("issuers that cannot be: %s", (_, text, problem) => {
    const given = {
      AUTH_FILE: file("bad-auth.json", text),
      AUTH_ISSUER: undefined,
      AUTH_AUDIENCE: undefined,
    };
    expect(problemsOf(given)).toEqual([expect.stringMatching(problem)]);
  });

  test.each(["", "two words", "tö"])("a token of the gateway that is none: %j", (text) => {
    expect(problemsOf({ GATEWAY_TOKEN_FILE: file("bad-token", text) })).toEqual([
      expect.stringMatching(/^GATEWAY_TOKEN_FILE \(.*\): must be one token/),
    ]);
  });

  test("authorities of clients that are none", () => {
    const both = { TLS_CERT_FILE: tls.cert, TLS_KEY_FILE: tls.key };
    expect(problemsOf({ ...both, TLS_CLIENT_CA_FILE: access })).toEqual([
      expect.stringMatching(/^TLS_CLIENT_CA_FILE must be the certificates of one or more CAs in PEM/),
    ]);
  });

  test("an access file with a mistake in it", () => {
    const path = file("bad-access.json", '{ "roles": { "admin": ["ALL"] } }');
    expect(problemsOf({ ACCESS_FILE: path })).toEqual([
      `ACCESS_FILE (${path}): roles.admin[0]: must be like orders.read, orders.* or *`,
    ]);
  });
});

test("all problems are reported at once, and none that merely follows from another", () => {
  const problems = problemsOf(
    {
      PORT: "x",
      AUTH_ISSUER: "y",
      ACCESS_FILE: "/nowhere",
      TLS_KEY_FILE: access,
      UPSTREAM_TYPO: "http://a:1",
    },
    {},
  );
  expect(problems.map((problem) => problem.split(" ", 1)[0])).toEqual([
    "PORT",
    "AUTH_ISSUER",
    "UPSTREAM_WAREHOUSE",
    "UPSTREAM_TYPO",
    "ACCESS_FILE",
    "AUTH_AUDIENCE",
    "TLS_CERT_FILE",
  ]);
  expect(problemsOf({ PORTICO_MODE: "demos" }, demo)).toHaveLength(1);
  expect(problemsOf({ DEFAULT_TIMEOUT_MS: "30001", MAX_TIMEOUT_MS: "x" })).toHaveLength(1);
});

function problemsOf(change: Environment, base = production): readonly string[] {
  try {
    load(change, base);
  } catch (error) {
    if (error instanceof StartError) return error.problems;
    throw error;
  }
  throw new Error("expected problems");
}

function fixture(name: string): string {
  return fileURLToPath(new URL(`../../../tests/fixtures/tls/${name}`, import.meta.url));
}
