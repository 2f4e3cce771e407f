import {
  create,
  type DescMessage,
  fromBinary,
  fromJsonString,
  type Message,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import { anyPack, DurationSchema, StructSchema, ValueSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { canonicalBytes } from "./canonical-bytes.ts";
import { legacy, pub, pubCatalog, pubLegacy } from "./testing/protos.ts";

describe("a request is written alike", () => {
  const written = <D extends DescMessage>(desc: D, message: Message) =>
    Buffer.from(canonicalBytes(desc, message)).toString();
  const crate = (init: MessageInitShape<typeof pub.CrateSchema> = {}) => create(pub.CrateSchema, init);

  test("with its maps in any order, at any depth", () => {
    const tags = { b: "1", a: "2", "10": "3", "-1": "4" };
    const slots = { 7: { aisle: "A" }, [-1]: { level: 2 } };
    const attributes = { x: { b: [{ d: 1, c: null }], a: true }, w: "1" };
    const one = crate({ tags, slots, attributes, contents: [{ tags, attributes, contents: [{ slots }] }] });
    const other = crate(
      shuffled({ tags, slots, attributes, contents: [{ tags, attributes, contents: [{ slots }] }] }),
    );
    expect(toBinary(pub.CrateSchema, other)).not.toEqual(toBinary(pub.CrateSchema, one));
    expect(written(pub.CrateSchema, other)).toBe(written(pub.CrateSchema, one));
  });

  test("with fields in any order, and unknown ones or none, at any depth", () => {
    const bytesOf = (init: MessageInitShape<typeof pub.CrateSchema>) =>
      toBinary(pub.CrateSchema, crate(init));
    const unknownField = Buffer.from([0xa2, 0x3f, 0x01, 0x78]);
    // A field of a message that comes twice is put together.
    const position = Buffer.concat([Buffer.from([0x62, unknownField.length]), unknownField]);
    const parts = [bytesOf({ position: { aisle: "A" } }), unknownField, bytesOf({ code: "a" }), position];
    const seen = fromBinary(pub.CrateSchema, Buffer.concat(parts));
    expect([seen.$unknown?.length, seen.position?.$unknown?.length]).toEqual([1, 1]);
    expect(written(pub.CrateSchema, seen)).toBe(
      written(pub.CrateSchema, crate({ code: "a", position: { aisle: "A" } })),
    );
  });

  test("with what a field has anyway, where it has no presence", () => {
    expect(
      written(pub.CrateSchema, fromJsonString(pub.CrateSchema, '{"code":"","tags":{},"contents":[]}')),
    ).toBe(written(pub.CrateSchema, crate()));
  });

  test("however it came", () => {
    const fromJson = fromJsonString(
      pub.CrateSchema,
      '{"weightGrams":"5","slots":{"01":{}},"barcode":7,"label":"x"}',
    );
    expect(written(pub.CrateSchema, fromJson)).toBe(
      written(pub.CrateSchema, fromBinary(pub.CrateSchema, toBinary(pub.CrateSchema, fromJson))),
    );
  });

  test("only if it means the same", () => {
    const stamp = (seconds: bigint) => ({ seconds, nanos: 0 });
    const all: MessageInitShape<typeof pub.CrateSchema>[] = [
      {},
      { code: "1" },
      { code: "0" },
      { code: "\ufffd" },
      { weightGrams: 1n },
      { weightGrams: -1n },
      { weightGrams: 9_007_199_254_740_993n },
      { weightGrams: 9_007_199_254_740_992n },
      { serial: 1n },
      { barcode: "1" },
      { seal: new Uint8Array([0]) },
      { seal: new Uint8Array([0, 0]) },
      { tilt: 1 },
      { tilt: -0 },
      { tilt: Number.NaN },
      { tilt: Number.POSITIVE_INFINITY },
      { tilt: Number.NEGATIVE_INFINITY },
      { note: "" },
      { note: "x" },
      { label: "" },
      { label: "x" },
      { hazards: [0] },
      { hazards: [0, 1] },
      { hazards: [1, 0] },
      { tags: { a: "b" } },
      { tags: { b: "a" } },
      { tags: { a: "", b: "" } },
      { tags: { ab: "" } },
      { tags: { "": "ab" } },
      { tags: JSON.parse('{"__proto__":"a"}') },
      { tags: { $unknown: "a" } },
      { tags: { constructor: "a" } },
      { slots: { 1: {} } },
      { slots: { 1: { level: 1 } } },
      { slots: { 1: {}, 2: {} } },
      { position: {} },
      { position: { aisle: "A" } },
      { history: [{}] },
      { history: [{}, {}] },
      { history: [{ aisle: "A" }, {}] },
      { history: [{}, { aisle: "A" }] },
      { handling: { case: "instruction", value: "" } },
      { handling: { case: "thawTime", value: stamp(0n) } },
      { handling: { case: "hazardClass", value: 0 } },
      { arriveTime: stamp(0n) },
      { arriveTime: stamp(1n) },
      { dwell: stamp(1n) },
      { attributes: {} },
      { attributes: { a: null } },
      { attributes: { a: "null" } },
      { attributes: { a: [] } },
      { attributes: { a: {} } },
      { attributes: { a: 1 } },
      { attributes: { a: "1" } },
      { attributes: { a: [[1], 2] } },
      { attributes: { a: [[1, 2]] } },
      { attributes: { $typeName: "a", $unknown: [] } },
      { attributes: { $typeName: "a", $unknown: "b" } },
      { attributes: JSON.parse('{"__proto__":{"a":1}}') },
      // JSON can write half a surrogate pair in a Struct; the binary format writes each of these as U+FFFD.
      { attributes: { a: "\ud800" } },
      { attributes: { a: "\ud801" } },
      { attributes: { a: "\ufffd" } },
      { attributes: { "\ud800": 1 } },
      { attributes: { "\ud801": 1 } },
      { attachment: anyPack(DurationSchema, create(DurationSchema, { seconds: 1n })) },
      { attachment: anyPack(DurationSchema, create(DurationSchema, { seconds: 2n })) },
      { contents: [{ code: "1" }] },
      { contents: [{ contents: [{ code: "1" }] }] },
    ];
    expect(new Set(all.map((init) => written(pub.CrateSchema, crate(init)))).size).toBe(all.length);
  });

  test("also where it is a well-known type itself", () => {
    const struct = (json: string) => written(StructSchema, fromJsonString(StructSchema, json));
    expect(struct('{"a":1,"b":{"d":1,"c":2}}')).toBe(struct('{"b":{"c":2,"d":1},"a":1}'));
    const value = (json: string) => written(ValueSchema, fromJsonString(ValueSchema, json));
    expect(value('[{"a":1,"b":2}]')).toBe(value('[{"b":2,"a":1}]'));
    expect(value('[{"a":1,"b":2}]')).not.toBe(value('[{"a":2,"b":1}]'));
  });

  test("in proto2 and editions: a field that is set to its default is not one that is left out", () => {
    const { ListEntriesRequestSchema, EntrySchema } = pubLegacy;
    const ask = (init: MessageInitShape<typeof ListEntriesRequestSchema>) =>
      written(ListEntriesRequestSchema, create(ListEntriesRequestSchema, init));
    expect(ask({ pageSize: 20 })).not.toBe(ask({}));
    expect(ask({ currency: "EUR" })).not.toBe(ask({}));
    // Without its required field, which the binary format does not write.
    expect(() => toBinary(EntrySchema, create(EntrySchema))).toThrow();
    expect(
      written(EntrySchema, create(EntrySchema, { party: { name: "a" }, line: [{ text: "b" }] })),
    ).not.toBe(written(EntrySchema, create(EntrySchema, { party: { name: "a" }, line: [{ text: "c" }] })));
    const sheet = (init: MessageInitShape<typeof pubCatalog.SheetSchema>) =>
      written(pubCatalog.SheetSchema, create(pubCatalog.SheetSchema, init));
    expect(sheet({ edition: 1 })).not.toBe(sheet({}));
    expect(sheet({ title: "" })).toBe(sheet({}));
    expect(sheet({ margin: { width: 1 } })).not.toBe(sheet({ gutter: { width: 1 } }));
  });

  test("extensions do not count, which a handler does not see either", () => {
    const entry = create(legacy.EntrySchema, { id: "a" });
    const bytes = toBinary(legacy.EntrySchema, entry);
    const extended = Buffer.concat([bytes, Buffer.from([0xa2, 0x06, 0x01, 0x78])]);
    expect(written(legacy.EntrySchema, fromBinary(legacy.EntrySchema, extended))).toBe(
      written(legacy.EntrySchema, entry),
    );
  });

  test("and it stays as it was", () => {
    const given = crate({ tags: { b: "1", a: "2" }, attributes: { b: 1, a: 2 }, label: "x" });
    const before = structuredClone(given);
    canonicalBytes(pub.CrateSchema, given);
    expect(given).toEqual(before);
    expect(Object.keys(given.tags)).toEqual(["b", "a"]);
  });
});

/** The same, with the keys of all objects the other way round. */
function shuffled<T>(value: T): T {
  if (Array.isArray(value)) return value.map((item) => shuffled<unknown>(item)) as T;
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .map(([key, item]) => [key, shuffled<unknown>(item)])
      .reverse(),
  ) as T;
}
