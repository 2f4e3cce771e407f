import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DescMethod, MessageInitShape } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { InventoryService } from "../packages/gateway/src/gen/smpl/api/inventory/v1/api_inventory_service_pb.ts";
import { OrdersService } from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { UsersService } from "../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { generateApiKey } from "../packages/gateway/src/policy/identity/api-keys.ts";
import { type Answer, type AskOptions, ask, type ReadingWay, readingWays } from "./ask.ts";
import { overH1 } from "./exchange.ts";
import { audience, startIssuer, type TestIssuer } from "./issuer.ts";
import { envelope, ways } from "./raw-call.ts";
import { type System, startSystem } from "./system.ts";

// One record for each decision that refuses a call, and for each change that is allowed; none for anything else.

const { createUser, getUser, listUsers } = UsersService.method;
const { createOrder, getOrderWithUser, listOrdersWithUser, watchOrdersWithUser } = OrdersService.method;
const { listItemsGroupedByUsers } = InventoryService.method;

/** Stands in every body that is sent, and so must not stand in the log. */
const marker = "from-a-body";
const folder = mkdtempSync(join(tmpdir(), "portico-audit-"));
const created = { createdAt: "2026-01-01T00:00:00Z", tenant: "acme" };
const keys = {
  valid: generateApiKey(),
  revoked: generateApiKey(),
  expired: generateApiKey(),
  once: ways.map(generateApiKey),
};
/** Everything that a caller has shown to be let in. */
const secrets: string[] = Object.values(keys)
  .flat()
  .map(({ key }) => key);

let issuer: TestIssuer;
let system: System;
beforeAll(async () => {
  const entries = [
    { ...entry(keys.valid), roles: ["customer"] },
    { ...entry(keys.revoked), revokedAt: "2026-02-01T00:00:00Z" },
    { ...entry(keys.expired), expiresAt: "2026-02-01T00:00:00Z" },
    ...keys.once.map((key) => ({ ...entry(key), limits: ["1/1h"] })),
  ];
  writeFileSync(join(folder, "keys.json"), JSON.stringify({ keys: entries }));
  issuer = await startIssuer();
  system = await startSystem({
    env: {
      PORTICO_MODE: "production",
      AUTH_ISSUER: issuer.url,
      AUTH_AUDIENCE: audience,
      AUTH_TENANT_CLAIM: "org",
      API_KEYS_FILE: join(folder, "keys.json"),
    },
  });
});
afterAll(async () => {
  await system.close();
  await issuer.close();
  rmSync(folder, { recursive: true });
});

function entry({ id, sha256 }: ReturnType<typeof generateApiKey>) {
  return { id, sha256, name: "Acme", roles: ["viewer"], ...created };
}

/** A token that the log is searched for afterwards. */
function token(role: string, claims: object = {}): string {
  const made = issuer.token({ roles: [role], org: "acme", jti: randomUUID(), ...claims });
  secrets.push(made);
  return made;
}

const ada = () => ({ kind: "token", subject: "ada", issuer: issuer.url, tenant: "acme" });
const keyOwner = (id: string) => ({ kind: "api_key", subject: id, issuer: "api-keys", tenant: "acme" });

/** The records of a call. Its line in the request log comes last, so that all of them are there. */
async function recordsOf(requestId: string) {
  await system.logOf(requestId);
  return system
    .log()
    .filter((line) => line["requestId"] === requestId && line["msg"] === "audit")
    .map(({ level: _level, time: _time, pid: _pid, hostname: _hostname, ...line }) => line);
}

/** A decision to refuse, and how it comes about. */
interface Refusal {
  readonly method: DescMethod;
  readonly request?: MessageInitShape<DescMethod["input"]>;
  readonly credentials?: (way: ReadingWay) => AskOptions;
  readonly code: string;
  readonly record: (way: ReadingWay) => object;
}

const line = { product: marker, quantity: 1 };
const price = { ...line, unitPrice: { currencyCode: "EUR", units: 1n } };
const noCredentials = { code: "unauthenticated", who: undefined };

const refusals: Record<string, Refusal> = {
  "no credentials": {
    method: listUsers,
    code: "unauthenticated",
    record: () => ({
      reason: "CREDENTIALS_MISSING",
      why: "the caller does not have the permission users.read",
      who: { kind: "anonymous" },
    }),
  },
  "no credentials, for a change": {
    method: createUser,
    request: { email: `${marker}@example.com` },
    code: "unauthenticated",
    record: () => ({
      reason: "CREDENTIALS_MISSING",
      why: "the caller does not have the permission users.create",
      who: { kind: "anonymous" },
    }),
  },
  "a token that is none": {
    method: listUsers,
    credentials: () => ({ token: secret("not.a.token-at-all") }),
    code: noCredentials.code,
    record: () => ({
      reason: "CREDENTIALS_INVALID",
      why: "the token is no JWT, or has a name twice in an object",
    }),
  },
  "a token with a wrong signature": {
    method: listUsers,
    credentials: () => ({ token: secret(token("admin").replace(/.{8}$/, "AAAAAAAA")) }),
    code: noCredentials.code,
    record: () => ({ reason: "CREDENTIALS_INVALID", why: "signature verification failed" }),
  },
  "a token of somebody else's": {
    method: listUsers,
    credentials: () => ({ token: token("admin", { iss: "https://else.example.com" }) }),
    code: noCredentials.code,
    record: () => ({ reason: "CREDENTIALS_INVALID", why: "the iss of the token is not one of the issuers" }),
  },
  "a token that has expired": {
    method: createUser,
    request: { email: `${marker}@example.com` },
    credentials: () => ({ token: token("admin", { exp: 1_700_000_000 }) }),
    code: noCredentials.code,
    record: () => ({ reason: "CREDENTIALS_EXPIRED", why: '"exp" claim timestamp check failed' }),
  },
  "an API key that was revoked": {
    method: listOrdersWithUser,
    credentials: () => ({ headers: { "x-api-key": keys.revoked.key } }),
    code: noCredentials.code,
    record: () => ({ reason: "CREDENTIALS_INVALID", why: `the API key ${keys.revoked.id} was revoked` }),
  },
  "an API key that has expired": {
    method: listOrdersWithUser,
    credentials: () => ({ headers: { "x-api-key": keys.expired.key } }),
    code: noCredentials.code,
    record: () => ({ reason: "CREDENTIALS_EXPIRED", why: `the API key ${keys.expired.id} has expired` }),
  },
  "a token and a key": {
    method: listOrdersWithUser,
    credentials: () => ({ token: token("admin"), headers: { "x-api-key": keys.valid.key } }),
    code: noCredentials.code,
    record: () => ({ reason: "CREDENTIALS_INVALID", why: "Send either a token or an API key, not both." }),
  },
  "a permission that is missing": {
    method: listUsers,
    credentials: () => ({ token: token("viewer") }),
    code: "permission_denied",
    record: () => ({
      reason: "PERMISSION_MISSING",
      why: "the caller does not have the permission users.read",
      who: ada(),
    }),
  },
  "a permission that is missing, for a stream": {
    method: watchOrdersWithUser,
    request: { userIds: [marker] },
    credentials: () => ({ token: token("customer") }),
    code: "permission_denied",
    record: () => ({
      reason: "PERMISSION_MISSING",
      why: "the caller does not have the permission orders.read",
      who: ada(),
    }),
  },
  "a condition that does not hold": {
    method: createOrder,
    request: { userId: marker, lineItems: [line] },
    credentials: () => ({ headers: { "x-api-key": keys.valid.key } }),
    code: "permission_denied",
    record: () => ({
      reason: "CONDITION_NOT_MET",
      why: "the condition does not hold: request.user_id == principal.subject || principal.has('orders.create_for_others')",
      who: keyOwner(keys.valid.id),
    }),
  },
  "a field that may not be set": {
    method: createOrder,
    request: { userId: "ada", lineItems: [line, price] },
    credentials: () => ({ token: token("customer") }),
    code: "permission_denied",
    record: () => ({
      reason: "FIELD_NOT_ALLOWED",
      why: "the caller does not have the permission orders.set_price to set line_items[1].unit_price",
      who: ada(),
    }),
  },
};

/** Remembers what must not be found in the log. */
function secret(text: string): string {
  secrets.push(text);
  return text;
}

describe.each(readingWays)("over %s", (way) => {
  const reads = ({ method }: Refusal) => method.methodKind === "unary" && method.idempotency === 1;
  const possible = Object.entries(refusals).filter(([, refusal]) => way !== "GET" || reads(refusal));

  test.each(possible)(
    "a refusal leaves one record: %s",
    async (_, { method, request = {}, credentials, ...expected }) => {
      const answer = await ask(system.url, method, request, { way, ...credentials?.(way) });
      expect(answer.code).toBe(expected.code);
      expect(await recordsOf(answer.requestId)).toEqual([
        {
          msg: "audit",
          audit: "refused",
          requestId: answer.requestId,
          rpc: nameOf(method),
          address: "127.0.0.1",
          ...expected.record(way),
        },
      ]);
      expect(answer.details).toMatchObject({ requestId: answer.requestId });
    },
  );

  if (way !== "GET")
    test("so does a call too many", async () => {
      const { id, key } = keys.once[ways.indexOf(way)] ?? keys.valid;
      const call = () => ask(system.url, listOrdersWithUser, {}, { way, headers: { "x-api-key": key } });
      const [first, second] = [await call(), await call()];
      expect(await recordsOf(first.requestId)).toEqual([]);
      expect(await recordsOf(second.requestId)).toEqual([
        {
          msg: "audit",
          audit: "refused",
          requestId: second.requestId,
          rpc: nameOf(listOrdersWithUser),
          address: "127.0.0.1",
          reason: "RATE_LIMIT_EXCEEDED",
          why: "Too many calls. Try again later.",
          who: keyOwner(id),
        },
      ]);
    });

  if (way !== "GET")
    test("a change that is allowed leaves one record, also if it fails afterwards", async () => {
      const allowed = ({ requestId }: Answer, method: DescMethod) => ({
        msg: "audit",
        audit: "allowed",
        requestId,
        rpc: nameOf(method),
        address: "127.0.0.1",
        who: ada(),
      });
      const email = `${marker}.${way}@example.com`;
      const made = await ask(system.url, createUser, { email }, { way, token: token("admin") });
      const again = await ask(system.url, createUser, { email }, { way, token: token("admin") });
      const order = { userId: "user-1", lineItems: [line] };
      const ordered = await ask(system.url, createOrder, order, { way, token: token("support") });
      system.mocks.orders.fault({ method: "createOrder", code: Code.Internal, times: 1 });
      const failed = await ask(system.url, createOrder, order, { way, token: token("support") });
      expect([made, again, ordered, failed].map(({ code }) => code)).toEqual([
        "ok",
        "already_exists",
        "ok",
        "internal",
      ]);
      for (const answer of [made, again])
        expect(await recordsOf(answer.requestId)).toEqual([allowed(answer, createUser)]);
      for (const answer of [ordered, failed])
        expect(await recordsOf(answer.requestId)).toEqual([allowed(answer, createOrder)]);
    });

  const unreadable = Buffer.from(`\xff${marker}`, "latin1");
  const unrecorded: Record<string, (options: AskOptions) => Promise<Answer>> = {
    "a read": (options) => ask(system.url, listUsers, {}, options),
    "a read of a list with a cost": (options) => ask(system.url, listItemsGroupedByUsers, {}, options),
    "a read of something that is not there": (options) => ask(system.url, getUser, { id: marker }, options),
    "a read that breaks a rule": (options) => ask(system.url, getOrderWithUser, {}, options),
    ...(way !== "GET" && {
      "a change that breaks a rule": (options) => ask(system.url, createUser, { email: marker }, options),
      "a change whose request cannot be read": (options) =>
        ask(
          system.url,
          createUser,
          {},
          { ...options, body: way.startsWith("grpc") ? envelope(unreadable) : unreadable },
        ),
      "a stream": (options) =>
        ask(system.url, watchOrdersWithUser, { backlog: 1 }, { ...options, timeoutMs: 300 }),
    }),
  };
  test.each(Object.entries(unrecorded))("nothing is recorded of %s", async (_, call) => {
    const { code, requestId } = await call({ way, token: token("admin") });
    expect(["ok", "not_found", "invalid_argument", "deadline_exceeded"]).toContain(code);
    expect(await recordsOf(requestId)).toEqual([]);
  });
});

test("an internal service that refuses the caller is another decision, after that of the gateway", async () => {
  system.mocks.orders.fault({
    method: "createOrder",
    code: Code.PermissionDenied,
    message: marker,
    times: 1,
  });
  const request = { userId: "user-1", lineItems: [{ product: "Webcam", quantity: 1 }] };
  const { code, requestId } = await ask(system.url, createOrder, request, { token: token("support") });
  expect(code).toBe("permission_denied");
  expect(await recordsOf(requestId)).toMatchObject([
    { audit: "allowed", who: ada() },
    { audit: "refused", reason: "CONDITION_NOT_MET", why: "the upstream orders failed", who: ada() },
  ]);
});

test("a path without a method is no decision about a caller", async () => {
  const headers = { "x-request-id": "nowhere", authorization: `Bearer ${token("admin")}` };
  await overH1(system.url, { path: "/smpl.api.users.v1.UsersService/Nothing", headers });
  expect(await recordsOf("nowhere")).toEqual([]);
});

test("of many calls at once, each has its own record, and no other's", async () => {
  const calls = Array.from({ length: 120 }, (_, index) => {
    const subject = `caller-${index}`;
    const options = { way: ways[index % ways.length] ?? "grpc", token: token("viewer", { sub: subject }) };
    return async () => ({ subject, answer: await ask(system.url, listUsers, {}, options) });
  });
  const answers = await Promise.all(calls.map((call) => call()));
  for (const { subject, answer } of answers)
    expect(await recordsOf(answer.requestId)).toMatchObject([{ audit: "refused", who: { subject } }]);
});

describe("what is in no line of the log", () => {
  const lines = () => system.log().map((line) => JSON.stringify(line));

  test("is there to be looked for", () => {
    expect(secrets.length).toBeGreaterThan(100);
    expect(lines().filter((line) => line.includes('"msg":"audit"')).length).toBeGreaterThan(100);
  });

  test("a token or a key, or a part of one", () => {
    const parts = secrets.flatMap((text) => [text, ...text.split(/[._]/)]).filter((part) => part.length > 12);
    // The id of a key is no secret, and names it.
    const ids = new Set(
      Object.values(keys)
        .flat()
        .map(({ id }) => id),
    );
    const all = lines().join("\n");
    expect(parts.filter((part) => !ids.has(part) && all.includes(part))).toEqual([]);
    expect(all).not.toMatch(/bearer |eyJ[\w-]{8}/i);
  });

  test("anything of a body", () => {
    // But for the words of an internal service, which stand as the cause where it failed.
    const audits = lines().filter((line) => line.includes('"msg":"audit"'));
    expect(audits.filter((line) => line.includes(marker))).toEqual([]);
  });
});

function nameOf(method: DescMethod): string {
  return `${method.parent.typeName}/${method.name}`;
}
