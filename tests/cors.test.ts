import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { InventoryService } from "../packages/gateway/src/gen/smpl/api/inventory/v1/api_inventory_service_pb.ts";
import { OrdersService } from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { UsersService } from "../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { overH1 } from "./exchange.ts";
import { type System, startSystem } from "./system.ts";

// Which web pages may read answers, and that none can change anything without having asked.

const origin = "https://app.example.com";
const createUser = `/${UsersService.typeName}/CreateUser`;
let system: System;
beforeAll(async () => {
  system = await startSystem({ env: { CORS_ORIGINS: `${origin},http://localhost:3000` } });
});
afterAll(() => system.close());

const preflight = (from: string, at = system) =>
  overH1(at.url, {
    method: "OPTIONS",
    path: createUser,
    headers: {
      origin: from,
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization,content-type",
    },
  });

describe("an origin", () => {
  test.each([origin, "http://localhost:3000"])("that is listed may call: %s", async (listed) => {
    const { headers, status } = await preflight(listed);
    expect(status).toBe(204);
    expect(headers["access-control-allow-origin"]).toBe(listed);
    expect(headers["access-control-allow-headers"]).toMatch(/authorization/i);
    expect(headers["access-control-allow-credentials"]).toBeUndefined();
    expect(headers["vary"]).toMatch(/origin/i);
  });

  test.each([
    ["null", "null"],
    ["with another scheme", "http://app.example.com"],
    ["with a port", "https://app.example.com:8443"],
    ["in capitals", "https://APP.example.com"],
    ["that ends in it", "https://evil-app.example.com"],
    ["that begins with it", "https://app.example.com.evil.com"],
    ["with a user", "https://app.example.com@evil.com"],
    ["above it", "https://example.com"],
    ["below it", "https://a.app.example.com"],
    ["with a slash", "https://app.example.com/"],
    ["two of them", `${origin}, ${origin}`],
    ["empty", ""],
    ["*", "*"],
  ])("%s may not: %s", async (_, other) => {
    const asked = await preflight(other);
    expect(asked.headers["access-control-allow-origin"]).toBeUndefined();
    const { headers } = await overH1(system.url, {
      path: createUser,
      headers: { origin: other, "content-type": "application/json" },
      body: "{}",
    });
    expect(headers["access-control-allow-origin"]).toBeUndefined();
  });

  test("none may, unless it is configured", async () => {
    await using closed = await startSystem();
    expect((await preflight(origin, closed)).headers["access-control-allow-origin"]).toBeUndefined();
  });

  test("that is listed reads the request id, the limits, when to call again and what is missing", async () => {
    const { headers } = await overH1(system.url, {
      path: createUser,
      headers: { origin, "content-type": "application/json" },
      body: "{}",
    });
    const exposed = headers["access-control-expose-headers"]?.toLowerCase().split(/, */);
    expect(exposed).toEqual(
      expect.arrayContaining([
        "x-request-id",
        "ratelimit",
        "ratelimit-policy",
        "retry-after",
        "portico-partial-bin",
      ]),
    );
  });
});

/** What a page may send without a preflight (Fetch, "CORS-safelisted"). */
const simpleTypes = [
  "text/plain",
  "text/plain; application/json",
  "application/x-www-form-urlencoded",
  "multipart/form-data; boundary=x",
];

test("nothing that a page may send without asking changes anything", async () => {
  const methods = [UsersService, OrdersService, InventoryService]
    .flatMap((service) => service.methods)
    .filter(({ idempotency }) => idempotency !== MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS);
  expect(methods.map(({ name }) => name)).toEqual(["CreateUser", "CreateOrder"]);
  // As if the browser added credentials by itself, which it would for a client certificate.
  const authorization = `Bearer ${await system.token("admin")}`;
  const message = encodeURIComponent(JSON.stringify({ email: "csrf@example.com" }));
  for (const method of methods) {
    const path = `/${method.parent.typeName}/${method.name}`;
    const tries = [
      ...simpleTypes.map((type) =>
        overH1(system.url, {
          path,
          headers: { authorization, origin: "https://evil.com", "content-type": type },
          body: '{"email":"csrf@example.com"}',
        }),
      ),
      overH1(system.url, { path, headers: { authorization }, body: '{"email":"csrf@example.com"}' }),
      overH1(system.url, {
        method: "GET",
        path: `${path}?encoding=json&message=${message}`,
        headers: { authorization },
      }),
      overH1(system.url, { method: "HEAD", path, headers: { authorization } }),
    ];
    for (const { status } of await Promise.all(tries)) expect([404, 405, 415], path).toContain(status);
  }
  const calls = [...system.mocks.users.calls.all(), ...system.mocks.orders.calls.all()];
  expect(calls).toEqual([]);
});
