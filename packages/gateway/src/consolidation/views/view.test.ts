import {
  create,
  type DescField,
  type DescMessage,
  isFieldSet,
  type MessageShape,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { type Any, anyPack, DurationSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { messageOf, testCall } from "../../testing/call.ts";
import { catalog, internal, legacy, pub, pubCatalog, pubLegacy } from "../../testing/protos.ts";
import { rebuilt } from "../../testing/rebuilt.ts";
import {
  crate,
  crateView,
  keepersById,
  keeperView,
  publicHazard,
  scansBySerial,
  scanView,
  slotView,
  summaryView,
  warehouseCall,
} from "../../testing/warehouse.ts";
import { createLoaderScope } from "../loaders/loader.ts";
import { cases } from "./cases.ts";
import { enumByName } from "./enum.ts";
import { mapped } from "./mapped.ts";
import { nested } from "./nested.ts";
import { packed } from "./packed.ts";
import { related } from "./related.ts";
import { fieldMember, shapeOf, type ValueShape } from "./shape.ts";
import { computed, constant, type Derived, type Place } from "./source.ts";
import { type View, view } from "./view.ts";

/** The sources that the view of a crate needs, whatever they are. */
const crateFields = {
  hazards: mapped(publicHazard, "hazards"),
  mainHazard: mapped(publicHazard, "mainHazard"),
  slots: nested(slotView, "slots"),
  position: nested(slotView, "position"),
  history: nested(slotView, "history"),
  handling: constant(undefined),
  origin: constant(undefined),
  contents: constant(undefined),
  quantity: constant(0n),
  keeperName: constant(""),
  keeper: constant(undefined),
  scans: constant(undefined),
};

/** `view` as plain JavaScript can call it. */
const untypedView: <From extends DescMessage, To extends DescMessage>(
  from: From,
  to: To,
  fields: Record<string, unknown>,
) => View<MessageShape<From>, MessageShape<To>> = view as never;

describe("copying", () => {
  test("copies every field of the same name and type, whatever its number", async () => {
    const { call } = warehouseCall();
    const whole = crate({
      code: "A-1",
      weightGrams: 9_007_199_254_740_993n,
      serial: 18_446_744_073_709_551_615n,
      barcode: "9007199254740993",
      seal: new Uint8Array([0, 255]),
      tilt: 0.5,
      note: "",
      label: "fragile",
      tags: { color: "red" },
      arriveTime: { seconds: 1n, nanos: 2 },
      dwell: { seconds: 3n },
      attributes: { nested: { list: [1, null, "two"] } },
      attachment: anyPack(DurationSchema, create(DurationSchema, { seconds: 4n })),
      secretNote: "secret",
    });
    const made = await summaryView.one(whole, call);
    const { $typeName: typeName, ...fields } = made;
    const { $typeName: _, ...original } = whole;
    expect(typeName).toBe("acme.api.warehouse.v1.CrateSummary");
    for (const [name, value] of Object.entries(fields))
      expect([name, value]).toEqual([name, original[name as keyof typeof original]]);
    expect(Object.keys(fields).sort()).toEqual(
      pub.CrateSummarySchema.fields.map(({ localName }) => localName).sort(),
    );
  });

  test("an empty message gives an empty message", async () => {
    const made = await summaryView.one(crate(), testCall());
    expect(made).toEqual(create(pub.CrateSummarySchema));
    expect(toBinary(pub.CrateSummarySchema, made)).toHaveLength(0);
  });

  test("keeps the presence of optional fields", async () => {
    const [empty, set] = await summaryView.all([crate(), crate({ note: "" })], testCall());
    expect(empty?.note).toBeUndefined();
    expect(set?.note).toBe("");
  });

  test("what the public message does not have goes nowhere, unknown fields included", async () => {
    const source = create(internal.SlotSchema, { aisle: "A", level: 1, secretGuard: "canary-guard" });
    source.$unknown = [{ no: 99, wireType: 2, data: new TextEncoder().encode("canary-unknown") }];
    const made = await slotView.one(source, testCall());
    expect(made).toEqual(create(pub.SlotSchema, { aisle: "A", level: 1 }));
    expect(Buffer.from(toBinary(pub.SlotSchema, made)).includes("canary")).toBe(false);
  });

  test("does not change the internal message", async () => {
    const source = crate({ code: "A-1", tags: { a: "b" }, note: "n", history: [{ aisle: "B" }] });
    const before = structuredClone(source);
    await crateView.one(source, warehouseCall().call);
    expect(source).toEqual(before);
  });
});

describe("proto2", () => {
  const partyView = view(legacy.Entry_PartySchema, pubLegacy.Entry_PartySchema, {});
  const lineView = view(legacy.Entry_LineSchema, pubLegacy.Entry_LineSchema, {});
  const kind = enumByName(legacy.KindSchema, pubLegacy.KindSchema, { onUnknown: "default" });
  const entryView = view(legacy.EntrySchema, pubLegacy.EntrySchema, {
    currency: computed(["currency"], (currency) => currency),
    party: nested(partyView, "party"),
    line: nested(lineView, "line"),
    kind: mapped(kind, "kind"),
  });

  test("a default is not turned into a set field by copying", async () => {
    const made = await entryView.one(create(legacy.EntrySchema, { id: "e" }), testCall());
    expect(made.retries).toBe(7);
    expect(setFields(pubLegacy.EntrySchema, made)).not.toContain("retries");
    expect(setFields(pubLegacy.EntrySchema, made)).not.toContain("amount");
  });

  test("a field that was set to its default stays set, and so does one that was set to zero", async () => {
    const source = create(legacy.EntrySchema, { id: "e", retries: 7, amount: 0n });
    const made = await entryView.one(source, testCall());
    expect(setFields(pubLegacy.EntrySchema, made)).toEqual(
      expect.arrayContaining(["id", "retries", "amount"]),
    );
  });

  test("groups go through views as messages do", async () => {
    const source = create(legacy.EntrySchema, {
      id: "e",
      party: { name: "Ada", secretTaxNumber: "canary" },
      line: [{ text: "one" }, { text: "two" }],
      marks: [1, 2],
      secretMemo: "canary",
    });
    const made = await entryView.one(source, testCall());
    expect(toJson(pubLegacy.EntrySchema, made)).toEqual({
      id: "e",
      currency: "EUR",
      party: { name: "Ada" },
      line: [{ text: "one" }, { text: "two" }],
      marks: [1, 2],
    });
  });

  test("a default that the other side does not have is refused: an unset field would mean something else", async () => {
    expect(
      await messageOf(() =>
        untypedView(legacy.EntrySchema, pubLegacy.EntrySchema, {
          party: nested(partyView, "party"),
          line: nested(lineView, "line"),
          kind: mapped(kind, "kind"),
        }),
      ),
    ).toBe(
      "Portico cannot start:\n" +
        "  - acme.api.legacy.v1.Entry.currency has no source in its view of acme.internal.legacy.v1.Entry: " +
        "the internal field is string [default = EUR], the public one string. " +
        'Write: currency: computed(["currency"], (currency) => ...)',
    );
  });
});

test("editions: presence and encoding may differ, values stay", async () => {
  const marginView = view(catalog.MarginSchema, pubCatalog.MarginSchema, {});
  const binding = enumByName(catalog.BindingSchema, pubCatalog.BindingSchema, { onUnknown: "default" });
  const sheetView = view(catalog.SheetSchema, pubCatalog.SheetSchema, {
    margin: nested(marginView, "margin"),
    gutter: nested(marginView, "gutter"),
    binding: mapped(binding, "binding"),
  });
  const source = create(catalog.SheetSchema, {
    title: "Boats",
    pages: 3,
    margin: { width: 1, secretCut: "canary" },
    gutter: { width: 2 },
    binding: catalog.Binding.GLUED,
    plates: [4, 5],
    secretPrice: "canary",
  });
  const made = await sheetView.one(source, testCall());
  expect(toJson(pubCatalog.SheetSchema, made)).toEqual({
    title: "Boats",
    pages: 3,
    margin: { width: 1 },
    gutter: { width: 2 },
    binding: "BINDING_GLUED",
    plates: [4, 5],
  });
  expect(made.edition).toBe(1);
});

describe("sources", () => {
  test("nested views, enums, a message inside itself and relations make the rest", async () => {
    const { call } = warehouseCall();
    const source = crate({
      code: "A-1",
      serial: 5n,
      hazards: [internal.Hazard.FLAMMABLE, internal.Hazard.CORROSIVE],
      slots: { 1: { aisle: "A", secretGuard: "canary" } },
      position: { aisle: "B", secretGuard: "canary" },
      history: [{ aisle: "C" }, { aisle: "D" }],
      contents: [{ code: "A-2", contents: [{ code: "A-3", secretNote: "canary" }], keeperId: "bob" }],
      keeperId: "ada",
      quantity: 12,
      mainHazard: internal.Hazard.CORROSIVE,
    });
    expect(toJson(pub.CrateSchema, await crateView.one(source, call))).toEqual({
      code: "A-1",
      serial: "5",
      hazards: ["HAZARD_FLAMMABLE", "HAZARD_CORROSIVE"],
      slots: { 1: { aisle: "A" } },
      position: { aisle: "B" },
      history: [{ aisle: "C" }, { aisle: "D" }],
      contents: [
        {
          code: "A-2",
          contents: [{ code: "A-3" }],
          keeperName: "Bob",
          keeper: { name: "Bob", chiefName: "Chief-bob" },
        },
      ],
      quantity: "12",
      mainHazard: "HAZARD_CORROSIVE",
      keeperName: "Ada",
      keeper: { name: "Ada", chiefName: "Chief-ada" },
      scans: [{ gate: "in" }, { gate: "out" }],
    });
  });

  test("a constant is each message's own", async () => {
    const origin = create(pubLegacy.EntrySchema, { id: "e", marks: [1] });
    const holder = untypedView(internal.SlotSchema, pubLegacy.ListEntriesResponseSchema, {
      entries: constant([origin]),
      nextPageToken: constant(undefined),
    });
    const [first, second] = await holder.all(
      [create(internal.SlotSchema), create(internal.SlotSchema)],
      testCall(),
    );
    expect(first?.entries[0]).toEqual(origin);
    expect(first?.entries[0]?.retries).toBe(7);
    first?.entries[0]?.marks.push(2);
    first?.entries.pop();
    expect(second?.entries).toEqual([origin]);
    expect(origin.marks).toEqual([1]);
  });

  test("a path takes a zero as a copy does, where it cannot be told from what is not set", async () => {
    const empty = create(internal.KeeperSchema);
    const sheets = untypedView(internal.KeeperSchema, catalog.SheetSchema, { ...blankSheet, title: "name" });
    expect(await sheets.one(empty, testCall())).toMatchObject({ title: "" });
    const absent = untypedView(internal.CrateSchema, catalog.SheetSchema, {
      ...blankSheet,
      title: "position.aisle",
    });
    expect(setFields(catalog.SheetSchema, await absent.one(crate(), testCall()))).toEqual([]);
    expect(setFields(catalog.SheetSchema, await absent.one(crate({ position: {} }), testCall()))).toEqual([
      "title",
    ]);
  });

  test("a source wins over a field that could be copied", async () => {
    const loud = view(internal.SlotSchema, pub.SlotSchema, {
      aisle: computed(["aisle"], (aisle) => aisle.toUpperCase()),
    });
    const made = await loud.one(create(internal.SlotSchema, { aisle: "a", level: 2 }), testCall());
    expect(made).toMatchObject({ aisle: "A", level: 2 });
  });

  test("a function that gives undefined leaves the field as it was created", async () => {
    const absent = untypedView(internal.SlotSchema, pub.SlotSchema, { aisle: computed([], () => undefined) });
    expect((await absent.one(create(internal.SlotSchema, { aisle: "a" }), testCall())).aisle).toBe("");
  });

  test("a function that throws fails the call with what it threw", async () => {
    const failing = view(internal.SlotSchema, pub.SlotSchema, {
      aisle: computed([], (): string => {
        throw new RangeError("no aisle");
      }),
    });
    await expect(failing.one(create(internal.SlotSchema), testCall())).rejects.toThrow(RangeError);
  });

  test("a oneof is made by its cases, and one that has no source is not passed on", async () => {
    const { call } = warehouseCall();
    const made = await crateView.all(
      [
        crate({ handling: { case: "instruction", value: "gently" } }),
        crate({ handling: { case: "hazardClass", value: internal.Hazard.CORROSIVE } }),
        crate({ handling: { case: "thawTime", value: create(DurationSchema, { seconds: 1n }) } }),
        crate({ origin: { case: "supplier", value: "canary" } }),
        crate({
          origin: {
            case: "shelf",
            value: create(internal.SlotSchema, { aisle: "S", secretGuard: "canary" }),
          },
        }),
      ],
      call,
    );
    expect(made.map(({ handling }) => handling.case)).toEqual([
      "instruction",
      "hazardClass",
      "thawTime",
      undefined,
      undefined,
    ]);
    expect(made[1]?.handling.value).toBe(pub.Hazard.CORROSIVE);
    expect(made[3]?.origin).toEqual({ case: undefined });
    expect(made[4]?.origin.value).toEqual(create(pub.SlotSchema, { aisle: "S" }));
  });
});

describe("an Any", () => {
  const packing = (attachment: Any | undefined) =>
    summaryView.one(crate({ ...(attachment && { attachment }) }), testCall());

  test("passes with a message that is named", async () => {
    const dwell = anyPack(DurationSchema, create(DurationSchema, { seconds: 4n }));
    expect((await packing(dwell)).attachment).toEqual(dwell);
    expect((await packing(undefined)).attachment).toBeUndefined();
  });

  test("with any other message is left out: it would take along what the public must not see", async () => {
    const slot = create(internal.SlotSchema, { aisle: "A", secretGuard: "canary" });
    const made = await packing(anyPack(internal.SlotSchema, slot));
    expect(made).toEqual(create(pub.CrateSummarySchema));
    const lying = anyPack(internal.SlotSchema, slot);
    lying.typeUrl = "type.googleapis.com/google.protobuf.Duration/acme.internal.warehouse.v1.Slot";
    expect((await packing(lying)).attachment).toBeUndefined();
  });
});

const blankSheet = {
  title: constant(undefined),
  pages: constant(undefined),
  edition: constant(undefined),
  margin: constant(undefined),
  gutter: constant(undefined),
  binding: constant(undefined),
  plates: constant(undefined),
  secretPrice: constant(undefined),
};

const blankEntry = {
  retries: constant(undefined),
  currency: constant(undefined),
  amount: constant(undefined),
  kind: constant(undefined),
  party: constant(undefined),
  line: constant(undefined),
  marks: constant(undefined),
};

describe("a required field", () => {
  test("is made of a zero", async () => {
    const entries = untypedView(internal.KeeperSchema, pubLegacy.EntrySchema, { ...blankEntry, id: "name" });
    const made = await entries.one(create(internal.KeeperSchema), testCall());
    expect(toJson(pubLegacy.EntrySchema, made)).toEqual({ id: "" });
  });

  test("is neither an enum that need not be set, nor an Any that may not pass", () => {
    const { hazardClass, attachment } = pub.CrateSchema.field;
    const required = (field: DescField): Place => ({
      of: "view",
      from: internal.CrateSchema,
      target: { ...(shapeOf(fieldMember(field)) as ValueShape), isRequired: true },
      setOnly: false,
      blame: () => new Error("never"),
    });
    const hazard: Derived<internal.Crate, pub.Hazard> = mapped(publicHazard, "handling.hazardClass");
    expect(hazard.compile(required(hazardClass))).toEqual([
      "handling.hazardClass: the field to be made is required, the other one need not be set",
    ]);
    const any: Derived<internal.Crate, Any> = packed("attachment", [DurationSchema]);
    expect(any.compile(required(attachment))).toEqual([
      "attachment: the field to be made is required, and what does not pass is left out",
    ]);
  });

  test("is not made of what something on the way may lack", async () => {
    const entries = { ...blankEntry, id: "position.aisle" };
    expect(
      await messageOf(() => untypedView(internal.CrateSchema, pubLegacy.EntrySchema, entries)),
    ).toContain("position.aisle: the field to be made is required, the other one need not be set");
  });

  test("is not made of what need not be set", async () => {
    const said = await messageOf(() =>
      untypedView(legacy.EntrySchema, pubLegacy.EntrySchema, {
        id: "secretMemo",
        currency: constant(undefined),
        party: constant(undefined),
        line: constant(undefined),
        kind: constant(undefined),
      }),
    );
    expect(said).toContain("the internal field is string [default = none], the public one string");
    const related = await messageOf(() =>
      untypedView(internal.KeeperSchema, pubLegacy.EntrySchema, {
        id: relatedId,
        retries: constant(undefined),
        currency: constant(undefined),
        amount: constant(undefined),
        kind: constant(undefined),
        party: constant(undefined),
        line: constant(undefined),
        marks: constant(undefined),
      }),
    );
    expect(related).toContain(
      "the field to be made is required, and a relation need not have anything for it",
    );
  });
});

const relatedId = related(keepersById, "chiefId", "name", { onMissing: "empty" }) as never;

describe("what the compiler sees", () => {
  test("a public field without a source neither compiles nor starts", async () => {
    expect(
      await messageOf(() =>
        view(
          internal.KeeperSchema,
          pub.KeeperSchema,
          // @ts-expect-error chiefName has no source
          {},
        ),
      ),
    ).toBe(
      "Portico cannot start:\n" +
        "  - acme.api.warehouse.v1.Keeper.chief_name has no source in its view of acme.internal.warehouse.v1.Keeper: " +
        "there is no internal field of this name. " +
        "Write: chiefName: the path of another field, or computed(...), related(...), constant(...)",
    );
  });

  test("a source of the wrong type does not compile", () => {
    expect(() =>
      view(internal.SlotSchema, pub.SlotSchema, {
        // @ts-expect-error there is no such path
        aisle: computed(["asile"], (aisle) => String(aisle)),
      }),
    ).toThrow("acme.internal.warehouse.v1.Slot has no field asile");
    expect(() =>
      view(internal.SlotSchema, pub.SlotSchema, {
        // @ts-expect-error the path of a number
        aisle: "level",
      }),
    ).toThrow("level: the internal field is int32, the public one string");
    view(internal.SlotSchema, pub.SlotSchema, {
      // @ts-expect-error level is a number
      level: computed(["aisle"], (aisle) => aisle),
    });
    view(internal.KeeperSchema, pub.KeeperSchema, {
      chiefName: related(
        keepersById,
        "chiefId",
        // @ts-expect-error chiefName is a string
        computed(["id"], (id) => id.length),
        { onMissing: "empty" },
      ),
    });
  });

  test("a surplus field neither compiles nor starts", async () => {
    expect(
      await messageOf(() =>
        view(internal.SlotSchema, pub.SlotSchema, {
          // @ts-expect-error there is no such field
          secretGuard: "secretGuard",
        }),
      ),
    ).toContain(
      "acme.api.warehouse.v1.Slot has no field secretGuard, but its view gives one: remove it, or add the field to the proto",
    );
  });

  test("an enum is never copied without being named, even if it looks alike", () => {
    // @ts-expect-error hazards and mainHazard have no source
    expect(() => view(internal.CrateSchema, pub.CrateSchema, {})).toThrow("cannot start");
  });
});

describe("what only the start sees", () => {
  const missing = () => untypedView(internal.CrateSchema, pub.CrateSchema, {});

  test.each([
    ["quantity", "the internal field is int32, the public one int64"],
    [
      "main_hazard",
      "the internal field is acme.internal.warehouse.v1.Hazard, the public one acme.api.warehouse.v1.Hazard",
    ],
    [
      "hazards",
      "the internal field is repeated acme.internal.warehouse.v1.Hazard, the public one repeated acme.api.warehouse.v1.Hazard",
    ],
    [
      "slots",
      "the internal field is map<int32, acme.internal.warehouse.v1.Slot>, the public one map<int32, acme.api.warehouse.v1.Slot>",
    ],
    [
      "position",
      "the internal field is acme.internal.warehouse.v1.Slot, the public one acme.api.warehouse.v1.Slot",
    ],
    [
      "handling",
      "hazard_class: the internal field is acme.internal.warehouse.v1.Hazard, the public one acme.api.warehouse.v1.Hazard",
    ],
    ["origin", "the internal oneof can hold supplier, the public one cannot"],
    ["attachment", "a google.protobuf.Any can hold any message, internal ones too: say which ones pass"],
    ["keeper_name", "there is no internal field of this name"],
  ])("%s is not copied, and the message says why", async (field, reason) => {
    expect(await messageOf(missing)).toContain(
      `acme.api.warehouse.v1.Crate.${field} has no source in its view of acme.internal.warehouse.v1.Crate: ${reason}. Write: `,
    );
  });

  test("all problems are listed at once, and no field that could be copied is among them", async () => {
    const lines = (await messageOf(missing)).split("\n").slice(1);
    expect(lines.map((line) => /Crate\.(\w+)/.exec(line)?.[1])).toEqual([
      "hazards",
      "slots",
      "position",
      "history",
      "handling",
      "origin",
      "attachment",
      "contents",
      "keeper_name",
      "quantity",
      "main_hazard",
      "keeper",
      "scans",
    ]);
  });

  test("a view that makes another message than the field holds, or takes another, is refused", async () => {
    const fields = { chiefName: constant(""), name: nested(slotView as never, "name") };
    expect(await messageOf(() => untypedView(internal.KeeperSchema, pub.KeeperSchema, fields))).toContain(
      "acme.api.warehouse.v1.Keeper.name, in its view of acme.internal.warehouse.v1.Keeper: " +
        "name: the view takes acme.internal.warehouse.v1.Slot, the field is string",
    );
    const wrong = { crate: nested(slotView as never, "crate") };
    expect(
      await messageOf(() => untypedView(internal.GetCrateResponseSchema, pub.GetCrateResponseSchema, wrong)),
    ).toContain(
      "the view takes acme.internal.warehouse.v1.Slot, the field is acme.internal.warehouse.v1.Crate",
    );
    const single = { ...crateFields, position: nested(slotView as never, "history") };
    expect(await messageOf(() => untypedView(internal.CrateSchema, pub.CrateSchema, single))).toContain(
      "history: the field is repeated acme.internal.warehouse.v1.Slot, the one to be made acme.api.warehouse.v1.Slot",
    );
  });

  test("a oneof needs a source for each of its cases, and no others", async () => {
    const few = {
      ...crateFields,
      handling: cases({ instruction: "handling.instruction", other: "code" } as never),
    };
    const said = await messageOf(() => untypedView(internal.CrateSchema, pub.CrateSchema, few));
    expect(said).toContain("the oneof has no case other");
    expect(said).toContain("case thawTime has no source: write constant(undefined) if it never comes");
    expect(said).toContain("case hazardClass has no source");
    const plain = { ...crateFields, code: cases({} as never) };
    expect(await messageOf(() => untypedView(internal.CrateSchema, pub.CrateSchema, plain))).toContain(
      "cases(...) makes a oneof, the field to be made is string",
    );
  });

  test("also a case that is called as what every object has", async () => {
    const odd = rebuilt(pub.CrateSchema.file, ({ messageType }) => {
      const fields = messageType.find(({ name }) => name === "Crate")?.field ?? [];
      for (const field of fields) if (field.name === "instruction") field.name = "has_own_property";
    }).messages.find(({ name }) => name === "Crate");
    if (odd === undefined) throw new Error("the message is gone");
    const handling = cases({ thawTime: "handling.thawTime", hazardClass: constant(undefined) } as never);
    expect(
      await messageOf(() => untypedView(internal.CrateSchema, odd, { ...crateFields, handling })),
    ).toContain("case hasOwnProperty has no source: write constant(undefined) if it never comes");
  });

  test("a relation whose entity does not fit is refused", async () => {
    const o = { onMissing: "empty" } as const;
    const wrong = {
      ...crateFields,
      keeperName: related(keepersById, "keeperID" as never, "nmae" as never, o),
      keeper: related(keepersById, "keeperId", scanView as never, o),
      scans: related(scansBySerial, "serial", "gate" as never, o),
      code: related(scansBySerial, "serial", "gate" as never, o),
    };
    const said = await messageOf(() => untypedView(internal.CrateSchema, pub.CrateSchema, wrong));
    expect(said).toContain("the key: acme.internal.warehouse.v1.Crate has no field keeperID");
    expect(said).toContain("acme.internal.warehouse.v1.Keeper has no field nmae");
    expect(said).toContain(
      "its view takes acme.internal.warehouse.v1.Scan, warehouse.batchGetKeepers gives acme.internal.warehouse.v1.Keeper",
    );
    expect(said).toContain("gate: the internal field is string, the public one acme.api.warehouse.v1.Scan");
    expect(said).toContain("warehouse.listScans gives many for each key: the field must be a list");
  });
});

test("the plan of a view can be listed", () => {
  expect(crateView.from).toBe(internal.CrateSchema);
  expect(crateView.to).toBe(pub.CrateSchema);
  expect(crateView.fields).toMatchObject({
    code: { kind: "copy", reads: ["code"] },
    weightGrams: { kind: "copy", reads: ["weightGrams"] },
    quantity: { kind: "computed", reads: ["quantity"] },
    hazards: { kind: "mapped", reads: ["hazards"], enum: publicHazard },
    position: { kind: "nested", reads: ["position"], view: slotView },
    handling: {
      kind: "cases",
      reads: ["handling.instruction", "handling.thawTime", "handling.hazardClass"],
      cases: { instruction: { kind: "path" }, hazardClass: { kind: "mapped", enum: publicHazard } },
    },
    keeperName: {
      kind: "related",
      reads: ["keeperId"],
      loader: keepersById,
      into: { kind: "path", reads: ["name"] },
      onMissing: "empty",
      onError: "fail",
    },
    keeper: { kind: "related", loader: keepersById, into: { kind: "nested", view: keeperView } },
  });
  expect(crateView.fields["contents"]?.view).toBe(crateView);
  expect(Object.keys(crateView.fields).sort()).toEqual(
    pub.CrateSchema.members.map(({ localName }) => localName).sort(),
  );
});

describe("each", () => {
  test("makes a message from each of a stream, and in a streaming call fetches its relations anew", async () => {
    const { call: unary, asked } = warehouseCall();
    const call = { ...unary, loaders: createLoaderScope("batch") };
    const made: string[] = [];
    const crates = repeat(crate({ keeperId: "ada" }), 2);
    for await (const { keeperName } of crateView.each(crates, call, { maxSize: 1 })) made.push(keeperName);
    expect(made).toEqual(["Ada", "Ada"]);
    expect(asked.keepers).toEqual([["ada"], ["chief-ada"], ["ada"], ["chief-ada"]]);
  });

  test("what comes quickly is joined together", async () => {
    const { call: unary, asked } = warehouseCall();
    const call = { ...unary, loaders: createLoaderScope("batch") };
    const made: string[] = [];
    async function* quick() {
      for (const keeperId of ["ada", "bob", "ada", "eve"]) yield crate({ keeperId });
    }
    for await (const { keeperName } of crateView.each(quick(), call, { maxSize: 3, maxWaitMs: 60_000 }))
      made.push(keeperName);
    expect(made).toEqual(["Ada", "Bob", "Ada", "Eve"]);
    expect(asked.keepers).toEqual([["ada", "bob"], ["chief-ada", "chief-bob"], ["eve"], ["chief-eve"]]);
  });

  test("all, in comparison, asks once", async () => {
    const { call, asked } = warehouseCall();
    await crateView.all([crate({ keeperId: "ada" })], call);
    await crateView.all([crate({ keeperId: "ada" })], call);
    expect(asked.keepers).toEqual([["ada"], ["chief-ada"]]);
  });

  test("a reader that stops ends the stream", async () => {
    let ended = false;
    async function* endless() {
      try {
        for (;;) yield create(internal.SlotSchema, { aisle: "A" });
      } finally {
        ended = true;
      }
    }
    for await (const slot of slotView.each(endless(), testCall())) {
      expect(slot.aisle).toBe("A");
      break;
    }
    expect(ended).toBe(true);
  });
});

test("well-known messages keep their values", async () => {
  const arriveTime = create(TimestampSchema, { seconds: 253_402_300_799n, nanos: 999_999_999 });
  const made = await summaryView.one(crate({ arriveTime }), testCall());
  expect(toJson(pub.CrateSummarySchema, made)).toEqual({ arriveTime: "9999-12-31T23:59:59.999999999Z" });
});

test("a number that the enum does not name becomes the zero value", async () => {
  const unknown = crate({ mainHazard: 77 as internal.Hazard });
  expect((await crateView.one(unknown, warehouseCall().call)).mainHazard).toBe(pub.Hazard.UNSPECIFIED);
});

function setFields<D extends DescMessage>(desc: D, message: MessageShape<D>): string[] {
  return desc.fields.filter((field) => isFieldSet(message, field)).map(({ name }) => name);
}

async function* repeat<T>(value: T, times: number): AsyncGenerator<T> {
  for (let i = 0; i < times; i++) yield value;
}
