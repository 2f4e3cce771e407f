import {
  create,
  type DescMessage,
  isFieldSet,
  type Message,
  type MessageShape,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { anyPack, DurationSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { messageOf, testCall } from "../testing/call.ts";
import { catalog, internal, legacy, pub, pubCatalog, pubLegacy } from "../testing/protos.ts";
import {
  crate,
  crateView,
  keepersById,
  keeperView,
  publicHazard,
  slotView,
  summaryView,
  warehouseCall,
} from "../testing/warehouse.ts";
import { enumByName } from "./enum.ts";
import { createLoaderScope } from "./loader.ts";
import { nested, related } from "./source.ts";
import { type View, view } from "./view.ts";

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
    currency: (entry) => entry.currency,
    party: nested(partyView, (entry) => entry.party),
    line: nested(lineView, (entry) => entry.line),
    kind: (entry) => kind(entry.kind),
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
      kind: "KIND_DEBIT",
      party: { name: "Ada" },
      line: [{ text: "one" }, { text: "two" }],
      marks: [1, 2],
    });
  });

  test("a default that the other side does not have is refused: an unset field would mean something else", async () => {
    expect(
      await messageOf(() =>
        untypedView(legacy.EntrySchema, pubLegacy.EntrySchema, {
          party: nested(partyView, (entry: legacy.Entry) => entry.party),
          line: nested(lineView, (entry: legacy.Entry) => entry.line),
          kind: (entry: legacy.Entry) => kind(entry.kind),
        }),
      ),
    ).toBe(
      "Portico cannot start:\n" +
        "  - acme.api.legacy.v1.Entry.currency has no source in its view of acme.internal.legacy.v1.Entry: " +
        "the internal field is string [default = EUR], the public one string. " +
        "Write: currency: (message) => ..., or nested(...), or related(...)",
    );
  });
});

test("editions: presence and encoding may differ, values stay", async () => {
  const marginView = view(catalog.MarginSchema, pubCatalog.MarginSchema, {});
  const binding = enumByName(catalog.BindingSchema, pubCatalog.BindingSchema, { onUnknown: "default" });
  const sheetView = view(catalog.SheetSchema, pubCatalog.SheetSchema, {
    margin: nested(marginView, (sheet) => sheet.margin),
    gutter: nested(marginView, (sheet) => sheet.gutter),
    binding: (sheet) => binding(sheet.binding),
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
  test("a function, nested views and relations make the rest", async () => {
    const { call } = warehouseCall();
    const source = crate({
      code: "A-1",
      serial: 5n,
      hazards: [internal.Hazard.FLAMMABLE, internal.Hazard.CORROSIVE],
      slots: { 1: { aisle: "A", secretGuard: "canary" } },
      position: { aisle: "B", secretGuard: "canary" },
      history: [{ aisle: "C" }, { aisle: "D" }],
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
      quantity: "12",
      mainHazard: "HAZARD_CORROSIVE",
      keeperName: "Ada",
      keeper: { name: "Ada", chiefName: "Chief-ada" },
      scans: [{ gate: "in" }, { gate: "out" }],
    });
  });

  test("a source wins over a field that could be copied", async () => {
    const loud = view(internal.SlotSchema, pub.SlotSchema, { aisle: (slot) => slot.aisle.toUpperCase() });
    const made = await loud.one(create(internal.SlotSchema, { aisle: "a", level: 2 }), testCall());
    expect(made).toMatchObject({ aisle: "A", level: 2 });
  });

  test("a function that gives undefined leaves the field as it was created", async () => {
    const absent = untypedView(internal.SlotSchema, pub.SlotSchema, { aisle: () => undefined });
    expect((await absent.one(create(internal.SlotSchema, { aisle: "a" }), testCall())).aisle).toBe("");
  });

  test("a function that throws fails the call with what it threw", async () => {
    const failing = view(internal.SlotSchema, pub.SlotSchema, {
      aisle: () => {
        throw new RangeError("no aisle");
      },
    });
    await expect(failing.one(create(internal.SlotSchema), testCall())).rejects.toThrow(RangeError);
  });

  test("a oneof is taken as a whole", async () => {
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
        "Write: chiefName: (message) => ..., or nested(...), or related(...)",
    );
  });

  test("a source of the wrong type does not compile", () => {
    view(internal.SlotSchema, pub.SlotSchema, {
      // @ts-expect-error level is a number
      level: (slot) => slot.aisle,
    });
    view(internal.KeeperSchema, pub.KeeperSchema, {
      // @ts-expect-error chiefName is a string
      chiefName: related(
        keepersById,
        (keeper) => keeper.chiefId,
        (chief) => chief.id.length,
        { onMissing: "empty" },
      ),
    });
  });

  test("a surplus field neither compiles nor starts", async () => {
    expect(
      await messageOf(() =>
        view(internal.SlotSchema, pub.SlotSchema, {
          // @ts-expect-error there is no such field
          secretGuard: (slot) => slot.secretGuard,
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
      "contents",
      "keeper_name",
      "quantity",
      "main_hazard",
      "keeper",
      "scans",
    ]);
  });

  test("a view that makes another message than the field holds is refused", async () => {
    const fields = {
      chiefName: (keeper: internal.Keeper) => keeper.chiefId,
      name: nested(slotView as never, () => undefined as Message | undefined),
    };
    expect(await messageOf(() => untypedView(internal.KeeperSchema, pub.KeeperSchema, fields))).toContain(
      "acme.api.warehouse.v1.Keeper.name is no message, but its view makes acme.api.warehouse.v1.Slot",
    );
    const wrong = { crate: nested(slotView as never, () => undefined as Message | undefined) };
    expect(
      await messageOf(() => untypedView(internal.GetCrateResponseSchema, pub.GetCrateResponseSchema, wrong)),
    ).toContain(
      "GetCrateResponse.crate is acme.api.warehouse.v1.Crate, but its view makes acme.api.warehouse.v1.Slot",
    );
  });
});

test("the plan of a view can be listed", () => {
  expect(crateView.from).toBe(internal.CrateSchema);
  expect(crateView.to).toBe(pub.CrateSchema);
  expect(crateView.fields).toMatchObject({
    code: { kind: "copy", from: "code" },
    weightGrams: { kind: "copy", from: "weight_grams" },
    quantity: { kind: "compute" },
    position: { kind: "nested", view: slotView },
    keeperName: { kind: "related", loader: "warehouse.batchGetKeepers" },
    keeper: { kind: "related", loader: "warehouse.batchGetKeepers", view: keeperView },
  });
  expect(Object.keys(crateView.fields).sort()).toEqual(
    pub.CrateSchema.members.map(({ localName }) => localName).sort(),
  );
});

describe("each", () => {
  test("makes a message from each of a stream, and in a streaming call fetches its relations anew", async () => {
    const { call: unary, asked } = warehouseCall();
    const call = { ...unary, loaders: createLoaderScope("batch") };
    const made: string[] = [];
    for await (const { keeperName } of crateView.each(repeat(crate({ keeperId: "ada" }), 2), call))
      made.push(keeperName);
    expect(made).toEqual(["Ada", "Ada"]);
    expect(asked.keepers).toEqual([["ada"], ["chief-ada"], ["ada"], ["chief-ada"]]);
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
  expect((await crateView.one(unknown, warehouseCall().call)).mainHazard).toBe(publicHazard(0));
});

function setFields<D extends DescMessage>(desc: D, message: MessageShape<D>): string[] {
  return desc.fields.filter((field) => isFieldSet(message, field)).map(({ name }) => name);
}

async function* repeat<T>(value: T, times: number): AsyncGenerator<T> {
  for (let i = 0; i < times; i++) yield value;
}
