import { type Timestamp, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { type Client, Code, createClient } from "@connectrpc/connect";
import { describe, expect, it, vi } from "vitest";
import { createOrders } from "./data/orders.ts";
import { type Order, OrderStatus, OrdersService } from "./gen/smpl/orders/v1/orders_service_pb.ts";
import { createMocks } from "./mocks.ts";
import { ordersImpl } from "./orders.ts";
import { createMockService } from "./service.ts";

type Request = Parameters<Client<typeof OrdersService>["listOrders"]>[0];

const connect = () => createClient(OrdersService, createMocks({ orders: 400, users: 30 }).orders.transport);
const line = { product: "Headset", quantity: 1 };
const timeOf = (order: Order | undefined) => timestampMs(order?.createTime ?? timestampFromMs(Number.NaN));

async function listAll(
  client: Client<typeof OrdersService>,
  request: Request,
  pageSize = 7,
): Promise<Order[]> {
  const all: Order[] = [];
  let pageToken = "";
  do {
    const page = await client.listOrders({ ...request, pageSize, pageToken });
    expect(page.orders.length).toBeLessThanOrEqual(pageSize);
    all.push(...page.orders);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return all;
}

describe("GetOrder", () => {
  it("finds an order, or answers NOT_FOUND", async () => {
    const client = connect();
    expect((await client.getOrder({ id: "order-400" })).order?.id).toBe("order-400");
    await expect(client.getOrder({ id: "order-401" })).rejects.toMatchObject({ code: Code.NotFound });
  });
});

describe("ListOrders", () => {
  it("gives 100 by default, newest first, 1,000 at the most", async () => {
    const { orders } = await connect().listOrders({});
    expect(orders.map((order) => order.id)).toEqual(
      Array.from({ length: 100 }, (_, index) => `order-${400 - index}`),
    );
    const many = createClient(OrdersService, createMocks({ orders: 1_200 }).orders.transport);
    expect((await many.listOrders({ pageSize: 1_100 })).orders).toHaveLength(1_000);
  });

  it("passes the same orders through every filter as a plain search, created ones too", async () => {
    const client = connect();
    await client.createOrder({ userId: "user-3", lineItems: [line] });
    await client.createOrder({ userId: "somebody", lineItems: [line] });
    const all = await listAll(client, {}, 1_000);
    expect(all).toHaveLength(402);
    const at = (index: number): Timestamp => timestampFromMs(timeOf(all[index]));
    const filters: [Request, (order: Order) => boolean][] = [
      [{ userIds: ["user-3", "user-9", "user-3"] }, (order) => ["user-3", "user-9"].includes(order.userId)],
      [{ userIds: ["somebody", "user-77777"] }, (order) => order.userId === "somebody"],
      [{ status: OrderStatus.PENDING }, (order) => order.status === OrderStatus.PENDING],
      [{ createdFrom: at(50) }, (order) => timeOf(order) >= timeOf(all[50])],
      [{ createdBefore: at(50) }, (order) => timeOf(order) < timeOf(all[50])],
      [
        { createdFrom: at(300), createdBefore: at(0) },
        (order) => timeOf(order) >= timeOf(all[300]) && timeOf(order) < timeOf(all[0]),
      ],
      [{ createdFrom: at(0), createdBefore: at(300) }, () => false],
      [
        { userIds: ["user-3"], status: OrderStatus.SHIPPED, createdFrom: at(350) },
        (order) =>
          order.userId === "user-3" &&
          order.status === OrderStatus.SHIPPED &&
          timeOf(order) >= timeOf(all[350]),
      ],
    ];
    for (const [request, passes] of filters) {
      expect((await listAll(client, request)).map((order) => order.id)).toEqual(
        all.filter(passes).map((order) => order.id),
      );
    }
  });

  it("takes a time between two milliseconds as after the first of them", async () => {
    const client = connect();
    const { order } = await client.getOrder({ id: "order-200" });
    const time = order?.createTime ?? timestampFromMs(0);
    const after = { seconds: time.seconds, nanos: time.nanos + 1 };
    expect((await listAll(client, { createdFrom: after })).at(-1)?.id).toBe("order-201");
    expect((await listAll(client, { createdBefore: after }))[0]?.id).toBe("order-200");
  });

  it("goes on where it was when orders are created meanwhile", async () => {
    const client = connect();
    const first = await client.listOrders({ pageSize: 3 });
    await client.createOrder({ userId: "user-1", lineItems: [line] });
    const second = await client.listOrders({ pageSize: 3, pageToken: first.nextPageToken });
    expect(second.orders.map((order) => order.id)).toEqual(["order-397", "order-396", "order-395"]);
  });

  it.each([{ pageSize: -1 }, { pageToken: "x" }])("answers INVALID_ARGUMENT for %o", async (request) => {
    await expect(connect().listOrders(request)).rejects.toMatchObject({ code: Code.InvalidArgument });
  });
});

describe("CreateOrder", () => {
  it("prices the lines, adds them up, and the order is then found and listed", async () => {
    const client = connect();
    const lineItems = [
      {
        product: "Custom thing",
        quantity: 3,
        unitPrice: { currencyCode: "EUR", units: 1n, nanos: 666_666_667 },
      },
      { sku: "HS-310", quantity: 2 },
    ];
    const { order } = await client.createOrder({ userId: "user-1", lineItems });
    expect(order).toMatchObject({
      id: "order-401",
      userId: "user-1",
      product: "Custom thing",
      status: OrderStatus.PENDING,
    });
    expect(order?.lineItems[1]).toMatchObject({
      product: "Headset",
      unitPrice: { currencyCode: "EUR", units: 81n, nanos: 880_000_000 },
    });
    expect(order?.total).toMatchObject({ currencyCode: "EUR", units: 168n, nanos: 760_000_001 });
    expect(order?.internalNote).toMatch(/^INTERNAL NOTE/);
    expect((await client.getOrder({ id: "order-401" })).order).toEqual(order);
    expect((await client.listOrders({ userIds: ["user-1"], pageSize: 1 })).orders).toEqual([order]);
  });

  it("gives a product that is not in the catalogue a price, always the same", async () => {
    const client = connect();
    const prices = ["Teapot", "Teapot", "Samovar"].map(async (product) => {
      const { order } = await client.createOrder({ userId: "user-1", lineItems: [{ product, quantity: 1 }] });
      return `${order?.total?.currencyCode} ${order?.total?.units}.${order?.total?.nanos}`;
    });
    const [teapot, again, samovar] = await Promise.all(prices);
    expect(again).toBe(teapot);
    expect(samovar).not.toBe(teapot);
  });

  const price = (currencyCode: string, units: bigint, nanos = 0) => ({
    ...line,
    unitPrice: { currencyCode, units, nanos },
  });
  it.each([
    ["user_id", { lineItems: [line] }],
    ["line_items", { userId: "user-1" }],
    ["line_items[1].product", { userId: "user-1", lineItems: [line, { quantity: 1 }] }],
    ["line_items[0].quantity", { userId: "user-1", lineItems: [{ product: "Headset" }] }],
    ["line_items[0].quantity", { userId: "user-1", lineItems: [{ product: "Headset", quantity: -2 }] }],
    ["line_items[0].unit_price.currency_code", { userId: "user-1", lineItems: [price("euro", 1n)] }],
    [
      "line_items[1].unit_price.currency_code",
      { userId: "user-1", lineItems: [price("EUR", 1n), price("USD", 1n)] },
    ],
    ["line_items[0].unit_price.units", { userId: "user-1", lineItems: [price("EUR", -1n)] }],
    ["line_items[0].unit_price.nanos", { userId: "user-1", lineItems: [price("EUR", 1n, 1_000_000_000)] }],
  ])("answers INVALID_ARGUMENT naming %s", async (field, request) => {
    const call = connect().createOrder(request);
    await expect(call).rejects.toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: expect.stringContaining(field),
    });
  });
});

describe("WatchOrders", () => {
  // The data is at hand here, to see who waits.
  function watchable() {
    const orders = createOrders(1, 400, 30);
    const mock = createMockService(OrdersService, ordersImpl(orders, 1), 100);
    return { orders, mock, client: createClient(OrdersService, mock.transport) };
  }

  function watch(client: Client<typeof OrdersService>, request: { userIds?: string[]; backlog?: number }) {
    const caller = new AbortController();
    const seen: string[] = [];
    const done = (async () => {
      for await (const { order } of client.watchOrders(request, { signal: caller.signal }))
        seen.push(order?.id ?? "");
    })().catch((error: unknown) => error);
    return { seen, done, leave: () => caller.abort() };
  }

  it("sends the backlog, oldest first, and then what is created", async () => {
    const { client, orders } = watchable();
    const watcher = watch(client, { backlog: 2 });
    await vi.waitFor(() => expect(orders.changes.waiting()).toBe(1));
    for (let n = 0; n < 3; n++) await client.createOrder({ userId: "user-1", lineItems: [line] });
    await vi.waitFor(() => expect(watcher.seen).toHaveLength(5));
    expect(watcher.seen).toEqual(["order-399", "order-400", "order-401", "order-402", "order-403"]);
    watcher.leave();
  });

  it("sends only the orders of the users, 100 of the backlog at the most, none by default", async () => {
    const { client, orders } = watchable();
    const some = watch(client, { userIds: ["user-3"], backlog: 3 });
    const all = watch(client, { backlog: 300 });
    const live = watch(client, { userIds: ["user-3", "user-4"] });
    await vi.waitFor(() => expect(orders.changes.waiting()).toBe(3));
    const latest = [...orders.newestFirst({ userIds: ["user-3"] }, 400)].slice(0, 3).reverse();
    await client.createOrder({ userId: "user-2", lineItems: [line] });
    await client.createOrder({ userId: "user-3", lineItems: [line] });
    await vi.waitFor(() => expect(live.seen).toEqual(["order-402"]));
    await vi.waitFor(() =>
      expect(some.seen).toEqual([...latest.map((index) => `order-${index + 1}`), "order-402"]),
    );
    await vi.waitFor(() => expect(all.seen).toHaveLength(102));
    for (const watcher of [some, all, live]) watcher.leave();
  });

  it("serves many watchers and forgets those who leave", async () => {
    const { client, orders, mock } = watchable();
    const watchers = Array.from({ length: 200 }, () => watch(client, {}));
    await vi.waitFor(() => expect(orders.changes.waiting()).toBe(200));
    await client.createOrder({ userId: "user-1", lineItems: [line] });
    await vi.waitFor(() => expect(watchers.every((watcher) => watcher.seen.length === 1)).toBe(true));
    for (const watcher of watchers) watcher.leave();
    expect(await watchers[0]?.done).toMatchObject({ code: Code.Canceled });
    await vi.waitFor(() => expect(orders.changes.waiting()).toBe(0));
    expect(mock.calls.active("watchOrders")).toBe(0);
    expect(mock.calls.all("watchOrders").every((call) => call.outcome === "canceled")).toBe(true);
  });

  it("answers INVALID_ARGUMENT for a negative backlog", async () => {
    expect(await watch(watchable().client, { backlog: -1 }).done).toMatchObject({
      code: Code.InvalidArgument,
    });
  });
});
