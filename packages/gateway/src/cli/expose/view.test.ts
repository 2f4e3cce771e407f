import { describe, expect, test } from "vitest";
import { internal, pub } from "../../testing/protos.ts";
import { findCalls } from "./sources.ts";
import { addToView, type NewEntry, relationLike } from "./view.ts";

const head = `import * as pub from "../gen/acme/api/warehouse/v1/warehouse_service_pb.ts";
import * as internal from "../gen/acme/internal/warehouse/v1/warehouse_service_pb.ts";
import { view } from "../../index.ts";
`;

const plain: NewEntry = { name: "mark", code: '"secretNote"', calls: [], constants: [], map: undefined };

function find(text: string) {
  return findCalls([{ path: "app/views.ts", text }], "view", internal.CrateSchema, pub.CrateSchema);
}

function add(text: string, entry = plain): string | undefined {
  const [call] = find(text);
  return call && addToView(call, entry);
}

describe("a view is found by its two schemas", () => {
  test.each([
    ["of namespaces", `${head}export const v = view(internal.CrateSchema, pub.CrateSchema, {});`, 1],
    [
      "imported by name, and renamed",
      `import { CrateSchema as P } from "../gen/acme/api/warehouse/v1/warehouse_service_pb.ts";
import { CrateSchema } from "../gen/acme/internal/warehouse/v1/warehouse_service_pb.js";
const v: View<Crate, P> = view(CrateSchema, P, {});`,
      1,
    ],
    ["not the other way round", `${head}const v = view(pub.CrateSchema, internal.CrateSchema, {});`, 0],
    ["not in a comment", `${head}// const v = view(internal.CrateSchema, pub.CrateSchema, {});`, 0],
    ["not of another message", `${head}const v = view(internal.SlotSchema, pub.SlotSchema, {});`, 0],
    [
      "not of a namespace of something else",
      `import * as internal from "../gen/other/v1/warehouse_service_pb.ts";\nconst v = view(internal.CrateSchema, pub.CrateSchema, {});`,
      0,
    ],
  ])("%s", (_, text, count) => {
    expect(find(text)).toHaveLength(count);
  });
});

describe("an entry is written", () => {
  const statement = (fields: string) =>
    `${head}\nexport const v = view(internal.CrateSchema, pub.CrateSchema, ${fields});\n`;

  test.each([
    ["into an empty list", "{}", '{\n  mark: "secretNote",\n}'],
    ["after others", '{\n  note: "label",\n}', '{\n  note: "label",\n  mark: "secretNote",\n}'],
    ["after one without a comma", '{ note: "label" }', '{ note: "label",\n  mark: "secretNote",\n}'],
    [
      "after a comment with braces",
      '{\n  note: "a}", // } as ever\n}',
      '{\n  note: "a}", // } as ever\n  mark: "secretNote",\n}',
    ],
  ])("%s", (_, before, after) => {
    expect(add(statement(before))).toBe(statement(after));
  });

  test("nowhere, if the fields stand elsewhere", () => {
    expect(add(statement("fields"))).toBeUndefined();
  });

  test("with what it calls, and the constant of another source", () => {
    const entry = {
      ...plain,
      code: 'nested(slotView, "position")',
      calls: ["nested"],
      constants: [{ name: "slotView", path: "app/slots.ts" }],
    };
    const added = add(statement("{}"), entry);
    expect(added).toContain('import { nested, view } from "../../index.ts";');
    expect(added).toContain('import { slotView } from "./slots.ts";\n');
    for (const [path, way] of [
      ["app/parts/slots.ts", "./parts/slots.ts"],
      ["slots.ts", "../slots.ts"],
    ])
      expect(
        add(statement("{}"), { ...entry, constants: [{ name: "slotView", path: String(path) }] }),
      ).toContain(`import { slotView } from "${way}";\n`);
  });

  test("with the enum map that it needs, before the comment of the view", () => {
    const map = { name: "publicState", from: internal.HazardSchema, to: "State", file: pub.CrateSchema.file };
    const text = `${head}\n/** How it is. */\nexport const v = view(internal.CrateSchema, pub.CrateSchema, {});\n`;
    expect(add(text, { ...plain, code: 'mapped(publicState, "mainHazard")', calls: ["mapped"], map })).toBe(
      `${head.replace("{ view }", "{ mapped, enumByName, view }")}
const publicState = enumByName(internal.HazardSchema, pub.StateSchema, {
  onUnknown: "default",
});

/** How it is. */
export const v = view(internal.CrateSchema, pub.CrateSchema, {
  mark: mapped(publicState, "mainHazard"),
});
`,
    );
  });
});

describe("an enum map never gets into what stands before the view", () => {
  const map = { name: "publicState", from: internal.HazardSchema, to: "State", file: pub.CrateSchema.file };
  const entry = { ...plain, code: 'mapped(publicState, "mainHazard")', calls: ["mapped"], map };
  const fields =
    'view(internal.CrateSchema, pub.CrateSchema, {\n  mark: mapped(publicState, "mainHazard"),\n})';
  const written =
    'const publicState = enumByName(internal.HazardSchema, pub.StateSchema, {\n  onUnknown: "default",\n});';
  const imports = head.replace("{ view }", "{ mapped, enumByName, view }").trimEnd();

  test.each([
    ["no empty line", "\nexport const v = ", ";\n"],
    ["another statement", "\n\nconst one = {\n\n  a: 1,\n};\nexport const v = ", ";\n"],
    ["a list", "\n\nexport const all = [\n  1,\n  ", ",\n];\n"],
  ])("%s", (_, before, after) => {
    const call = "view(internal.CrateSchema, pub.CrateSchema, {})";
    expect(add(`${head.trimEnd()}${before}${call}${after}`, entry)).toBe(
      `${imports}\n\n${written}${before}${fields}${after}`,
    );
  });
});

test("a view of a source with single quotes is found, and changed", () => {
  const text = `${head}\nexport const v = view(internal.CrateSchema, pub.CrateSchema, {});\n`.replaceAll(
    '"',
    "'",
  );
  expect(add(text, { ...plain, calls: ["mapped"] })).toContain(
    "import { mapped, view } from '../../index.ts';",
  );
});

test("a relation is made like another one", () => {
  const [call] = find(`${head}const v = view(internal.CrateSchema, pub.CrateSchema, {
  // The keeper, of all people.
  keeperName: related(keepersById, ["a", "b"], "name", { onMissing: "empty" }),
  quantity: computed(["quantity"], (quantity) => BigInt(quantity)),
});`);
  const like = (name: string) => call && relationLike(call, name, '"chiefId"');
  expect(like("keeperName")).toBe('related(keepersById, ["a", "b"], "chiefId", { onMissing: "empty" })');
  expect(like("quantity")).toBeUndefined();
  expect(like("other")).toBeUndefined();
});
