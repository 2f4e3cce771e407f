import {
  create,
  type DescField,
  type DescMessage,
  isFieldSet,
  type Message,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { messagesIn } from "../../descriptors.ts";
import { vault, vaultEdition, vaultLegacy } from "../../testing/protos.ts";
import { createFindPaths, findField } from "./field-paths.ts";
import { prune } from "./prune.ts";

const { VaultSchema, OwnerSchema, LockerSchema, SecretSchema, WallSchema } = vault;
const { ChestSchema } = vaultLegacy;
const { SafeSchema } = vaultEdition;

/** Prunes what nobody may write to, so that every attempt to is an error. */
function pruneFrozen<D extends DescMessage>(desc: D, init: MessageInitShape<D>, ...fields: DescField[]) {
  const message = frozen(create(desc, init));
  const paths = createFindPaths((field) => fields.includes(field))(desc);
  if (paths === undefined) throw new Error(`there is no way from ${desc.typeName}`);
  const result: MessageShape<D> = prune(message, paths, new Set(fields));
  return { message, result };
}

function frozen<T extends object>(value: T): T {
  // Bytes cannot be frozen.
  if (value instanceof Uint8Array) return value;
  for (const inner of Object.values(value)) if (typeof inner === "object" && inner !== null) frozen(inner);
  return Object.freeze(value);
}

const { field } = VaultSchema;

describe("a field is cleared, and nothing else, if it is", () => {
  const name = "north";
  const owner = { name: "ada", phone: "1" };
  test.each<[string, DescField, MessageInitShape<typeof VaultSchema>]>([
    ["a scalar", field.pin, { pin: "1234" }],
    ["a 64-bit number", field.worth, { worth: 5n }],
    ["a 64-bit number as a string", field.serial, { serial: "5" }],
    ["bytes", field.imprint, { imprint: Uint8Array.of(1) }],
    ["an enum", field.grade, { grade: vault.Grade.FINE }],
    ["minus zero", field.tilt, { tilt: -0 }],
    ["not a number", field.tilt, { tilt: Number.NaN }],
    ["a bool", field.open, { open: true }],
    ["a field with presence", field.note, { note: "n" }],
    ["a field with presence and the zero value", field.note, { note: "" }],
    ["a wrapper", field.label, { label: "l" }],
    ["a well-known message", field.sealTime, { sealTime: { seconds: 5n } }],
    ["a list of scalars", field.codes, { codes: ["a", "b"] }],
    ["a map of scalars", field.dials, { dials: { 1: "a" } }],
    ["a message", field.owner, { owner }],
    ["a message without anything in it", field.owner, { owner: {} }],
    ["a list of messages", field.heirs, { heirs: [owner] }],
    ["a map of messages", field.agents, { agents: { a: owner } }],
    ["a scalar in a oneof", field.word, { lock: { case: "word", value: "w" } }],
    ["the zero value in a oneof", field.word, { lock: { case: "word", value: "" } }],
    ["a message in a oneof", field.keeper, { lock: { case: "keeper", value: create(OwnerSchema, owner) } }],
  ])("%s", (_, hidden, init) => {
    const { message, result } = pruneFrozen(VaultSchema, { name, ...init }, hidden);
    expect(isFieldSet(message, hidden)).toBe(true);
    expect(isFieldSet(result, hidden)).toBe(false);
    expect(result).toEqual(create(VaultSchema, { name }));
    expect(toBinary(VaultSchema, result)).toEqual(toBinary(VaultSchema, create(VaultSchema, { name })));
  });

  test("a oneof that has another of its fields set keeps it", () => {
    const { message, result } = pruneFrozen(VaultSchema, { lock: { case: "dial", value: 3 } }, field.word);
    expect(result).toBe(message);
  });
});

describe("a field is cleared wherever its message stands", () => {
  const secret = { title: "t", pin: "1234" };
  const locker = { number: 1, secrets: [secret, { title: "u" }, secret] };
  const bare = create(LockerSchema, { number: 1, secrets: [{ title: "t" }, { title: "u" }, { title: "t" }] });
  const cage = create(LockerSchema, locker);

  test.each<[string, MessageInitShape<typeof VaultSchema>, MessageInitShape<typeof VaultSchema>]>([
    ["in a message", { front: locker }, { front: bare }],
    ["in a list", { racks: [locker, bare, locker] }, { racks: [bare, bare, bare] }],
    ["in a map", { lockers: { a: locker, b: bare } }, { lockers: { a: bare, b: bare } }],
    ["in a map by number", { numbered: { 7: locker } }, { numbered: { 7: bare } }],
    ["in a oneof", { lock: { case: "cage", value: cage } }, { lock: { case: "cage", value: bare } }],
    [
      "in the message's own type",
      { inside: { inside: { front: locker } } },
      { inside: { inside: { front: bare } } },
    ],
    ["in a list of it", { copies: [{ front: locker }] }, { copies: [{ front: bare }] }],
    ["in a map of it", { annexes: { a: { front: locker } } }, { annexes: { a: { front: bare } } }],
    [
      "in a type that holds it",
      { tunnel: { metres: 5, ends: [{ front: locker }] } },
      { tunnel: { metres: 5, ends: [{ front: bare }] } },
    ],
  ])("%s", (_, init, pruned) => {
    const { result } = pruneFrozen(VaultSchema, init, SecretSchema.field.pin);
    expect(result).toEqual(create(VaultSchema, pruned));
  });

  test('and a map key "__proto__" is one like any other', () => {
    const lockers = JSON.parse('{"__proto__": {"secrets": [{"pin": "1"}]}, "b": {}}');
    const { result } = pruneFrozen(VaultSchema, { lockers }, SecretSchema.field.pin);
    expect(Object.keys(result.lockers)).toEqual(["__proto__", "b"]);
    expect(Object.getPrototypeOf(result.lockers)).toBe(Object.prototype);
    expect(Object.getOwnPropertyDescriptor(result.lockers, "__proto__")?.value.secrets[0].pin).toBe("");
  });

  test("also in a message whose type's name was left out", () => {
    const bareType = { secrets: [{ title: "t", pin: "1234" }] } as never;
    const message = Object.assign(create(VaultSchema), { front: bareType });
    const { result } = pruneFrozen(VaultSchema, message, SecretSchema.field.pin);
    expect(result.front).toEqual({ secrets: [{ title: "t", pin: "" }] });
  });

  test("also where a message has a field from its prototype", () => {
    const message = Object.assign(Object.create({ pin: "1234" }), create(VaultSchema)) as vault.Vault;
    Reflect.deleteProperty(message, "pin");
    const { result } = pruneFrozen(VaultSchema, message, field.pin);
    expect(result.pin).toBe("");
  });
});

describe("in proto2", () => {
  const { field } = ChestSchema;

  test("a field that is cleared reads as its default, and is not set", () => {
    const init = { id: "a", turns: 3, wood: vaultLegacy.Wood.BEECH, imprint: Uint8Array.of(1) };
    const { result } = pruneFrozen(ChestSchema, init, field.turns, field.wood, field.imprint);
    expect([result.turns, result.wood, result.imprint]).toEqual([
      7,
      vaultLegacy.Wood.OAK,
      new TextEncoder().encode("wax"),
    ]);
    expect(toBinary(ChestSchema, result)).toEqual(toBinary(ChestSchema, create(ChestSchema, { id: "a" })));
  });

  test("groups are messages like others", () => {
    const rune = "r";
    const init: MessageInitShape<typeof ChestSchema> = {
      id: "a",
      lid: { colour: "red", rune },
      hinge: [{ place: 1, rune, leadsTo: { id: "b", lid: { rune } } }],
      base: { stone: "s" },
      contents: { c: { id: "c", lid: { rune } } },
    };
    const runes = [vaultLegacy.Chest_LidSchema.field.rune, vaultLegacy.Chest_HingeSchema.field.rune];
    const { result } = pruneFrozen(ChestSchema, init, field.base, ...runes);
    const bare: MessageInitShape<typeof ChestSchema> = {
      id: "a",
      lid: { colour: "red" },
      hinge: [{ place: 1, leadsTo: { id: "b", lid: {} } }],
      contents: { c: { id: "c", lid: {} } },
    };
    expect(toBinary(ChestSchema, result)).toEqual(toBinary(ChestSchema, create(ChestSchema, bare)));
  });
});

test("in an edition, each presence and encoding is cleared in its way", () => {
  const init: MessageInitShape<typeof SafeSchema> = {
    name: "s",
    code: "c",
    bolts: 0,
    walls: 9,
    make: vaultEdition.Make.SMITH,
    plates: [1],
    drawer: { width: 1, secret: "x" },
    tray: { width: 2, secret: "x" },
    bins: [{ width: 3 }],
  };
  const { code, bolts, walls, make, plates, bins } = SafeSchema.field;
  const hidden = [code, bolts, walls, make, plates, bins, vaultEdition.DrawerSchema.field.secret];
  const { result } = pruneFrozen(SafeSchema, init, ...hidden);
  expect(result.walls).toBe(4);
  expect(toBinary(SafeSchema, result)).toEqual(
    toBinary(SafeSchema, create(SafeSchema, { name: "s", drawer: { width: 1 }, tray: { width: 2 } })),
  );
});

describe("what is not touched is shared", () => {
  const clean = create(LockerSchema, { number: 1, secrets: [{ title: "t" }] });
  const dirty = create(LockerSchema, { number: 2, secrets: [{ pin: "1" }] });
  const wall = create(WallSchema, { thickness: 3 });

  test("a message without anything to hide is given back itself", () => {
    const { message, result } = pruneFrozen(VaultSchema, { front: clean, wall }, SecretSchema.field.pin);
    expect(result).toBe(message);
  });

  test("beside what is copied", () => {
    const { message, result } = pruneFrozen(
      VaultSchema,
      { racks: [clean, dirty], lockers: { a: clean }, wall },
      SecretSchema.field.pin,
    );
    expect(result.racks[0]).toBe(message.racks[0]);
    expect(result.racks[1]).not.toBe(message.racks[1]);
    expect(result.lockers).toBe(message.lockers);
    expect(result.wall).toBe(message.wall);
  });

  test("a list or map that was cleared is the message's own", () => {
    const hidden = new Set<DescField>([field.codes, field.dials]);
    const paths = createFindPaths((target) => hidden.has(target))(VaultSchema);
    const cleared = () =>
      paths && prune(create(VaultSchema, { codes: ["a"], dials: { 1: "a" } }), paths, hidden);
    const one = cleared();
    one?.codes.push("b");
    Object.assign(one?.dials ?? {}, { 2: "b" });
    expect(cleared()).toEqual(create(VaultSchema));
  });
});

test("a target that is not hidden stays", () => {
  const paths = createFindPaths(({ name }) => name === "pin")(VaultSchema);
  const message = create(VaultSchema, { pin: "1", front: { secrets: [{ pin: "2" }] } });
  const result = paths && prune(message, paths, new Set([field.pin]));
  expect(result).toEqual(create(VaultSchema, { front: { secrets: [{ pin: "2" }] } }));
});

describe("the ways", () => {
  test("lead nowhere but to targets", () => {
    const paths = createFindPaths(({ name }) => name === "phone")(VaultSchema);
    expect(paths?.targets).toEqual([]);
    expect(paths?.inner.map(({ field }) => field.name)).toEqual([
      "owner",
      "heirs",
      "agents",
      "keeper",
      "inside",
      "copies",
      "annexes",
      "tunnel",
    ]);
    expect(paths?.all).toEqual([OwnerSchema.field.phone]);
  });

  test("are none for a type without targets, also one that holds itself", () => {
    const find = createFindPaths(({ name }) => name === "pin");
    expect(find(WallSchema)).toBeUndefined();
    expect(find(OwnerSchema)).toBeUndefined();
    expect(find(WallSchema)).toBeUndefined();
  });

  test("do not depend on where the search began", () => {
    const [down, up] = [0, 1].map(() => createFindPaths(({ name }) => name === "pin"));
    const seen = (paths: ReturnType<NonNullable<typeof down>>) => [
      paths?.targets.map(({ field }) => field),
      paths?.inner.map(({ field }) => field),
      new Set(paths?.all),
    ];
    const types = [...messagesIn([VaultSchema])];
    const fromTop = types.map((type) => seen(down?.(type)));
    const fromBottom = types.toReversed().map((type) => seen(up?.(type)));
    expect(fromBottom.toReversed()).toEqual(fromTop);
  });
});

describe("messages may be nested as deep as decoders take them", () => {
  const paths = createFindPaths(({ name }) => name === "pin")(VaultSchema);
  const nested = (levels: number) => {
    let message = create(VaultSchema, { pin: "1" });
    for (let level = 1; level < levels; level++) message = create(VaultSchema, { inside: message });
    return message;
  };
  const run = (message: vault.Vault) => paths && prune(message, paths, new Set([field.pin]));
  const find = (message: Message) => paths && findField(message, paths, (target) => target);

  test("100 levels", () => {
    const innermost = (message?: vault.Vault): vault.Vault | undefined =>
      message?.inside === undefined ? message : innermost(message.inside);
    expect(innermost(nested(100))?.pin).toBe("1");
    expect(innermost(run(nested(100)))?.pin).toBe("");
    expect(find(nested(100))?.path).toBe(`${"inside.".repeat(99)}pin`);
  });

  test("no more, and no message that holds itself", () => {
    expect(() => run(nested(101))).toThrow("a message is nested more than 100 deep");
    expect(() => find(nested(101))).toThrow("a message is nested more than 100 deep");
    const endless = create(VaultSchema);
    endless.inside = endless;
    expect(() => run(endless)).toThrow("a message is nested more than 100 deep");
  });
});
