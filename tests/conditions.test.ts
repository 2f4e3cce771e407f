import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  CreateOrderRequestSchema,
  OrdersService,
} from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { generateApiKey } from "../packages/gateway/src/policy/identity/api-keys.ts";
import { ask } from "./ask.ts";
import { overH1 } from "./exchange.ts";
import { audience, startIssuer, type TestIssuer } from "./issuer.ts";
import { envelope, ways } from "./raw-call.ts";
import { type System, startSystem } from "./system.ts";

// Who may order for whom, and choose the price: decided from the request, before anybody inside is asked.

const { createOrder } = OrdersService.method;
const folder = mkdtempSync(join(tmpdir(), "portico-conditions-"));
const apiKey = generateApiKey();
let issuer: TestIssuer;
let system: System;
beforeAll(async () => {
  const entry = {
    id: apiKey.id,
    name: "Acme",
    sha256: apiKey.sha256,
    roles: ["customer"],
    createdAt: "2026-01-01T00:00:00Z",
  };
  writeFileSync(join(folder, "keys.json"), JSON.stringify({ keys: [entry] }));
  issuer = await startIssuer();
  system = await startSystem({
    env: {
      PORTICO_MODE: "production",
      AUTH_ISSUER: issuer.url,
      AUTH_AUDIENCE: audience,
      API_KEYS_FILE: join(folder, "keys.json"),
    },
  });
});
afterAll(async () => {
  await system.close();
  await issuer.close();
  rmSync(folder, { recursive: true });
});
afterEach(() => {
  for (const service of [system.mocks.users, system.mocks.orders]) service.calls.clear();
});

const tokenOf = (role: string, sub = "user-1") => issuer.token({ sub, roles: [role] });
const upstreamCalls = () => system.mocks.users.calls.count() + system.mocks.orders.calls.count();
const orderedFor = () => system.mocks.orders.calls.all("createOrder").map(({ request }) => request.userId);

const line = { product: "Webcam", quantity: 1 };
const price = { currencyCode: "EUR", units: 5n };
const conditionNotMet = {
  code: "permission_denied",
  message: "Your credentials do not allow this request.",
  details: { reason: "CONDITION_NOT_MET", metadata: {} },
};
const notAllowed = (field: string) => ({
  code: "permission_denied",
  message: `${field}: your credentials do not allow this field to be set`,
  details: { reason: "FIELD_NOT_ALLOWED", metadata: { field } },
});

describe.each(ways)("over %s", (way) => {
  test("a customer orders for itself", async () => {
    const request = { userId: "user-1", lineItems: [line] };
    const answer = await ask(system.url, createOrder, request, { way, token: tokenOf("customer") });
    expect(answer).toMatchObject({
      code: "ok",
      answers: [{ order: { userId: "user-1", product: "Webcam" } }],
    });
    expect(orderedFor()).toEqual(["user-1"]);
  });

  test.each([
    "user-2",
    "USER-1",
    "user-1 ",
    " user-1",
    "user-1\u0000",
    "user-10",
    "user",
    "us\u0435r-1",
    "*",
  ])("and for nobody else: %j", async (userId) => {
    const request = { userId, lineItems: [line] };
    expect(await ask(system.url, createOrder, request, { way, token: tokenOf("customer") })).toMatchObject(
      conditionNotMet,
    );
    expect(upstreamCalls()).toBe(0);
  });

  test("an order for nobody is not valid, which comes first", async () => {
    const answer = await ask(
      system.url,
      createOrder,
      { lineItems: [line] },
      { way, token: tokenOf("customer") },
    );
    expect(answer).toMatchObject({
      code: "invalid_argument",
      details: { violations: { user_id: "is required" } },
    });
    expect(upstreamCalls()).toBe(0);
  });

  test("a subject counts as it is, whatever else is the same", async () => {
    const request = { userId: "user-1", lineItems: [line] };
    for (const sub of ["user-2", "User-1", "user-1 "])
      expect(
        await ask(system.url, createOrder, request, { way, token: tokenOf("customer", sub) }),
      ).toMatchObject(conditionNotMet);
    const withKey = { way, headers: { "x-api-key": apiKey.key } };
    expect(await ask(system.url, createOrder, request, withKey)).toMatchObject(conditionNotMet);
    expect(upstreamCalls()).toBe(0);
  });

  test("who may order for others does, whoever it is", async () => {
    for (const [role, sub] of [
      ["support", "ada"],
      ["admin", "user-9"],
    ] as const) {
      const request = { userId: "user-2", lineItems: [line] };
      expect(await ask(system.url, createOrder, request, { way, token: tokenOf(role, sub) })).toMatchObject({
        code: "ok",
      });
    }
    expect(orderedFor()).toEqual(["user-2", "user-2"]);
  });

  test("who may not order at all does not, even for itself", async () => {
    const request = { userId: "user-1", lineItems: [line] };
    expect(await ask(system.url, createOrder, request, { way, token: tokenOf("viewer") })).toMatchObject({
      code: "permission_denied",
      details: { reason: "PERMISSION_MISSING" },
    });
    expect(await ask(system.url, createOrder, request, { way })).toMatchObject({
      code: "unauthenticated",
      details: { reason: "CREDENTIALS_MISSING" },
    });
    expect(upstreamCalls()).toBe(0);
  });

  test.each<[string, object[], string]>([
    ["of the first line", [{ ...line, unitPrice: price }], "line_items[0].unit_price"],
    ["of a later one", [line, line, { ...line, unitPrice: price }], "line_items[2].unit_price"],
    ["of nothing", [{ ...line, unitPrice: { currencyCode: "EUR" } }], "line_items[0].unit_price"],
  ])("a customer does not choose the price %s", async (_, lineItems, field) => {
    const request = { userId: "user-1", lineItems };
    const answer = await ask(system.url, createOrder, request, { way, token: tokenOf("customer") });
    expect(answer).toMatchObject(notAllowed(field));
    expect(upstreamCalls()).toBe(0);
  });

  test("support chooses it", async () => {
    const request = { userId: "user-2", lineItems: [{ ...line, unitPrice: price }] };
    const answer = await ask(system.url, createOrder, request, { way, token: tokenOf("support", "ada") });
    expect(answer).toMatchObject({
      code: "ok",
      answers: [{ order: { total: { currencyCode: "EUR", units: 5n } } }],
    });
    expect(system.mocks.orders.calls.all("createOrder")[0]?.request.lineItems[0]?.unitPrice).toMatchObject(
      price,
    );
  });

  test("a rule that is broken is said before either", async () => {
    const request = { userId: "user-2", lineItems: [{ quantity: 0, unitPrice: price }] };
    const answer = await ask(system.url, createOrder, request, { way, token: tokenOf("customer") });
    expect(answer).toMatchObject({ code: "invalid_argument", details: { reason: "INVALID_FIELDS" } });
    expect(Object.keys(answer.details.violations ?? {})).toContain("line_items[0].product");
    expect(upstreamCalls()).toBe(0);
  });
});

describe("a request that says two things", () => {
  const one = (userId: string) =>
    toBinary(CreateOrderRequestSchema, create(CreateOrderRequestSchema, { userId, lineItems: [] }));
  const lines = toBinary(CreateOrderRequestSchema, create(CreateOrderRequestSchema, { lineItems: [line] }));
  const twice = (first: string, second: string) => Buffer.concat([one(first), lines, one(second)]);

  test.each(["connect+proto", "grpc", "grpc-web"] as const)(
    "over %s, is judged by what the internal service gets",
    async (way) => {
      const send = (bytes: Buffer) => {
        const body = way === "connect+proto" ? bytes : envelope(bytes);
        return ask(system.url, createOrder, {}, { way, token: tokenOf("customer"), body });
      };
      expect(await send(twice("user-1", "user-2"))).toMatchObject(conditionNotMet);
      expect(upstreamCalls()).toBe(0);
      expect(await send(twice("user-2", "user-1"))).toMatchObject({ code: "ok" });
      expect(orderedFor()).toEqual(["user-1"]);
    },
  );

  test.each([
    '{"userId":"user-1","user_id":"user-2","lineItems":[{"product":"Webcam","quantity":1}]}',
    '{"user_id":"user-1","userId":"user-2","lineItems":[{"product":"Webcam","quantity":1}]}',
    '{"userId":"user-1","userId":"user-2","lineItems":[{"product":"Webcam","quantity":1}]}',
    '{"userId":"user-2","userId":"user-1","lineItems":[{"product":"Webcam","quantity":1}]}',
  ])("is judged so in JSON as well: %s", async (body) => {
    const answer = await ask(system.url, createOrder, {}, { token: tokenOf("customer"), body });
    // Refused as a contradiction, or read as one of the two: never checked as one and done as the other.
    if (answer.code === "ok") expect(orderedFor()).toEqual(["user-1"]);
    else expect(orderedFor()).toEqual([]);
    expect(["ok", "permission_denied", "invalid_argument"]).toContain(answer.code);
  });
});

test("a change is never made by a GET, whose link anybody could be made to follow", async () => {
  const message = encodeURIComponent(JSON.stringify({ userId: "user-1", lineItems: [line] }));
  const { status } = await overH1(system.url, {
    method: "GET",
    path: `/${OrdersService.typeName}/CreateOrder?connect=v1&encoding=json&message=${message}`,
    headers: { authorization: `Bearer ${tokenOf("customer")}` },
  });
  expect(status).toBe(405);
  expect(upstreamCalls()).toBe(0);
});
