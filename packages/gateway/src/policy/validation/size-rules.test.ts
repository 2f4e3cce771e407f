import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { FieldDescriptorProto_Type } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { pub, rules } from "../../testing/protos.ts";
import { ruledMessage } from "../../testing/ruled-message.ts";
import { createSizeCheck } from "./size-rules.ts";

type Request = MessageInitShape<typeof rules.BookBerthRequestSchema>;
const check = createSizeCheck(rules.BookBerthRequestSchema);
const found = (request: Request) =>
  check(create(rules.BookBerthRequestSchema, request)).map(
    ({ field, description }) => `${field}: ${description}`,
  );
const many = <T>(count: number, item: T): T[] => Array(count).fill(item);

test("finds what is far too large, wherever it is", () => {
  expect(
    found({
      berth: "a".repeat(1_001),
      crew: many(101, ""),
      labels: Object.fromEntries(many(21, "").map((label, index) => [String(index), label])),
      cargo: [{ parts: many(11, {}) }],
      holds: { 3: { parts: [{ parts: many(11, {}) }] } },
      seal: new Uint8Array(1_001),
    }),
  ).toEqual([
    "berth: must be at most 20 characters",
    "crew: must contain no more than 100 item(s)",
    "labels: must have at most 20 entries",
    "cargo[0].parts: must contain no more than 10 item(s)",
    "holds[3].parts[0].parts: must contain no more than 10 item(s)",
    "seal: must be 4 bytes",
  ]);
});

test("leaves to protovalidate what may be within the limit", () => {
  // 20 characters are 40 code units where each needs two.
  expect(
    found({ berth: "\u{1F600}".repeat(20), crew: many(100, ""), cargo: [{ parts: many(10, {}) }] }),
  ).toEqual([]);
  expect(found({ berth: "a".repeat(1_000), seal: new Uint8Array(1_000) })).toEqual([]);
  expect(found({})).toEqual([]);
});

test("looks at no item of a list that is too long", () => {
  expect(found({ cargo: many(101, { parts: many(11, {}) }) })).toEqual([
    "cargo: must contain no more than 100 item(s)",
  ]);
});

test("a request type without such rules is not looked at", () => {
  expect(createSizeCheck(pub.ListCratesRequestSchema)(undefined as never)).toEqual([]);
});

describe("items, keys, values and wrappers", () => {
  const checkSignals = createSizeCheck(rules.LogSignalsRequestSchema);
  const foundIn = (request: MessageInitShape<typeof rules.LogSignalsRequestSchema>) =>
    checkSignals(create(rules.LogSignalsRequestSchema, request)).map(
      ({ field, description }) => `${field}: ${description}`,
    );
  const long = "a".repeat(1_001);
  const tooMuch = "is more than can be checked: a request may have 5000 items in all its lists";

  test("have limits of their own", () => {
    expect(
      foundIn({
        calls: ["a", long, "b", long],
        marks: { a: long, [long]: "" },
        remarks: [{ value: "a" }, { value: long }],
        remark: long,
      }),
    ).toEqual([
      "calls[1]: must be at most 100 characters",
      "calls[3]: must be at most 100 characters",
      'marks["a"]: must be at most 100 characters',
      "marks: key must be at most 100 characters",
      "remarks[1]: must be at most 100 characters",
      "remark: must be at most 100 characters",
    ]);
  });

  test("are left to protovalidate near them", () => {
    const near = "a".repeat(1_000);
    expect(
      foundIn({ calls: [near], marks: { [near]: near }, remarks: [{ value: near }], remark: near }),
    ).toEqual([]);
  });

  test("are named a hundred times at most", () => {
    expect(foundIn({ calls: many(200, long), remarks: many(9, { value: long }) })).toHaveLength(100);
  });

  test("are counted, in all lists together", () => {
    expect(foundIn({ flags: many(5_000, "") })).toEqual([]);
    expect(foundIn({ flags: many(5_001, "") })).toEqual([`flags: ${tooMuch}`]);
    expect(foundIn({ flags: many(3_000, ""), depths: many(2_001, 1), cargo: [{}] })).toEqual([
      `depths: ${tooMuch}`,
    ]);
    expect(foundIn({ signals: Object.fromEntries(many(5_001, {}).entries()) })).toEqual([
      `signals: ${tooMuch}`,
    ]);
    expect(foundIn({ cargo: many(1_000, { parts: many(5, {}) }) })).toEqual([`cargo[800].parts: ${tooMuch}`]);
    expect(foundIn({ spots: [{ inner: many(5_000, {}) }] })).toEqual([`spots[0].inner: ${tooMuch}`]);
  });

  test("are not looked at where their rules are ignored", () => {
    expect(foundIn({ hearsay: many(6_000, { parts: many(11, {}) }) })).toEqual([]);
  });

  test("can be as many as a rule says", () => {
    const items = { type: { case: "int32", value: { greaterThan: { case: "gt", value: 0 } } } } as const;
    const desc = ruledMessage({
      name: "many",
      type: FieldDescriptorProto_Type.INT32,
      repeated: true,
      rules: { type: { case: "repeated", value: { maxItems: 20_000n, items } } },
    });
    const check = createSizeCheck(desc);
    expect(check(create(desc, { many: many(20_000, 1) } as never))).toEqual([]);
    expect(check(create(desc, { many: many(20_001, 1) } as never))).toEqual([
      { field: "many", description: "must contain no more than 20000 item(s)" },
    ]);
  });
});
