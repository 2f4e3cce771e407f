import { create, type DescMethod, type JsonValue, type MessageInitShape, toJson } from "@bufbuild/protobuf";
import { protoSnakeCase } from "@bufbuild/protobuf/reflect";
import { OrderSchema, OrdersService, UsersService } from "@portico/client-sdk";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  InventoryService,
  UserItemsSchema,
} from "../packages/gateway/src/gen/smpl/api/inventory/v1/api_inventory_service_pb.ts";
import { type Answer, type AskOptions, ask, readingWays } from "./ask.ts";
import { type System, startSystem } from "./system.ts";
import { streamWays } from "./ways/index.ts";

// Callers who say which fields they want, over every protocol: what they get, and what it costs.

const { listOrdersWithUser, getOrderWithUser, watchOrdersWithUser } = OrdersService.method;
const { listUsers, getUser } = UsersService.method;
const { listItemsGroupedByUsers } = InventoryService.method;

type Role = Parameters<System["token"]>[0];

let system: System;
const tokens = new Map<Role, string>();
beforeAll(async () => {
  system = await startSystem({ mocks: { users: 30, orders: 200, items: 100 } });
  for (const role of ["admin", "viewer", "customer"] as const) tokens.set(role, await system.token(role));
});
afterAll(() => system.close());
beforeEach(() => {
  for (const service of [system.mocks.users, system.mocks.orders, system.mocks.inventory])
    service.calls.clear();
});

/** Every call that an internal service got. */
function calls(): string[] {
  const { users, orders, inventory } = system.mocks;
  return [
    ...users.calls.all().map(({ method }) => `users.${method}`),
    ...orders.calls.all().map(({ method }) => `orders.${method}`),
    ...inventory.calls.all().map(({ method }) => `inventory.${method}`),
  ];
}

interface Options extends AskOptions {
  readonly role?: Role;
}

function call<M extends DescMethod>(
  method: M,
  request: MessageInitShape<M["input"]>,
  { role = "admin", ...options }: Options = {},
): Promise<Answer<M>> {
  return ask(system.url, method, request, { token: tokens.get(role) ?? "", ...options });
}

describe.each(readingWays)("over %s", (way) => {
  test("plain fields take one call, and nothing else comes", async () => {
    const readMask = { paths: ["id", "product"] };
    const { answers, code } = await call(listOrdersWithUser, { pageSize: 500, readMask }, { way });
    expect(code).toBe("ok");
    const [{ orders = [], nextPageToken } = {}] = answers;
    expect(orders).toHaveLength(200);
    for (const order of orders) {
      expect(toJson(OrderSchema, order)).toEqual({
        id: expect.stringMatching(/^order-\d+$/),
        product: expect.any(String),
      });
    }
    expect(nextPageToken).toBe("");
    expect(calls()).toEqual(["orders.listOrders"]);
  });

  test("a related field takes one more call", async () => {
    const readMask = { paths: ["user_email"] };
    const { answers } = await call(listOrdersWithUser, { pageSize: 5, readMask }, { way });
    const orders = answers[0]?.orders.map((order) => toJson(OrderSchema, order));
    expect(orders).toEqual(Array(5).fill({ userEmail: expect.stringContaining("@") }));
    expect(calls()).toEqual(["users.batchGetUsers", "orders.listOrders"]);
  });

  test("nested fields come alone", async () => {
    const readMask = { paths: ["total.currency_code", "line_items.sku", "line_items.*.unit_price.units"] };
    const { answers } = await call(getOrderWithUser, { id: "order-7", readMask }, { way });
    const [whole] = (await call(getOrderWithUser, { id: "order-7" })).answers;
    const { total, lineItems = [] } = whole?.order ?? {};
    expect(lineItems.length).toBeGreaterThan(0);
    expect(answers[0]?.order).toEqual(
      create(OrderSchema, {
        total: { currencyCode: total?.currencyCode ?? "" },
        lineItems: lineItems.map(({ sku, unitPrice }) => ({
          sku,
          unitPrice: { units: unitPrice?.units ?? 0n },
        })),
      }),
    );
  });

  test("a star, or nothing, is everything", async () => {
    const [all, none, absent] = await Promise.all([
      call(getOrderWithUser, { id: "order-7", readMask: { paths: ["*"] } }, { way }),
      call(getOrderWithUser, { id: "order-7", readMask: {} }, { way }),
      call(getOrderWithUser, { id: "order-7" }, { way }),
    ]);
    expect(all.answers).toEqual(absent.answers);
    expect(none.answers).toEqual(absent.answers);
    expect(all.answers[0]?.order?.userEmail).toContain("@");
  });

  test("every path that leads nowhere is named in the error", async () => {
    const readMask = { paths: ["id", "nope", "total.nope", "create_time.seconds"] };
    const answer = await call(listOrdersWithUser, { readMask }, { way });
    expect(answer).toMatchObject({
      code: "invalid_argument",
      message:
        'read_mask: "nope": smpl.api.orders.v1.Order has no field "nope". It has id, user_id, user_email, product, total, line_items, status, create_time',
      details: { reason: "INVALID_FIELDS", violations: { read_mask: expect.any(String) } },
    });
    expect(calls()).toEqual([]);
  });
});

describe("who may not read a field", () => {
  test("may select it, does not get it, and causes no call for it", async () => {
    const readMask = { paths: ["id", "user_email"] };
    const { answers, code } = await call(listOrdersWithUser, { pageSize: 3, readMask }, { role: "viewer" });
    expect(code).toBe("ok");
    expect(answers[0]?.orders.map((order) => toJson(OrderSchema, order))).toEqual(
      Array(3).fill({ id: expect.any(String) }),
    );
    expect(calls()).toEqual(["orders.listOrders"]);
  });

  test("does not get it by a star either", async () => {
    const readMask = { paths: ["*"] };
    const { answers } = await call(listOrdersWithUser, { pageSize: 3, readMask }, { role: "viewer" });
    expect(answers[0]?.orders.map(({ userEmail }) => userEmail)).toEqual(["", "", ""]);
  });

  test("is refused before the mask is looked at, if it may not call at all", async () => {
    const readMask = { paths: ["nope"] };
    expect(await call(listUsers, { readMask }, { role: "viewer" })).toMatchObject({
      code: "permission_denied",
    });
  });
});

describe("users with their items", () => {
  test("without items cause no call for them", async () => {
    const readMask = { paths: ["user.id"] };
    const { answers } = await call(listItemsGroupedByUsers, { pageSize: 3, readMask });
    expect(answers[0]?.users.map(({ user, items }) => ({ id: user?.id, email: user?.email, items }))).toEqual(
      ["user-1", "user-2", "user-3"].map((id) => ({ id, email: "", items: [] })),
    );
    expect(calls()).toEqual(["users.listUsers"]);
  });

  test("with the names of their items have nothing else", async () => {
    const readMask = { paths: ["items.name"] };
    const { answers } = await call(listItemsGroupedByUsers, { pageSize: 30, readMask });
    const users = answers[0]?.users ?? [];
    const items = users.flatMap(({ items }) => items);
    expect(users.filter(({ user }) => user !== undefined)).toEqual([]);
    expect(items.length).toBeGreaterThan(10);
    expect(items.filter(({ id, sku, name }) => id !== "" || sku !== "" || name === "")).toEqual([]);
    expect(calls()).toEqual(["users.listUsers", "inventory.listItems"]);
  });
});

test("users are selected from as well", async () => {
  const readMask = { paths: ["email"] };
  const { answers: list } = await call(listUsers, { pageSize: 2, readMask });
  expect(list[0]?.users).toMatchObject(Array(2).fill({ id: "", email: expect.stringContaining("@") }));
  expect(list[0]?.nextPageToken).not.toBe("");
  const { answers: one } = await call(getUser, { id: "user-1", readMask });
  expect(one[0]?.user).toMatchObject({ id: "", displayName: "", email: list[0]?.users[0]?.email });
});

test("plain JSON has the mask as a text in camel case", async () => {
  const response = await fetch(`${system.url}/smpl.api.orders.v1.OrdersService/GetOrderWithUser`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${tokens.get("admin")}` },
    body: JSON.stringify({ id: "order-7", readMask: "id,lineItems.sku,total.currencyCode" }),
  });
  expect(await response.json()).toEqual({
    order: {
      id: "order-7",
      lineItems: expect.arrayContaining([{ sku: expect.any(String) }]),
      total: { currencyCode: expect.stringMatching(/^[A-Z]{3}$/) },
    },
  });
});

describe("pages", () => {
  test("go on with the same mask, and are refused with another", async () => {
    const readMask = { paths: ["id"] };
    const { answers } = await call(listOrdersWithUser, { pageSize: 2, readMask });
    const pageToken = answers[0]?.nextPageToken ?? "";
    const next = await call(listOrdersWithUser, { pageSize: 2, readMask, pageToken });
    expect(next.answers[0]?.orders.map(({ id }) => id)).toEqual(["order-198", "order-197"]);
    const other = await call(listOrdersWithUser, {
      pageSize: 2,
      readMask: { paths: ["product"] },
      pageToken,
    });
    expect(other).toMatchObject({ code: "invalid_argument", details: { violations: expect.anything() } });
    expect(other.message).toMatch(/^page_token: /);
  });
});

describe.each(streamWays)("a stream over $name", ({ name, watch }) => {
  // Google's client for Node knows the fields of a mask, and not its form in JSON.
  const maskOf = (...paths: string[]) =>
    name === "grpc-js" ? { paths: paths.map(protoSnakeCase) } : paths.join();

  test("has the selected fields in each message, and fetches nothing else", async () => {
    const controller = new AbortController();
    const stream = watch(
      { url: system.url },
      {
        method: watchOrdersWithUser,
        request: { backlog: 3, readMask: maskOf("id", "lineItems.quantity") },
        headers: { authorization: `Bearer ${tokens.get("admin")}` },
        signal: controller.signal,
      },
    );
    const messages = await take(stream, 3);
    controller.abort();
    expect(messages).toEqual(
      ["order-198", "order-199", "order-200"].map((id) => ({
        order: { id, lineItems: expect.arrayContaining([{ quantity: expect.any(Number) }]) },
      })),
    );
    await expect.poll(() => system.mocks.orders.calls.active("watchOrders")).toBe(0);
    expect(calls()).toEqual(["orders.watchOrders"]);
  });

  test("is refused with a path that leads nowhere, before it begins", async () => {
    const stream = watch(
      { url: system.url },
      {
        method: watchOrdersWithUser,
        request: { readMask: maskOf("nope") },
        headers: { authorization: `Bearer ${tokens.get("admin")}` },
        signal: new AbortController().signal,
      },
    );
    await expect(take(stream, 1)).rejects.toMatchObject({
      answer: { code: "invalid_argument", message: expect.stringMatching(/^read_mask: "nope": /) },
    });
    expect(calls()).toEqual([]);
  });
});

async function take(stream: AsyncIterable<JsonValue>, count: number): Promise<JsonValue[]> {
  const taken: JsonValue[] = [];
  for await (const message of stream) if (taken.push(message) === count) break;
  return taken;
}

describe("kept answers", () => {
  let caching: System;
  beforeAll(async () => {
    caching = await startSystem({
      env: { ANSWER_CACHE_BYTES: String(2 ** 24) },
      mocks: { users: 5, orders: 5, items: 20 },
    });
  });
  afterAll(() => caching.close());

  test("are never given to who selected something else", async () => {
    const token = await caching.token("admin");
    const masks = [["user.id"], ["user.email"], ["items.name"], ["*"], ["user.id", "items.name"]];
    const get = async (paths: string[]) => {
      const request = { pageSize: 3, readMask: { paths } };
      const { answers } = await ask(caching.url, listItemsGroupedByUsers, request, { token });
      return answers[0]?.users.map((user) => toJson(UserItemsSchema, user));
    };
    const fresh = await Promise.all(masks.map(get));
    expect(new Set(fresh.map((answer) => JSON.stringify(answer))).size).toBe(masks.length);
    caching.mocks.users.calls.clear();
    expect(await Promise.all(masks.map(get))).toEqual(fresh);
    expect(caching.mocks.users.calls.count()).toBe(0);
    expect(fresh[0]).toEqual(["user-1", "user-2", "user-3"].map((id) => ({ user: { id } })));
  });
});
