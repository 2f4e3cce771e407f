import { toBinary } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { ItemSchema } from "../gen/smpl/inventory/v1/inventory_service_pb.ts";
import { OrderSchema } from "../gen/smpl/orders/v1/orders_service_pb.ts";
import { UserSchema } from "../gen/smpl/users/v1/users_service_pb.ts";
import { createItems } from "./items.ts";
import { fromNanos, toNanos } from "./money.ts";
import { createOrders } from "./orders.ts";
import type { Table } from "./table.ts";
import { createUsers } from "./users.ts";

const million = 1_000_000;
const allOf = <T>(table: Table<T>) => Array.from({ length: table.size() }, (_, index) => table.at(index));

describe("seeded data", () => {
  const bytesOf = (seed: number) => [
    ...allOf(createUsers(seed, 50)).map((user) => toBinary(UserSchema, user)),
    ...allOf(createOrders(seed, 50, 50)).map((order) => toBinary(OrderSchema, order)),
    ...allOf(createItems(seed, 50, 50)).map((item) => toBinary(ItemSchema, item)),
  ];

  it("is the same for the same seed, and another for another", () => {
    expect(bytesOf(3)).toEqual(bytesOf(3));
    expect(bytesOf(3)).not.toEqual(bytesOf(4));
  });

  it("gives a user the same values however many users there are, and in whatever order they are made", () => {
    expect(createUsers(1, million).at(41)).toEqual(allOf(createUsers(1, 50)).at(41));
  });

  it.each([
    ["users", (count: number) => createUsers(1, count)],
    ["orders", (count: number) => createOrders(1, count, 10)],
  ])("makes %s oldest first and before now, up to a million", (_, make) => {
    const few = allOf<{ createTime?: Parameters<typeof timestampMs>[0] | undefined }>(make(2_000));
    const times = few.map(({ createTime }) =>
      createTime === undefined ? Number.NaN : timestampMs(createTime),
    );
    expect(times).toEqual([...times].sort((a, b) => a - b));
    const last = make(million).at(million - 1).createTime;
    expect(last && timestampMs(last)).toBeGreaterThan(times.at(-1) ?? 0);
    expect(last && timestampMs(last)).toBeLessThan(Date.UTC(2026, 0));
  });
});

describe("users", () => {
  const users = createUsers(1, 5_000);

  it("have ids that count up and emails that differ, in ASCII", () => {
    expect(users.at(0)).toMatchObject({ id: "user-1", email: "ada.lovelace.1@example.com" });
    const emails = allOf(users).map((user) => user.email);
    expect(new Set(emails).size).toBe(5_000);
    for (const email of emails) expect(email).toMatch(/^[a-z.]+\.\d+@example\.com$/);
  });

  it("know a seeded email without searching, capitals or not", () => {
    for (const user of allOf(users)) expect(users.isTaken(user.email.toUpperCase())).toBe(true);
    expect(users.isTaken("grace.lovelace.1@example.com")).toBe(false);
    expect(users.isTaken("ada.lovelace.5001@example.com")).toBe(false);
  });

  it("have internal values that a leak test can look for, created ones too", () => {
    for (const user of [users.at(17), users.create("new@example.com", "New")]) {
      expect(user.passwordHash).toMatch(/^argon2id\$SECRET/);
      expect(user.phone).toMatch(/^\+999555\d{7}$/);
      expect(user.riskScore).toBeGreaterThanOrEqual(0);
      expect(user.riskScore).toBeLessThanOrEqual(1);
    }
  });
});

describe("orders", () => {
  const orders = allOf(createOrders(1, 2_000, 100));

  it("cost what their lines cost", () => {
    for (const { lineItems, total, product, internalNote } of orders) {
      expect(lineItems.length).toBeGreaterThanOrEqual(1);
      expect(lineItems.length).toBeLessThanOrEqual(4);
      const prices = lineItems.map(
        ({ unitPrice, quantity }) => unitPrice && toNanos(unitPrice) * BigInt(quantity),
      );
      expect(total && toNanos(total)).toBe(prices.reduce<bigint>((sum, price) => sum + (price ?? 0n), 0n));
      expect(new Set(lineItems.map((line) => line.unitPrice?.currencyCode))).toEqual(
        new Set([total?.currencyCode]),
      );
      expect(product).toBe(lineItems[0]?.product);
      expect(internalNote).toMatch(/^INTERNAL NOTE/);
    }
    expect(new Set(orders.map((order) => order.total?.currencyCode)).size).toBe(4);
  });

  it("carry nanos into units, with one sign for both", () => {
    expect(fromNanos("EUR", 3n * 333_333_334n)).toMatchObject({ units: 1n, nanos: 2 });
    expect(fromNanos("EUR", -1_500_000_000n)).toMatchObject({ units: -1n, nanos: -500_000_000 });
  });
});

describe("items", () => {
  it("belong to some users more and to some less, and say where they lie only in recognisable words", () => {
    const items = allOf(createItems(1, 3_000, 1_000));
    const perOwner = Map.groupBy(items, (item) => item.ownerId);
    expect(perOwner.size).toBeGreaterThan(900);
    expect(perOwner.size).toBeLessThan(1_000);
    for (const item of items) {
      expect(item.warehouseLocation).toMatch(/^HALL-/);
      expect(item.supplierReference).toMatch(/^SUPPLIER-/);
    }
  });

  it.each([
    [1, 1_000, 3_000],
    [7, 50, 30],
    [7, 3, 9],
  ])("belong to each of the first users, with seed %i, %i users and %i items", (seed, users, count) => {
    const items = createItems(seed, count, users);
    for (let user = 1; user <= Math.min(10, users); user++)
      expect([...items.indices([`user-${user}`], 0)].length).toBeGreaterThanOrEqual(3);
  });

  it("belong to nobody else where there are fewer items than users, and need no users", () => {
    expect(allOf(createItems(1, 2, 1_000)).map((item) => item.ownerId)).toEqual(["user-1", "user-2"]);
    expect(allOf(createItems(1, 2, 0))).toHaveLength(2);
  });

  it("are found by owner among a million", () => {
    const items = createItems(1, million, million);
    const found = [...items.indices(["user-3", "user-500000", "nobody", "user-3"], 0)].map(items.at);
    expect(found.length).toBeGreaterThan(0);
    for (const item of found) expect(["user-3", "user-500000"]).toContain(item.ownerId);
  });
});
