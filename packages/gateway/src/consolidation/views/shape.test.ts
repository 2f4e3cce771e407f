import type { DescMessage } from "@bufbuild/protobuf";
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { catalog, internal, legacy, pub, pubCatalog, pubLegacy } from "../../testing/protos.ts";
import { copyProblem, isSetIn, type Member, membersOf, shapeOf } from "./shape.ts";

test("the members of a message: fields by themselves, and oneofs as a whole", () => {
  const members = membersOf(pub.StoreCratesRequestSchema);
  expect(members.map(({ kind, name, localName }) => [kind, name, localName])).toEqual([
    ["field", "orders", "orders"],
    ["field", "orders_by_dock", "ordersByDock"],
    ["field", "first", "first"],
    ["oneof", "last", "last"],
    ["field", "docks", "docks"],
  ]);
});

test("what is set follows the presence of the field", () => {
  const note = member(internal.CrateSchema, "note");
  const code = member(internal.CrateSchema, "code");
  const handling = member(internal.CrateSchema, "handling");
  const tags = member(internal.CrateSchema, "tags");
  const empty = create(internal.CrateSchema);
  const zero = create(internal.CrateSchema, {
    code: "",
    note: "",
    handling: { case: "instruction", value: "" },
  });
  const members = [note, code, handling, tags];
  expect(members.map((it) => isSetIn(it)(empty))).toEqual([false, false, false, false]);
  expect(members.map((it) => isSetIn(it)(zero))).toEqual([true, false, true, false]);
});

test.each([
  ["a scalar", internal.CrateSchema, "code", pub.CrateSchema, "code", undefined],
  ["a 64-bit number as text", internal.CrateSchema, "barcode", pub.CrateSchema, "barcode", undefined],
  ["a wrapper", internal.CrateSchema, "label", pub.CrateSchema, "label", undefined],
  ["a map of scalars", internal.CrateSchema, "tags", pub.CrateSchema, "tags", undefined],
  ["another presence", catalog.SheetSchema, "pages", pubCatalog.SheetSchema, "pages", undefined],
  ["another packing", catalog.SheetSchema, "plates", pubCatalog.SheetSchema, "plates", undefined],
  ["the same default", legacy.EntrySchema, "retries", pubLegacy.EntrySchema, "retries", undefined],
  ["another name of the same type", internal.CrateSchema, "code", pub.SlotSchema, "aisle", undefined],
  ["another scalar", internal.CrateSchema, "code", pub.CrateSchema, "seal", "string, the public one bytes"],
  [
    "another sign",
    internal.CrateSchema,
    "serial",
    pub.CrateSchema,
    "weightGrams",
    "uint64, the public one int64",
  ],
  [
    "jstype on one side",
    internal.CrateSchema,
    "weightGrams",
    pub.CrateSchema,
    "barcode",
    "int64, the public one int64 [jstype = JS_STRING]",
  ],
  [
    "a wrapper and its scalar",
    internal.CrateSchema,
    "label",
    pub.CrateSchema,
    "note",
    "google.protobuf.StringValue, the public one string",
  ],
  [
    "a list and one",
    internal.CrateSchema,
    "secretMarks",
    pub.CrateSchema,
    "code",
    "repeated string, the public one string",
  ],
  [
    "a map and a message",
    internal.CrateSchema,
    "slots",
    pub.CrateSchema,
    "position",
    "map<int32, acme.internal.warehouse.v1.Slot>, the public one acme.api.warehouse.v1.Slot",
  ],
  [
    "a default on one side",
    legacy.EntrySchema,
    "currency",
    pubLegacy.EntrySchema,
    "currency",
    "string [default = EUR], the public one string",
  ],
  [
    "another default",
    legacy.EntrySchema,
    "retries",
    pubCatalog.SheetSchema,
    "edition",
    "int32 [default = 7], the public one int32 [default = 1]",
  ],
  [
    "another group",
    legacy.EntrySchema,
    "party",
    pubLegacy.EntrySchema,
    "party",
    "acme.internal.legacy.v1.Entry.Party, the public one acme.api.legacy.v1.Entry.Party",
  ],
])("%s", (_, fromDesc, from, toDesc, to, types) => {
  const problem = copyProblem(shapeOf(member(fromDesc, from)), shapeOf(member(toDesc, to)));
  expect(problem).toBe(types === undefined ? undefined : `the internal field is ${types}`);
});

test("a oneof is copied only to a oneof that can hold all that it can", () => {
  const origin = shapeOf(member(internal.CrateSchema, "origin"));
  expect(copyProblem(origin, origin)).toBeUndefined();
  expect(copyProblem(origin, shapeOf(member(pub.CrateSchema, "origin")))).toBe(
    "the internal oneof can hold supplier, the public one cannot",
  );
  expect(copyProblem(origin, shapeOf(member(pub.CrateSchema, "code")))).toBe(
    "one is a oneof, the other is not",
  );
  expect(
    copyProblem(shapeOf(member(internal.CrateSchema, "code")), shapeOf(member(pub.CrateSchema, "origin"))),
  ).toBe("one is a oneof, the other is not");
});

function member(desc: DescMessage, localName: string): Member {
  const found = membersOf(desc).find((candidate) => candidate.localName === localName);
  if (found === undefined) throw new Error(`${desc.typeName} has no ${localName}`);
  return found;
}
