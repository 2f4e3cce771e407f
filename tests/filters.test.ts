import type { DescEnum } from "@bufbuild/protobuf";
import { type Timestamp, timestampFromMs, timestampMs } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { type Order, OrderStatus, OrderStatusSchema, OrdersService } from "@portico/client-sdk";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  OrderStatusSchema as InternalOrderStatusSchema,
  OrdersService as InternalOrdersService,
} from "../packages/gateway/src/gen/smpl/orders/v1/orders_service_pb.ts";
import { type System, startSystem } from "./system.ts";

// What the filters of the public let pass, against a plain reading of them over all that the internal service has.

interface Filter {
  readonly userIds?: string[];
  readonly status?: OrderStatus;
  readonly createdFrom?: Timestamp;
  readonly createdBefore?: Timestamp;
}

/** An order as the internal service has it, in the words of the public. */
interface Row {
  readonly id: string;
  readonly userId: string;
  readonly status: string;
  readonly createMs: number;
}

const userIds = ["user-3", "user-7", "user-11", "user-19"];
const status = OrderStatus.SHIPPED;
// The times of two orders to the millisecond, so that it shows which of them the bounds let pass.
const [later, earlier] = [150, 450];

let system: System;
let orders: ReturnType<typeof createClient<typeof OrdersService>>;
/** Newest first. */
let rows: Row[];

beforeAll(async () => {
  system = await startSystem({ mocks: { users: 20, orders: 600, items: 0 } });
  const authorization = `Bearer ${await system.token("viewer")}`;
  orders = createClient(
    OrdersService,
    createGrpcTransport({
      baseUrl: system.url,
      interceptors: [
        (next) => (request) => {
          request.header.set("authorization", authorization);
          return next(request);
        },
      ],
    }),
  );
  const internal = createClient(InternalOrdersService, system.mocks.orders.transport);
  const all = await internal.listOrders({ pageSize: 1_000 });
  rows = all.orders.map((order) => rowOf(order, InternalOrderStatusSchema));
});
afterAll(() => system.close());

describe("orders", () => {
  test.each(combinations())("by %s", async (_, parts) => {
    const filter = filterOf(parts);
    const wanted = expected(filter);
    expect(wanted.length).toBeGreaterThan(0);
    // Each part makes a difference, or the test could not tell that it was dropped.
    for (const part of parts) {
      const others = filterOf(parts.filter((other) => other !== part));
      expect(expected(others).length, part).toBeGreaterThan(wanted.length);
    }
    const { orders: found, nextPageToken } = await orders.listOrdersWithUser({ ...filter, pageSize: 500 });
    expect(found.map(publicRow)).toEqual(wanted.slice(0, 500));
    expect(nextPageToken === "").toBe(wanted.length <= 500);
  });

  test.each([
    ["pending", OrderStatus.PENDING],
    ["paid", OrderStatus.PAID],
    ["shipped", OrderStatus.SHIPPED],
    ["cancelled", OrderStatus.CANCELLED],
  ])("that are %s", async (_, status) => {
    const wanted = expected({ status });
    expect(wanted.length).toBeGreaterThan(10);
    expect((await walk({ status }, 500)).flat().map(publicRow)).toEqual(wanted);
  });

  test("of any status, of all users and of all times by empty filters", async () => {
    expect(rows).toHaveLength(600);
    const filter = { userIds: [], status: OrderStatus.UNSPECIFIED };
    expect((await walk(filter, 500)).flat().map(publicRow)).toEqual(rows);
  });

  test("made at `created_from` pass, those made at `created_before` do not", async () => {
    const one = rows[later];
    if (one === undefined) throw new Error("there are too few orders");
    const at = timestampFromMs(one.createMs);
    const next = timestampFromMs(one.createMs + 1);
    const ids = async (filter: Filter) => (await walk(filter, 500)).flat().map(({ id }) => id);
    expect(await ids({ createdFrom: at, createdBefore: next })).toEqual([one.id]);
    expect(await ids({ createdFrom: at, createdBefore: at })).toEqual([]);
    expect(await ids({ createdFrom: at })).toContain(one.id);
    expect(await ids({ createdFrom: next })).not.toContain(one.id);
    expect(await ids({ createdBefore: next })).toContain(one.id);
    expect(await ids({ createdBefore: at })).not.toContain(one.id);
  });

  test.each([1, 7, 500])("by all filters at once, %i a page", async (pageSize) => {
    const filter = filterOf(partNames);
    const wanted = expected(filter);
    expect(wanted.length).toBeGreaterThan(14);
    const pages = await walk(filter, pageSize);
    expect(pages.flat().map(publicRow)).toEqual(wanted);
    expect(pages).toHaveLength(Math.ceil(wanted.length / pageSize));
    for (const page of pages.slice(0, -1)) expect(page).toHaveLength(pageSize);
  });

  test("that nothing passes are an empty page, the last one", async () => {
    const none = await orders.listOrdersWithUser({ userIds: ["user-3"], createdBefore: timestampFromMs(0) });
    expect(none).toMatchObject({ orders: [], nextPageToken: "" });
  });
});

describe("a stream of orders", () => {
  test("by users", async () => {
    const wanted = expected({ userIds }).slice(0, 10).toReversed();
    const found: Order[] = [];
    const controller = new AbortController();
    const watching = async () => {
      for await (const { order } of orders.watchOrdersWithUser(
        { userIds, backlog: 10 },
        { signal: controller.signal },
      ))
        if (order !== undefined && found.push(order) === 10) controller.abort();
    };
    await expect(watching()).rejects.toThrow("canceled");
    expect(found.map(publicRow)).toEqual(wanted);
  });
});

const partNames = ["userIds", "status", "createdFrom", "createdBefore"] as const;

/** Every choice of some of the filters. */
function combinations(): [name: string, parts: (keyof Filter)[]][] {
  return Array.from({ length: 2 ** partNames.length - 1 }, (_, index) => {
    const parts = partNames.filter((_, bit) => ((index + 1) >> bit) % 2 === 1);
    return [parts.join(", "), parts];
  });
}

function filterOf(parts: readonly (keyof Filter)[]): Filter {
  const all: Filter = { userIds, status, createdFrom: timeOf(earlier), createdBefore: timeOf(later) };
  return Object.fromEntries(parts.map((part) => [part, all[part]]));
}

function timeOf(index: number): Timestamp {
  return timestampFromMs(rows[index]?.createMs ?? Number.NaN);
}

function expected({ userIds, status, createdFrom, createdBefore }: Filter): Row[] {
  return rows.filter(
    (row) =>
      (userIds === undefined || userIds.includes(row.userId)) &&
      (status === undefined || row.status === OrderStatusSchema.value[status]?.name) &&
      (createdFrom === undefined || row.createMs >= timestampMs(createdFrom)) &&
      (createdBefore === undefined || row.createMs < timestampMs(createdBefore)),
  );
}

/** All pages. */
async function walk(filter: Filter, pageSize: number): Promise<Order[][]> {
  const pages: Order[][] = [];
  let pageToken = "";
  do {
    const page = await orders.listOrdersWithUser({ ...filter, pageSize, pageToken });
    pages.push(page.orders);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return pages;
}

function publicRow(order: Order): Row {
  return rowOf(order, OrderStatusSchema);
}

function rowOf(order: Pick<Order, "id" | "userId" | "createTime" | "status">, statuses: DescEnum): Row {
  const { id, userId, createTime } = order;
  const status = statuses.value[order.status]?.name ?? "unknown";
  return { id, userId, status, createMs: createTime === undefined ? Number.NaN : timestampMs(createTime) };
}
