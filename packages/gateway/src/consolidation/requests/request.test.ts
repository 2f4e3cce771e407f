import { create, type DescMessage } from "@bufbuild/protobuf";
import { DurationSchema, FieldMaskSchema } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { invalid } from "../../errors.ts";
import { messageOf, thrownBy } from "../../testing/call.ts";
import { internal, legacy, pub, pubLegacy, readmask } from "../../testing/protos.ts";
import { crateView, keeperView } from "../../testing/warehouse.ts";
import { enumByName } from "../views/enum.ts";
import { mapped } from "../views/mapped.ts";
import { nested } from "../views/nested.ts";
import { packed } from "../views/packed.ts";
import { computed, constant } from "../views/source.ts";
import { mapPagedRequest, mapRequest, type RequestMap } from "./request.ts";

const internalHazard = enumByName(pub.HazardSchema, internal.HazardSchema, { onUnknown: "fail" });
const slot = mapRequest(pub.SlotSchema, internal.SlotSchema, {});

/** A message that stands for a request with fields of every kind. */
const crateRequest: RequestMap<pub.Crate, internal.Crate> = mapRequest(
  pub.CrateSchema,
  internal.CrateSchema,
  {
    hazards: mapped(internalHazard, "hazards"),
    mainHazard: mapped(internalHazard, "mainHazard"),
    slots: nested(slot, "slots"),
    position: nested(slot, "position"),
    history: nested(slot, "history"),
    handling: constant(undefined),
    origin: constant(undefined),
    contents: nested((): RequestMap<pub.Crate, internal.Crate> => crateRequest, "contents"),
    attachment: packed("attachment", [DurationSchema]),
    quantity: computed(["quantity"], Number),
    secretNote: computed(["keeperName"], (name) => `by ${name}`),
    keeperId: "code",
  },
  { handled: ["keeper", "scans", "handling", "origin"] },
);

describe("a request map", () => {
  test("copies, maps, nests, computes and renames at once", () => {
    const made = crateRequest(
      create(pub.CrateSchema, {
        code: "A-1",
        serial: 5n,
        note: "",
        tags: { color: "red" },
        hazards: [pub.Hazard.CORROSIVE],
        mainHazard: pub.Hazard.FLAMMABLE,
        slots: { 1: { aisle: "A" } },
        position: { aisle: "B", level: 2 },
        history: [{ aisle: "C" }],
        contents: [{ code: "A-2", contents: [{ code: "A-3" }] }],
        quantity: 12n,
        keeperName: "Ada",
      }),
    );
    expect(made).toEqual(
      create(internal.CrateSchema, {
        code: "A-1",
        serial: 5n,
        note: "",
        tags: { color: "red" },
        hazards: [internal.Hazard.CORROSIVE],
        mainHazard: internal.Hazard.FLAMMABLE,
        slots: { 1: { aisle: "A" } },
        position: { aisle: "B", level: 2 },
        history: [{ aisle: "C" }],
        contents: [
          {
            code: "A-2",
            keeperId: "A-2",
            secretNote: "by ",
            contents: [{ code: "A-3", keeperId: "A-3", secretNote: "by " }],
          },
        ],
        quantity: 12,
        secretNote: "by Ada",
        keeperId: "A-1",
      }),
    );
  });

  test("can be listed", () => {
    expect([crateRequest.from, crateRequest.to]).toEqual([pub.CrateSchema, internal.CrateSchema]);
    expect(crateRequest.fields).toMatchObject({
      tags: { kind: "copy", reads: ["tags"] },
      position: { kind: "nested", reads: ["position"], view: slot },
      keeperId: { kind: "path", reads: ["code"] },
    });
    expect(crateRequest.fields["secretMarks"]).toBeUndefined();
  });

  test("a number that the enum does not know is the caller's fault, by the name of the field", async () => {
    const error = await thrownBy(() =>
      crateRequest(create(pub.CrateSchema, { hazards: [pub.Hazard.CORROSIVE, 99 as pub.Hazard] })),
    );
    expect(error).toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: expect.stringContaining("hazards: 99 is none of HAZARD_UNSPECIFIED, "),
    });
  });

  test("and in a message inside, by its place", async () => {
    const wrong = { mainHazard: 99 as pub.Hazard };
    const inside = create(pub.CrateSchema, { contents: [{}, { contents: [wrong] }] });
    expect(await thrownBy(() => crateRequest(inside))).toMatchObject({
      rawMessage: expect.stringContaining("contents[1].contents[0].main_hazard: 99 is none of "),
      options: { violations: [{ field: "contents[1].contents[0].main_hazard" }] },
    });
    const picky = mapRequest(pub.SlotSchema, internal.SlotSchema, {
      level: computed(["level"], (level) => {
        if (level < 0) throw invalid({ field: "level", description: "must not be negative" });
        return level;
      }),
    });
    const places = mapRequest(
      pub.CrateSchema,
      internal.CrateSchema,
      {
        ...untouched,
        slots: nested(picky, "slots"),
        position: nested(picky, "position"),
      },
      { handled: handledAll },
    );
    expect(await messageOf(() => places(create(pub.CrateSchema, { slots: { 7: { level: -1 } } })))).toContain(
      "slots[7].level: must not be negative",
    );
    expect(await messageOf(() => places(create(pub.CrateSchema, { position: { level: -1 } })))).toContain(
      "position.level: must not be negative",
    );
  });

  test("a read mask goes nowhere, even if the upstream has one", () => {
    const find = mapRequest(readmask.FindCratesRequestSchema, readmask.FindCratesRequestSchema, {});
    const request = create(readmask.FindCratesRequestSchema, { readMask: { paths: ["code"] } });
    expect(find(request)).toEqual(create(readmask.FindCratesRequestSchema));
    expect(find.fields).toEqual({});
    const own = mapRequest(readmask.FindCratesRequestSchema, readmask.FindCratesRequestSchema, {
      readMask: computed([], () => create(FieldMaskSchema, { paths: ["owner"] })),
    });
    expect(own(request).readMask?.paths).toEqual(["owner"]);
  });
});

const untouched = {
  hazards: constant(undefined),
  mainHazard: constant(undefined),
  history: constant(undefined),
  handling: constant(undefined),
  origin: constant(undefined),
  contents: constant(undefined),
  attachment: constant(undefined),
  quantity: constant(undefined),
};

const handledAll = [
  "hazards",
  "mainHazard",
  "history",
  "handling",
  "origin",
  "contents",
  "attachment",
  "quantity",
  "keeperName",
  "keeper",
  "scans",
] as const;

/** As plain JavaScript can call it. */
const untyped: (from: DescMessage, to: DescMessage, fields: object, options?: object) => unknown =
  mapRequest as never;

describe("what the start refuses", () => {
  test("a field that nothing reads: a filter that would filter nothing", async () => {
    const said = await messageOf(() =>
      untyped(pub.SlotSchema, internal.SlotSchema, { aisle: constant("A") }),
    );
    expect(said).toContain(
      "acme.api.warehouse.v1.Slot.aisle is read by nothing in its request map to acme.internal.warehouse.v1.Slot: " +
        'what callers write into it would have no effect. Take it into a field of Slot, or write: handled: ["aisle"]',
    );
    expect(
      untyped(pub.SlotSchema, internal.SlotSchema, { aisle: constant("A") }, { handled: ["aisle"] }),
    ).toBeTypeOf("function");
  });

  test("a required field that is not set", async () => {
    const said = await messageOf(() =>
      untyped(pub.SlotSchema, legacy.EntrySchema, {}, { handled: ["aisle", "level"] }),
    );
    expect(said).toContain(
      "acme.internal.legacy.v1.Entry.id is required, but its request map does not set it. Write: id: ...",
    );
  });

  test("what takes time, what does not fit, what is not there", async () => {
    expect(
      await messageOf(() =>
        untyped(internal.GetCrateResponseSchema, pub.GetCrateResponseSchema, {
          crate: nested(crateView, "crate"),
        }),
      ),
    ).toContain("a request is made at once");
    expect(
      await messageOf(() => untyped(pub.SlotSchema, internal.SlotSchema, { secret: constant(1) })),
    ).toContain("acme.internal.warehouse.v1.Slot has no field secret, but its request map gives one");
    expect(await messageOf(() => untyped(pub.CrateSchema, internal.CrateSchema, {}))).toContain(
      'Write: mainHazard: mapped(map, "mainHazard"), where map is enumByName(HazardSchema, HazardSchema, { onUnknown: "default" })',
    );
  });

  test("what the compiler sees: a field of the same name and another type needs a source", () => {
    expect(() =>
      // @ts-expect-error hazards, slots, position and others have no source
      mapRequest(pub.CrateSchema, internal.CrateSchema, {}),
    ).toThrow("cannot start");
    expect(keeperView.fields).toBeDefined();
  });
});

describe("a paged request map", () => {
  const listEntries = mapPagedRequest(
    pubLegacy.ListEntriesRequestSchema,
    legacy.ListEntriesRequestSchema,
    {},
    { defaultSize: 50, maxSize: 500, handled: ["currency"] },
  );

  test("sees to size and token, and wraps the upstream's", () => {
    const first = listEntries(create(pubLegacy.ListEntriesRequestSchema, { pageSize: 1_000 }));
    expect(first.request).toEqual(create(legacy.ListEntriesRequestSchema, { pageSize: 500 }));
    const pageToken = first.next("cursor-1");
    const second = listEntries(create(pubLegacy.ListEntriesRequestSchema, { pageSize: 7, pageToken }));
    expect(second.request).toEqual(
      create(legacy.ListEntriesRequestSchema, { pageSize: 7, pageToken: "cursor-1" }),
    );
    expect(second.next("")).toBe("");
  });

  test("into fields of other names", () => {
    const map = mapPagedRequest(
      pubLegacy.ListEntriesRequestSchema,
      internal.SlotSchema,
      {},
      { defaultSize: 50, maxSize: 500, sizeField: "level", tokenField: "aisle", handled: ["currency"] },
    );
    const { next } = map(create(pubLegacy.ListEntriesRequestSchema));
    const page = map(create(pubLegacy.ListEntriesRequestSchema, { pageToken: next("x") }));
    expect(page.request).toEqual(create(internal.SlotSchema, { level: 20, aisle: "x" }));
    expect(map.fields).toMatchObject({ level: { reads: ["pageSize"] }, aisle: { reads: ["pageToken"] } });
  });

  test("a request that cannot be paged is refused", async () => {
    const said = await messageOf(() =>
      (mapPagedRequest as never as typeof untyped)(
        pub.SlotSchema,
        internal.SlotSchema,
        {},
        { defaultSize: 1, maxSize: 2 },
      ),
    );
    expect(said).toContain("acme.api.warehouse.v1.Slot has no field pageSize");
    expect(said).toContain("acme.internal.warehouse.v1.Slot has no field pageToken");
  });
});
