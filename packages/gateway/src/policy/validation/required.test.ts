import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { pub, pubLegacy, rules } from "../../testing/protos.ts";
import { createRequiredCheck } from "./required.ts";

type Request = MessageInitShape<typeof pub.StoreCratesRequestSchema>;
const check = createRequiredCheck(pub.StoreCratesRequestSchema);
const missing = (request: Request) =>
  check(create(pub.StoreCratesRequestSchema, request)).map(({ field }) => field);
const order = { code: "A-1", level: 0 };
const whole: Request = { first: order, docks: ["north"] };

test("a request that has everything has nothing missing", () => {
  expect(missing(whole)).toEqual([]);
  expect(
    missing({
      ...whole,
      orders: [order],
      ordersByDock: { a: order },
      last: {
        case: "lastOrder",
        value: { ...order, $typeName: "acme.api.warehouse.v1.StoreCratesRequest.Order", remark: "" },
      },
    }),
  ).toEqual([]);
});

test("says that it is required", () => {
  expect(check(create(pub.StoreCratesRequestSchema, { first: order }))).toEqual([
    { field: "docks", description: "is required" },
  ]);
});

describe("names what is missing", () => {
  test.each<[string, Request, string[]]>([
    ["a message", { docks: ["north"] }, ["first"]],
    ["a list that is empty", { first: order }, ["docks"]],
    ["an empty string", { ...whole, first: { code: "", level: 1 } }, ["first.code"]],
    ["a field with presence that is not set", { ...whole, first: { code: "A-1" } }, ["first.level"]],
    [
      "in a list, in each item",
      { ...whole, orders: [order, { code: "A-2" }, { level: 1 }] },
      ["orders[1].level", "orders[2].code"],
    ],
    [
      "in a map",
      { ...whole, ordersByDock: { north: order, 'so"uth': { level: 1 } } },
      ['orders_by_dock["so\\"uth"].code'],
    ],
    [
      "deep down",
      { ...whole, first: { ...order, onTop: { ...order, onTop: { level: 1 } } } },
      ["first.on_top.on_top.code"],
    ],
    [
      "everything, in the order of the proto",
      { orders: [{}] },
      ["orders[0].code", "orders[0].level", "first", "docks"],
    ],
  ])("%s", (_, request, paths) => {
    expect(missing(request)).toEqual(paths);
  });

  test("in a oneof, if it is set", () => {
    const value = create(pub.StoreCratesRequest_OrderSchema, { level: 1 });
    expect(missing({ ...whole, last: { case: "lastOrder", value } })).toEqual(["last_order.code"]);
    expect(missing({ ...whole, last: { case: "lastWord", value: "" } })).toEqual([]);
  });

  test("in a map with numbers for keys", () => {
    const request = create(rules.BookBerthRequestSchema, {
      berth: "a",
      holds: { 7: { code: "a", parts: [{}] } },
    });
    expect(createRequiredCheck(rules.BookBerthRequestSchema)(request)).toEqual([
      { field: "holds[7].parts[0].code", description: "is required" },
    ]);
  });

  test("a hundred times at the most", () => {
    expect(missing({ ...whole, orders: Array(10_000).fill({ level: 1 }) })).toHaveLength(100);
  });
});

test("a request type without required fields is not looked at", () => {
  const none = createRequiredCheck(pub.ListCratesRequestSchema);
  expect(none(undefined as never)).toEqual([]);
  expect(createRequiredCheck(pubLegacy.ListEntriesRequestSchema)(undefined as never)).toEqual([]);
});

test("finds required fields of recursive types, and ends", () => {
  expect(createRequiredCheck(pub.CrateSchema)(create(pub.CrateSchema))).toEqual([]);
  const orders = createRequiredCheck(pub.StoreCratesRequest_OrderSchema);
  expect(orders(create(pub.StoreCratesRequest_OrderSchema)).map(({ field }) => field)).toEqual([
    "code",
    "level",
  ]);
});
