import { describe, expect, test } from "vitest";
import type { App } from "../../application.ts";
import { mapPagedRequest } from "../../consolidation/requests/request.ts";
import { computed, constant } from "../../consolidation/views/source.ts";
import { view } from "../../consolidation/views/view.ts";
import { internal, pub } from "../../testing/protos.ts";
import { crateView, keepersById, scansBySerial, slotView, warehouse } from "../../testing/warehouse.ts";
import type { Ledger } from "./ledger.ts";
import { reportDrift } from "./report.ts";

const app: App = {
  services: [],
  upstreams: [warehouse],
  views: [crateView],
  loaders: [scansBySerial],
  requests: [],
};
const nothing: Ledger = { hidden: {}, handled: {} };
const handled = { "acme.internal.warehouse.v1.GetCrateResponse.crate": "the handler" };
const name = (rest: string) => `acme.internal.warehouse.v1.${rest}`;

function standingOf(rest: string, ledger: Partial<Ledger> = {}, parts: Partial<App> = {}) {
  const { standings } = reportDrift({ ...app, ...parts }, { ...nothing, handled, ...ledger });
  return standings.find((standing) => standing.name === name(rest));
}

describe("a field or value is", () => {
  test.each([
    ["Crate.code", "exposed", ["acme.api.warehouse.v1.Crate.code"]],
    // By another view, in a list and by itself.
    ["Crate.position", "exposed", ["acme.api.warehouse.v1.Crate.position"]],
    ["Slot.aisle", "exposed", ["acme.api.warehouse.v1.Slot.aisle"]],
    // A message inside itself.
    ["Crate.contents", "exposed", ["acme.api.warehouse.v1.Crate.contents"]],
    // Cases of oneofs.
    ["Crate.instruction", "exposed", ["acme.api.warehouse.v1.Crate.instruction"]],
    ["Crate.shelf", "exposed", ["acme.api.warehouse.v1.Crate.shelf"]],
    // The values of a mapped enum.
    ["Hazard.HAZARD_FLAMMABLE", "exposed", ["acme.api.warehouse.v1.Hazard.HAZARD_FLAMMABLE"]],
    // Of the entity of a relation, into a field and into a view.
    [
      "Keeper.name",
      "exposed",
      [
        "acme.api.warehouse.v1.Crate.keeper_name",
        "acme.api.warehouse.v1.Keeper.name",
        "acme.api.warehouse.v1.Keeper.chief_name",
      ],
    ],
    // A key, a computed field, and what a loader reads.
    ["Keeper.chief_id", "used", ["the key of acme.api.warehouse.v1.Keeper.chief_name"]],
    ["Crate.quantity", "used", ["read for acme.api.warehouse.v1.Crate.quantity"]],
    ["ListScansResponse.scans", "used", ["read by warehouse.listScans"]],
    ["ListScansResponse.next_page_token", "used", ["read by warehouse.listScans"]],
    ["Crate.secret_note", "undecided", []],
    ["Crate.supplier", "undecided", []],
    ["Slot.secret_guard", "undecided", []],
  ])("%s: %s", (rest, status, words) => {
    const standing = standingOf(rest);
    expect(standing).toMatchObject({ status, within: undefined });
    expect([...(standing?.words ?? [])].sort()).toEqual([...words].sort());
  });

  test("hidden or handled, by itself or with its whole message, if the ledger says so", () => {
    const hidden = { [name("Crate.secret_note")]: "ours alone", [name("Slot.*")]: "never mind" };
    expect(standingOf("Crate.secret_note", { hidden })).toMatchObject({
      status: "hidden",
      words: ["ours alone"],
    });
    expect(standingOf("Slot.secret_guard", { hidden })).toMatchObject({
      status: "hidden",
      words: ["never mind"],
    });
    expect(standingOf("Slot.aisle", { hidden })).toMatchObject({ status: "exposed" });
    expect(standingOf("GetCrateResponse.crate")).toMatchObject({ status: "handled" });
  });

  test("decided with the field that it stands in, unless something else leads there", () => {
    expect(standingOf("Secret.combination")).toMatchObject({
      status: "undecided",
      within: name("Crate.secret"),
    });
    const hidden = { [name("Crate.secret")]: "a safe" };
    expect(standingOf("Secret.combination", { hidden })).toMatchObject({
      status: "hidden",
      words: ["a safe"],
      within: name("Crate.secret"),
    });
    expect(standingOf("Crate.code", { handled: {} })).toMatchObject({
      status: "exposed",
      within: undefined,
    });
  });

  test("used, if requests alone have it and a map sets it", () => {
    const list = mapPagedRequest(
      pub.ListCratesRequestSchema,
      internal.ListCratesRequestSchema,
      {},
      {
        handled: ["aisle", "tags"],
        defaultSize: 1,
        maxSize: 2,
      },
    );
    expect(standingOf("ListCratesRequest.page_size")).toMatchObject({ status: "undecided" });
    expect(standingOf("ListCratesRequest.page_size", {}, { requests: [list] })).toMatchObject({
      status: "used",
      words: ["acme.api.warehouse.v1.ListCratesRequest.page_size"],
    });
  });
});

test("a message that a computed field gets is not all exposed, and neither is one on the way to a field", () => {
  const summary = view(internal.CrateSchema, pub.CrateSummarySchema, {
    code: "position.aisle",
    attachment: constant(undefined),
  });
  const only = { views: [summary], loaders: [] };
  expect(standingOf("Crate.position", {}, only)).toMatchObject({ status: "used" });
  expect(standingOf("Slot.aisle", {}, only)).toMatchObject({ status: "exposed" });
  expect(standingOf("Slot.level", {}, only)).toMatchObject({ status: "undecided" });
  const whole = view(internal.CrateSchema, pub.CrateSummarySchema, {
    code: computed(["position"], (position) => position?.aisle ?? ""),
    attachment: constant(undefined),
  });
  expect(standingOf("Slot.aisle", {}, { views: [whole], loaders: [] })).toMatchObject({
    status: "undecided",
  });
});

describe("what is undecided comes with what would decide it", () => {
  const undecided = (parts: Partial<App> = {}) =>
    reportDrift({ ...app, ...parts }, { ...nothing, handled }).undecided;

  test("the line of the ledger, and the command that exposes it in the message of the same name", () => {
    expect(undecided()).toContainEqual({
      name: name("Crate.secret_note"),
      ledgerLine: `"${name("Crate.secret_note")}": "<the reason>"`,
      expose: `portico expose ${name("Crate.secret_note")} --as acme.api.warehouse.v1.Crate.secret_note`,
    });
  });

  test("or what to write first", () => {
    expect(undecided({ views: [slotView] })).toContainEqual(
      expect.objectContaining({
        name: name("Crate.code"),
        expose: `write a view of ${name("Crate")} first`,
      }),
    );
  });

  test("but not what is inside of it", () => {
    expect(undecided().map((it) => it.name)).not.toContain(name("Secret.combination"));
  });
});

describe("the ledger", () => {
  const problemsOf = (ledger: Partial<Ledger>) => reportDrift(app, { ...nothing, ...ledger }).problems;

  test.each<[string, Partial<Ledger>, string]>([
    [
      "of a field that is gone",
      { hidden: { [name("Crate.gone")]: "x" } },
      "Crate.gone is nothing that the internal",
    ],
    [
      "of a message that is gone",
      { handled: { [name("Gone.*")]: "x" } },
      "Gone.* is nothing that the internal",
    ],
    [
      "of a field that is exposed meanwhile",
      { hidden: { [name("Crate.code")]: "x" } },
      "Crate.code is exposed as acme.api.warehouse.v1.Crate.code: remove the line",
    ],
    [
      "of an enum whose values are all exposed",
      { hidden: { [name("Hazard.*")]: "x" } },
      "Hazard.* is exposed",
    ],
    [
      "that says two things",
      { hidden: { [name("Crate.secret_note")]: "x" }, handled: { [name("Crate.secret_note")]: "y" } },
      "both hidden and handled",
    ],
  ])("has no line %s", (_, ledger, says) => {
    expect(problemsOf(ledger)).toEqual([expect.stringContaining(says)]);
  });

  test("may have lines of a key that is hidden otherwise, and of a message with exposed fields", () => {
    expect(
      problemsOf({ hidden: { [name("Keeper.chief_id")]: "x", [name("Slot.*")]: "x" }, handled }),
    ).toEqual([]);
  });
});

test("loaders that only views name count as well", () => {
  const { standings } = reportDrift({ ...app, loaders: [] }, nothing);
  expect(standings.find((it) => it.name === name("BatchGetKeepersResponse.keepers"))).toMatchObject({
    status: "used",
    words: [`read by ${keepersById.name}`],
  });
});
