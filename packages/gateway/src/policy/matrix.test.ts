import { describe, expect, test } from "vitest";
import { service } from "../service.ts";
import { policy, pub, rules, vault } from "../testing/protos.ts";
import { parseAccess } from "./access.ts";
import { createMatrix, type Matrix } from "./matrix.ts";
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
const strict = service(policy.StrictService, {
  inherit: nothing,
  inheritChange: nothing,
  tighten: nothing,
  bucket: nothing,
});
const harbour = service(rules.RulesService, {
  bookBerth: nothing,
  getTide: nothing,
  assignDuties: nothing,
  logSignals: nothing,
});
const vaults = service(vault.VaultService, {
  getVault: nothing,
  listVaults: nothing,
  watchVaults: noStream,
  updateVault: nothing,
  batchUpdateVaults: nothing,
  getReport: nothing,
  ping: nothing,
});

const matrixOf = (services: Parameters<typeof createMethodTable>[0], access: object): Matrix =>
  createMatrix(createMethodTable(services), parseAccess(JSON.stringify(access), "access.json"));
/** The verdicts of each method, joined, by its name without the service. */
const verdictsOf = ({ methods }: Matrix) =>
  Object.fromEntries(methods.map(({ name, verdicts }) => [name.split("/")[1], verdicts.join(" ")]));

test("has those without credentials, those without a role, and every role in the order of the file", () => {
  const { subjects } = matrixOf([warehouse], {
    roles: { zoe: ["crates.read"], clerk: [], anonymous: [] },
    audiences: { partner: ["clerk"], internal: ["zoe"] },
  });
  expect(subjects).toEqual([
    { kind: "anonymous", name: "anonymous", audience: "public" },
    { kind: "authenticated", name: "authenticated", audience: "public" },
    { kind: "role", name: "zoe", audience: "internal" },
    { kind: "role", name: "clerk", audience: "partner" },
    { kind: "role", name: "anonymous", audience: "public" },
  ]);
});

describe("a method", () => {
  test("is open to everyone, to those with credentials, or to those with a permission", () => {
    const matrix = matrixOf([warehouse], {
      roles: { reader: ["crates.read"], keeper: ["crates.*"] },
    });
    expect(verdictsOf(matrix)).toEqual({
      GetStatus: "yes yes yes yes",
      GetCrate: "no yes yes yes",
      ListCrates: "no no yes yes",
      StoreCrates: "no no no yes",
      WatchCrates: "no no yes yes",
    });
    expect(matrix.methods.map(({ needs }) => needs)).toEqual([
      "anyone",
      "credentials",
      ["crates.read"],
      ["crates.store"],
      ["crates.read"],
    ]);
  });

  test("is open to whom the file gives a permission without a role", () => {
    const access = { roles: {}, anonymous: ["crates.read"], authenticated: ["crates.store"] };
    expect(verdictsOf(matrixOf([warehouse], access))).toMatchObject({
      ListCrates: "yes no",
      StoreCrates: "no yes",
    });
  });

  test("is absent for who is not of its audience, and depends on what a role does not tell", () => {
    const access = {
      roles: { outsider: ["strict.*"], partner: ["strict.*"], staff: ["strict.*"], idle: [] },
      audiences: { partner: ["partner"], internal: ["staff", "idle"] },
    };
    expect(verdictsOf(matrixOf([strict], access))).toEqual({
      Inherit: "absent absent absent if if no",
      InheritChange: "absent absent absent if if no",
      Tighten: "absent absent absent absent if no",
      Bucket: "absent absent absent if if no",
    });
  });

  test("has a condition that decides nothing about who has the permission it asks for", () => {
    const access = { roles: { guest: [], master: ["berths.*", "tides.read", "duties.assign"] } };
    expect(verdictsOf(matrixOf([harbour], access))).toEqual({
      BookBerth: "no if if yes",
      GetTide: "no no no if",
      AssignDuties: "no no no if",
      LogSignals: "no no no no",
    });
  });

  test("is refused without the permission of a field that its answer cannot leave out", () => {
    const access = { roles: { reader: ["vaults.read"], auditor: ["vaults.*"] } };
    const matrix = matrixOf([vaults], access);
    expect(verdictsOf(matrix)).toMatchObject({ GetReport: "no no no yes", Ping: "yes yes yes yes" });
    const report = matrix.methods.find(({ name }) => name.endsWith("/GetReport"));
    expect(report?.needs).toEqual(expect.arrayContaining([expect.stringMatching(/^vaults\./)]));
  });

  test("has all that its policy says, with that of its service", () => {
    const { methods } = matrixOf([strict], { roles: { a: ["*"] } });
    expect(methods.find(({ name }) => name === "acme.api.policy.v1.StrictService/Tighten")).toEqual({
      name: "acme.api.policy.v1.StrictService/Tighten",
      needs: ["strict.use", "strict.more"],
      audience: "internal",
      conditions: ["principal.tenant == 'acme'", "request.name == principal.subject"],
      cost: 5,
      bucket: null,
      cache: { ttlMs: 1_000, staleMs: 0, scope: "principal" },
      timeoutMs: 1_000,
      maxRequestBytes: 500,
      mutates: false,
      stream: false,
      deprecated: false,
      verdicts: ["absent", "absent", "absent"],
    });
    expect(methods.find(({ name }) => name.endsWith("/Bucket"))).toMatchObject({
      bucket: { calls: 3, windowSeconds: 60 },
      mutates: true,
    });
  });
});

describe("a guarded field", () => {
  const { fields } = matrixOf([vaults], {
    roles: { reader: ["vaults.read", "vaults.read_pin"], keeper: ["vaults.*"] },
  });
  const row = (action: string, name: string) =>
    fields.filter((field) => field.action === action && field.name === `acme.api.vault.v1.${name}`);

  test("is there once, with all methods whose answers can have it", () => {
    const [secret, ...others] = row("read", "Secret.pin");
    expect(others).toEqual([]);
    expect(secret).toMatchObject({
      permission: "vaults.read_pin",
      without: "left out",
      verdicts: ["no", "no", "yes", "yes"],
    });
    expect(secret?.methods).toContain("acme.api.vault.v1.VaultService/GetVault");
    expect(new Set(secret?.methods).size).toBe(secret?.methods.length);
  });

  test("is there twice if it is guarded against reading and setting", () => {
    expect(row("set", "Secret.pin")).toMatchObject([
      { permission: "vaults.set_pin", without: "refused if set", verdicts: ["no", "no", "no", "yes"] },
    ]);
    expect(row("set", "ListVaultsRequest.show_ruins")).toMatchObject([
      { methods: ["acme.api.vault.v1.VaultService/ListVaults"] },
    ]);
  });

  test("says that calls are refused if it cannot be left out", () => {
    const refusing = fields.filter(({ without }) => without === "call refused");
    expect(refusing.flatMap(({ methods }) => methods)).toContain("acme.api.vault.v1.VaultService/GetReport");
  });
});

test("is the same after a way through JSON", () => {
  const matrix = matrixOf([strict, vaults], { roles: { a: ["*"] } });
  expect(JSON.parse(JSON.stringify(matrix))).toStrictEqual(matrix);
});

test("has a column for a role of any name", () => {
  const access = JSON.parse('{ "roles": { "constructor": ["crates.*"], "Größe <b>": [] } }');
  const matrix = matrixOf([warehouse], access);
  expect(verdictsOf(matrix)).toMatchObject({ StoreCrates: "no no yes no" });
});
