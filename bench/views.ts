import { cpus } from "node:os";
import { create } from "@bufbuild/protobuf";
import { orderView, userView } from "../packages/gateway/src/app/views.ts";
import type { Call } from "../packages/gateway/src/call.ts";
import * as pub from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import * as pubUsers from "../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import * as internal from "../packages/gateway/src/gen/smpl/orders/v1/orders_service_pb.ts";
import * as users from "../packages/gateway/src/gen/smpl/users/v1/users_service_pb.ts";

// What a view costs beside a loop that somebody wrote by hand: the CPU time of 1,000 messages. Both take turns, so that
// what else the machine does befalls both alike; each figure is the median of the rounds.

const rounds = 15;
const passesPerRound = 40;
const size = 1_000;

// Without the one relation, which a loop would have to fetch as well.
const call = { omitted: new Set([pub.OrderSchema.field.userEmail]) } as unknown as Call;

const flat = Array.from({ length: size }, (_, index) =>
  create(users.UserSchema, {
    id: `user-${index}`,
    email: `user-${index}@example.com`,
    displayName: `User ${index}`,
    phone: "+999555",
    createTime: { seconds: BigInt(index) },
  }),
);
const deep = Array.from({ length: size }, (_, index) =>
  create(internal.OrderSchema, {
    id: `order-${index}`,
    userId: `user-${index % 200}`,
    product: "Boat",
    total: { currencyCode: "USD", units: BigInt(index), nanos: 5 },
    lineItems: [1, 2, 3].map((quantity) => ({
      sku: `sku-${quantity}`,
      product: "Boat",
      quantity,
      unitPrice: { currencyCode: "USD", units: 7n },
    })),
    status: internal.OrderStatus.PAID,
    createTime: { seconds: BigInt(index) },
  }),
);

const statuses: Record<number, pub.OrderStatus> = {
  [internal.OrderStatus.PENDING]: pub.OrderStatus.PENDING,
  [internal.OrderStatus.PAID]: pub.OrderStatus.PAID,
  [internal.OrderStatus.SHIPPED]: pub.OrderStatus.SHIPPED,
  [internal.OrderStatus.CANCELLED]: pub.OrderStatus.CANCELLED,
};

function handUsers(list: readonly users.User[]): pubUsers.User[] {
  return list.map(({ id, email, displayName, createTime }) =>
    create(pubUsers.UserSchema, { id, email, displayName, ...(createTime && { createTime }) }),
  );
}

function handMoney({ currencyCode, units, nanos }: internal.Money): pub.Money {
  return create(pub.MoneySchema, { currencyCode, units, nanos });
}

function handOrders(list: readonly internal.Order[]): pub.Order[] {
  return list.map(({ id, userId, product, total, lineItems, status, createTime }) =>
    create(pub.OrderSchema, {
      id,
      userId,
      product,
      ...(total && { total: handMoney(total) }),
      lineItems: lineItems.map(({ sku, product, quantity, unitPrice }) =>
        create(pub.LineItemSchema, {
          sku,
          product,
          quantity,
          ...(unitPrice && { unitPrice: handMoney(unitPrice) }),
        }),
      ),
      status: statuses[status] ?? pub.OrderStatus.UNSPECIFIED,
      ...(createTime && { createTime }),
    }),
  );
}

/** CPU time of one pass, in microseconds. */
async function cost(pass: () => unknown): Promise<number> {
  const before = process.cpuUsage();
  for (let done = 0; done < passesPerRound; done++) await pass();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / passesPerRound;
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

async function compare(name: string, byView: () => unknown, byHand: () => unknown): Promise<void> {
  const figures: { view: number[]; hand: number[] } = { view: [], hand: [] };
  await cost(byView);
  await cost(byHand);
  for (let round = 0; round < rounds; round++) {
    figures.view.push(await cost(byView));
    figures.hand.push(await cost(byHand));
  }
  const [viewed, hand] = [median(figures.view), median(figures.hand)];
  const ratio = (viewed / hand).toFixed(2);
  print(
    `${name.padEnd(44)} ${viewed.toFixed(0).padStart(7)} ${hand.toFixed(0).padStart(7)} ${ratio.padStart(7)}`,
  );
}

print(`Node ${process.version}, ${cpus().length} x ${cpus()[0]?.model ?? "an unknown processor"}`);
print(`CPU microseconds for ${size} messages, medians of ${rounds} rounds\n`);
print(`${"".padEnd(44)} ${"view".padStart(7)} ${"by hand".padStart(7)} ${"ratio".padStart(7)}`);
await compare(
  "flat: 4 fields of 9",
  () => userView.all(flat, call),
  () => handUsers(flat),
);
await compare(
  "nested: 3 lines, 4 prices, an enum",
  () => orderView.all(deep, call),
  () => handOrders(deep),
);

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
