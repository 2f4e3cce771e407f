import { expect, test } from "vitest";
import { StartError } from "../../errors.ts";
import { messageOf, thrownBy } from "../../testing/call.ts";
import { catalog, internal, legacy, pub, pubCatalog, pubLegacy } from "../../testing/protos.ts";
import { rebuilt } from "../../testing/rebuilt.ts";
import { enumByName } from "./enum.ts";

test("maps by name, whatever the numbers", () => {
  const map = enumByName(internal.HazardSchema, pub.HazardSchema, { onUnknown: "fail" });
  expect(map.map(internal.Hazard.FLAMMABLE)).toBe(pub.Hazard.FLAMMABLE);
  expect(map.map(internal.Hazard.CORROSIVE)).toBe(pub.Hazard.CORROSIVE);
  expect(map.map(internal.Hazard.UNSPECIFIED)).toBe(pub.Hazard.UNSPECIFIED);
});

test("the prefix of the values does not matter", () => {
  const map = enumByName(pub.MildHazardSchema, internal.HazardSchema, { onUnknown: "fail" });
  expect(map.map(pub.MildHazard.CORROSIVE)).toBe(internal.Hazard.CORROSIVE);
});

test("lists every value without a counterpart", async () => {
  const error = await thrownBy(() =>
    enumByName(internal.HazardSchema, pub.MildHazardSchema, { onUnknown: "default" }),
  );
  expect(error).toBeInstanceOf(StartError);
  expect(error).toMatchObject({
    problems: [
      "acme.internal.warehouse.v1.Hazard.HAZARD_FLAMMABLE has no counterpart in acme.api.warehouse.v1.MildHazard: add one, name one in renamed, or say in onUnmapped what becomes of it",
    ],
  });
});

// As it comes from the wire: the compiler knows of named values alone.
test("a number without a name becomes the zero value", () => {
  const map = enumByName(internal.HazardSchema, pub.HazardSchema, { onUnknown: "default" });
  expect(map.map(99 as never)).toBe(pub.Hazard.UNSPECIFIED);
});

test("or has none, or passes as it is", () => {
  const failing = enumByName(pub.HazardSchema, internal.HazardSchema, { onUnknown: "fail" });
  expect(failing.map(99 as never)).toBeUndefined();
  const passing = enumByName(pub.HazardSchema, internal.HazardSchema, { onUnknown: "pass" });
  expect(passing.map(99 as never)).toBe(99);
});

test.each([
  ["default", pub.MildHazard.UNSPECIFIED],
  ["fail", undefined],
  ["pass", internal.Hazard.FLAMMABLE],
] as const)("values without a counterpart can be told apart from unknown ones: %s", (onUnmapped, made) => {
  const map = enumByName(internal.HazardSchema, pub.MildHazardSchema, { onUnknown: "pass", onUnmapped });
  expect(map.map(internal.Hazard.FLAMMABLE)).toBe(made);
  expect(map.map(internal.Hazard.CORROSIVE)).toBe(pub.MildHazard.CORROSIVE);
  expect(map.map(99 as never)).toBe(99);
});

test("values can be renamed, and the map tells which become which", () => {
  const map = enumByName(internal.HazardSchema, pub.MildHazardSchema, {
    onUnknown: "fail",
    renamed: { HAZARD_FLAMMABLE: "MILD_HAZARD_CORROSIVE" },
  });
  expect(map.map(internal.Hazard.FLAMMABLE)).toBe(pub.MildHazard.CORROSIVE);
  expect(map.names).toEqual({
    HAZARD_UNSPECIFIED: "MILD_HAZARD_UNSPECIFIED",
    HAZARD_FLAMMABLE: "MILD_HAZARD_CORROSIVE",
    HAZARD_CORROSIVE: "MILD_HAZARD_CORROSIVE",
  });
});

test("names in renamed must be there, and a closed enum takes no unknown number", async () => {
  const said = await messageOf(() =>
    enumByName(internal.HazardSchema, pub.HazardSchema, {
      onUnknown: "fail",
      renamed: { HAZARD_WET: "HAZARD_DRY" },
    }),
  );
  expect(said).toContain(
    "acme.internal.warehouse.v1.Hazard has no value HAZARD_WET, which renamed names: HAZARD_UNSPECIFIED, ",
  );
  expect(said).toContain("acme.api.warehouse.v1.Hazard has no value HAZARD_DRY");
  expect(
    await messageOf(() => enumByName(legacy.KindSchema, pubLegacy.KindSchema, { onUnknown: "pass" })),
  ).toContain(
    'acme.api.legacy.v1.Kind is a closed enum, which holds no number that it does not name: write "default" or "fail"',
  );
});

test("enums that do not begin at zero", () => {
  const closed = enumByName(legacy.KindSchema, pubLegacy.KindSchema, { onUnknown: "default" });
  expect(closed.map(legacy.Kind.DEBIT)).toBe(pubLegacy.Kind.DEBIT);
  const opened = enumByName(catalog.BindingSchema, pubCatalog.BindingSchema, { onUnknown: "default" });
  expect(opened.map(catalog.Binding.SEWN)).toBe(pubCatalog.Binding.SEWN);
});

test("a value that is called as what every object has is one like any other", () => {
  const odd = rebuilt(pub.HazardSchema.file, ({ enumType }) => {
    for (const value of enumType.find(({ name }) => name === "Hazard")?.value ?? [])
      value.name = ["__proto__", "constructor", "toString"][value.number] ?? value.name;
  }).enums.find(({ name }) => name === "Hazard");
  if (odd === undefined) throw new Error("the enum is gone");
  const { map, names } = enumByName(odd, odd, { onUnknown: "fail" });
  expect([0, 1, 2, 3].map(map)).toEqual([0, 1, 2, undefined]);
  expect(Object.entries(names)).toEqual([
    ["__proto__", "__proto__"],
    ["constructor", "constructor"],
    ["toString", "toString"],
  ]);
});
