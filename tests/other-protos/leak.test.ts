import {
  create,
  createRegistry,
  type DescField,
  type DescMessage,
  type MessageShape,
  toBinary,
  toJsonString,
} from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { computed, constant, nested, type View, view } from "@portico/gateway";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  catalog,
  internal,
  legacy,
  pub,
  pubCatalog,
  pubLegacy,
} from "../../packages/gateway/src/testing/protos.ts";
import {
  crateView,
  keeperView,
  scanView,
  slotView,
  summaryView,
  warehouseCall,
} from "../../packages/gateway/src/testing/warehouse.ts";
import { arbitraryMessage } from "./arbitrary-message.ts";

const registry = createRegistry(DurationSchema);
const canary = "canary-that-nobody-may-see";

const partyView = view(legacy.Entry_PartySchema, pubLegacy.Entry_PartySchema, {});
const lineView = view(legacy.Entry_LineSchema, pubLegacy.Entry_LineSchema, {});
const entryView = view(legacy.EntrySchema, pubLegacy.EntrySchema, {
  currency: computed(["currency"], (currency) => currency),
  party: nested(partyView, "party"),
  line: nested(lineView, "line"),
  kind: constant(pubLegacy.Kind.DEBIT),
});
const marginView = view(catalog.MarginSchema, pubCatalog.MarginSchema, {});
const sheetView = view(catalog.SheetSchema, pubCatalog.SheetSchema, {
  margin: nested(marginView, "margin"),
  gutter: nested(marginView, "gutter"),
  binding: constant(pubCatalog.Binding.UNSPECIFIED),
});

/** What the public may see of each internal message; everything else in it is marked. */
const declared = new Map<DescMessage, ReadonlySet<string>>(
  [
    [
      internal.CrateSchema,
      ["code", "barcode", "seal", "note", "label", "tags", "instruction", "keeper_id"],
    ] as const,
    [internal.SlotSchema, ["aisle"]] as const,
    [internal.KeeperSchema, ["id", "name", "chief_id"]] as const,
    [internal.ScanSchema, ["gate"]] as const,
    [legacy.EntrySchema, ["id", "currency"]] as const,
    [legacy.Entry_PartySchema, ["name"]] as const,
    [legacy.Entry_LineSchema, ["text"]] as const,
    [catalog.SheetSchema, ["title"]] as const,
  ].map(([desc, names]) => [desc, new Set<string>(names)]),
);

/** A field of a type that both sides share, such as `Struct`, is copied as a whole: what is in it is declared. */
function isSecret(field: DescField): boolean {
  const { parent } = field;
  return parent.typeName.startsWith("acme.internal.") && !declared.get(parent)?.has(field.name);
}

const text = (field: DescField) =>
  isSecret(field)
    ? fc.string({ maxLength: 5 }).map((more) => `${canary}-${more}`)
    : fc.string({ maxLength: 5 });

describe("for any internal message, no value of an undeclared field gets out", () => {
  test.each<[string, View<never, never>]>([
    ["acme.api.warehouse.v1.Crate", erased(crateView)],
    ["acme.api.warehouse.v1.CrateSummary", erased(summaryView)],
    ["acme.api.warehouse.v1.Slot", erased(slotView)],
    ["acme.api.warehouse.v1.Scan", erased(scanView)],
    ["acme.api.warehouse.v1.Keeper", erased(keeperView)],
    ["acme.api.legacy.v1.Entry (proto2)", erased(entryView)],
    ["acme.api.catalog.v1.Sheet (editions)", erased(sheetView)],
  ])("%s", async (_, made) => {
    let marked = 0;
    await fc.assert(
      fc.asyncProperty(arbitraryMessage(made.from, { text, unknown }), async (message) => {
        expect(binaryOf(made.from, message).includes(canary)).toBe(true);
        if (jsonOf(made.from, message).includes(canary)) marked += 1;
        const answer = await made.one(message as never, warehouseCall().call);
        expect(binaryOf(made.to, answer).includes(canary)).toBe(false);
        expect(jsonOf(made.to, answer)).not.toContain(canary);
      }),
      { numRuns: 150 },
    );
    // A test in which nothing could leak would prove nothing.
    expect(marked).toBeGreaterThan(50);
  });

  test("a view that gives a secret away is caught", async () => {
    const leaking = view(internal.SlotSchema, pub.SlotSchema, { aisle: "secretGuard" });
    const source = create(internal.SlotSchema, { secretGuard: canary });
    const answer = await leaking.one(source, warehouseCall().call);
    expect(binaryOf(pub.SlotSchema, answer).includes(canary)).toBe(true);
    expect(jsonOf(pub.SlotSchema, answer)).toContain(canary);
  });
});

test("the list of what is declared has no field that does not exist", () => {
  for (const [desc, names] of declared)
    for (const name of names) expect(desc.fields.map((field) => field.name)).toContain(name);
});

/** Every message gets a field that the gateway's protos do not know, as from a newer service. */
function unknown() {
  const data = new TextEncoder().encode(canary);
  return [{ no: 9_999, wireType: 2, data: new Uint8Array([data.length, ...data]) }];
}

function binaryOf<D extends DescMessage>(desc: D, message: MessageShape<D>): Buffer {
  return Buffer.from(toBinary(desc, message));
}

function jsonOf<D extends DescMessage>(desc: D, message: MessageShape<D>): string {
  return toJsonString(desc, message, { registry });
}

/** The types of a view are of no interest here. */
function erased(of: unknown): View<never, never> {
  return of as View<never, never>;
}
