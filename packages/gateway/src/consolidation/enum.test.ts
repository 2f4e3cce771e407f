import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { PublicError, StartError } from "../errors.ts";
import { messageOf, thrownBy } from "../testing/call.ts";
import { catalog, internal, legacy, pub, pubCatalog, pubLegacy } from "../testing/protos.ts";
import { enumByName } from "./enum.ts";

test("maps by name, whatever the numbers", () => {
  const map = enumByName(internal.HazardSchema, pub.HazardSchema, { onUnknown: "fail" });
  expect(map(internal.Hazard.FLAMMABLE)).toBe(pub.Hazard.FLAMMABLE);
  expect(map(internal.Hazard.CORROSIVE)).toBe(pub.Hazard.CORROSIVE);
  expect(map(internal.Hazard.UNSPECIFIED)).toBe(pub.Hazard.UNSPECIFIED);
});

test("the prefix of the values does not matter", () => {
  const map = enumByName(pub.MildHazardSchema, internal.HazardSchema, { onUnknown: "fail" });
  expect(map(pub.MildHazard.CORROSIVE)).toBe(internal.Hazard.CORROSIVE);
});

test("lists every value without a counterpart", async () => {
  const error = await thrownBy(() =>
    enumByName(internal.HazardSchema, pub.MildHazardSchema, { onUnknown: "default" }),
  );
  expect(error).toBeInstanceOf(StartError);
  expect(error).toMatchObject({
    problems: [
      "acme.internal.warehouse.v1.Hazard.HAZARD_FLAMMABLE has no counterpart in acme.api.warehouse.v1.MildHazard: add one",
    ],
  });
});

// As it comes from the wire: the compiler knows of named values alone.
test("a number without a name becomes the zero value", () => {
  const map = enumByName(internal.HazardSchema, pub.HazardSchema, { onUnknown: "default" });
  expect(map(99 as never)).toBe(pub.Hazard.UNSPECIFIED);
});

test("or fails, and the error names the field and the values", async () => {
  const map = enumByName(pub.HazardSchema, internal.HazardSchema, {
    onUnknown: "fail",
    field: "main_hazard",
  });
  const error = await thrownBy(() => map(99 as never));
  expect(error).toBeInstanceOf(PublicError);
  expect(error).toMatchObject({
    code: Code.InvalidArgument,
    rawMessage: "main_hazard: 99 is none of HAZARD_UNSPECIFIED, HAZARD_CORROSIVE, HAZARD_FLAMMABLE",
  });
  const unnamed = enumByName(pub.HazardSchema, internal.HazardSchema, { onUnknown: "fail" });
  expect(await messageOf(() => unnamed(-1 as never))).toContain("Hazard: -1 is none of");
});

test("enums that do not begin at zero", () => {
  const closed = enumByName(legacy.KindSchema, pubLegacy.KindSchema, { onUnknown: "default" });
  expect(closed(legacy.Kind.DEBIT)).toBe(pubLegacy.Kind.DEBIT);
  const opened = enumByName(catalog.BindingSchema, pubCatalog.BindingSchema, { onUnknown: "default" });
  expect(opened(catalog.Binding.SEWN)).toBe(pubCatalog.Binding.SEWN);
});
