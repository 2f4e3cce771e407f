import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type LineItem,
  type Order,
  OrderSchema,
  OrderStatus,
} from "../gen/smpl/orders/v1/orders_service_pb.ts";
import { currencies, type Product, products } from "./catalogue.ts";
import { type Changes, createChanges } from "./changes.ts";
import { createDraw, pick } from "./draw.ts";
import { createLine, totalOf } from "./lines.ts";
import { createOrderSearch, type OrderFacts, type OrderFilter } from "./order-search.ts";
import { createTable, idAt, type Table } from "./table.ts";
import { createTimes } from "./times.ts";

/** All orders, oldest first. */
export interface Orders extends Table<Order> {
  /** The indices of the orders that pass a filter, newest first, below a bound. */
  newestFirst(filter: OrderFilter, bound: number): Iterable<number>;
  /** Adds an order, made now, and tells those who watch. The lines must be priced and in one currency. */
  create(userId: string, lines: readonly [LineItem, ...LineItem[]]): Order;
  /** Rings when an order was added. */
  changes: Changes;
}

/** Makes the orders of a seed. They belong to the seeded users, by chance. */
export function createOrders(seed: number, count: number, users: number): Orders {
  const facts = createFacts(seed, users);
  const changes = createChanges();
  const table = createTable({ prefix: "order", seeded: count, row: createOrderRow(seed, facts) });
  const search = createOrderSearch({ table, seeded: count, users, facts });
  let lastMs = facts.createMs(count);

  function createOrder(userId: string, lines: readonly [LineItem, ...LineItem[]]): Order {
    lastMs = Math.max(lastMs, Date.now()); // a clock that is set back must not undo the order of time
    const time = timestampFromMs(lastMs);
    const made = table.add((index, id) => {
      search.add(userId, index);
      return orderOf({ id, userId, lines, status: OrderStatus.PENDING, createTime: time, updateTime: time });
    });
    changes.notify();
    return made;
  }

  return { ...table, newestFirst: search.newestFirst, create: createOrder, changes };
}

function createFacts(seed: number, users: number): OrderFacts {
  const user = createDraw(seed, "orders.user");
  const status = createDraw(seed, "orders.status");
  const draw = createDraw(seed, "orders.create_time");
  return {
    userAt: (index) => Math.floor(user(index) * users),
    statusAt: (index) => pick(statuses, status(index)),
    createMs: createTimes({ from: Date.UTC(2022, 0), to: Date.UTC(2026, 0), half: 1_000, draw }),
  };
}

function createOrderRow(seed: number, facts: OrderFacts): (index: number, id: string) => Order {
  const linesAt = createLines(seed);
  const delay = createDraw(seed, "orders.update_time");
  return (index, id) => {
    const createMs = facts.createMs(index);
    return orderOf({
      id,
      userId: idAt("user", facts.userAt(index)),
      lines: linesAt(index),
      status: facts.statusAt(index),
      createTime: timestampFromMs(createMs),
      updateTime: timestampFromMs(createMs + Math.floor(delay(index) * 48 * 3_600_000)),
    });
  };
}

function createLines(seed: number): (index: number) => [LineItem, ...LineItem[]] {
  const count = createDraw(seed, "orders.lines");
  const product = createDraw(seed, "orders.product");
  const quantity = createDraw(seed, "orders.quantity");
  const currency = createDraw(seed, "orders.currency");
  return (index) => {
    const lineAt = (line: number) => {
      const item: Product = pick(products, product(index, line));
      return createLine(item, 1 + Math.floor(quantity(index, line) * 9), pick(currencies, currency(index)));
    };
    const more = Math.floor(count(index) * 4);
    return [lineAt(0), ...Array.from({ length: more }, (_, line) => lineAt(line + 1))];
  };
}

type Parts = Pick<Order, "id" | "userId" | "status" | "createTime" | "updateTime"> & {
  lines: readonly [LineItem, ...LineItem[]];
};

function orderOf({ lines, ...parts }: Parts): Order {
  return create(OrderSchema, {
    ...parts,
    product: lines[0].product,
    total: totalOf(lines),
    lineItems: [...lines],
    internalNote: `INTERNAL NOTE on ${parts.id}`,
  });
}

const { PENDING, PAID, SHIPPED, CANCELLED } = OrderStatus;
const statuses = [
  PENDING,
  PAID,
  PAID,
  SHIPPED,
  SHIPPED,
  SHIPPED,
  SHIPPED,
  SHIPPED,
  SHIPPED,
  CANCELLED,
] as const;
