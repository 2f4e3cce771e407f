import { create, createFileRegistry, type DescField, type DescMessage } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { catalog, internal, legacy, pub, pubCatalog, pubLegacy } from "../../testing/protos.ts";
import { declarationOf, nextNumber, typeFor } from "./type.ts";

function fieldOf(message: DescMessage, name: string): DescField {
  const field = message.fields.find((it) => it.name === name);
  if (field === undefined) throw new Error(`${message.typeName} has no field ${name}`);
  return field;
}

const declare = (to: DescMessage, from: DescMessage, name: string, type: string) =>
  declarationOf(to, fieldOf(from, name), {
    name: "made",
    number: 9,
    type: { name: type, file: undefined },
    permission: undefined,
  });

describe("a declaration keeps how many there are, and whether a value that is not set can be told from a zero", () => {
  const { CrateSchema: crate } = internal;
  test.each([
    ["code", "string", "string made = 9;\n"],
    ["barcode", "int64", "int64 made = 9 [jstype = JS_STRING];\n"],
    ["note", "string", "optional string made = 9;\n"],
    ["instruction", "string", "optional string made = 9;\n"],
    ["label", "google.protobuf.StringValue", "google.protobuf.StringValue made = 9;\n"],
    ["hazards", "Hazard", "repeated Hazard made = 9;\n"],
    ["tags", "string", "map<string, string> made = 9;\n"],
    ["slots", "Slot", "map<int32, Slot> made = 9;\n"],
  ])("in proto3: %s", (name, type, text) => {
    expect(declare(pub.CrateSchema, crate, name, type)).toBe(text);
  });

  test("from proto2 and editions to proto3", () => {
    expect(declare(pub.CrateSchema, legacy.EntrySchema, "amount", "int64")).toBe(
      "optional int64 made = 9;\n",
    );
    expect(declare(pub.CrateSchema, catalog.SheetSchema, "pages", "int32")).toBe("int32 made = 9;\n");
    expect(declare(pub.CrateSchema, catalog.SheetSchema, "title", "string")).toBe(
      "optional string made = 9;\n",
    );
  });

  test("to proto2 and editions", () => {
    expect(declare(pubLegacy.EntrySchema, crate, "code", "string")).toBe("optional string made = 9;\n");
    expect(declare(pubLegacy.EntrySchema, crate, "history", "Slot")).toBe("repeated Slot made = 9;\n");
    expect(declare(pubCatalog.SheetSchema, crate, "note", "string")).toBe("string made = 9;\n");
    expect(declare(pubCatalog.SheetSchema, crate, "code", "string")).toBe(
      "string made = 9 [features.field_presence = IMPLICIT];\n",
    );
  });

  test("and says who may read it", () => {
    expect(
      declarationOf(pub.CrateSchema, fieldOf(crate, "code"), {
        name: "made",
        number: 9,
        type: { name: "string", file: undefined },
        permission: "crates.read_code",
      }),
    ).toBe('string made = 9 [(portico.v1.field) = {permission: "crates.read_code"}];\n');
  });
});

describe("the next number", () => {
  const messageWith = (parts: object): DescMessage => {
    const set = create(FileDescriptorSetSchema, {
      file: [{ name: "acme/box.proto", package: "acme", messageType: [{ name: "Box", ...parts }] }],
    });
    const found = createFileRegistry(set).getMessage("acme.Box");
    if (found === undefined) throw new Error("there is no such message");
    return found;
  };
  const field = (number: number) => ({ name: `f${number}`, number, type: 9, label: 1 });

  test("is none past the last that there is", () => {
    expect(nextNumber(messageWith({ field: [field(536_870_910)] }))).toBe(536_870_911);
    expect(nextNumber(messageWith({ field: [field(536_870_911)] }))).toBeUndefined();
    const toMax = [{ start: 3, end: 536_870_912 }];
    expect(nextNumber(messageWith({ field: [field(2)], extensionRange: toMax }))).toBeUndefined();
  });

  test("is above all others, whatever gaps there are", () => {
    expect(nextNumber(messageWith({}))).toBe(1);
    expect(nextNumber(messageWith({ field: [field(1), field(7)] }))).toBe(8);
  });

  test("is not reserved, of an extension, or of protobuf itself", () => {
    const reservedRange = [
      { start: 9, end: 11 },
      { start: 8, end: 9 },
    ];
    const extensionRange = [{ start: 11, end: 20 }];
    expect(nextNumber(messageWith({ field: [field(7)], reservedRange, extensionRange }))).toBe(20);
    expect(nextNumber(messageWith({ field: [field(18_999)] }))).toBe(20_000);
  });
});

test("a type is called by its own name in its package, and by the full one elsewhere", () => {
  expect(typeFor(pub.CrateSchema, pub.SlotSchema)).toEqual({ name: "Slot", file: undefined });
  expect(typeFor(pub.CrateSchema, pubCatalog.MarginSchema)).toEqual({
    name: "acme.api.catalog.v1.Margin",
    file: "acme/api/catalog/v1/catalog_service.proto",
  });
});
