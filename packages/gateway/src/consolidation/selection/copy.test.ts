import {
  create,
  type DescMessage,
  isFieldSet,
  type Message,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { pub, pubCatalog, pubLegacy, readmask } from "../../testing/protos.ts";
import { createCopy } from "./copy.ts";
import { wantedBy } from "./wanted.ts";

const { CrateSchema } = pub;
const { MapCratesResponseSchema } = readmask;
type CrateInit = MessageInitShape<typeof CrateSchema>;

const crate = (init: CrateInit) => create(CrateSchema, init);
const full: CrateInit = {
  code: "A-1",
  weightGrams: 7n,
  barcode: "123",
  seal: new Uint8Array([1]),
  note: "",
  label: "",
  hazards: [pub.Hazard.FLAMMABLE],
  tags: { a: "b" },
  slots: { 1: { aisle: "A", level: 1 }, 2: { level: 2 } },
  position: { aisle: "B", level: 2 },
  history: [{ aisle: "C", level: 3 }, { aisle: "D" }],
  handling: { case: "instruction", value: "" },
  origin: { case: "shelf", value: { aisle: "E", level: 4 } },
  arriveTime: timestampFromMs(5),
  attributes: { any: "thing" },
  contents: [{ code: "A-2", contents: [{ code: "A-3", tilt: 1 }] }],
  keeper: { name: "Ada", chiefName: "Bea" },
};

describe("a copy has", () => {
  test.each<[string, string[], CrateInit]>([
    ["scalars", ["code", "weight_grams", "barcode"], { code: "A-1", weightGrams: 7n, barcode: "123" }],
    ["bytes", ["seal"], { seal: new Uint8Array([1]) }],
    ["what is set to a zero", ["note", "label"], { note: "", label: "" }],
    ["lists and maps of scalars", ["hazards", "tags"], { hazards: [pub.Hazard.FLAMMABLE], tags: { a: "b" } }],
    ["a message", ["position"], { position: { aisle: "B", level: 2 } }],
    ["a field of a message", ["position.level"], { position: { level: 2 } }],
    ["a field of each in a list", ["history.aisle"], { history: [{ aisle: "C" }, { aisle: "D" }] }],
    ["a field of each in a map", ["slots.*.aisle"], { slots: { 1: { aisle: "A" }, 2: {} } }],
    ["a oneof", ["instruction"], { handling: { case: "instruction", value: "" } }],
    ["a field inside a oneof", ["shelf.level"], { origin: { case: "shelf", value: { level: 4 } } }],
    ["no oneof that holds something else", ["thaw_time"], {}],
    [
      "well-known messages",
      ["arrive_time", "attributes"],
      { arriveTime: timestampFromMs(5), attributes: { any: "thing" } },
    ],
    [
      "what is inside its own kind",
      ["contents.contents.code"],
      { contents: [{ contents: [{ code: "A-3" }] }] },
    ],
    ["nothing of what is not set", ["thaw_time", "tilt", "keeper_name", "scans", "dwell"], {}],
  ])("%s, and nothing else", (_, paths, init) => {
    expect(copied(crate(full), paths)).toEqual(crate(init));
  });

  test("an entry of a map whose key is called as what every object has", () => {
    const entries = (init: CrateInit) => Object.fromEntries([["__proto__", crate(init)]]);
    const given = create(MapCratesResponseSchema);
    given.crates = entries({ code: "A-1", tilt: 1 });
    const copy = copyOf(MapCratesResponseSchema, ["crates.*.code"])(given);
    expect(Object.entries(copy.crates)).toEqual(Object.entries(entries({ code: "A-1" })));
  });

  test("no fields that the runtime does not know", () => {
    const given = crate({ code: "A-1" });
    given.$unknown = [{ no: 99, wireType: 0, data: new Uint8Array([1]) }];
    expect(copied(given, ["code"])).toEqual(crate({ code: "A-1" }));
  });
});

describe("of proto2 and of editions", () => {
  test("a copy has what is required, and no default that was not set", () => {
    const entry = create(pubLegacy.EntrySchema, {
      id: "e",
      amount: 0n,
      party: { name: "Ada" },
      line: [{ text: "t" }, {}],
    });
    const copy = copyOf(pubLegacy.EntrySchema, ["retries", "amount", "line.text"])(entry);
    expect(
      pubLegacy.EntrySchema.fields.filter((field) => isFieldSet(copy, field)).map(({ name }) => name),
    ).toEqual(["id", "amount", "line"]);
    expect(copy.retries).toBe(7);
    expect(copy.kind).toBe(pubLegacy.Kind.DEBIT);
    expect(copy.line).toEqual(entry.line);
    expect(toBinary(pubLegacy.EntrySchema, copy).length).toBeGreaterThan(0);
  });

  test("a copy has fields of either presence and encoding", () => {
    const sheet = create(pubCatalog.SheetSchema, {
      title: "t",
      pages: 0,
      margin: { width: 1 },
      gutter: { width: 2 },
      plates: [1],
    });
    const copy = copyOf(pubCatalog.SheetSchema, ["title", "pages", "gutter.width", "edition"])(sheet);
    expect(copy).toEqual(create(pubCatalog.SheetSchema, { title: "t", pages: 0, gutter: { width: 2 } }));
    expect(isFieldSet(copy, pubCatalog.SheetSchema.field.edition)).toBe(false);
  });
});

describe("the message that is copied", () => {
  test("stays as it is, and lends what is wanted whole", () => {
    const given = crate(full);
    const before = structuredClone(given);
    const copy = copied(given, ["position", "history", "contents.code", "shelf"]);
    expect(given).toEqual(before);
    expect(copy.position).toBe(given.position);
    expect(copy.history).toBe(given.history);
    expect(copy.origin.value).toBe(given.origin.value);
    expect(copy.contents).not.toBe(given.contents);
  });

  test("can be made by hand, without the name of its type", () => {
    const { $typeName: _, ...slot } = create(pub.SlotSchema, { aisle: "A", level: 1 });
    const given = { ...crate({ code: "A-1" }), position: slot as pub.Slot };
    expect(copied(given, ["position.aisle"])).toEqual(crate({ position: { aisle: "A" } }));
  });

  test("can be deeper than any path", () => {
    let given = crate({ code: "inmost" });
    for (let depth = 0; depth < 5_000; depth++) given = crate({ code: "c", contents: [given] });
    expect(copied(given, ["contents.contents.code"])).toEqual(
      crate({ contents: [{ contents: [{ code: "c" }] }] }),
    );
  });
});

function copied(message: pub.Crate, paths: readonly string[]): pub.Crate {
  return copyOf(CrateSchema, paths)(message);
}

function copyOf<D extends DescMessage>(
  desc: D,
  paths: readonly string[],
): (message: MessageShape<D>) => MessageShape<D> {
  const wanted = wantedBy(desc, paths);
  if (wanted === "all") throw new Error("everything is wanted, of which there is no copy");
  return createCopy(desc, wanted) as (message: Message) => MessageShape<D>;
}
