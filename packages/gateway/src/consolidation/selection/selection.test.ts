import { create, type DescField, type DescMethod, type Message } from "@bufbuild/protobuf";
import { FieldMaskSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { type ReadMask, readMaskOf } from "../../read-mask.ts";
import { pub, pubLegacy, readmask } from "../../testing/protos.ts";
import { createSelect, createSelections, type Selection } from "./selection.ts";

const methods = readmask.ReadMaskService.method;
const { CrateSchema, SlotSchema, KeeperSchema } = pub;

/** What the caller of a method selects. */
function select(method: DescMethod, paths: readonly string[]): Selection {
  const selection = createSelect(method, maskOf(method))?.(request(method, paths));
  if (selection === undefined) throw new Error("everything is selected");
  return selection;
}

function maskOf(method: DescMethod): ReadMask {
  const mask = readMaskOf(method, method === methods.compareCrates ? "crate" : undefined);
  if (mask === undefined || typeof mask === "string") throw new Error(mask);
  return mask;
}

function request({ input }: DescMethod, paths: readonly string[] | undefined): Message {
  const readMask = paths && create(FieldMaskSchema, { paths: [...paths] });
  return Object.assign(create(input), readMask && { readMask });
}

/** The fields of a message that are not among the unselected. */
function selected({ unselected }: Selection, fields: readonly DescField[]): string[] {
  return fields.filter((field) => !unselected.has(field)).map(({ name }) => name);
}

describe("a selection", () => {
  test("is none where everything is wanted", () => {
    const read = createSelect(methods.findCrate, maskOf(methods.findCrate));
    expect(read?.(request(methods.findCrate, undefined))).toBeUndefined();
    expect(read?.(request(methods.findCrate, []))).toBeUndefined();
    expect(read?.(request(methods.findCrate, ["code", "*"]))).toBeUndefined();
  });

  test("is none of a method without a mask", () => {
    const { findCrate, findWholeCrate } = methods;
    expect(createSelect(findWholeCrate, undefined)).toBeUndefined();
    const selects = createSelections([
      { method: findCrate, readMask: maskOf(findCrate) },
      { method: findWholeCrate, readMask: undefined },
    ]);
    expect([...selects.keys()]).toEqual([findCrate]);
  });

  const init = { code: "A-1", tilt: 1, position: { aisle: "A", level: 1 } };
  test.each<[string, DescMethod, unknown, unknown]>([
    [
      "the message in the answer",
      methods.findCrate,
      { crate: init, readTime: { seconds: 5n } },
      { crate: { code: "A-1" }, readTime: { seconds: 5n } },
    ],
    ["the answer itself", methods.findBareCrate, init, { code: "A-1" }],
    [
      "each message in the list of the answer",
      methods.findCrates,
      { crates: [init, { tilt: 2 }], total: 7 },
      { crates: [{ code: "A-1" }, {}], total: 7 },
    ],
    [
      "each message in the map of the answer",
      methods.mapCrates,
      { crates: { a: init, b: { tilt: 2 } } },
      { crates: { a: { code: "A-1" }, b: {} } },
    ],
    ["each message of a stream", methods.followCrates, { crate: init }, { crate: { code: "A-1" } }],
    [
      "the message that the policy names",
      methods.compareCrates,
      { crate: init, slots: [{ aisle: "B", level: 2 }] },
      { crate: { code: "A-1" }, slots: [{ aisle: "B", level: 2 }] },
    ],
  ])("is about %s", (_, method, answer, kept) => {
    const selection = select(method, ["code"]);
    expect(selection.keep(make(method, answer))).toEqual(make(method, kept));
  });

  test("leaves an answer without the resource as it is", () => {
    const empty = create(readmask.FindCrateResponseSchema);
    expect(select(methods.findCrate, ["code"]).keep(empty)).toEqual(empty);
  });
});

describe("unselected are", () => {
  test("the fields that are wanted at no place", () => {
    const selection = select(methods.findCrate, ["code", "position.aisle", "keeper.name"]);
    expect(selected(selection, CrateSchema.fields)).toEqual(["code", "position", "keeper"]);
    expect(selected(selection, SlotSchema.fields)).toEqual(["aisle"]);
    expect(selected(selection, KeeperSchema.fields)).toEqual(["name"]);
    expect(selected(selection, pub.ScanSchema.fields)).toEqual([]);
    expect(selected(selection, readmask.FindCrateResponseSchema.fields)).toEqual(["crate", "read_time"]);
  });

  test("not those that are wanted at another place of the same kind", () => {
    const selection = select(methods.findCrate, ["position.aisle", "slots.*.level"]);
    expect(selected(selection, SlotSchema.fields)).toEqual(["aisle", "level"]);
  });

  test("not those that are outside of what the mask is about", () => {
    const selection = select(methods.compareCrates, ["position.aisle"]);
    expect(selected(selection, SlotSchema.fields)).toEqual(["aisle", "level"]);
  });

  test("none of a message that holds its own kind and is wanted whole somewhere", () => {
    const selection = select(methods.findCrate, ["contents"]);
    expect(selected(selection, CrateSchema.fields)).toEqual(CrateSchema.fields.map(({ name }) => name));
    const made = create(readmask.FindCrateResponseSchema, {
      crate: { code: "out", contents: [{ code: "in" }] },
    });
    // What is needed at one place is still kept at no other.
    expect(selection.keep(made)).toEqual(
      create(readmask.FindCrateResponseSchema, { crate: { contents: [{ code: "in" }] } }),
    );
  });

  test("those at each depth of a message that holds its own kind", () => {
    const selection = select(methods.findCrate, ["contents.contents.serial"]);
    expect(selected(selection, CrateSchema.fields)).toEqual(["serial", "contents"]);
  });

  test("none that proto2 requires of a message that is wanted", () => {
    const selection = select(methods.findEntries, ["party.name"]);
    expect(selected(selection, pubLegacy.EntrySchema.fields)).toEqual(["id", "party"]);
  });
});

describe("what is worked out for a mask", () => {
  const read = createSelect(methods.findCrate, maskOf(methods.findCrate));
  const selectionOf = (...paths: string[]) => read?.(request(methods.findCrate, paths));

  test("is kept for all who want the same", () => {
    expect(selectionOf("code", "weight_grams")).toBe(selectionOf("weightGrams", "code", "code"));
    expect(selectionOf("code")).not.toBe(selectionOf("serial"));
  });

  test("is forgotten when a hundred others came", () => {
    const first = selectionOf("code");
    const names = CrateSchema.fields.map(({ name }) => name);
    // Every pair of two fields: about 400.
    for (const [index, a] of names.entries()) for (const b of names.slice(index + 1)) selectionOf(a, b);
    expect(selectionOf("code")).not.toBe(first);
  });

  test("gives the same set for the same hidden fields", () => {
    const selection = selectionOf("code");
    const hidden: ReadonlySet<DescField> = new Set([CrateSchema.field.code]);
    const omitted = selection?.omitted(hidden);
    expect(omitted).toBe(selectionOf("code")?.omitted(hidden));
    expect(omitted).toEqual(new Set([...(selection?.unselected ?? []), CrateSchema.field.code]));
    expect(selection?.omitted(new Set())).toBe(selection?.unselected);
    expect(hidden.size).toBe(1);
  });
});

function make({ output }: DescMethod, init: unknown): Message {
  return create(output, init as never);
}
