import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { catalog, internal, legacy } from "../../testing/protos.ts";
import { type At, type CompiledPath, compilePath, type Path, type PathTo } from "./path.ts";

function compiled(...[desc, path]: Parameters<typeof compilePath>): CompiledPath {
  const found = compilePath(desc, path);
  if (typeof found === "string") throw new Error(found);
  return found;
}

describe("a path", () => {
  const crate = create(internal.CrateSchema, {
    code: "A-1",
    position: { aisle: "B" },
    arriveTime: { seconds: 5n },
    handling: { case: "instruction", value: "gently" },
    origin: { case: "shelf", value: create(internal.SlotSchema, { aisle: "C" }) },
  });

  test.each([
    ["code", "A-1"],
    ["position.aisle", "B"],
    ["arriveTime.seconds", 5n],
    ["handling.instruction", "gently"],
    ["handling.hazardClass", undefined],
    ["origin.shelf.aisle", "C"],
    ["handling.thawTime.seconds", undefined],
    ["handling", { case: "instruction", value: "gently" }],
    ["secret.combination", undefined],
    ["quantity", 0],
    ["tags", {}],
  ])("%s leads to what stands there", (path, value) => {
    expect(compiled(internal.CrateSchema, path).read(crate)).toEqual(value);
  });

  test.each([
    ["code", "A-1"],
    ["quantity", undefined],
    ["tags", undefined],
    ["position.level", undefined],
    ["secret", undefined],
    ["origin.shelf.level", undefined],
    ["handling", { case: "instruction", value: "gently" }],
  ])("%s, as far as it is set", (path, value) => {
    expect(compiled(internal.CrateSchema, path).readSet(crate)).toEqual(value);
  });

  test("the default of a field that is not set can be read, and is not set", () => {
    const entry = create(legacy.EntrySchema);
    const { read, readSet } = compiled(legacy.EntrySchema, "retries");
    expect([read(entry), readSet(entry)]).toEqual([7, undefined]);
    expect(compiled(catalog.SheetSchema, "edition").read(create(catalog.SheetSchema))).toBe(1);
  });

  test("names the fields that it goes through", () => {
    const names = (path: string) => compiled(internal.CrateSchema, path).fields.map(({ name }) => name);
    expect(names("position.aisle")).toEqual(["position", "aisle"]);
    expect(names("handling.hazardClass")).toEqual(["hazard_class"]);
    expect(names("origin")).toEqual(["supplier", "shelf"]);
  });

  test.each([
    ["nothing", "acme.internal.warehouse.v1.Crate has no field nothing"],
    ["", "acme.internal.warehouse.v1.Crate has no field "],
    ["position.row", "acme.internal.warehouse.v1.Slot has no field row"],
    [
      "code.length",
      "acme.internal.warehouse.v1.Crate.code is no single message, so that nothing follows it: length",
    ],
    ["history.aisle", "acme.internal.warehouse.v1.Crate.history is no single message"],
    ["slots.aisle", "acme.internal.warehouse.v1.Crate.slots is no single message"],
    ["handling.nothing", "acme.internal.warehouse.v1.Crate.handling has no case nothing"],
    ["origin.shelf.row", "acme.internal.warehouse.v1.Slot has no field row"],
    ["origin.supplier.name", "acme.internal.warehouse.v1.Crate.supplier is no single message"],
    [
      "label.value",
      "acme.internal.warehouse.v1.Crate.label is a google.protobuf.StringValue, which is read whole, so that nothing follows it: value",
    ],
    ["attributes.fields", "acme.internal.warehouse.v1.Crate.attributes is a google.protobuf.Struct"],
    ["constructor", "acme.internal.warehouse.v1.Crate has no field constructor"],
    ["weight_grams", "acme.internal.warehouse.v1.Crate has no field weight_grams"],
  ])("%s leads nowhere", (path, problem) => {
    expect(compilePath(internal.CrateSchema, path)).toContain(problem);
  });
});

test("the compiler knows the paths, and what stands there", () => {
  const path: Path<internal.Crate> = "handling.hazardClass";
  const level: At<internal.Crate, "position.level"> = undefined;
  const inCase: PathTo<internal.Crate, string | undefined> = "origin.shelf.aisle";
  const text: PathTo<internal.Crate, string> = "code";
  // @ts-expect-error no such field
  const none: Path<internal.Crate> = "position.row";
  // @ts-expect-error a slot may be absent
  const certain: PathTo<internal.Crate, string> = "position.aisle";
  // @ts-expect-error no text
  const number: PathTo<internal.Crate, string> = "quantity";
  expect([path, level, inCase, text, none, certain, number]).toHaveLength(7);
});
