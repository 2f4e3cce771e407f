import { describe, expect, test } from "vitest";
import { method as copiedOption } from "../../../../tests/gen/portico/v1/policy_pb.ts";
import { StartError } from "../errors.ts";
import { method as methodOption } from "../gen/portico/v1/policy_pb.ts";
import { service } from "../service.ts";
import { messageOf, thrownBy } from "../testing/call.ts";
import { policy, pub, pubCatalog, pubLegacy } from "../testing/protos.ts";
import { createMethodTable, permissionsIn } from "./method-table.ts";

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
    [
      "acme.api.warehouse.v1.WarehouseService/ListCrates",
      { kind: "permission", permissions: ["crates.read"] },
    ],
    [
      "acme.api.warehouse.v1.WarehouseService/StoreCrates",
      { kind: "permission", permissions: ["crates.store"] },
    ],
    [
      "acme.api.warehouse.v1.WarehouseService/WatchCrates",
      { kind: "permission", permissions: ["crates.read"] },
    ],
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
    { kind: "permission", permissions: ["ledger.read"] },
    { kind: "permission", permissions: ["catalog.read"] },
  ]);
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
      `${service_}.Denied: (portico.v1.method).anonymous: must equal true`,
      `${service_}.Shouted: (portico.v1.method).permission: must be lower-case words joined by dots, such as "orders.read"`,
    ]);
  });

  test("conditions, caches and guarded fields that cannot be", async () => {
    const answer = () => ({});
    const wrong = service(policy.WrongService, {
      wrong: answer,
      noLimit: answer,
      change: answer,
      share: answer,
      field: answer,
    });
    const { problems } = (await thrownBy(() => createMethodTable([wrong]))) as StartError;
    const named = "acme.api.policy.v1.WrongService";
    for (const begin of [
      `${named}.Wrong: (portico.v1.method).permission: `,
      `${named}.NoLimit: (portico.v1.method).rate_limit.bucket.limit: `,
      `${named}.Change: (portico.v1.method).condition: `,
      `${named}.Change has a cache, but `,
      `${named}.Share has a cache, but `,
      "acme.api.policy.v1.FieldResponse.open: ",
      "acme.api.policy.v1.FieldResponse.odd: ",
      "acme.api.policy.v1.FieldResponse.nobody: ",
    ])
      expect(problems.filter((problem) => problem.startsWith(begin)).length, begin).toBeGreaterThan(0);
  });

  test("a service that is given twice", async () => {
    expect(await messageOf(() => createMethodTable([warehouse, warehouse]))).toBe(
      "Portico cannot start:\n  - acme.api.warehouse.v1.WarehouseService is given twice: remove one of the services",
    );
  });
});

test("knows every permission that methods, conditions and fields name, and where", () => {
  const answer = () => ({});
  const strict = service(policy.StrictService, {
    inherit: answer,
    inheritChange: answer,
    tighten: answer,
    bucket: answer,
  });
  expect([...permissionsIn(createMethodTable([strict]))]).toEqual([
    ["strict.use", "acme.api.policy.v1.StrictService/Inherit"],
    ["strict.more", "acme.api.policy.v1.StrictService/Tighten"],
  ]);
});
