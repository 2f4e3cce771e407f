import { describe, expect, test } from "vitest";
import { method as copiedOption } from "../../../../tests/gen/portico/v1/policy_pb.ts";
import { StartError } from "../errors.ts";
import { method as methodOption } from "../gen/portico/v1/policy_pb.ts";
import { service } from "../service.ts";
import { messageOf, thrownBy } from "../testing/call.ts";
import { pub, pubCatalog, pubLegacy } from "../testing/protos.ts";
import { createMethodTable } from "./method-table.ts";

const nothing = () => ({});
async function* noStream() {}
const warehouse = service(pub.WarehouseService, {
  getStatus: nothing,
  getCrate: nothing,
  listCrates: nothing,
  storeCrates: nothing,
  watchCrates: noStream,
});
const broken = service(pub.BrokenService, {
  forgotten: nothing,
  empty: nothing,
  denied: nothing,
  shouted: nothing,
});

test("has an entry for each method, with what its policy says", () => {
  const table = createMethodTable([warehouse]);
  expect([...table.values()].map(({ name, access }) => [name, access])).toEqual([
    ["acme.api.warehouse.v1.WarehouseService/GetStatus", { kind: "anonymous" }],
    ["acme.api.warehouse.v1.WarehouseService/GetCrate", { kind: "authenticated" }],
    ["acme.api.warehouse.v1.WarehouseService/ListCrates", { kind: "permission", permission: "crates.read" }],
    [
      "acme.api.warehouse.v1.WarehouseService/StoreCrates",
      { kind: "permission", permission: "crates.store" },
    ],
    ["acme.api.warehouse.v1.WarehouseService/WatchCrates", { kind: "permission", permission: "crates.read" }],
  ]);
  const entry = table.get(pub.WarehouseService.method.getCrate);
  expect(entry?.method).toBe(pub.WarehouseService.method.getCrate);
  expect(entry?.handler).toBe(nothing);
});

test("reads policies that were generated beside another copy of the option", () => {
  // The test's protos are generated on their own, as a company's would be.
  expect(copiedOption).not.toBe(methodOption);
  const table = createMethodTable([
    service(pubLegacy.LedgerService, { listEntries: () => ({ entries: [] }) }),
    service(pubCatalog.CatalogService, { getSheet: nothing }),
  ]);
  expect([...table.values()].map(({ access }) => access)).toEqual([
    { kind: "permission", permission: "ledger.read" },
    { kind: "permission", permission: "catalog.read" },
  ]);
});

test("compiles the check of required fields", async () => {
  const { create } = await import("@bufbuild/protobuf");
  const table = createMethodTable([warehouse]);
  const required = table.get(pub.WarehouseService.method.getCrate)?.required;
  expect(required?.(create(pub.GetCrateRequestSchema))).toBe("code");
});

describe("a policy that stops the start", () => {
  const service_ = "acme.api.warehouse.v1.BrokenService";
  const advice =
    ". Write into the rpc, in acme/api/warehouse/v1/warehouse_service.proto:\n" +
    '  option (portico.v1.method) = {permission: "broken.read"};\n' +
    "or {authenticated: true} for every caller with credentials, or {anonymous: true} for everyone;\n" +
    "then run: npx -y pnpm@12 generate";

  test("none, an empty one, a false one and one with a bad permission, all at once", async () => {
    const error = await thrownBy(() => createMethodTable([warehouse, broken]));
    expect(error).toBeInstanceOf(StartError);
    expect((error as StartError).problems).toEqual([
      `${service_}.Forgotten has no policy${advice}`,
      `${service_}.Empty has a policy that does not say who may call it${advice}`,
      `${service_}.Denied says anonymous: false, which means nothing${advice}`,
      `${service_}.Shouted has the permission "Crates.*", which is not like "orders.read"${advice}`,
    ]);
  });

  test("a service that is given twice", async () => {
    expect(await messageOf(() => createMethodTable([warehouse, warehouse]))).toBe(
      "Portico cannot start:\n  - acme.api.warehouse.v1.WarehouseService is given twice: remove one of the services",
    );
  });
});
