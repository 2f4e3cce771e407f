import { create, type DescField, type DescMethod, type MessageInitShape } from "@bufbuild/protobuf";
import { AnySchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { pub, pubCatalog, pubLegacy, vault, vaultEdition, vaultLegacy } from "../../testing/protos.ts";
import type { FieldGuard } from "./field-guard.ts";
import { compileGuards, hiddenFields } from "./field-guards.ts";
import { guardProblems } from "./guard-problems.ts";

const { VaultService, VaultSchema, OwnerSchema, SecretSchema, UpdateVaultRequestSchema } = vault;
const { getVault, getReport, listVaults, ping, updateVault, batchUpdateVaults } = VaultService.method;

const names = (guards: readonly FieldGuard[]) =>
  guards.map(({ field }) => `${field.parent.name}.${field.name}`);
const all = (_: string) => true;
const none = (_: string) => false;
const only =
  (...permissions: string[]) =>
  (permission: string) =>
    permissions.includes(permission);
const allBut =
  (...permissions: string[]) =>
  (permission: string) =>
    !permissions.includes(permission);

describe("the guards of a method are", () => {
  test("those of the fields in its answer, however deep, each once", () => {
    expect(names(compileGuards(getVault).read)).toEqual([
      "Vault.pin",
      "Vault.worth",
      "Vault.serial",
      "Vault.imprint",
      "Vault.grade",
      "Vault.note",
      "Vault.label",
      "Vault.seal_time",
      "Vault.codes",
      "Vault.dials",
      "Vault.tilt",
      "Vault.open",
      "Vault.owner",
      "Vault.heirs",
      "Vault.agents",
      "Vault.word",
      "Vault.keeper",
      "Owner.phone",
      "Secret.pin",
    ]);
    expect(compileGuards(getVault).set).toEqual([]);
  });

  test("those of the fields in its request, by the permission to set", () => {
    const { set } = compileGuards(batchUpdateVaults);
    expect(set.map(({ field, set }) => [field.name, set])).toEqual([
      ["pin", { permission: "vaults.set_pin" }],
      ["codes", { permission: "vaults.set_codes" }],
      ["word", { permission: "vaults.set_pin" }],
      ["pin", { permission: "vaults.set_pin" }],
      ["level", { permission: "vaults.set_level" }],
    ]);
  });

  test("what they say", () => {
    const [sum, , remark] = compileGuards(getReport).read;
    expect(sum).toEqual({
      field: vault.GetReportResponseSchema.field.sum,
      read: { permission: "vaults.audit", denial: "refuse" },
      set: undefined,
    });
    expect(remark?.read).toEqual({ permission: "vaults.read_note", denial: "clear" });
  });

  test("the permissions without which it is refused, each once", () => {
    expect(compileGuards(getReport).refused).toEqual(["vaults.audit"]);
    expect(compileGuards(getVault).refused).toEqual([]);
  });

  test("none, for messages without", () => {
    expect(compileGuards(ping)).toMatchObject({ read: [], set: [], refused: [] });
    expect(compileGuards(pub.WarehouseService.method.getCrate)).toMatchObject({ read: [], set: [] });
  });

  test("those of groups, oneofs, and messages of other files", () => {
    expect(names(compileGuards(vaultLegacy.VaultLegacyService.method.getChest).read)).toEqual([
      "Chest.turns",
      "Chest.weight",
      "Chest.wood",
      "Chest.planks",
      "Chest.imprint",
      "Chest.base",
      "Chest.spell",
      "Chest.marks",
      "Lid.rune",
      "Hinge.rune",
    ]);
    expect(names(compileGuards(vaultEdition.VaultEditionService.method.getSafe).read)).toEqual([
      "Safe.code",
      "Safe.bolts",
      "Safe.walls",
      "Safe.bins",
      "Safe.make",
      "Safe.plates",
      "Drawer.secret",
      "Secret.pin",
    ]);
  });
});

describe("the fields that are hidden from a caller are", () => {
  const guards = compileGuards(getVault);

  test("those whose permission to read it lacks", () => {
    const has = allBut("vaults.read_pin", "vaults.read_phone");
    const { pin, imprint, word } = VaultSchema.field;
    const hidden: DescField[] = [pin, imprint, word, OwnerSchema.field.phone, SecretSchema.field.pin];
    expect(hiddenFields(guards, has)).toEqual(new Set(hidden));
  });

  test("one and the same empty set for everyone who lacks none", () => {
    expect(hiddenFields(guards, all).size).toBe(0);
    expect(hiddenFields(guards, all)).toBe(hiddenFields(compileGuards(ping), none));
  });

  test("also those that refuse the method, should it run all the same", () => {
    const { sum, parts } = vault.GetReportResponseSchema.field;
    expect(hiddenFields(compileGuards(getReport), allBut("vaults.audit"))).toEqual(new Set([sum, parts]));
  });
});

describe("an answer", () => {
  const answer = create(vault.GetVaultResponseSchema, {
    vault: { name: "north", pin: "1234", owner: { name: "ada", phone: "1" } },
  });

  test("is cleared of hidden fields", () => {
    const guards = compileGuards(getVault);
    const hidden = hiddenFields(guards, allBut("vaults.read_pin", "vaults.read_phone"));
    expect(guards.clear(answer, hidden)).toEqual(
      create(vault.GetVaultResponseSchema, { vault: { name: "north", owner: { name: "ada" } } }),
    );
  });

  test("is given back itself if nothing is hidden, or it has no guards", () => {
    expect(compileGuards(getVault).clear(answer, new Set())).toBe(answer);
    const pong = create(vault.PingResponseSchema, { wall: { thickness: 1 } });
    expect(compileGuards(ping).clear(pong, new Set([VaultSchema.field.pin]))).toBe(pong);
  });

  test("of another method is cleared with the same guards", () => {
    const guards = compileGuards(listVaults);
    const list = create(vault.ListVaultsResponseSchema, { vaults: [{ pin: "1" }, { name: "b" }], total: 2 });
    expect(guards.clear(list, hiddenFields(guards, none))).toEqual(
      create(vault.ListVaultsResponseSchema, { vaults: [{}, { name: "b" }] }),
    );
  });
});

describe("a field that the caller may not set is found", () => {
  const { firstForbidden } = compileGuards(updateVault);
  const forbidden = (init: MessageInitShape<typeof UpdateVaultRequestSchema>, has = none) =>
    firstForbidden(create(UpdateVaultRequestSchema, init), has);
  const secrets = [{ title: "t" }, { title: "t" }, { pin: "1" }];

  test.each<[string, MessageInitShape<typeof UpdateVaultRequestSchema>]>([
    ["vault.pin", { vault: { pin: "1" } }],
    ["vault.codes", { vault: { codes: [""] } }],
    ["vault.word", { vault: { lock: { case: "word", value: "" } } }],
    ["vault.front.secrets[2].pin", { vault: { front: { secrets } } }],
    ["vault.racks[1].secrets[2].pin", { vault: { racks: [{}, { secrets }] } }],
    [
      'vault.lockers["so\\"uth"].secrets[2].pin',
      { vault: { lockers: { north: {}, 'so"uth': { secrets } } } },
    ],
    ["vault.numbered[-7].secrets[2].pin", { vault: { numbered: { [-7]: { secrets } } } }],
    ["doors[true].secrets[2].pin", { doors: { true: { secrets } } }],
    ["vault.tunnel.ends[0].copies[0].pin", { vault: { tunnel: { ends: [{ copies: [{ pin: "1" }] }] } } }],
    ["vault.cage.secrets[0].level", { vault: { lock: { case: "cage", value: cage({ level: 1 }) } } }],
  ])("at %s", (path, init) => {
    expect(forbidden(init)?.path).toBe(path);
    expect(forbidden(init, all)).toBeUndefined();
  });

  test("with the field and what is lacking", () => {
    const init = { vault: { pin: "1", codes: ["a"], front: { secrets: [{ level: 1 }] } } };
    expect(forbidden(init, allBut("vaults.set_codes"))).toEqual({
      path: "vault.codes",
      field: VaultSchema.field.codes,
      permission: "vaults.set_codes",
    });
    expect(forbidden(init, only("vaults.set_pin", "vaults.set_codes"))).toEqual({
      path: "vault.front.secrets[0].level",
      field: SecretSchema.field.level,
      permission: "vaults.set_level",
    });
  });

  test("but not where it is not set", () => {
    expect(forbidden({})).toBeUndefined();
    expect(forbidden({ vault: { name: "a", pin: "", codes: [], racks: [{}] } })).toBeUndefined();
    expect(forbidden({ vault: { lock: { case: "dial", value: 1 } } })).toBeUndefined();
  });

  test("in proto2, where the default counts once it is set", () => {
    const guards = compileGuards(vaultLegacy.VaultLegacyService.method.updateChest);
    const request = (turns?: number) =>
      create(vaultLegacy.UpdateChestRequestSchema, {
        chest: { id: "a", ...(turns === undefined ? {} : { turns }) },
      });
    expect(guards.firstForbidden(request(), none)).toBeUndefined();
    expect(guards.firstForbidden(request(7), none)?.path).toBe("chest.turns");
  });

  test("in no request of a method without such fields, which is not even looked at", () => {
    expect(compileGuards(ping).firstForbidden(undefined as never, none)).toBeUndefined();
    expect(compileGuards(updateVault).firstForbidden(undefined as never, all)).toBeUndefined();
  });
});

describe("a field mask sets what it names", () => {
  const { firstForbidden } = compileGuards(updateVault);
  const masked = (path: string, has = none) =>
    firstForbidden(
      create(UpdateVaultRequestSchema, { vault: {}, updateMask: { paths: ["name", path] } }),
      has,
    );

  test.each([
    ["a guarded field", "pin", "pin"],
    ["one inside", "front.secrets", "pin"],
    ["one in a list", "front.secrets.pin", "pin"],
    ["all of a message with one", "racks", "pin"],
    ["a key of a map with one", "lockers.north.number", "pin"],
    ["something inside one", "inside.codes.x", "codes"],
    ["a field of a oneof", "word", "word"],
    ["everything", "*", "pin"],
    ["everything in a message", "front.*", "pin"],
    ["a field as from the request", "vault.pin", "pin"],
    ["the entity itself", "vault", "pin"],
  ])("%s", (_, path, field) => {
    expect(masked(path)).toMatchObject({ path: "update_mask", field: { name: field } });
    expect(masked(path, all)).toBeUndefined();
  });

  test.each([
    "note",
    "wall",
    "front.number",
    "nothing",
    "",
    "front.nothing.pin",
    "tunnel.metres",
    "name.pin",
  ])("but not with %j", (path) => {
    expect(masked(path)).toBeUndefined();
  });

  test("by its name in JSON too", () => {
    const request = create(vault.ListVaultsRequestSchema, { wishMask: { paths: ["showRuins"] } });
    expect(compileGuards(listVaults).firstForbidden(request, none)?.path).toBe("wish_mask");
  });

  test("in each of several requests", () => {
    const request = create(vault.BatchUpdateVaultsRequestSchema, {
      requests: [{ vault: {} }, { updateMask: { paths: ["pin"] } }],
    });
    expect(compileGuards(batchUpdateVaults).firstForbidden(request, none)).toEqual({
      path: "requests[1].update_mask",
      field: VaultSchema.field.pin,
      permission: "vaults.set_pin",
    });
  });

  test.each(["*", "pin", "vault.pin", "vault", "front.secrets.pin"])(
    "but a read mask reads %j, and sets nothing",
    (path) => {
      const request = create(UpdateVaultRequestSchema, { vault: {}, readMask: { paths: [path] } });
      expect(firstForbidden(request, none)).toBeUndefined();
    },
  );

  test("however long a path is", () => {
    expect(masked(`${"inside.".repeat(50_000)}pin`)?.path).toBe("update_mask");
  });
});

describe("at the start, guards", () => {
  const methodsOf = (...services: { readonly methods: readonly DescMethod[] }[]) =>
    services.flatMap(({ methods }) => methods);
  const problems = (...services: { readonly methods: readonly DescMethod[] }[]) =>
    guardProblems(methodsOf(...services));

  test("that make sense have no problem", () => {
    expect(problems(VaultService, vaultLegacy.VaultLegacyService, vaultEdition.VaultEditionService)).toEqual(
      [],
    );
    expect(problems()).toEqual([]);
  });

  test("must be able to leave the field out", () => {
    const wants = (name: string, permission: string) =>
      `${name} is required, so it cannot be left out for callers without the permission "${permission}". Write {permission: "${permission}", denial: DENIAL_REFUSE} as its (portico.v1.field), or make it optional`;
    expect(problems(vaultLegacy.VaultSealedService, vaultEdition.VaultBoundService)).toEqual([
      wants("acme.api.vaultlegacy.v1.GetSealResponse.stamp", "seals.read_stamp"),
      wants("acme.api.vaultedition.v1.GetBondResponse.oath", "bonds.read_oath"),
    ]);
  });

  test("must have an effect", () => {
    expect(guardProblems([vault.MisguardedService.method.swap])).toEqual([
      'acme.api.vault.v1.SwapRequest.password occurs in requests alone, where (portico.v1.field).permission guards nothing. Write {set_permission: "vaults.read_pin"} to guard setting it',
      'acme.api.vault.v1.SwapResponse.receipt occurs in answers alone, where (portico.v1.field).set_permission guards nothing. Write {permission: "vaults.set_pin"} to guard reading it',
    ]);
  });

  test("that have an effect in one method are right in all", () => {
    // Secret.level can be set here, and is only read there.
    expect(guardProblems([getVault, updateVault])).toEqual([]);
    expect(guardProblems([getVault])).toEqual([
      'acme.api.vault.v1.Secret.level occurs in answers alone, where (portico.v1.field).set_permission guards nothing. Write {permission: "vaults.set_level"} to guard reading it',
    ]);
  });

  test("must obey the rules of their option", () => {
    expect(guardProblems([vault.MisguardedService.method.garble])).toEqual([
      "acme.api.vault.v1.GarbleResponse.empty: (portico.v1.field) must name a permission to read, or to set",
      'acme.api.vault.v1.GarbleResponse.shouted: (portico.v1.field).permission must be lower-case words joined by dots, such as "users.read_email"',
      "acme.api.vault.v1.GarbleResponse.denied: (portico.v1.field) denial needs a permission to read",
      'acme.api.vault.v1.GarbleResponse.denied occurs in answers alone, where (portico.v1.field).set_permission guards nothing. Write {permission: "vaults.set_pin"} to guard reading it',
    ]);
  });

  describe("must not be hidden in an Any", () => {
    const remedy = (option: string) =>
      `Name what it can hold in a oneof instead, or guard all of it: write {${option}: "a.permission"} as the (portico.v1.field) of this field, or of one that it stands in`;
    const read = (name: string) =>
      `${name} is a google.protobuf.Any, which can hold a message with guarded fields, and they would not be cleared. ${remedy("permission")}`;

    test("on either side", () => {
      expect(problems(vault.OpaqueService)).toEqual([
        read("acme.api.vault.v1.WrapResponse.payloads"),
        `acme.api.vault.v1.WrapRequest.payload is a google.protobuf.Any, which can hold a message with guarded fields, and they would not be refused. ${remedy("set_permission")}`,
      ]);
    });

    test("of another service", () => {
      expect(guardProblems([getVault, updateVault, pub.WarehouseService.method.listCrates])).toEqual([
        read("acme.api.warehouse.v1.Crate.attachment"),
      ]);
    });

    test("as all that a method gives", () => {
      const method: DescMethod = { ...getVault, output: AnySchema };
      expect(guardProblems([updateVault, method])).toEqual([
        read("google.protobuf.Any, as a method gives or takes it,"),
      ]);
    });

    test("but an Any is fine where nothing is guarded", () => {
      expect(problems(pub.WarehouseService, pubCatalog.CatalogService, pubLegacy.LedgerService)).toEqual([]);
    });
  });
});

function cage(secret: MessageInitShape<typeof SecretSchema>): vault.Locker {
  return create(vault.LockerSchema, { secrets: [secret] });
}
