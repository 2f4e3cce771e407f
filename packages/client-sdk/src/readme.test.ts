import { readFileSync } from "node:fs";
import { create } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ConnectRouter,
  createRouterTransport,
  encodeBinaryHeader,
} from "@connectrpc/connect";
import {
  NotFoundError,
  type Order,
  OrderSchema,
  OrderStatus,
  OrderStatusSchema,
  OrdersService,
  Portico,
  PorticoError,
  partial,
  RateLimitError,
  timestampDate,
  timestampFromDate,
  toJson,
  toJsonString,
  UsersService,
} from "@portico/client-sdk";
import { describe, expect, it, vi } from "vitest";
import { PartialResultSchema } from "./gen/portico/api/v1/partial_result_pb.ts";
import { inMemory, serve, thrownBy } from "./testing/api.ts";

// The samples of the README stand here word for word, and run.

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");
const samples = [...readme.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, code = ""]) => code);
const importLines = /^import .*\n/gm;
const show = vi.fn();
const session = { accessToken: async () => "abc" };
const id = "7";
const otherToken = "xyz";
const api = inMemory(routes);

function routes(router: ConnectRouter) {
  const createTime = timestampFromDate(new Date("2026-02-03"));
  const total = { currencyCode: "EUR", units: 12n };
  const order = {
    product: "Lamp",
    userEmail: "ada@example.com",
    total,
    status: OrderStatus.PAID,
    createTime,
  };
  router.service(UsersService, {
    getUser(_, call) {
      const authorization = call.requestHeader.get("authorization");
      if (authorization === null) throw new ConnectError("There is no such user.", Code.NotFound);
      return { user: { id: authorization } };
    },
    listUsers: () => ({ users: [{ email: "ada@example.com" }] }),
  });
  router.service(OrdersService, {
    listOrdersWithUser: () => ({ orders: [order] }),
    async *watchOrdersWithUser() {
      yield { order };
    },
  });
}

describe("the samples of the README", () => {
  it("stand below", () => {
    const source = compact(readFileSync(new URL("readme.test.ts", import.meta.url), "utf8"));
    expect(samples.length).toBeGreaterThan(7);
    for (const sample of samples) {
      expect(source.includes(compact(sample.replace(importLines, ""))), sample).toBe(true);
    }
  });

  it("import what there is", () => {
    const imports = readFileSync(new URL("readme.test.ts", import.meta.url), "utf8").split("\n\n")[0] ?? "";
    const lines = samples.flatMap((sample) => sample.match(importLines) ?? []);
    const names = lines.flatMap((line) => line.replace(/.*\{|\}.*|type /gs, "").split(","));
    expect(names.length).toBeGreaterThan(7);
    for (const name of names) expect(imports).toMatch(new RegExp(`\\b${name.trim()}\\b`));
  });

  it("name every method there is", () => {
    for (const [name, client] of Object.entries(api)) {
      const row = readme.split("\n").find((line) => line.startsWith(`| \`api.${name}\``));
      for (const method of Object.keys(client)) expect(row).toContain(`\`${method}\``);
    }
  });

  it("five lines", async () => {
    const { baseUrl, requests } = await serve(routes);
    const { fetch } = globalThis;
    const toServer = (url: string, init: RequestInit) =>
      fetch(url.replace("http://localhost:8080", baseUrl), init);
    vi.stubGlobal("fetch", toServer);
    await lines().finally(() => vi.unstubAllGlobals());
    expect(requests[0]?.headers.authorization).toBe("Bearer abc");
    expect(show).toHaveBeenLastCalledWith("Lamp", "ada@example.com");

    async function lines() {
      const api = new Portico({ baseUrl: "http://localhost:8080", token: () => session.accessToken() });

      const { orders } = await api.orders.listOrdersWithUser({ pageSize: 20 });
      for (const order of orders) show(order.product, order.userEmail);
    }
  });

  it("who calls", async () => {
    const getUser = vi.fn(() => ({}));
    const api = inMemory((router) => router.service(UsersService, { getUser }));
    await api.users.getUser({ id }, { headers: { authorization: `Bearer ${otherToken}` } });
    expect(getUser).toHaveBeenCalledOnce();
  });

  it("paging", async () => {
    for await (const user of api.users.listUsersAll({ pageSize: 100 })) show(user.email);
    expect(show).toHaveBeenLastCalledWith("ada@example.com");

    for await (const page of api.users.listUsersAll().pages()) show(page.users.length);

    const firstTen = await api.orders
      .listOrdersWithUserAll({ status: OrderStatus.PAID })
      .toArray({ limit: 10 });
    expect(show).toHaveBeenLastCalledWith(1);
    expect(firstTen).toHaveLength(1);
  });

  it.each([
    [Code.NotFound, { report: 0, sleep: 0 }],
    [Code.ResourceExhausted, { report: 0, sleep: 1 }],
    [Code.Internal, { report: 1, sleep: 0 }],
  ])("errors: code %i", async (code, calls) => {
    const report = vi.fn();
    const sleep = vi.fn(async (_ms: number) => {});
    const api = inMemory((router) => {
      router.service(UsersService, {
        getUser: () => {
          throw new ConnectError("No.", code);
        },
      });
    });
    await find();
    expect({ report: report.mock.calls.length, sleep: sleep.mock.calls.length }).toEqual(calls);

    async function find() {
      try {
        await api.users.getUser({ id });
      } catch (error) {
        if (error instanceof NotFoundError) return undefined;
        if (error instanceof RateLimitError) await sleep(error.retryAfterMs ?? 1_000);
        else if (error instanceof PorticoError) report(error.code, error.requestId);
        else throw error;
      }
      return "went on";
    }
  });

  it("answers that lack something", async () => {
    const warn = vi.fn();
    const missing = (path: string, count: number) => {
      const part = { path, count, message: "No users.", retryable: true };
      return encodeBinaryHeader(create(PartialResultSchema, { missing: [part] }), PartialResultSchema);
    };
    const api = inMemory((router) => {
      router.service(OrdersService, {
        listOrdersWithUser(_, call) {
          call.responseHeader.set("portico-partial-bin", missing("orders[0-2,5].user_email", 4));
          return {};
        },
        async *watchOrdersWithUser(_, call) {
          yield {};
          call.responseTrailer.set("portico-partial-bin", missing("[0-9].order.user_email", 10));
        },
      });
    });
    const page = await api.orders.listOrdersWithUser({ pageSize: 500 });
    for (const { path, message, retryable } of partial(page)) warn(path, message, retryable);
    expect(warn).toHaveBeenLastCalledWith("orders[0-2,5].user_email", "No users.", true);

    const stream = api.orders.watchOrdersWithUser({ backlog: 10 }, { timeoutMs: 60_000 });
    for await (const { order } of stream) show(order?.userEmail);
    for (const { path, count } of partial(stream)) warn(path, count); // such as [0-9].order.user_email
    expect(warn).toHaveBeenLastCalledWith("[0-9].order.user_email", 10);
  });

  it("streams", async () => {
    for await (const { order } of api.orders.watchOrdersWithUser({ backlog: 10 })) {
      show(order?.product);
      if (order?.status === OrderStatus.PAID) break;
    }
    expect(show).toHaveBeenLastCalledWith("Lamp");
  });

  it("canceling", async () => {
    async function cancel() {
      const search = new AbortController();
      const users = api.users.listUsers({}, { signal: search.signal });
      search.abort();
      await users; // throws a PorticoError with code "canceled"
    }
    const error = await thrownBy(cancel());
    expect(error).toBeInstanceOf(PorticoError);
    expect(error).toHaveProperty("code", "canceled");
  });

  it("messages", async () => {
    const createdFrom = timestampFromDate(new Date("2026-01-01"));
    const recent: Order[] = await api.orders.listOrdersWithUserAll({ createdFrom }).toArray();
    const times = recent.map((order) => order.createTime && timestampDate(order.createTime));
    expect(times).toEqual([new Date("2026-02-03")]);

    const names = recent.map((order) => OrderStatusSchema.value[order.status]?.localName); // such as "PAID"
    expect(names).toEqual(["PAID"]);
    expect(OrderStatusSchema.value).not.toHaveProperty("99");

    for (const order of recent) show(toJsonString(OrderSchema, order, { prettySpaces: 2 }));
    const rows = recent.map((order) => toJson(OrderSchema, order));
    expect(() => JSON.stringify(recent)).toThrow("BigInt");
    expect(rows).toEqual([
      {
        userEmail: "ada@example.com",
        product: "Lamp",
        total: { currencyCode: "EUR", units: "12" },
        status: "ORDER_STATUS_PAID",
        createTime: "2026-02-03T00:00:00Z",
      },
    ]);
    expect(show).toHaveBeenLastCalledWith(JSON.stringify(rows[0], null, 2));
  });

  it("tests of your own", async () => {
    const api = new Portico({
      transport: createRouterTransport((router) => {
        router.service(UsersService, { getUser: ({ id }) => ({ user: { id, email: "ada@example.com" } }) });
      }),
    });
    expect((await api.users.getUser({ id })).user).toMatchObject({ id, email: "ada@example.com" });
  });
});

/** Without white space: the formatter breaks lines elsewhere at another depth. */
function compact(code: string): string {
  return code.replace(/\s+/g, "");
}
