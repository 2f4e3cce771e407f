import { expect, test } from "vitest";
import { createSubscripts, pathOf, type Step } from "./path.ts";

const field = (name: string): Step => ({ kind: "field", name });
const item = (index: number) => ({ kind: "item", index }) as const;
const key = (text: string) => ({ kind: "key", text }) as const;

test("a path is taken apart at its last subscript", () => {
  expect(pathOf([field("crates"), item(3), field("position"), field("aisle")])).toEqual({
    before: "crates[",
    last: { kind: "item", index: 3 },
    after: "].position.aisle",
    wide: "crates[*].position.aisle",
  });
  expect(pathOf([item(17), field("crate"), field("slots"), key("-4"), field("aisle")])).toEqual({
    before: "[17].crate.slots[",
    last: { kind: "key", text: "-4" },
    after: "].aisle",
    wide: "[*].crate.slots[*].aisle",
  });
});

test("a path without subscripts is one text", () => {
  expect(pathOf([field("crate"), field("keeper_name")])).toEqual({
    before: "crate.keeper_name",
    last: undefined,
    after: "",
    wide: "crate.keeper_name",
  });
});

test.each([
  [[0], "0"],
  [[0, 1], "0-1"],
  [[0, 1, 2, 5], "0-2,5"],
  [[0, 1, 2, 5, 7, 8, 499], "0-2,5,7-8,499"],
])("indices %j are written %s", (indices, text) => {
  const subscripts = createSubscripts();
  for (const index of indices) subscripts.add(item(index));
  expect(subscripts.text()).toBe(text);
  expect(subscripts.bytes()).toBe(text.length);
});

test("keys are written one by one, and counted in bytes", () => {
  const subscripts = createSubscripts();
  for (const text of ['"a.b"', '"ä"', '"c]"']) subscripts.add(key(text));
  expect(subscripts.text()).toBe('"a.b","ä","c]"');
  expect(subscripts.bytes()).toBe(Buffer.byteLength(subscripts.text()));
});
