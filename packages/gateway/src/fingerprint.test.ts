import { expect, test } from "vitest";
import { fingerprint } from "./fingerprint.ts";
import { policy, pub } from "./testing/protos.ts";
import { rebuilt } from "./testing/rebuilt.ts";

const warehouse = pub.WarehouseService.file;
const shared = policy.SharedService.file;

test("the same content has the same fingerprint, in any order and however often a file is given", () => {
  expect(fingerprint([warehouse, shared])).toMatch(/^[\w-]{22}$/);
  expect(fingerprint([shared, warehouse, shared])).toBe(fingerprint([warehouse, shared]));
  expect(fingerprint([rebuilt(warehouse, () => {})])).toBe(fingerprint([warehouse]));
});

test("other files have another", () => {
  expect(fingerprint([warehouse])).not.toBe(fingerprint([shared]));
  expect(fingerprint([warehouse, shared])).not.toBe(fingerprint([warehouse]));
});

test("a field that changed has another", () => {
  const changed = rebuilt(warehouse, ({ name, messageType }) => {
    const [field] = messageType[0]?.field ?? [];
    if (name === warehouse.proto.name && field !== undefined) field.number = 500;
  });
  expect(fingerprint([changed])).not.toBe(fingerprint([warehouse]));
});

test("a policy that changed has another: it is an option that the descriptor's own type does not know", () => {
  const changed = rebuilt(shared, ({ service }) => {
    for (const { method } of service)
      for (const { options } of method) for (const { data } of options?.$unknown ?? []) data.fill(0);
  });
  expect(fingerprint([changed])).not.toBe(fingerprint([shared]));
});

test("a file that is imported, and changed, changes it too", () => {
  const changed = rebuilt(warehouse, (proto) => {
    if (proto.name !== warehouse.proto.name) proto.options = undefined;
  });
  expect(fingerprint([changed])).not.toBe(fingerprint([warehouse]));
});
