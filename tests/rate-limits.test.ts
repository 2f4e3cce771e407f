import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { InventoryService } from "../packages/gateway/src/gen/smpl/api/inventory/v1/api_inventory_service_pb.ts";
import { OrdersService } from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { UsersService } from "../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { type Answer, type AskOptions, ask, type ReadingWay, readingWays } from "./ask.ts";
import { type Way, ways } from "./raw-call.ts";
import { noRedis, startRedis } from "./redis.ts";
import { type System, startSystem } from "./system.ts";

// How often callers may call, and what they are told. Windows are hours long, so that none ends while a test runs.

const { listOrdersWithUser, watchOrdersWithUser } = OrdersService.method;
const { createUser, listUsers } = UsersService.method;
const { listItemsGroupedByUsers } = InventoryService.method;

const limits = { RATE_LIMIT_AUTHENTICATED: "10/1h", RATE_LIMIT_ANONYMOUS: "5/1h" };
let system: System;
let proxied: System;
beforeAll(async () => {
  system = await startSystem({ env: limits });
  proxied = await startSystem({ env: { ...limits, TRUSTED_PROXIES: "127.0.0.1, 10.0.0.0/8" } });
});
afterAll(async () => {
  await system.close();
  await proxied.close();
});
afterEach(() => {
  for (const { mocks } of [system, proxied])
    for (const service of [mocks.users, mocks.orders, mocks.inventory]) service.calls.clear();
});

const upstreamCalls = ({ mocks: { users, orders, inventory } }: System) =>
  users.calls.count() + orders.calls.count() + inventory.calls.count();
const listOrders = (options: AskOptions, at = system) =>
  ask(at.url, listOrdersWithUser, { pageSize: 1 }, options);
/** A plus sign means a space where tokens are asked for. */
const subjectOf = (what: string, way: string) => `${what}-${way.replace("+", "-")}`;
/** What is left, as the answer says: by the name of the limit. */
const remaining = ({ fields }: Answer): Record<string, number> =>
  Object.fromEntries(
    [...(fields["ratelimit"] ?? "").matchAll(/"([^"]+)";r=(\d+)/g)].map(([, name, r]) => [name, Number(r)]),
  );

describe("a caller with credentials", () => {
  test.each(readingWays)("over %s, is told what is left, and is refused when nothing is", async (way) => {
    const token = await system.token("viewer", subjectOf("caller", way));
    for (let left = 9; left >= 0; left--) {
      const answer = await listOrders({ way, token });
      expect(answer.code).toBe("ok");
      expect(answer.fields).toMatchObject({
        "ratelimit-policy": '"common-3600";q=10;w=3600',
        ratelimit: expect.stringMatching(new RegExp(`^"common-3600";r=${left};t=3[56]\\d\\d$`)),
      });
      expect(answer.fields).not.toHaveProperty("retry-after");
    }
    const before = upstreamCalls(system);
    const refused = await listOrders({ way, token });
    expectRefusal(refused, { limit: "10/1h", policy: '"common-3600";q=10;w=3600', window: 3_600 });
    expect(refused.fields["ratelimit"]).toMatch(/^"common-3600";r=0;t=3[56]\d\d$/);
    expect(upstreamCalls(system)).toBe(before);
  });

  test("is one caller, whatever the protocol, the method and the token", async () => {
    const calls: (() => Promise<Answer>)[] = [
      async () => listOrders({ way: "grpc", token: await system.token("viewer", "one") }),
      async () => listOrders({ way: "GET", token: await system.token("support", "one") }),
      async () =>
        ask(system.url, listUsers, {}, { way: "grpc-web", token: await system.token("support", "one") }),
    ];
    const answers: Answer[] = [];
    for (const call of calls) answers.push(await call());
    expect(answers.map(remaining)).toEqual([9, 8, 7].map((left) => ({ "common-3600": left })));
  });

  test("does not pay for others, at the same address or not", async () => {
    const ada = await system.token("viewer", "ada-limits");
    for (let i = 0; i < 10; i++) await listOrders({ token: ada });
    expect((await listOrders({ token: ada })).code).toBe("resource_exhausted");
    const bob = await listOrders({ token: await system.token("viewer", "bob-limits") });
    expect([bob.code, remaining(bob)]).toEqual(["ok", { "common-3600": 9 }]);
  });

  test("pays for calls that it may not make, and that fail", async () => {
    const token = await system.token("viewer", "denied");
    const denied = await ask(system.url, listUsers, {}, { token });
    expect([denied.code, remaining(denied)]).toEqual(["permission_denied", { "common-3600": 9 }]);
    const invalid = await ask(system.url, listOrdersWithUser, { userIds: ["x".repeat(101)] }, { token });
    expect([invalid.code, remaining(invalid)]).toEqual(["invalid_argument", { "common-3600": 8 }]);
  });

  test("gets ten of fifty calls that it makes at once", async () => {
    const token = await system.token("viewer", "at-once");
    const answers = await Promise.all(Array.from({ length: 50 }, () => listOrders({ token })));
    const codes = Map.groupBy(answers, ({ code }) => code);
    expect(codes.get("ok")).toHaveLength(10);
    expect(codes.get("resource_exhausted")).toHaveLength(40);
    expect(system.mocks.orders.calls.count()).toBe(10);
  });

  test.each(ways)("over %s, opens streams at the same cost", async (way) => {
    const token = await system.token("viewer", subjectOf("streams", way));
    const watch = () => ask(system.url, watchOrdersWithUser, { backlog: 1 }, { way, token, timeoutMs: 300 });
    const first = await watch();
    expect(remaining(first)).toEqual({ "common-3600": 9 });
    expect(first.answers.length).toBeGreaterThan(0);
    for (let i = 0; i < 9; i++) await listOrders({ token });
    const before = upstreamCalls(system);
    const refused = await watch();
    expectRefusal(refused, { limit: "10/1h", policy: '"common-3600";q=10;w=3600', window: 3_600 });
    expect(refused.answers).toEqual([]);
    expect(upstreamCalls(system)).toBe(before);
  });
});

describe("what a method costs", () => {
  test.each(readingWays)("over %s, is taken from the common limit: 5 calls' worth of 10", async (way) => {
    const token = await system.token("viewer", subjectOf("cost", way));
    const list = () => ask(system.url, listItemsGroupedByUsers, { pageSize: 1 }, { way, token });
    expect(remaining(await list())).toEqual({ "common-3600": 5 });
    expect(remaining(await listOrders({ token }))).toEqual({ "common-3600": 4 });
    const before = upstreamCalls(system);
    const refused = await list();
    expectRefusal(refused, { limit: "10/1h", policy: '"common-3600";q=10;w=3600', window: 3_600 });
    // What is refused takes nothing: what is left does for something cheaper.
    expect(remaining(refused)).toEqual({ "common-3600": 4 });
    expect(upstreamCalls(system)).toBe(before);
    expect(remaining(await listOrders({ token }))).toEqual({ "common-3600": 3 });
  });

  test.each(ways)(
    "over %s, may have a limit of its own: 120 users may be created in a minute",
    async (way) => {
      await using unlimited = await startSystem();
      const token = await unlimited.token("admin", "creator");
      const create = (email: string, chosen: Way = "connect+json") =>
        ask(unlimited.url, createUser, { email }, { way: chosen, token });
      const batch = await Promise.all(Array.from({ length: 119 }, () => create("")));
      expect(new Set(batch.map(({ code }) => code))).toEqual(new Set(["invalid_argument"]));
      const created = await create("last@example.com", way);
      expect(created.code).toBe("ok");
      const bucket = "smpl.api.users.v1.UsersService/CreateUser-60";
      expect(created.fields["ratelimit-policy"]).toBe(`"${bucket}";q=120;w=60`);
      expect(remaining(created)).toEqual({ [bucket]: 0 });
      unlimited.mocks.users.calls.clear();
      const refused = await create("more@example.com", way);
      expectRefusal(refused, { limit: "120/1m", policy: `"${bucket}";q=120;w=60`, window: 60 });
      expect(upstreamCalls(unlimited)).toBe(0);
      // Other methods, and other callers, have theirs.
      expect((await ask(unlimited.url, listUsers, {}, { way, token })).code).toBe("ok");
      const other = { way, token: await unlimited.token("admin", "another") };
      expect((await ask(unlimited.url, createUser, { email: "b@example.com" }, other)).code).toBe("ok");
    },
  );

  test("is taken from both limits, or from none", async () => {
    const token = await system.token("admin", "both");
    const create = (name: string) => ask(system.url, createUser, { email: `${name}@example.com` }, { token });
    const bucket = "smpl.api.users.v1.UsersService/CreateUser-60";
    expect(remaining(await create("both-1"))).toEqual({ "common-3600": 9, [bucket]: 119 });
    for (let i = 0; i < 9; i++) await listOrders({ token });
    const refused = await create("both-2");
    expect(refused).toMatchObject({ code: "resource_exhausted", details: { metadata: { limit: "10/1h" } } });
    expect(remaining(refused)).toEqual({ "common-3600": 0, [bucket]: 119 });
  });
});

describe("a caller without credentials", () => {
  test.each(readingWays)("over %s, is counted by its address", async (way) => {
    const from = { way, headers: { "x-forwarded-for": `203.0.113.${10 + readingWays.indexOf(way)}` } };
    for (let left = 4; left >= 0; left--) {
      const answer = await listOrders(from, proxied);
      expect([answer.code, answer.details.reason]).toEqual(["unauthenticated", "CREDENTIALS_MISSING"]);
      expect(remaining(answer)).toEqual({ "common-3600": left });
    }
    const refused = await listOrders(from, proxied);
    expectRefusal(refused, { limit: "5/1h", policy: '"common-3600";q=5;w=3600', window: 3_600 });
    expect(upstreamCalls(proxied)).toBe(0);
    const another = { way, headers: { "x-forwarded-for": `203.0.113.${20 + readingWays.indexOf(way)}` } };
    expect(remaining(await listOrders(another, proxied))).toEqual({ "common-3600": 4 });
  });

  const left = async (forwardedFor: string) => {
    const answer = await listOrders({ headers: { "x-forwarded-for": forwardedFor } }, proxied);
    return remaining(answer)["common-3600"];
  };

  test("is not let off for an address that it puts before its own", async () => {
    for (let i = 0; i < 5; i++) await left(`198.51.100.${i}, 203.0.113.99, 10.0.0.7`);
    const refused = await listOrders({ headers: { "x-forwarded-for": "192.0.2.1, 203.0.113.99" } }, proxied);
    expect(refused.code).toBe("resource_exhausted");
  });

  test("has no more calls for having many addresses in one IPv6 network", async () => {
    expect(await left("2001:db8:1:2::1")).toBe(4);
    expect(await left("2001:db8:1:2:ffff:ffff:ffff:ffff")).toBe(3);
    expect(await left("2001:db8:1:3::1")).toBe(4);
  });

  test("has as many by IPv4 as by the same address within IPv6", async () => {
    expect(await left("192.0.2.77")).toBe(4);
    expect(await left("::ffff:192.0.2.77")).toBe(3);
  });

  test.each<ReadingWay>(readingWays)(
    "over %s, gains nothing by a header that no trusted proxy has sent",
    async (way) => {
      await using direct = await startSystem({ env: { RATE_LIMIT_ANONYMOUS: "5/1h" } });
      const from = (address: string) =>
        listOrders(
          { way, headers: { "x-forwarded-for": address, "x-real-ip": address, forwarded: `for=${address}` } },
          direct,
        );
      for (let i = 0; i < 5; i++) expect((await from(`203.0.113.${i}`)).code).toBe("unauthenticated");
      expectRefusal(await from("203.0.113.200"), {
        limit: "5/1h",
        policy: '"common-3600";q=5;w=3600',
        window: 3_600,
      });
    },
  );

  test("who has used up an address does not use up that of callers with credentials there", async () => {
    const from = { "x-forwarded-for": "203.0.113.150" };
    for (let i = 0; i < 6; i++) await listOrders({ headers: from }, proxied);
    expect((await listOrders({ headers: from }, proxied)).code).toBe("resource_exhausted");
    const known = await listOrders({ headers: from, token: await proxied.token("viewer", "known") }, proxied);
    expect(known.code).toBe("ok");
  });
});

describe("who tries credentials that are not valid", () => {
  test.each<[string, string, Record<string, string>]>([
    ["tokens", "203.0.113.160", { authorization: "Bearer not.a.token" }],
    ["API keys", "203.0.113.161", { "x-api-key": `ptk_abcdefghijkl_${"x".repeat(43)}` }],
    ["odd headers", "203.0.113.162", { authorization: "Basic YTpi" }],
  ])("spends the calls of its address: %s", async (_, address, credentials) => {
    const tried = (way: ReadingWay) =>
      listOrders({ way, headers: { ...credentials, "x-forwarded-for": address } }, proxied);
    for (const [index, way] of readingWays.entries()) {
      const answer = await tried(way);
      expect([answer.code, answer.details.reason]).toEqual(["unauthenticated", "CREDENTIALS_INVALID"]);
      expect(remaining(answer)).toEqual({ "common-3600": 4 - index });
    }
    for (const way of readingWays)
      expectRefusal(await tried(way), { limit: "5/1h", policy: '"common-3600";q=5;w=3600', window: 3_600 });
    const right = { "x-forwarded-for": address };
    const token = await proxied.token("viewer", `right-${address}`);
    expect((await listOrders({ headers: right, token }, proxied)).code).toBe("ok");
    expect((await listOrders({ headers: right }, proxied)).code).toBe("resource_exhausted");
  });
});

test("a gateway does not start if a method costs more than a caller can ever have", async () => {
  const start = startSystem({ env: { RATE_LIMIT_AUTHENTICATED: "4/1m" } });
  await expect(start).rejects.toThrow(
    "smpl.api.inventory.v1.InventoryService/ListItemsGroupedByUsers: (portico.v1.method).rate_limit.cost: a call costs 5",
  );
});

describe.skipIf(noRedis !== "")(`with one Redis${noRedis}`, () => {
  test("two gateways count together, and go on by themselves when it dies", async () => {
    await using redis = await startRedis();
    const env = { ...limits, REDIS_URL: redis.url };
    await using one = await startSystem({ env });
    await using two = await startSystem({ env });
    const leftOf = async (at: System, subject: string) =>
      remaining(await listOrders({ token: await at.token("viewer", subject) }, at))["common-3600"];
    // Until both are connected; each try is another caller's.
    let tries = 0;
    await vi.waitFor(async () => {
      tries += 1;
      await leftOf(one, `try-${tries}`);
      expect(await leftOf(two, `try-${tries}`)).toBe(8);
    }, 5_000);

    const seen: (number | undefined)[] = [];
    for (let i = 0; i < 5; i++) seen.push(await leftOf(one, "shared"), await leftOf(two, "shared"));
    expect(seen).toEqual([9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
    for (const at of [one, two]) {
      const refused = await listOrders({ way: "grpc", token: await at.token("viewer", "shared") }, at);
      expectRefusal(refused, { limit: "10/1h", policy: '"common-3600";q=10;w=3600', window: 3_600 });
    }

    await redis.stop();
    for (const way of readingWays)
      for (const at of [one, two]) {
        const answer = await listOrders(
          { way, token: await at.token("viewer", subjectOf("alone", way)) },
          at,
        );
        expect([answer.code, remaining(answer)]).toEqual(["ok", { "common-3600": 9 }]);
      }
    // Each by itself now, but each does count.
    const token = await one.token("viewer", "alone");
    for (let i = 0; i < 10; i++) expect((await listOrders({ token }, one)).code).toBe("ok");
    expect((await listOrders({ token }, one)).code).toBe("resource_exhausted");
    for (const { log } of [one, two])
      expect(log().filter((line) => String(line["msg"]).startsWith("Redis is lost"))).toHaveLength(1);

    await redis.restart();
    await vi.waitFor(async () => {
      tries += 1;
      await leftOf(one, `try-${tries}`);
      expect(await leftOf(two, `try-${tries}`)).toBe(8);
    }, 10_000);
    for (const { log } of [one, two])
      expect(log().filter((line) => line["msg"] === "Redis is back")).toHaveLength(1);
  });
});

/** All that a caller is told who has called too often: the same in every protocol. */
function expectRefusal(
  answer: Answer,
  { limit, policy, window }: { readonly limit: string; readonly policy: string; readonly window: number },
): void {
  const { code, message, details, fields } = answer;
  expect({ code, message }).toEqual({
    code: "resource_exhausted",
    message: "Too many calls. Try again later.",
  });
  expect(details).toMatchObject({ reason: "RATE_LIMIT_EXCEEDED", domain: "portico", metadata: { limit } });
  expect(details.requestId).toBe(fields["x-request-id"]);
  expect(details.types.map((type) => type.replace("google.rpc.", ""))).toEqual([
    "ErrorInfo",
    "RequestInfo",
    "RetryInfo",
  ]);
  expect(fields["ratelimit-policy"]).toBe(policy);
  const seconds = Number(fields["retry-after"]);
  expect(seconds).toBeGreaterThan(window * 0.9);
  expect(seconds).toBeLessThanOrEqual(window);
  expect(fields["ratelimit"]).toContain(`;t=${seconds}`);
  const delayMs = details.retryDelayMs ?? 0;
  expect(Math.ceil(delayMs / 1_000)).toBe(seconds);
}
