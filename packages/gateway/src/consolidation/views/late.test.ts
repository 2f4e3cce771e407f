import { describe, expect, test } from "vitest";
import { internal, pub } from "../../testing/protos.ts";
import { crateView, keepersById, scansBySerial, slotView, summaryView } from "../../testing/warehouse.ts";
import { checkLate } from "./late.ts";
import { nested } from "./nested.ts";
import { related } from "./related.ts";
import { computed } from "./source.ts";
import { type View, view } from "./view.ts";

// A view that the compiler was told something wrong about.
const wrong = summaryView as unknown as View<internal.Slot, pub.Slot>;
const place =
  "acme.api.warehouse.v1.Crate.position, in its view of acme.internal.warehouse.v1.Crate: position";

function crates(position: () => View<internal.Slot, pub.Slot>): View<internal.Crate, pub.Crate> {
  const made: View<internal.Crate, pub.Crate> = view(internal.CrateSchema, pub.CrateSchema, {
    hazards: computed([], () => []),
    mainHazard: computed([], () => pub.Hazard.UNSPECIFIED),
    slots: nested(slotView, "slots"),
    position: nested(position, "position"),
    history: nested(slotView, "history"),
    handling: computed([], () => undefined),
    origin: computed([], () => undefined),
    attachment: computed([], () => undefined),
    contents: nested(() => made, "contents"),
    quantity: computed(["quantity"], (quantity) => BigInt(quantity)),
    keeperName: related(keepersById, "keeperId", "name", { onMissing: "empty" }),
    keeper: computed([], () => undefined),
    scans: related(
      scansBySerial,
      "serial",
      computed([], () => ({}) as pub.Scan),
      { onMissing: "empty" },
    ),
  });
  return made;
}

describe("a view that is declared late", () => {
  test("passes if it fits, a message inside itself among them", () => {
    expect(() => checkLate([crateView, crates(() => slotView)])).not.toThrow();
  });

  test("is named with its field if it does not", () => {
    expect(() => checkLate([crates(() => wrong)])).toThrow(
      `${place}: the view takes acme.internal.warehouse.v1.Crate, the field is acme.internal.warehouse.v1.Slot`,
    );
  });

  test("is named with its field if it is not there, or cannot be made", () => {
    expect(() => checkLate([crates(() => undefined as never)])).toThrow(place);
    const late = () => {
      throw new ReferenceError("Cannot access 'slotView' before initialization");
    };
    expect(() => checkLate([crates(late)])).toThrow(`${place}: Cannot access 'slotView'`);
  });

  test("is found wherever it stands: in nested views, in what a relation makes, in a case of a oneof", () => {
    const { fields } = crates(() => wrong);
    const { position } = fields;
    const from = internal.CrateSchema;
    const to = pub.CrateSchema;
    const plan = (kind: "nested" | "related" | "cases", parts: object) => ({
      kind,
      reads: ["code"],
      ...parts,
    });
    for (const name of [
      plan("nested", { view: { from, to, fields } }),
      plan("related", { into: position }),
      plan("cases", { cases: { shelf: position } }),
    ])
      expect(() => checkLate([{ from, to, fields: { note: name } }])).toThrow("the view takes");
  });
});
