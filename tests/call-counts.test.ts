import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import type { RunningMocks } from "@portico/internal-mocks";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { InventoryService } from "../packages/gateway/src/gen/smpl/api/inventory/v1/api_inventory_service_pb.ts";
import {
  type Order,
  OrdersService,
} from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { UsersService } from "../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { OrdersService as InternalOrdersService } from "../packages/gateway/src/gen/smpl/orders/v1/orders_service_pb.ts";
import { type System, startSystem } from "./system.ts";

// How many calls to internal services a public call costs, and how large they are.

interface Clients {
  readonly users: ReturnType<typeof createClient<typeof UsersService>>;
  readonly orders: ReturnType<typeof createClient<typeof OrdersService>>;
  readonly inventory: ReturnType<typeof createClient<typeof InventoryService>>;
}

async function clientsOf(system: System, role: "admin" | "viewer" = "admin"): Promise<Clients> {
  const token = await system.token(role);
  const transport = createGrpcTransport({
    baseUrl: system.url,
    interceptors: [
      (next) => (request) => {
        request.header.set("authorization", `Bearer ${token}`);
        return next(request);
      },
    ],
  });
  return {
    users: createClient(UsersService, transport),
    orders: createClient(OrdersService, transport),
    inventory: createClient(InventoryService, transport),
  };
}

/** The calls that all services got together, in the order of the services. */
function callsTo({ users, orders, inventory }: RunningMocks): string[] {
  return [
    ...users.calls.all().map(({ method }) => `users.${method}`),
    ...orders.calls.all().map(({ method }) => `orders.${method}`),
    ...inventory.calls.all().map(({ method }) => `inventory.${method}`),
  ];
}

function clearCalls({ users, orders, inventory }: RunningMocks): void {
  for (const service of [users, orders, inventory]) service.calls.clear();
}

describe.each([1_000, 1_000_000])("with %i users", (count) => {
  let system: System;
  let clients: Clients;
  beforeAll(async () => {
    system = await startSystem({ mocks: { users: count, orders: 5_000, items: 3_000 } });
    clients = await clientsOf(system);
  });
  afterAll(() => system.close());
  beforeEach(() => clearCalls(system.mocks));

  test("a page of 500 orders takes one list and one batch of the distinct users", async () => {
    const { orders } = await clients.orders.listOrdersWithUser({ pageSize: 500 });
    expect(orders).toHaveLength(500);
    expect(orders.filter(({ userEmail }) => userEmail.includes("@"))).toHaveLength(500);
    expect(callsTo(system.mocks)).toEqual(["users.batchGetUsers", "orders.listOrders"]);
    const ids = system.mocks.users.calls.all("batchGetUsers")[0]?.request.ids ?? [];
    expect(ids.toSorted()).toEqual([...new Set(orders.map(({ userId }) => userId))].toSorted());
    expect(system.mocks.orders.calls.all("listOrders")[0]?.request).toMatchObject({
      pageSize: 500,
      pageToken: "",
    });
  });

  test("orders of the same users cost the same, however many other users there are", async () => {
    const made: Order[] = [];
    for (let index = 0; index < 20; index++) {
      const lineItems = [{ product: "Webcam", quantity: 1 }];
      const { order } = await clients.orders.createOrder({ userId: `user-${1 + (index % 7)}`, lineItems });
      if (order !== undefined) made.push(order);
    }
    clearCalls(system.mocks);
    const { orders } = await clients.orders.listOrdersWithUser({ pageSize: 20 });
    expect(orders.map(({ id }) => id)).toEqual(made.map(({ id }) => id).toReversed());
    expect(callsTo(system.mocks)).toEqual(["users.batchGetUsers", "orders.listOrders"]);
    const ids = system.mocks.users.calls.all("batchGetUsers")[0]?.request.ids ?? [];
    expect(ids.toSorted()).toEqual(["user-1", "user-2", "user-3", "user-4", "user-5", "user-6", "user-7"]);
    expect(system.mocks.orders.calls.all("listOrders")[0]?.request.pageSize).toBe(20);
  });

  test("a page of 500 users with their items takes one list of each", async () => {
    const { users } = await clients.inventory.listItemsGroupedByUsers({ pageSize: 500 });
    expect(users).toHaveLength(500);
    expect(callsTo(system.mocks)).toEqual(["users.listUsers", "inventory.listItems"]);
    expect(system.mocks.users.calls.all("listUsers")[0]?.request.pageSize).toBe(500);
    const { ownerIds = [] } = system.mocks.inventory.calls.all("listItems")[0]?.request ?? {};
    expect(ownerIds).toEqual(users.map(({ user }) => user?.id));
  });

  test("one order takes two calls, and one user takes one", async () => {
    const { order } = await clients.orders.getOrderWithUser({ id: "order-17" });
    expect(order?.userEmail).toContain("@");
    expect(callsTo(system.mocks)).toEqual(["users.batchGetUsers", "orders.getOrder"]);
    expect(system.mocks.users.calls.all("batchGetUsers")[0]?.request.ids).toEqual([order?.userId]);
    clearCalls(system.mocks);
    await clients.users.getUser({ id: "user-1" });
    expect(callsTo(system.mocks)).toEqual(["users.getUser"]);
  });

  test("a page of the largest size is asked for, never a larger one", async () => {
    const { orders, nextPageToken } = await clients.orders.listOrdersWithUser({ pageSize: 1_000_000 });
    expect(orders).toHaveLength(500);
    expect(nextPageToken).not.toBe("");
    expect(system.mocks.orders.calls.all("listOrders")[0]?.request.pageSize).toBe(500);
    expect(callsTo(system.mocks)).toHaveLength(2);
  });
});

describe("what a call costs", () => {
  let system: System;
  let clients: Clients;
  beforeAll(async () => {
    system = await startSystem({ mocks: { users: 1_000, orders: 5_000, items: 3_000 } });
    clients = await clientsOf(system);
  });
  afterAll(() => system.close());
  beforeEach(() => clearCalls(system.mocks));

  test("to create a user is one call, and the user is listed then", async () => {
    const { user } = await clients.users.createUser({ email: "grace@example.com", displayName: "Grace" });
    expect(callsTo(system.mocks)).toEqual(["users.createUser"]);
    expect(user).toMatchObject({ email: "grace@example.com", displayName: "Grace" });
    const users = await everything(
      (page) => clients.users.listUsers(page),
      ({ users }) => users,
      500,
    );
    expect(users.at(-1)).toEqual(user);
    expect((await clients.users.getUser({ id: user?.id ?? "" })).user).toEqual(user);
  });

  test("to create an order is one look at the user, and the email is not fetched again", async () => {
    const lineItems = [{ product: "Webcam", quantity: 1 }];
    const { order } = await clients.orders.createOrder({ userId: "user-3", lineItems });
    expect(order?.userEmail).toContain("@");
    expect(callsTo(system.mocks)).toEqual(["users.batchGetUsers", "orders.createOrder"]);
  });

  test("of a page without orders is one call", async () => {
    const { orders } = await clients.orders.listOrdersWithUser({ userIds: ["nobody"] });
    expect(orders).toEqual([]);
    expect(callsTo(system.mocks)).toEqual(["orders.listOrders"]);
  });

  test("of a stream is one look at the users of what comes together", async () => {
    const controller = new AbortController();
    const emails: string[] = [];
    const options = { signal: controller.signal };
    const watching = (async () => {
      for await (const { order } of clients.orders.watchOrdersWithUser({ backlog: 100 }, options)) {
        emails.push(order?.userEmail ?? "");
        if (emails.length === 100) controller.abort();
      }
    })();
    await expect(watching).rejects.toThrow();
    expect(emails.filter((email) => email.includes("@"))).toHaveLength(100);
    const [watch, ...looks] = callsTo(system.mocks).reverse();
    expect(watch).toBe("orders.watchOrders");
    expect(new Set(looks)).toEqual(new Set(["users.batchGetUsers"]));
    // How many batches there are depends on how quickly messages come: on no machine is it one for each.
    expect(looks.length).toBeLessThan(50);
  });

  test("of a caller who may not make it is none", async () => {
    const viewer = await clientsOf(system, "viewer");
    await expect(viewer.users.getUser({ id: "user-1" })).rejects.toThrow("permission_denied");
    await expect(viewer.users.listUsers({})).rejects.toThrow("permission_denied");
    expect(callsTo(system.mocks)).toEqual([]);
  });
});

describe("an order of a user that does not exist", () => {
  test("has an empty email, alone and among others, and fails nothing", async () => {
    await using system = await startSystem({ mocks: { users: 10, orders: 50, items: 0 } });
    const clients = await clientsOf(system);
    const orders = createClient(
      InternalOrdersService,
      createGrpcTransport({ baseUrl: system.mocks.orders.url }),
    );
    const made = await orders.createOrder({
      userId: "user-999",
      lineItems: [{ product: "Webcam", quantity: 1 }],
    });
    const { order } = await clients.orders.getOrderWithUser({ id: made.order?.id ?? "" });
    expect(order).toMatchObject({ userId: "user-999", userEmail: "", product: "Webcam" });
    const page = await clients.orders.listOrdersWithUser({ pageSize: 20 });
    expect(page.orders[0]).toEqual(order);
    expect(page.orders.slice(1).filter(({ userEmail }) => userEmail === "")).toEqual([]);
  });
});

describe("paging", () => {
  let system: System;
  let clients: Clients;
  beforeAll(async () => {
    system = await startSystem({ mocks: { users: 1_000, orders: 5_000, items: 3_000 } });
    clients = await clientsOf(system);
  });
  afterAll(() => system.close());

  test.each([500, 333, 50])("by %i goes over all orders once, newest first", async (pageSize) => {
    clearCalls(system.mocks);
    const orders = await everything(
      (page) => clients.orders.listOrdersWithUser(page),
      ({ orders }) => orders,
      pageSize,
    );
    expect(orders.map(({ id }) => id)).toEqual(
      Array.from({ length: 5_000 }, (_, index) => `order-${5_000 - index}`),
    );
    expect(callsTo(system.mocks)).toHaveLength(2 * Math.ceil(5_000 / pageSize));
  });

  test.each([500, 7])("by %i goes over the orders of some users once", async (pageSize) => {
    const filter = { userIds: ["user-1", "user-2", "user-3"] };
    const all = await everything(
      (page) => clients.orders.listOrdersWithUser(page),
      ({ orders }) => orders,
      500,
    );
    const some = await everything(
      (page) => clients.orders.listOrdersWithUser({ ...page, ...filter }),
      ({ orders }) => orders,
      pageSize,
    );
    expect(some).toEqual(all.filter(({ userId }) => filter.userIds.includes(userId)));
    expect(some.length).toBeGreaterThan(7);
  });

  test.each([500, 77])(
    "by %i goes over all users once, oldest first, and over all of their items",
    async (pageSize) => {
      const ids = Array.from({ length: 1_000 }, (_, index) => `user-${index + 1}`);
      const users = await everything(
        (page) => clients.users.listUsers(page),
        ({ users }) => users,
        pageSize,
      );
      expect(users.map(({ id }) => id)).toEqual(ids);
      const groups = await everything(
        (page) => clients.inventory.listItemsGroupedByUsers(page),
        ({ users }) => users,
        pageSize,
      );
      expect(groups.map(({ user }) => user)).toEqual(users);
      const items = groups.flatMap(({ items }) => items.map(({ id }) => id));
      expect(new Set(items).size).toBe(3_000);
      expect(items).toHaveLength(3_000);
    },
  );

  test("neither loses nor repeats an order when new ones come meanwhile", async () => {
    const seen: string[] = [];
    let pageToken = "";
    do {
      const page = await clients.orders.listOrdersWithUser({ pageSize: 500, pageToken });
      seen.push(...page.orders.map(({ id }) => id));
      await clients.orders.createOrder({ userId: "user-1", lineItems: [{ product: "Webcam", quantity: 1 }] });
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(seen).toEqual(Array.from({ length: 5_000 }, (_, index) => `order-${5_000 - index}`));
  });
});

/** Walks over all pages. */
async function everything<R extends { nextPageToken: string }, T>(
  list: (page: { pageSize: number; pageToken: string }) => Promise<R>,
  rows: (response: R) => readonly T[],
  pageSize: number,
): Promise<T[]> {
  const all: T[] = [];
  let pageToken = "";
  do {
    const response = await list({ pageSize, pageToken });
    all.push(...rows(response));
    pageToken = response.nextPageToken;
  } while (pageToken !== "");
  return all;
}
