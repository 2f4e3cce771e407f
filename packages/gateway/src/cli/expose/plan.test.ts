import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { DescField, DescFile, DescMessage } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import * as curios from "../../../../../tests/gen/acme/internal/bazaar/curios/v1/curios_service_pb.ts";
import type { App } from "../../application.ts";
import { mapRequest } from "../../consolidation/requests/request.ts";
import type { Convertible } from "../../consolidation/views/source.ts";
import { catalog, internal, legacy, pub, pubCatalog, pubLegacy } from "../../testing/protos.ts";
import { crateView, summaryView, warehouse } from "../../testing/warehouse.ts";
import { type ExposePlan, planExposure } from "./plan.ts";

const app: App = { services: [], upstreams: [warehouse], views: [crateView], loaders: [], requests: [] };

/** The sources of that API, as far as they matter. */
const views = `import * as pub from "../gen/acme/api/warehouse/v1/warehouse_service_pb.ts";
import * as internal from "../gen/acme/internal/warehouse/v1/warehouse_service_pb.ts";
import { enumByName, mapped, nested, related, view } from "../../index.ts";

const publicHazard = enumByName(internal.HazardSchema, pub.HazardSchema, { onUnknown: "default" });

const slotView = view(internal.SlotSchema, pub.SlotSchema, {});

export const crateView = view(internal.CrateSchema, pub.CrateSchema, {
  keeperName: related(keepersById, "keeperId", "name", { onMissing: "empty" }),
});

export const summaryView = view(internal.CrateSchema, pub.CrateSummarySchema, {});
`;

function protoOf({ name }: DescFile): { path: string; text: string } {
  const path = fileURLToPath(new URL(`../../../../../tests/protos/${name}.proto`, import.meta.url));
  return { path, text: readFileSync(path, "utf8") };
}

function fieldOf(message: DescMessage, name: string): DescField {
  const field = message.fields.find((it) => it.name === name);
  if (field === undefined) throw new Error(`${message.typeName} has no field ${name}`);
  return field;
}

interface Asked {
  readonly from?: DescMessage;
  readonly to?: DescMessage;
  readonly app?: App;
  readonly text?: string;
  readonly permission?: string;
}

function plan(field: string, name: string, asked: Asked = {}): ExposePlan {
  const { from = internal.CrateSchema, to = pub.CrateSchema, text = views } = asked;
  const exposure = {
    app: asked.app ?? app,
    origin: fieldOf(from, field),
    message: to,
    name,
    permission: asked.permission,
  };
  return planExposure(exposure, {
    publicProto: protoOf(to.file),
    internalProto: protoOf(from.file),
    enumProto: protoOf(from.file),
    app: [{ path: "app/views.ts", text }],
  });
}

describe("a field is exposed", () => {
  test("under another name, with its comment, for those who may read it", () => {
    const { declared, entries, changes } = plan("secret_note", "mark", { permission: "crates.read_mark" });
    expect(declared).toMatch(
      /^\/\/ Not for the public\.\nstring mark = \d+ \[\(portico\.v1\.field\) = {permission: "crates\.read_mark"}\];\n$/,
    );
    expect(entries).toEqual(['mark: "secretNote"']);
    const [proto, source] = changes;
    expect(proto?.after).toContain("  // Not for the public.\n  string mark = ");
    expect(proto?.after).toContain('import "portico/v1/policy.proto";');
    expect(source?.after).toContain('{ onMissing: "empty" }),\n  mark: "secretNote",\n});');
  });

  test("under its own name, which needs no entry", () => {
    const { entries, changes } = plan("secret_marks", "secret_marks");
    expect(entries).toEqual([]);
    expect(changes).toHaveLength(1);
    expect(changes[0]?.after).toMatch(/\n {2}repeated string secret_marks = \d+;\n}/);
  });

  test.each<[string, string, string, RegExp]>([
    ["history", "places", 'places: nested(slotView, "history")', /^repeated Slot places = \d+;$/m],
    ["slots", "spots", 'spots: nested(slotView, "slots")', /^map<int32, Slot> spots = \d+;$/m],
    ["hazards", "dangers", 'dangers: mapped(publicHazard, "hazards")', /^repeated Hazard dangers = \d+;$/m],
    ["supplier", "vendor", 'vendor: "origin.supplier"', /^optional string vendor = \d+;$/m],
    ["arrive_time", "came", 'came: "arriveTime"', /^google\.protobuf\.Timestamp came = \d+;$/m],
  ])("whatever it holds: %s", (field, name, entry, declared) => {
    const made = plan(field, name);
    expect(made.entries).toEqual([entry]);
    expect(made.declared).toMatch(declared);
  });

  test("from a message that stands in the one of the view", () => {
    const only = { ...app, views: [summaryView] };
    const asked = { app: only, from: internal.SecretSchema, to: pub.CrateSummarySchema };
    expect(plan("combination", "opens_with", asked).entries).toEqual(['opensWith: "secret.combination"']);
  });

  test("from the entity of a relation that the view has", () => {
    expect(plan("secret_pin", "keeper_pin", { from: internal.KeeperSchema }).entries).toEqual([
      'keeperPin: related(keepersById, "keeperId", "secretPin", { onMissing: "empty" })',
    ]);
  });

  test("with the map of an enum that the public has already", () => {
    const { declared, entries, changes } = plan("main_hazard", "danger", {
      app: { ...app, views: [summaryView] },
      to: pub.CrateSummarySchema,
      text: views.replace(/^const publicHazard.*$/m, ""),
    });
    expect(declared).toMatch(/^Hazard danger = \d+;$/m);
    expect(entries).toEqual(['danger: mapped(publicHazard, "mainHazard")']);
    expect(changes[0]?.after.match(/^enum Hazard /gm)).toHaveLength(1);
    expect(changes[1]?.after).toContain(
      'const publicHazard = enumByName(internal.HazardSchema, pub.HazardSchema, {\n  onUnknown: "default",\n});',
    );
  });

  test("with an enum that belongs to everyone, which stays as it is", () => {
    const made: Convertible = { from: curios.CurioSchema, to: pubCatalog.MarginSchema, fields: {} };
    const text = `import * as pub from "../gen/acme/api/catalog/v1/catalog_service_pb.ts";
import * as internal from "../gen/acme/internal/bazaar/curios/v1/curios_service_pb.ts";
import { view } from "../../index.ts";

export const marginView = view(internal.CurioSchema, pub.MarginSchema, {});
`;
    const asked = {
      app: { ...app, views: [made] },
      from: curios.CurioSchema,
      to: pubCatalog.MarginSchema,
      text,
    };
    const { declared, entries, changes } = plan("null_value", "null_value", asked);
    expect(declared).toMatch(/^google\.protobuf\.NullValue null_value = \d+/m);
    expect(entries).toEqual(['nullValue: "nullValue"']);
    expect(changes[0]?.after).toContain('import "google/protobuf/struct.proto";');
    expect(changes[0]?.after).not.toMatch(/^enum NullValue/m);
  });

  test("with an enum that the public does not have", () => {
    const made: Convertible = { from: internal.CrateSchema, to: pubCatalog.MarginSchema, fields: {} };
    const text = `import * as pub from "../gen/acme/api/catalog/v1/catalog_service_pb.ts";
import * as internal from "../gen/acme/internal/warehouse/v1/warehouse_service_pb.ts";
import { view } from "../../index.ts";

export const marginView = view(internal.CrateSchema, pub.MarginSchema, {});
`;
    const { changes } = plan("hazards", "dangers", {
      app: { ...app, views: [made] },
      to: pubCatalog.MarginSchema,
      text,
    });
    expect(changes[0]?.after).toContain(`
// A danger.
enum Hazard {
  // None.
  HAZARD_UNSPECIFIED = 0;
  // It burns.
  HAZARD_FLAMMABLE = 1;
  // It stings.
  HAZARD_CORROSIVE = 2;
}
`);
    expect(changes[1]?.after).toContain('import { mapped, enumByName, view } from "../../index.ts";');
    expect(changes[1]?.after).toContain("enumByName(internal.HazardSchema, pub.HazardSchema, {");
  });
});

describe("nothing is planned, and it says why", () => {
  test("if no view makes the message", () => {
    expect(() => plan("code", "code_2", { app: { ...app, views: [] } })).toThrow(
      "No view makes acme.api.warehouse.v1.Crate, so that nothing can give it the field. Write a view of acme.internal.warehouse.v1.Crate first",
    );
  });

  test("if no view leads to the field", () => {
    expect(() => plan("secret_operator", "operator", { from: internal.ScanSchema })).toThrow(
      /neither that nor a relation of its view leads to acme\.internal\.warehouse\.v1\.Scan/,
    );
  });

  test("if several fields lead there", () => {
    const sheet: Convertible = { from: catalog.SheetSchema, to: pubCatalog.SheetSchema, fields: {} };
    const asked = { app: { ...app, views: [sheet] }, from: catalog.MarginSchema, to: pubCatalog.SheetSchema };
    expect(() => plan("secret_cut", "cut", asked)).toThrow(
      /could take secret_cut from margin\.secretCut or gutter\.secretCut/,
    );
  });

  test("if it holds an enum that cannot stand in the public proto", () => {
    const entry: Convertible = { from: legacy.EntrySchema, to: pub.CrateSummarySchema, fields: {} };
    const asked = { app: { ...app, views: [entry] }, from: legacy.EntrySchema, to: pub.CrateSummarySchema };
    expect(() => plan("kind", "kind", asked)).toThrow(/Kind begins with another number than 0/);
  });

  test("if it holds a message without a view", () => {
    expect(() => plan("secret", "secret")).toThrow(
      /No view makes a public message of .*Secret\. Write the message/,
    );
  });

  test("if the view cannot be found, with what to write", () => {
    expect(() => plan("secret_note", "mark", { text: "" })).toThrow(
      /It cannot be told for sure where the view .*\n {2}mark: "secretNote"\n/,
    );
    expect(() => plan("secret_note", "mark", { text: views + views })).toThrow(/cannot be told for sure/);
  });

  test("if it has a default, which a copy would lose", () => {
    expect(() => plan("retries", "tries", { from: legacy.EntrySchema, to: pubLegacy.EntrySchema })).toThrow(
      /Entry\.retries has a default/,
    );
  });

  test("if callers could write what they are to read", () => {
    const map = mapRequest(pub.SlotSchema, internal.SlotSchema, {});
    const asked = { app: { ...app, requests: [map] }, from: internal.SlotSchema, to: pub.SlotSchema };
    expect(() => plan("secret_guard", "guard", asked)).toThrow(
      /is also what callers send.*handled: \["secretGuard"\]/s,
    );
  });
});
