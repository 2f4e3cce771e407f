import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DescMessage, DescMethod, MessageInitShape } from "@bufbuild/protobuf";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { InventoryService } from "../packages/gateway/src/gen/smpl/api/inventory/v1/api_inventory_service_pb.ts";
import { OrdersService } from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { UsersService } from "../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { generateApiKey } from "../packages/gateway/src/policy/identity/api-keys.ts";
import { type AskOptions, ask, readingWays } from "./ask.ts";
import { startTalkativeUpstream, type TalkativeUpstream } from "./canaries/upstream.ts";
import { type Exchange, overH1 } from "./exchange.ts";
import { audience, startIssuer, type TestIssuer } from "./issuer.ts";
import { envelope, ways } from "./raw-call.ts";
import { type System, startSystem } from "./system.ts";

// Secrets of every kind go in, each unmistakable, and are looked for in all that comes out.

/** Where a canary may be seen, and must be seen at least once. Everywhere else it is a leak. */
interface Canary {
  readonly value: string;
  /** The answers that may have it: to who sent it, or to who may read it. Absent: none. */
  readonly answers?: "who sent it" | "who may read emails";
  /** The fields of log lines that may have it. Absent: none. */
  readonly log?: readonly string[];
}

const random = () => randomBytes(9).toString("hex");
const apiKey = generateApiKey();
const wrongKey = generateApiKey();
const secretOf = ({ key }: { readonly key: string }) => key.split("_").slice(2).join("_");

const cause = ["err.message", "err.stack"];
const email = `canary.${random()}@secret.example.com`;
const gatewayToken = `canary-gateway-${random()}`;
/** Says how internal things are called, and repeats what the service was sent. */
const jwt = ["eyJhbGciOiJSUzI1NiJ9", `canaryjwt${random()}`, random()];
const words = `canary-words-${random()}`;

/** What goes in, and the places where it may come out. No canary may ever be on the admin port. */
const table = {
  // What callers show to be let in.
  "a claim of a token": { value: `canary-claim-${random()}` },
  "the secret of an API key": { value: secretOf(apiKey) },
  "the secret of a wrong API key": { value: secretOf(wrongKey) },
  "a token that is none": { value: `canary-token-${random()}` },
  "the subject of a token": { value: `canary-subject-${random()}`, log: ["caller", "who.subject"] },
  // What the gateway itself has.
  "the gateway's own token": { value: gatewayToken },
  "the password of Redis": { value: `canary-redis-${random()}` },
  // What callers send.
  "a value in a request": { value: `canary-value-${random()}` },
  "a field that there is not": { value: `canary_field_${random()}`, answers: "who sent it" },
  "a header of a request": { value: `canary-header-${random()}` },
  "a path that leads nowhere": { value: `canary-path-${random()}`, answers: "who sent it", log: ["path"] },
  // What internal services have. Their words explain what went wrong, to those who run the gateway alone.
  "the words of an internal error": { value: words, log: cause },
  "an email in such words": { value: email.replace("canary.", "canary.words.") },
  "a token in such words": { value: jwt[1] ?? "" },
  "an API key in such words": { value: secretOf(generateApiKey()) },
  "a bearer token in such words": { value: `canary-bearer-${random()}` },
  "the details of an internal error": { value: `canary-details-${random()}` },
  "a header of an internal answer": { value: `canary-inner-header-${random()}` },
  "a trailer of an internal answer": { value: `canary-inner-trailer-${random()}` },
  "a field that is internal": { value: `canary-inner-field-${random()}` },
  "the email of a user": { value: email, answers: "who may read emails" },
  "the host of an internal service": { value: `canary-host-${random()}.invalid`, log: cause },
} satisfies Record<string, Canary>;
type CanaryName = keyof typeof table;
const canaries: readonly (readonly [CanaryName, Canary])[] = Object.entries(table) as [CanaryName, Canary][];

const wholeWords = [
  `no row 5 for ${table["an email in such words"].value}: ${words}`,
  `jwt ${jwt.join(".")} key ptk_abcdefghijkl_${table["an API key in such words"].value}`,
  `authorization: Bearer ${table["a bearer token in such words"].value} or Bearer ${gatewayToken}`,
].join("; ");

/** Something that came out, and who got it. */
interface Seen {
  readonly what: string;
  readonly text: string;
  /** What this one may be told. */
  readonly may: ReadonlySet<Canary["answers"]>;
}

const folder = mkdtempSync(join(tmpdir(), "portico-canaries-"));
const seen: Seen[] = [];
const admin: Seen[] = [];
const logged: Logged[] = [];
let issuer: TestIssuer;
let upstream: TalkativeUpstream;
let system: System;
/** Cannot reach its internal services. */
let lost: System;

beforeAll(async () => {
  issuer = await startIssuer();
  upstream = await startTalkativeUpstream({
    email,
    field: table["a field that is internal"].value,
    header: table["a header of an internal answer"].value,
    trailer: table["a trailer of an internal answer"].value,
    words: wholeWords,
    details: table["the details of an internal error"].value,
  });
  const keys = [
    {
      id: apiKey.id,
      name: "Acme",
      sha256: apiKey.sha256,
      roles: ["support"],
      createdAt: "2026-01-01T00:00:00Z",
    },
  ];
  writeFileSync(join(folder, "keys.json"), JSON.stringify({ keys }));
  writeFileSync(join(folder, "token"), gatewayToken);
  const env = {
    PORTICO_MODE: "production",
    AUTH_ISSUER: issuer.url,
    AUTH_AUDIENCE: audience,
    API_KEYS_FILE: join(folder, "keys.json"),
    GATEWAY_TOKEN_FILE: join(folder, "token"),
    REDIS_URL: `redis://user:${table["the password of Redis"].value}@127.0.0.1:1`,
    RATE_LIMIT_AUTHENTICATED: "1000000/1m",
    RATE_LIMIT_ANONYMOUS: "1000000/1m",
    ANSWER_CACHE_BYTES: String(2 ** 20),
  };
  const at = (url: string) => ({ UPSTREAM_USERS: url, UPSTREAM_ORDERS: url, UPSTREAM_INVENTORY: url });
  system = await startSystem({ env: { ...env, ...at(upstream.url) } });
  lost = await startSystem({
    env: { ...env, ...at(`http://${table["the host of an internal service"].value}:9101`) },
  });
  await walkCallers();
  await walkFailures();
  await walkLost();
  await walkOddRequests();
  // The line of a request is written a moment after its answer.
  const requestLines = () =>
    [system, lost].flatMap(({ log }) => log().filter(({ msg }) => msg === "request"));
  await vi.waitFor(() => expect(requestLines().length).toBeGreaterThanOrEqual(seen.length), 5_000);
  for (const { adminUrl, log } of [system, lost]) {
    for (const path of ["/readyz", "/healthz", "/metrics", "/", "/debug"]) await look(adminUrl, path);
    for (const line of log()) logged.push(...textsOf(line));
  }
}, 60_000);
afterAll(async () => {
  await system.close();
  await lost.close();
  await upstream[Symbol.asyncDispose]();
  await issuer.close();
  rmSync(folder, { recursive: true });
});

const methods = [UsersService, OrdersService, InventoryService].flatMap(({ methods }) => methods);
const line = { product: "Hub", quantity: 1 };
/** Requests that the internal services are asked for. */
const requests: Readonly<Record<string, MessageInitShape<DescMessage>>> = {
  CreateUser: { email: "new@example.com" },
  GetUser: { id: "user-1" },
  GetOrderWithUser: { id: "order-1" },
  CreateOrder: { userId: "user-1", lineItems: [line] },
  WatchOrdersWithUser: { backlog: 1 },
};

const tokenOf = (role: string) =>
  issuer.token({
    sub: table["the subject of a token"].value,
    roles: [role],
    [table["a claim of a token"].value]: true,
    name: table["a claim of a token"].value,
  });
const header = table["a header of a request"].value;
const callers: Record<string, () => AskOptions & { readonly readsEmails?: boolean }> = {
  support: () => ({ token: tokenOf("support"), readsEmails: true }),
  admin: () => ({ token: tokenOf("admin"), readsEmails: true }),
  viewer: () => ({ token: tokenOf("viewer") }),
  customer: () => ({ token: tokenOf("customer") }),
  "an API key": () => ({ headers: { "x-api-key": apiKey.key }, readsEmails: true }),
  "a wrong API key": () => ({ headers: { "x-api-key": wrongKey.key } }),
  "a wrong secret": () => ({ headers: { "x-api-key": `ptk_${apiKey.id}_${secretOf(wrongKey)}` } }),
  "a token that is none": () => ({ token: table["a token that is none"].value }),
  "a forged token": () => ({ token: tokenOf("admin").replace(/.{9}$/, "AAAAAAAAA") }),
  "an expired token": () => ({
    token: issuer.token({
      sub: table["the subject of a token"].value,
      exp: 1,
      name: table["a claim of a token"].value,
    }),
  }),
  "two credentials": () => ({ token: tokenOf("admin"), headers: { "x-api-key": apiKey.key } }),
  nobody: () => ({}),
};

/** Every method in every way by one caller. */
async function walk(what: string, caller: string, at = system): Promise<void> {
  const { readsEmails = false, ...credentials } = callers[caller]?.() ?? {};
  const headers = {
    cookie: header,
    referer: `https://example.com/${header}`,
    "user-agent": header,
    "x-custom": header,
    traceparent: header,
    ...credentials.headers,
  };
  const calls = methods.flatMap((method) =>
    readingWays
      .filter((way) => way !== "GET" || (method.methodKind === "unary" && method.idempotency === 1))
      .map(async (way) => {
        const options = { ...credentials, headers, way, timeoutMs: 2_000 };
        const answer = await ask<DescMethod>(at.url, method, requests[method.name] ?? {}, options);
        const may = new Set<Canary["answers"]>(readsEmails ? ["who may read emails"] : []);
        seen.push({
          what: `${what}, ${caller}, ${method.name} over ${way}: ${answer.code}`,
          text: everythingOf(answer),
          may,
        });
      }),
  );
  await Promise.all(calls);
}

async function walkCallers(): Promise<void> {
  for (const caller of Object.keys(callers)) await walk("answered", caller);
}

/** Every status that an internal service can fail with. */
async function walkFailures(): Promise<void> {
  for (let status = 1; status <= 16; status++) {
    upstream.failWith(status);
    await walk(`status ${status}`, "admin");
  }
  upstream.failWith(0);
}

async function walkLost(): Promise<void> {
  await walk("lost", "admin", lost);
}

/** Requests that are wrong, each with a canary where it is wrong. */
async function walkOddRequests(): Promise<void> {
  const value = table["a value in a request"].value;
  const field = table["a field that there is not"].value;
  const token = tokenOf("admin");
  const bodies = [
    `{"${value}`,
    `{"${field}":1}`,
    `{"pageSize":"${value}"}`,
    `{"status":"${value}"}`,
    `{"createdFrom":"${value}"}`,
    `{"userIds":["${value.repeat(10)}"]}`,
    `{"pageToken":"${value}"}`,
    `["${value}"]`,
    value,
  ];
  const path = `/${OrdersService.typeName}/ListOrdersWithUser`;
  const json = { "content-type": "application/json", authorization: `Bearer ${token}` };
  const send = async (what: string, request: Parameters<typeof overH1>[1]) => {
    const exchange = await overH1(system.url, request);
    seen.push({ what, text: everythingOf(exchange), may: new Set(["who sent it", "who may read emails"]) });
  };
  for (const body of bodies) {
    await send(`body ${body}`, { path, headers: json, body });
    const query = `${path}?connect=v1&encoding=json&message=${encodeURIComponent(body)}`;
    await send(`GET ${body}`, { method: "GET", path: query, headers: json });
    for (const type of [
      "application/proto",
      "application/grpc-web+proto",
      "application/grpc+json",
      `text/${value}`,
    ])
      await send(`${type} ${body}`, {
        path,
        headers: { ...json, "content-type": type },
        body: type.startsWith("application/grpc") ? envelope(body) : body,
      });
  }
  for (const nowhere of [
    `/${table["a path that leads nowhere"].value}`,
    `/a.B/${table["a path that leads nowhere"].value}`,
  ])
    for (const type of ["application/json", "application/grpc"])
      await send(`nowhere ${type}`, { path: nowhere, headers: { ...json, "content-type": type } });
  for (const way of ways) {
    const email = `${value} is no email`;
    const refused = await ask(
      system.url,
      UsersService.method.createUser,
      { email, displayName: value.repeat(20) },
      { way, token },
    );
    seen.push({
      what: `validation over ${way}: ${refused.code}`,
      text: everythingOf(refused),
      may: new Set(["who sent it"]),
    });
  }
  await send("an id", { path, headers: { ...json, "x-request-id": `${header} {}` }, body: "{}" });
}

async function look(url: string, path: string): Promise<void> {
  const { status, headers, trailers, body } = await overH1(url, { method: "GET", path });
  const text = everythingOf({ status, headers, trailers, body });
  admin.push({ what: `${path}: ${status}`, text, may: new Set() });
}

/** Everything that came over the wire, and what of it is written in base64 decoded besides, at any depth. */
function everythingOf({ status, headers, trailers, body }: Exchange): string {
  const fields = [headers, trailers].flatMap((fields) =>
    Object.entries(fields).map(([name, value]) => `${name}: ${value}`),
  );
  const text = [String(status), ...fields, body.toString("latin1")].join("\n");
  return [text, ...decoded(text)].join("\n");
}

function decoded(text: string, depth = 2): string[] {
  const found = [...text.matchAll(/[A-Za-z0-9+/_-]{16,}={0,2}/g)].map(([part]) =>
    Buffer.from(part, "base64").toString("latin1"),
  );
  const plain = /%[0-9A-Fa-f]{2}/.test(text) ? [text.replace(/(%[0-9A-Fa-f]{2})+/g, unescape_)] : [];
  return depth === 0 ? [] : [...found, ...plain].flatMap((part) => [part, ...decoded(part, depth - 1)]);
}

function unescape_(escapes: string): string {
  return Buffer.from(escapes.replaceAll("%", ""), "hex").toString("latin1");
}

describe("what was walked", () => {
  test("has every method in every way, answered and failed with every code", () => {
    const codes = new Set(seen.map(({ what }) => what.replace(/.*: /, "")));
    expect([...codes]).toEqual(
      expect.arrayContaining([
        ...["ok", "unauthenticated", "permission_denied", "invalid_argument", "not_found", "already_exists"],
        ...[
          "internal",
          "unavailable",
          "resource_exhausted",
          "deadline_exceeded",
          "failed_precondition",
          "aborted",
        ],
      ]),
    );
    for (const { name } of methods)
      for (const way of ways)
        expect(
          seen.some(({ what }) => what.includes(`${name} over ${way}: ok`)),
          `${name} ${way}`,
        ).toBe(true);
    expect(seen.length).toBeGreaterThan(1_000);
  });

  test("reached the internal services with nothing of the callers' but who they are", () => {
    const text = JSON.stringify(upstream.seen());
    expect(upstream.seen().length).toBeGreaterThan(300);
    expect(text).toContain(`Bearer ${gatewayToken}`);
    const known: readonly CanaryName[] = ["the gateway's own token", "the subject of a token"];
    expect(
      canaries
        .filter(([name, { value }]) => !known.includes(name) && text.includes(value))
        .map(([name]) => name),
    ).toEqual([]);
  });
});

describe.each(canaries)("%s", (_, { value, answers, log: places = [] }) => {
  test("is in no answer but those that may have it", () => {
    const found = seen.filter(({ text }) => text.includes(value));
    expect(found.filter(({ may }) => !may.has(answers)).map(({ what }) => what)).toEqual([]);
    expect(found.length > 0).toBe(answers !== undefined);
  });

  test("is in no line of the log but where it may be", () => {
    const found = new Set(
      logged.filter(({ place, text }) => `${place}\n${text}`.includes(value)).map(({ place }) => place),
    );
    expect([...found].sort()).toEqual([...places].sort());
  });

  test("is not on the admin port", () => {
    expect(admin.length).toBe(10);
    expect(admin.filter(({ text }) => text.includes(value)).map(({ what }) => what)).toEqual([]);
  });
});

describe("in the log", () => {
  const lines = () => [...system.log(), ...lost.log()].map((line) => JSON.stringify(line));

  test("there is no token in any form, and no email", () => {
    for (const form of [
      /eyJ[\w-]{6}/,
      /ptk_[a-z0-9]{12}_[\w-]/,
      /[\w.]+@[\w-]+\.[a-z]{2}/,
      /bearer [\w-]{8}/i,
    ])
      expect(
        lines()
          .filter((line) => form.test(line))
          .slice(0, 3),
      ).toEqual([]);
  });

  test("the cause of a failure is still to be read around what was taken out", () => {
    const told = lines().filter((line) => line.includes(words));
    expect(told.length).toBeGreaterThan(100);
    expect(told[0]).toContain("no row 5 for (email): canary-words-");
  });
});

/** One text in a line of the log: the fields that lead to it, joined by dots, `*` for an item of a list. */
interface Logged {
  readonly place: string;
  readonly text: string;
}

function* textsOf(value: unknown, place = ""): Generator<Logged> {
  if (typeof value === "string") yield { place, text: [value, ...decoded(value, 1)].join("\n") };
  if (typeof value !== "object" || value === null) return;
  for (const [name, inner] of Object.entries(value)) {
    const step = Array.isArray(value) ? "*" : name;
    yield* textsOf(inner, place === "" ? step : `${place}.${step}`);
  }
}
