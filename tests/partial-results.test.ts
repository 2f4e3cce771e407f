import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { Portico, PorticoError, partial } from "@portico/client-sdk";
import { type Call, PublicError, type PublicService, service } from "@portico/gateway";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { services } from "../packages/gateway/src/app/app.ts";
import { InventoryService } from "../packages/gateway/src/gen/smpl/api/inventory/v1/api_inventory_service_pb.ts";
import {
  ListOrdersWithUserRequestSchema,
  OrdersService,
} from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { ForAllResponseSchema, SharedService } from "./gen/acme/api/policy/v1/policy_service_pb.ts";
import { listClients, partialIn, watchClients } from "./partial-results/clients.ts";
import { rawCall, textOf, ways } from "./raw-call.ts";
import { type System, startSystem } from "./system.ts";

// Answers that come although the users service is down, slow or broken: with orders, without emails, and with a word
// about it in every protocol.

const { listOrdersWithUser, watchOrdersWithUser } = OrdersService.method;
const { listItemsGroupedByUsers } = InventoryService.method;

const unavailable = {
  code: "unavailable",
  reason: "SERVICE_UNAVAILABLE",
  message: "A service that this request needs is not available. Try again shortly.",
  retryable: true,
};

function page(init: MessageInitShape<typeof ListOrdersWithUserRequestSchema> = {}) {
  return create(ListOrdersWithUserRequestSchema, { pageSize: 500, ...init });
}

/** Watches the latest orders and ends, where the real stream goes on for ever. */
function finite(backlog: number, call: Call) {
  const handlers = services.find(({ desc }) => desc === OrdersService)?.handlers ?? {};
  const watch = handlers["watchOrdersWithUser"] as (
    request: { readonly backlog: number },
    call: Call,
  ) => AsyncIterable<object>;
  return take(watch({ ...create(watchOrdersWithUser.input, { backlog }) }, call), backlog);
}

async function* take<T>(values: AsyncIterable<T>, count: number): AsyncGenerator<T> {
  let left = count;
  for await (const value of values) {
    yield value;
    left -= 1;
    if (left === 0) return;
  }
}

describe("a users service that is dead", () => {
  let system: System;
  let token: string;
  beforeAll(async () => {
    system = await startSystem();
    token = await system.token("admin");
    await system.mocks.users.stop();
  });
  afterAll(() => system.close());

  test.each(listClients)("leaves the orders: $name", async ({ list }) => {
    const { orders, partial } = await list({ url: system.url, token }, page());
    expect(orders).toHaveLength(500);
    expect(orders.filter(({ id, userId }) => id !== "" && userId !== "")).toHaveLength(500);
    expect(orders.filter(({ userEmail }) => userEmail !== "")).toEqual([]);
    expect(partial?.missing).toMatchObject([
      { path: "orders[0-499].user_email", count: 500, ...unavailable },
    ]);
  });

  test("is told in the log, with the cause", async () => {
    const { requestId } = await rawCall(system.url, listOrdersWithUser, page(), { token });
    const line = await system.logOf(requestId);
    expect(line).toMatchObject({ code: "ok", partial: 500 });
    expect(JSON.stringify(line["err"])).toMatch(/the upstream users failed.*ECONNREFUSED/);
  });

  test.each(ways)("is told in the API's own words, and nothing of what is inside: %s", async (way) => {
    const answer = await rawCall(system.url, listOrdersWithUser, page({ pageSize: 1 }), { way, token });
    expect(answer).toMatchObject({ status: 200, code: "ok" });
    const header = String(answer.headers["portico-partial-bin"]);
    expect(header).toMatch(/^[A-Za-z0-9+/]+$/);
    const text = textOf(answer) + Buffer.from(header, "base64").toString();
    expect(text).toContain("orders[0].user_email");
    for (const inside of ["upstream", "batchGetUsers", "127.0.0.1", "ECONN"])
      expect(text).not.toContain(inside);
  });

  test("matters to nobody who may not read what it has", async () => {
    const viewer = await system.token("viewer");
    system.mocks.orders.calls.clear();
    const answer = await rawCall(system.url, listOrdersWithUser, page(), { token: viewer });
    expect(answer.code).toBe("ok");
    expect(answer.headers["portico-partial-bin"]).toBeUndefined();
    const line = await system.logOf(answer.requestId);
    expect(line["partial"]).toBeUndefined();
    expect(line["upstreamCalls"]).toMatchObject([{ call: "orders.listOrders", code: "ok" }]);
  });

  test("matters to nobody who does not select what it has", async () => {
    const request = page({ readMask: { paths: ["id"] } });
    const answer = await rawCall(system.url, listOrdersWithUser, request, { token });
    expect(answer.code).toBe("ok");
    expect(answer.headers["portico-partial-bin"]).toBeUndefined();
  });

  test("is one clean error where the answer makes no sense without", async () => {
    const answer = await rawCall(system.url, listItemsGroupedByUsers, {}, { token });
    expect(answer).toMatchObject({ status: 503, code: "unavailable" });
    expect(answer.headers["portico-partial-bin"]).toBeUndefined();
  });

  test("is seen by the SDK", async () => {
    const api = new Portico({ baseUrl: system.url, token });
    const answer = await api.orders.listOrdersWithUser({ pageSize: 3 });
    expect(partial(answer)).toEqual([{ path: "orders[0-2].user_email", count: 3, ...unavailable }]);
    const stream = api.orders.watchOrdersWithUser({ backlog: 2 }, { timeoutMs: 2_000 });
    const watch = async () => {
      for await (const { order } of stream) expect(order?.userEmail).toBe("");
    };
    await expect(watch()).rejects.toBeInstanceOf(PorticoError);
    expect(partial(stream)).toMatchObject([{ path: "[0-1].order.user_email", count: 2 }]);
  });

  test("can be read by a page of another origin", async () => {
    await using open = await startSystem({ env: { CORS_ORIGINS: "https://app.example.com" } });
    await open.mocks.users.stop();
    const answer = await rawCall(open.url, listOrdersWithUser, page(), {
      token: await open.token("admin"),
      headers: { origin: "https://app.example.com" },
    });
    expect(answer.headers["access-control-expose-headers"]).toContain("portico-partial-bin");
    expect(partialIn(new Headers({ ...answer.headers }))?.missing).toHaveLength(1);
  });
});

describe("a stream", () => {
  let system: System;
  let token: string;
  beforeAll(async () => {
    const ending: PublicService = {
      desc: OrdersService,
      handlers: {
        ...services.find(({ desc }) => desc === OrdersService)?.handlers,
        watchOrdersWithUser: ({ backlog }: { readonly backlog: number }, call: Call) => finite(backlog, call),
      },
    };
    system = await startSystem({
      services: [...services.filter(({ desc }) => desc !== OrdersService), ending],
    });
    token = await system.token("admin");
  });
  afterAll(() => system.close());
  afterEach(() => system.mocks.users.clearFaults());

  test.each(watchClients)("says at its end what its messages lacked: $name", async ({ watch }) => {
    system.mocks.users.fault({ code: Code.Unavailable });
    const { orders, partial, error } = await watch({ url: system.url, token }, 20);
    expect(error).toBeUndefined();
    expect(orders).toHaveLength(20);
    expect(orders.filter(({ userEmail }) => userEmail !== "")).toEqual([]);
    expect(partial?.missing).toMatchObject([{ path: "[0-19].order.user_email", count: 20, ...unavailable }]);
  });

  test.each(watchClients)("that is whole says nothing: $name", async ({ watch }) => {
    const { orders, partial } = await watch({ url: system.url, token }, 3);
    expect(orders.map(({ userEmail }) => userEmail)).toEqual(Array(3).fill(expect.stringContaining("@")));
    expect(partial).toBeUndefined();
  });
});

describe("a stream that breaks", () => {
  test.each(watchClients.filter(({ name }) => name.startsWith("fetch")))(
    "says what the messages before lacked: $name",
    async ({ watch }) => {
      await using system = await startSystem();
      await system.mocks.users.stop();
      const token = await system.token("admin");
      const { orders, partial, error } = await watch({ url: system.url, token }, 2, 2_000);
      expect(orders).toHaveLength(2);
      expect(error).toMatchObject({ code: "deadline_exceeded" });
      expect(partial?.missing).toMatchObject([{ path: "[0-1].order.user_email", count: 2 }]);
    },
  );
});

describe("a users service that", () => {
  let system: System;
  let token: string;
  beforeAll(async () => {
    system = await startSystem();
    token = await system.token("admin");
  });
  afterAll(() => system.close());
  afterEach(() => {
    system.mocks.users.clearFaults();
    system.mocks.orders.clearFaults();
  });
  const ask = (init = {}, timeoutMs?: number) =>
    rawCall(system.url, listOrdersWithUser, page(init), { token, ...(timeoutMs && { timeoutMs }) });

  test("is too slow costs its own time alone", async () => {
    system.mocks.users.fault({ hang: true });
    const answer = await ask({ pageSize: 2 });
    expect(answer.code).toBe("ok");
    expect(partialIn(new Headers({ ...answer.headers }))?.missing).toMatchObject([
      {
        path: "orders[0-1].user_email",
        code: "deadline_exceeded",
        reason: "SERVICE_TIMEOUT",
        retryable: true,
      },
    ]);
  });

  test("is dead does not matter to a call whose own time is over: it fails", async () => {
    system.mocks.users.fault({ code: Code.Unavailable });
    system.mocks.orders.fault({ hang: true });
    const answer = await ask({ pageSize: 2 }, 300);
    expect(answer).toMatchObject({ status: 504, code: "deadline_exceeded" });
    expect(answer.headers["portico-partial-bin"]).toBeUndefined();
  });

  test.each([
    [Code.Internal, { code: "internal", reason: "INTERNAL", retryable: false }],
    [Code.ResourceExhausted, { code: "resource_exhausted", reason: "SERVICE_BUSY", retryable: true }],
  ])("fails with code %i is told as such", async (code, told) => {
    system.mocks.users.fault({ code, message: "db row 5" });
    const answer = await ask({ pageSize: 2 });
    const partial = partialIn(new Headers({ ...answer.headers }));
    expect(partial?.missing).toMatchObject([{ path: "orders[0-1].user_email", count: 2, ...told }]);
    expect(JSON.stringify(partial?.missing[0]?.message)).not.toContain("db row");
  });
});

describe("an answer that is kept for others", () => {
  test("is told to all who wait for the same run, and kept for nobody while it is partial", async () => {
    let runs = 0;
    let isDead = true;
    const running = Promise.withResolvers<void>();
    const shared = service(SharedService, {
      forAll: async (_, { missing }) => {
        runs += 1;
        const answer = create(ForAllResponseSchema);
        if (!isDead) return { seen: "whole" };
        await running.promise;
        missing.add(answer, "seen", new PublicError("SERVICE_UNAVAILABLE"));
        return answer;
      },
      forTenant: () => ({}),
      forOne: () => ({}),
    });
    await using system = await startSystem({
      services: [...services, shared],
      env: { ANSWER_CACHE_BYTES: String(2 ** 24) },
    });
    const ask = async (subject: string) => {
      const authorization = `Bearer ${await system.token("admin", subject)}`;
      const path = `${SharedService.typeName}/${SharedService.method.forAll.name}`;
      return fetch(`${system.url}/${path}?encoding=json&message=%7B%7D`, { headers: { authorization } });
    };
    const answers = [ask("ada"), ask("bob")];
    await expect.poll(() => coalesced(system), { timeout: 10_000 }).toBe(1);
    running.resolve();
    for (const { headers } of await Promise.all(answers)) {
      expect(partialIn(headers)?.missing).toMatchObject([{ path: "seen", count: 1 }]);
      expect(headers.get("cache-control")).toBe("no-store");
      expect(headers.get("etag")).toBeNull();
    }
    expect(runs).toBe(1);
    isDead = false;
    const later = await ask("eve");
    expect(await later.json()).toEqual({ seen: "whole" });
    expect(partialIn(later.headers)).toBeUndefined();
    expect(later.headers.get("cache-control")).not.toBe("no-store");
  });
});

async function coalesced({ adminUrl }: System): Promise<number> {
  const state = (await (await fetch(`${adminUrl}/readyz`)).json()) as { answers: { coalesced: number } };
  return state.answers.coalesced;
}
