import { describe, expect, test } from "vitest";
import { StartError } from "./errors.ts";
import { createMethodTable } from "./policy/method-table.ts";
import { readMaskOf } from "./read-mask.ts";
import { service } from "./service.ts";
import { thrownBy } from "./testing/call.ts";
import { pub, readmask } from "./testing/protos.ts";

const { ReadMaskService, BrokenReadMaskService, FindCrateRequestSchema, CompareCratesResponseSchema } =
  readmask;
const { findCrate, findBareCrate, findCrates, mapCrates, compareCrates, findWholeCrate } =
  ReadMaskService.method;

describe("a read mask is about", () => {
  test("the one field of a response that holds messages; a time is none", () => {
    expect(readMaskOf(findCrate, undefined)).toEqual({
      field: FindCrateRequestSchema.field.readMask,
      desc: pub.CrateSchema,
      holder: readmask.FindCrateResponseSchema.field.crate,
    });
  });

  test.each([
    ["list", findCrates],
    ["map", mapCrates],
  ])("what is in the %s of a response", (_, method) => {
    expect(readMaskOf(method, undefined)).toMatchObject({
      desc: { typeName: pub.CrateSchema.typeName },
      holder: { name: "crates" },
    });
  });

  test("the answer itself, if that is no response", () => {
    expect(readMaskOf(findBareCrate, undefined)).toMatchObject({
      desc: { typeName: pub.CrateSchema.typeName },
      holder: undefined,
    });
  });

  test("the field that the policy names", () => {
    expect(readMaskOf(compareCrates, "slots")).toMatchObject({
      desc: { typeName: pub.SlotSchema.typeName },
      holder: { name: CompareCratesResponseSchema.field.slots.name },
    });
  });

  test("nothing, where there is none", () => {
    expect(readMaskOf(findWholeCrate, undefined)).toBeUndefined();
  });
});

describe("at the start", () => {
  const answers = (desc: typeof ReadMaskService | typeof BrokenReadMaskService) =>
    Object.fromEntries(desc.methods.map(({ localName }) => [localName, () => ({})]));

  test("each method gets its mask, and what its policy names", () => {
    const table = createMethodTable([service(ReadMaskService, answers(ReadMaskService) as never)]);
    const holders = [...table.values()].map(({ readMask }) => readMask?.holder?.name);
    expect(holders).toEqual([
      "crate",
      undefined,
      "crates",
      "crates",
      "crate",
      "crate",
      "entries",
      "sheet",
      undefined,
    ]);
  });

  test("every mask of which it is not clear what it is about is named, with what to write", async () => {
    const broken = service(BrokenReadMaskService, answers(BrokenReadMaskService) as never);
    const error = await thrownBy(() => createMethodTable([broken]));
    expect(error).toBeInstanceOf(StartError);
    const v1 = "acme.api.readmask.v1";
    const form =
      "must be a single google.protobuf.FieldMask in no oneof (AIP-157): make it one, or name it otherwise";
    expect((error as StartError).problems).toEqual([
      `${v1}.BrokenReadMaskService.PickCrate has a read_mask, but ${v1}.PickCrateResponse does not tell what it is about: write {read_mask_field: "left"} or {read_mask_field: "right"} into its (portico.v1.method)`,
      `${v1}.BrokenReadMaskService.CountCrates has a read_mask, but ${v1}.CountCratesResponse does not tell what it is about: no field of it holds messages. Remove the read_mask, or put what it is about into a message`,
      `${v1}.BrokenReadMaskService.PickNothing: (portico.v1.method).read_mask_field names "crates", which is no field of ${v1}.PickNothingResponse that holds messages: write {read_mask_field: "crate"} into its (portico.v1.method)`,
      `${v1}.BrokenReadMaskService.PickTime: (portico.v1.method).read_mask_field names "read_time", which is no field of ${v1}.PickTimeResponse that holds messages: write {read_mask_field: "crate"} into its (portico.v1.method)`,
      `${v1}.BrokenReadMaskService.PickBlindly: (portico.v1.method).read_mask_field is for a method whose request has a read_mask, and ${v1}.PickBlindlyRequest has none: add google.protobuf.FieldMask read_mask, or leave the option out`,
      `${v1}.PickByTextRequest.read_mask ${form}`,
      `${v1}.PickBySeveralRequest.read_mask ${form}`,
      `${v1}.PickByEitherRequest.read_mask ${form}`,
    ]);
  });
});
