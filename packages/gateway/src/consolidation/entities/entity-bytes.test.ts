import { create, isMessage, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { internal } from "../../testing/protos.ts";
import { readEntities, writeEntities } from "./entity-bytes.ts";

const { CrateSchema, SlotSchema } = internal;

test("entities come back as they were: none, one that is empty, and one with something in it", () => {
  const full = create(CrateSchema, {
    code: "a",
    serial: 18_446_744_073_709_551_615n,
    barcode: "-1",
    seal: new Uint8Array([0, 255]),
    note: "",
    slots: { 1: { aisle: "A" } },
    handling: { case: "hazardClass", value: internal.Hazard.CORROSIVE },
    contents: [{ contents: [{ code: "b" }] }],
  });
  for (const entities of [[], [create(CrateSchema)], [full, create(CrateSchema), full]])
    expect(readEntities(CrateSchema, writeEntities(CrateSchema, entities))).toEqual(entities);
});

test("entities share no memory with what they were read from: who changes one in place changes it for itself", () => {
  const bytes = writeEntities(CrateSchema, [create(CrateSchema, { seal: new Uint8Array([1, 2]) })]);
  for (const crate of readEntities(CrateSchema, bytes)) if (isMessage(crate, CrateSchema)) crate.seal.fill(0);
  expect(readEntities(CrateSchema, bytes)).toMatchObject([{ seal: new Uint8Array([1, 2]) }]);
});

test("what the proto does not know is neither written nor read", () => {
  const slot = create(SlotSchema, { aisle: "A" });
  const unknown = [{ no: 99, wireType: 2, data: new Uint8Array([1, 65]) }];
  const bytes = writeEntities(SlotSchema, [{ ...slot, $unknown: unknown }]);
  expect(bytes).toEqual(writeEntities(SlotSchema, [slot]));
  const secret = toBinary(CrateSchema, create(CrateSchema, { secretNote: "secret" }));
  const read = readEntities(SlotSchema, new Uint8Array([secret.length, ...secret]));
  expect(JSON.stringify(read)).not.toContain("unknown");
});

test.each([[[5]], [[2, 8]], [[255, 255, 255, 255, 255, 255, 255, 255, 255, 255]]])(
  "bytes that are something else, %j, are refused",
  (bytes) => {
    expect(() => readEntities(SlotSchema, new Uint8Array(bytes))).toThrow();
  },
);
