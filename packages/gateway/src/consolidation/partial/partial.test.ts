import { create, type DescField, type Message } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { PublicError } from "../../errors.ts";
import { pub } from "../../testing/protos.ts";
import type { Wanted, WantedFields } from "../selection/wanted.ts";
import { type AnswerPlace, createMissingParts, type MissingParts } from "./partial.ts";

const dead = new PublicError("SERVICE_UNAVAILABLE");
const whole: AnswerPlace = { hidden: new Set(), wanted: undefined, index: undefined };

describe("what a message lacks is found", () => {
  test("in a list", () => {
    const missing = createMissingParts(pub.ListCratesResponseSchema);
    const crates = Array.from({ length: 5 }, () => crate());
    for (const index of [0, 1, 2, 4]) lack(missing, crates[index], "keeperName");
    missing.locate(create(pub.ListCratesResponseSchema, { crates }), whole);
    expect(paths(missing)).toEqual(["crates[0-2,4].keeper_name"]);
  });

  test("in a message of its own, in a map, in a oneof and in itself", () => {
    const [keeper, slot, shelf, inner] = [
      create(pub.KeeperSchema),
      create(pub.SlotSchema),
      create(pub.SlotSchema),
      crate(),
    ];
    const missing = createMissingParts(pub.GetCrateResponseSchema);
    lack(missing, keeper, "chiefName");
    lack(missing, slot, "aisle");
    lack(missing, shelf, "aisle");
    lack(missing, inner, "quantity");
    const outer = crate({
      keeper,
      slots: { [-3]: slot },
      origin: { case: "shelf", value: shelf },
      contents: [inner],
    });
    missing.locate(create(pub.GetCrateResponseSchema, { crate: outer }), whole);
    expect(paths(missing)).toEqual([
      "crate.slots[-3].aisle",
      "crate.shelf.aisle",
      "crate.contents[0].quantity",
      "crate.keeper.chief_name",
    ]);
  });

  test("under keys that are texts, written as JSON", () => {
    const order = create(pub.StoreCratesRequest_OrderSchema);
    const missing = createMissingParts(pub.StoreCratesRequestSchema);
    lack(missing, order, "code");
    missing.locate(create(pub.StoreCratesRequestSchema, { ordersByDock: { 'a."b': order } }), whole);
    expect(paths(missing)).toEqual(['orders_by_dock["a.\\"b"].code']);
  });

  test("in the answer itself", () => {
    const answer = create(pub.ListCratesResponseSchema);
    const missing = createMissingParts(pub.ListCratesResponseSchema);
    lack(missing, answer, "nextPageToken");
    missing.locate(answer, whole);
    expect(paths(missing)).toEqual(["next_page_token"]);
  });

  test("at every place that it occurs at", () => {
    const shared = create(pub.KeeperSchema);
    const missing = createMissingParts(pub.ListCratesResponseSchema);
    lack(missing, shared, "name");
    const crates = [crate({ keeper: shared }), crate(), crate({ keeper: shared })];
    missing.locate(create(pub.ListCratesResponseSchema, { crates }), whole);
    expect(paths(missing)).toEqual(["crates[0,2].keeper.name"]);
  });

  test("if it is a oneof, by the name of the oneof", () => {
    const lacking = crate();
    const missing = createMissingParts(pub.GetCrateResponseSchema);
    lack(missing, lacking, "handling");
    missing.locate(create(pub.GetCrateResponseSchema, { crate: lacking }), whole);
    expect(paths(missing)).toEqual(["crate.handling"]);
  });

  test("in the messages of a stream, with their index", () => {
    const missing = createMissingParts(pub.WatchCratesResponseSchema);
    for (let index = 0; index < 10; index++) {
      const sent = crate();
      if (index !== 4) lack(missing, sent, "keeperName");
      missing.locate(create(pub.WatchCratesResponseSchema, { crate: sent }), { ...whole, index });
    }
    expect(paths(missing)).toEqual(["[0-3,5-9].crate.keeper_name"]);
    expect(missing.result()?.missing[0]?.count).toBe(9);
  });

  test("in plain objects that a handler answers, as far as they hold messages", () => {
    const lacking = crate();
    const missing = createMissingParts(pub.ListCratesResponseSchema);
    lack(missing, lacking, "keeperName");
    // As `invoke` makes a message of what a handler gives.
    missing.locate(create(pub.ListCratesResponseSchema, { crates: [{ code: "a" }, lacking] }), whole);
    expect(paths(missing)).toEqual(["crates[1].keeper_name"]);
  });
});

describe("nothing is missing", () => {
  test("of a message that the answer does not have", () => {
    const missing = createMissingParts(pub.GetCrateResponseSchema);
    lack(missing, crate(), "keeperName");
    missing.locate(create(pub.GetCrateResponseSchema, { crate: crate() }), whole);
    expect(missing.result()).toBeUndefined();
    expect(missing.cause()).toBeUndefined();
  });

  test("that the caller may not read", () => {
    const lacking = crate({ keeper: create(pub.KeeperSchema) });
    const missing = createMissingParts(pub.GetCrateResponseSchema);
    lack(missing, lacking, "keeperName");
    lack(missing, lacking.keeper, "name");
    const hidden = new Set([pub.CrateSchema.field.keeperName, pub.CrateSchema.field.keeper]);
    missing.locate(create(pub.GetCrateResponseSchema, { crate: lacking }), { ...whole, hidden });
    expect(missing.result()).toBeUndefined();
  });

  test("that the caller did not select at its place, though at another", () => {
    const inner = crate();
    const outer = crate({ contents: [inner] });
    const missing = createMissingParts(pub.GetCrateResponseSchema);
    lack(missing, outer, "keeperName");
    lack(missing, inner, "keeperName");
    const { keeperName, contents, code } = pub.CrateSchema.field;
    const inCrate: WantedFields = new Map<DescField, Wanted>([
      [contents, new Map([[keeperName, "all"]])],
      [code, "all"],
    ]);
    const wanted: WantedFields = new Map([[pub.GetCrateResponseSchema.field.crate, inCrate]]);
    missing.locate(create(pub.GetCrateResponseSchema, { crate: outer }), { ...whole, wanted });
    expect(paths(missing)).toEqual(["crate.contents[0].keeper_name"]);
  });
});

test("what another run found out replaces what was located", () => {
  const other = createMissingParts(pub.GetCrateResponseSchema);
  const lacking = crate();
  lack(other, lacking, "keeperName");
  other.locate(create(pub.GetCrateResponseSchema, { crate: lacking }), whole);
  const own = createMissingParts(pub.GetCrateResponseSchema);
  own.adopt(other.result());
  expect(paths(own)).toEqual(["crate.keeper_name"]);
  own.adopt(undefined);
  expect(own.result()).toBeUndefined();
});

test("the log learns the cause of the first that is missing", () => {
  const missing = createMissingParts(pub.GetCrateResponseSchema);
  const cause = new Error("the keepers are on strike");
  const lacking = crate();
  missing.add(lacking, "keeperName", new PublicError("SERVICE_UNAVAILABLE", undefined, { cause }));
  missing.locate(create(pub.GetCrateResponseSchema, { crate: lacking }), whole);
  expect(missing.cause()).toBe(cause);
});

test("a member that does not exist is a mistake, and said so", () => {
  const missing = createMissingParts(pub.GetCrateResponseSchema);
  const lacking = crate();
  lack(missing, lacking, "colour");
  expect(() => missing.locate(create(pub.GetCrateResponseSchema, { crate: lacking }), whole)).toThrow(
    "acme.api.warehouse.v1.Crate has no field colour",
  );
});

test("messages are looked for as deep as they can be sent, and no deeper", () => {
  const missing = createMissingParts(pub.CrateSchema);
  let outer = crate();
  lack(missing, outer, "note");
  for (let depth = 2; depth <= 100; depth++) outer = crate({ contents: [outer] });
  missing.locate(outer, whole);
  expect(missing.result()?.missing).toMatchObject([{ count: 1 }]);
  const deeper = createMissingParts(pub.CrateSchema);
  outer = crate();
  lack(deeper, outer, "note");
  for (let depth = 2; depth <= 101; depth++) outer = crate({ contents: [outer] });
  deeper.locate(outer, whole);
  expect(deeper.result()).toBeUndefined();
});

function crate(init: Parameters<typeof create<typeof pub.CrateSchema>>[1] = {}): pub.Crate {
  return create(pub.CrateSchema, init);
}

function lack(missing: MissingParts, message: Message | undefined, member: string): void {
  if (message === undefined) throw new Error("there is no such message");
  missing.add(message, member, dead);
}

function paths(missing: MissingParts): string[] | undefined {
  return missing.result()?.missing.map(({ path }) => path);
}
