import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { pub, pubLegacy } from "../testing/protos.ts";
import { createRequiredCheck } from "./required.ts";

type Request = MessageInitShape<typeof pub.StoreCratesRequestSchema>;
const check = createRequiredCheck(pub.StoreCratesRequestSchema);
const missing = (request: Request) => check(create(pub.StoreCratesRequestSchema, request));
const order = { code: "A-1", level: 0 };
const whole: Request = { first: order, docks: ["north"] };

test("a request that has everything has nothing missing", () => {
  expect(missing(whole)).toBeUndefined();
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
  ).toBeUndefined();
});

describe("names the first that is missing", () => {
  test.each<[string, Request, string]>([
    ["a message", { docks: ["north"] }, "first"],
    ["a list that is empty", { first: order }, "docks"],
    ["an empty string", { ...whole, first: { code: "", level: 1 } }, "first.code"],
    ["a field with presence that is not set", { ...whole, first: { code: "A-1" } }, "first.level"],
    ["in a list", { ...whole, orders: [order, order, { level: 1 }] }, "orders[2].code"],
    [
      "in a map",
      { ...whole, ordersByDock: { north: order, 'so"uth': { level: 1 } } },
      'orders_by_dock["so\\"uth"].code',
    ],
    [
      "deep down",
      { ...whole, first: { ...order, onTop: { ...order, onTop: { level: 1 } } } },
      "first.on_top.on_top.code",
    ],
    ["in the order of the proto", {}, "first"],
  ])("%s", (_, request, path) => {
    expect(missing(request)).toBe(path);
  });

  test("in a oneof, if it is set", () => {
    const value = create(pub.StoreCratesRequest_OrderSchema, { level: 1 });
    expect(missing({ ...whole, last: { case: "lastOrder", value } })).toBe("last_order.code");
    expect(missing({ ...whole, last: { case: "lastWord", value: "" } })).toBeUndefined();
  });
});

test("a request type without required fields is not looked at", () => {
  const none = createRequiredCheck(pub.ListCratesRequestSchema);
  expect(none(undefined as never)).toBeUndefined();
  expect(createRequiredCheck(pubLegacy.ListEntriesRequestSchema)(undefined as never)).toBeUndefined();
});

test("finds required fields of recursive types, and ends", () => {
  expect(createRequiredCheck(pub.CrateSchema)(create(pub.CrateSchema))).toBeUndefined();
  const orders = createRequiredCheck(pub.StoreCratesRequest_OrderSchema);
  expect(orders(create(pub.StoreCratesRequest_OrderSchema))).toBe("code");
});
