import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { PublicError } from "../../errors.ts";
import { thrownBy } from "../../testing/call.ts";
import { pub, pubCatalog, pubLegacy } from "../../testing/protos.ts";
import { textOf, type Wanted, wantedBy } from "./wanted.ts";

const { CrateSchema } = pub;

/** What is wanted, as the paths of a mask. */
function pathsOf(wanted: Wanted): string[] {
  if (wanted === "all") return ["*"];
  return [...wanted].flatMap(([{ name }, inside]) =>
    inside === "all" ? [name] : pathsOf(inside).map((path) => `${name}.${path}`),
  );
}

/** What is wrong with the paths of a mask: one text for each that is. */
async function problemsOf(...paths: string[]): Promise<string[]> {
  const error = await thrownBy(() => wantedBy(CrateSchema, paths));
  if (!(error instanceof PublicError)) throw error;
  expect(error).toMatchObject({ code: Code.InvalidArgument, reason: "INVALID_FIELDS" });
  const violations = error.options.violations ?? [];
  expect(violations.map(({ field }) => field)).toEqual(violations.map(() => "read_mask"));
  expect(error.rawMessage).toBe(`read_mask: ${violations[0]?.description}`);
  return violations.map(({ description }) => description);
}

describe("a mask wants", () => {
  test.each<[string, string[], string[]]>([
    ["everything, without paths", [], ["*"]],
    ["everything, by a star", ["*"], ["*"]],
    ["everything, by a star among others", ["code", "*"], ["*"]],
    ["a field", ["code"], ["code"]],
    ["several", ["code", "tilt"], ["code", "tilt"]],
    ["one once", ["code", "code"], ["code"]],
    ["a message whole", ["position"], ["position"]],
    ["a message whole, by a star", ["position.*"], ["position"]],
    ["a field of a message", ["position.aisle"], ["position.aisle"]],
    ["a field of each in a list", ["history.aisle"], ["history.aisle"]],
    ["a field of each in a list, by a star", ["history.*.aisle"], ["history.aisle"]],
    ["a list whole, by a star", ["history.*"], ["history"]],
    ["a list whole, by two", ["history.*.*"], ["history"]],
    ["a list of scalars by a star", ["hazards.*"], ["hazards"]],
    ["a map whole", ["slots"], ["slots"]],
    ["a map whole, by a star", ["slots.*", "tags.*"], ["slots", "tags"]],
    ["a field of each in a map", ["slots.*.level"], ["slots.level"]],
    ["a field of a oneof", ["instruction", "shelf.aisle"], ["instruction", "shelf.aisle"]],
    ["what is in its own kind", ["contents.contents.code"], ["contents.contents.code"]],
    ["the whole rather than a part", ["position", "position.aisle"], ["position"]],
    ["the whole rather than a part before", ["position.aisle", "position"], ["position"]],
    ["parts together", ["position.aisle", "position.level"], ["position.aisle", "position.level"]],
    [
      "well-known messages whole",
      ["arrive_time", "label", "attributes"],
      ["arrive_time", "label", "attributes"],
    ],
    ["by the names of JSON", ["weightGrams", "mainHazard"], ["weight_grams", "main_hazard"]],
  ])("%s", (_, paths, wanted) => {
    expect(pathsOf(wantedBy(CrateSchema, paths))).toEqual(wanted);
  });

  test("a group, and fields of it", () => {
    expect(pathsOf(wantedBy(pubLegacy.EntrySchema, ["party.name", "line"]))).toEqual([
      "party.name",
      "line",
      "id",
    ]);
    expect(pathsOf(wantedBy(pubCatalog.SheetSchema, ["gutter.width"]))).toEqual(["gutter.width"]);
  });

  test("what proto2 requires of every message that is wanted in part", () => {
    const { ListEntriesResponseSchema } = pubLegacy;
    expect(pathsOf(wantedBy(ListEntriesResponseSchema, ["entries.currency"]))).toEqual([
      "entries.currency",
      "entries.id",
    ]);
    expect(pathsOf(wantedBy(ListEntriesResponseSchema, ["next_page_token"]))).toEqual(["next_page_token"]);
  });
});

describe("a path is refused", () => {
  test.each([
    [
      "to a field that there is not",
      "nope",
      '"nope": acme.api.warehouse.v1.Crate has no field "nope". It has code, weight_grams, serial, barcode, seal, tilt, note, label, hazards, tags, ...',
    ],
    [
      "to one inside that there is not",
      "position.nope",
      '"position.nope": acme.api.warehouse.v1.Slot has no field "nope". It has aisle, level',
    ],
    [
      "that is empty",
      "",
      expect.stringContaining('"": acme.api.warehouse.v1.Crate has no field "". It has code, '),
    ],
    ["with an empty name", "position..aisle", expect.stringContaining('Slot has no field ""')],
    ["to a oneof", "handling", expect.stringContaining('has no field "handling"')],
    ["to what every object has", "__proto__.constructor", expect.stringContaining("has no field")],
    [
      "into a scalar",
      "code.x",
      '"code.x": nothing follows acme.api.warehouse.v1.Crate.code, which holds no message',
    ],
    ["into the items of a list of scalars", "hazards.*.x", expect.stringContaining("holds no message")],
    ["to all of a scalar", "code.*", expect.stringContaining("holds no message")],
    [
      "into a well-known message",
      "arrive_time.seconds",
      '"arrive_time.seconds": nothing follows acme.api.warehouse.v1.Crate.arrive_time: google.protobuf.Timestamp is given whole',
    ],
    ["into a wrapper", "label.value", expect.stringContaining("google.protobuf.StringValue is given whole")],
    [
      "to one entry of a map",
      "slots.4.aisle",
      '"slots.4.aisle": no single entry of the map acme.api.warehouse.v1.Crate.slots can be selected: write "slots.*" for all of them',
    ],
    [
      "behind all of a message",
      "position.*.aisle",
      '"position.*.aisle": nothing follows the "*" for all of acme.api.warehouse.v1.Slot',
    ],
    ["behind everything", "*.code", expect.stringContaining('nothing follows the "*"')],
    [
      "of more than ten names",
      "contents.".repeat(10).concat("code"),
      expect.stringMatching(/: has more than 10 names$/),
    ],
    [
      "of more than 1,000 characters",
      "_".repeat(1_001),
      expect.stringMatching(/: is longer than 1000 characters$/),
    ],
  ])("%s", async (_, path, problem) => {
    expect(await problemsOf(path)).toEqual([problem]);
  });

  test("and so is each other that is wrong", async () => {
    expect(await problemsOf("a", "code", "b", "*")).toEqual([
      expect.stringMatching(/^"a": /),
      expect.stringMatching(/^"b": /),
    ]);
  });

  test("and said again only so far, and as valid Unicode", async () => {
    const [problem = ""] = await problemsOf(`\ud800${"x".repeat(900)}`);
    expect(problem.isWellFormed()).toBe(true);
    expect(problem.length).toBeLessThan(400);
  });

  test("a path of ten names is none of them", () => {
    const path = "contents.".repeat(9).concat("code");
    expect(pathsOf(wantedBy(CrateSchema, [path]))).toEqual([path]);
  });
});

test("a mask has 200 paths at the most", async () => {
  expect(pathsOf(wantedBy(CrateSchema, Array(200).fill("code")))).toEqual(["code"]);
  expect(await problemsOf(...Array(201).fill("code"))).toEqual([
    "has 201 paths, 200 are the most that are read",
  ]);
});

describe("the text of what is wanted", () => {
  const text = (...paths: string[]) => textOf(wantedBy(CrateSchema, paths));

  test("is the same, however it is said", () => {
    expect(text("position.aisle", "code")).toBe(text("code", "position.aisle", "code"));
    expect(text("weight_grams")).toBe(text("weightGrams", "weight__grams_"));
    expect(text("slots", "history.*.aisle")).toBe(text("history.aisle", "slots.*", "slots.*.level"));
    expect(text()).toBe(text("*"));
  });

  test("differs for whatever else is wanted", () => {
    const texts = [
      text(),
      text("code"),
      text("position"),
      text("position.aisle"),
      text("position.aisle", "position.level"),
      text("history.aisle"),
      text("code", "position"),
      text("contents.code"),
      text("contents.code", "contents.serial"),
      text("contents.code", "serial"),
    ];
    expect(new Set(texts).size).toBe(texts.length);
  });
});
