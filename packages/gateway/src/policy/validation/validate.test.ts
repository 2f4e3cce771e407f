import {
  create,
  createFileRegistry,
  type DescMessage,
  type Message,
  type MessageInitShape,
  setExtension,
} from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import {
  DescriptorProtoSchema,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FieldDescriptorProtoSchema,
  FieldOptionsSchema,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { type FieldViolation, StartError } from "../../errors.ts";
import {
  FieldRulesSchema,
  field as fieldRules,
  file_buf_validate_validate,
  PredefinedRulesSchema,
  predefined,
  StringRulesSchema,
} from "../../gen/buf/validate/validate_pb.ts";
import { pub, pubLegacy, rules, vault } from "../../testing/protos.ts";
import { type RuledField, ruledMessage } from "../../testing/ruled-message.ts";
import { createValidate } from "./validate.ts";

const { STRING, INT32, BYTES } = FieldDescriptorProto_Type;
const { BookBerthRequestSchema, GetTideRequestSchema } = rules;
type Request = MessageInitShape<typeof BookBerthRequestSchema>;

const validate = createValidate([BookBerthRequestSchema, GetTideRequestSchema, pub.StoreCratesRequestSchema]);
const whole: Request = { berth: "north-1", captain: "ada", payment: { case: "cents", value: 5n } };
const broken = (request: Request) =>
  lines(
    validate(BookBerthRequestSchema, create(BookBerthRequestSchema, { ...whole, ...request } as Request)),
  );

function lines(violations: readonly FieldViolation[]): string[] {
  return violations.map(({ field, description }) =>
    field === "" ? description : `${field}: ${description}`,
  );
}

/** What a message with one field, made for the test, has wrong with it. */
function brokenIn(field: Omit<RuledField, "name">, value: unknown): string[] {
  const desc = ruledMessage({ name: "made", ...field });
  return lines(createValidate([desc])(desc, withField(desc, value)));
}

function withField(desc: DescMessage, value: unknown): Message {
  const message = create(desc);
  const [field] = desc.fields;
  if (field !== undefined) reflect(desc, message).set(field, value);
  return message;
}

function startProblems(...fields: RuledField[]): readonly string[] {
  try {
    createValidate([ruledMessage(...fields)]);
  } catch (error) {
    if (error instanceof StartError) return error.problems;
    throw error;
  }
  throw new Error("expected problems");
}

test("a valid request has nothing wrong with it", () => {
  expect(broken({})).toEqual([]);
  expect(
    broken({
      contact: "ada@acme.example",
      crew: ["bob"],
      labels: { ab: "c" },
      cargo: [{ code: "a", tons: 1, parts: [{ code: "b" }] }],
      seal: new Uint8Array(4),
      size: rules.Size.LARGE,
      remark: "short",
      draft: 5,
      flag: "nl",
      payment: { case: "voucher", value: "abc" },
    }),
  ).toEqual([]);
});

describe("names the field, and says what would do", () => {
  test.each<[string, Request, string]>([
    ["a length", { captain: "a".repeat(101) }, "captain: must be at most 100 characters"],
    ["a pattern", { berth: "North" }, "berth: does not match regex pattern `^[a-z]+(-[a-z0-9]+)*$`"],
    ["a format", { contact: "ada" }, "contact: must be a valid email address"],
    ["an item", { crew: ["a", ""] }, "crew[1]: must be at least 1 characters"],
    ["items that are the same", { crew: ["a", "a"] }, "crew: must contain unique items"],
    ["a key", { labels: { a: "x" } }, 'labels["a"]: key must be at least 2 characters'],
    ["a value", { labels: { 'a"b': "x".repeat(51) } }, 'labels["a\\"b"]: must be at most 50 characters'],
    ["in a list", { cargo: [{ code: "a", tons: -1 }] }, "cargo[0].tons: must be greater than or equal to 0"],
    [
      "in a map",
      { holds: { 7: { code: "a", tons: -1 } } },
      "holds[7].tons: must be greater than or equal to 0",
    ],
    [
      "deep down",
      { cargo: [{ code: "a", parts: [{ code: "b", tons: -1 }] }] },
      "cargo[0].parts[0].tons: must be greater than or equal to 0",
    ],
    ["a duration", { approach: { seconds: 3601n } }, "approach: must be less than or equal to 3600s"],
    ["bytes", { seal: new Uint8Array(3) }, "seal: must be 4 bytes"],
    ["in a oneof", { payment: { case: "cents", value: 0n } }, "cents: must be greater than 0"],
    [
      "a oneof that is needed",
      { payment: { case: undefined } },
      "payment: one of voucher, cents must be set",
    ],
    ["an enum", { size: 9 as rules.Size }, "size: must be one of the defined enum values"],
    ["a wrapper", { remark: "a".repeat(11) }, "remark: must be at most 10 characters"],
    [
      "a field with presence",
      { draft: 0 },
      "draft: must be greater than or equal to 1 and less than or equal to 20",
    ],
    ["words of an expression", { flag: "abc" }, "flag: must have two letters"],
    ["a rule without words", { mast: "xx" }, "mast: does not satisfy !this.startsWith('x')"],
    [
      "the whole",
      { fromTime: { seconds: 2n }, untilTime: { seconds: 1n } },
      "from_time must be before until_time",
    ],
    ["fields that exclude each other", { pilot: "eve" }, "only one of captain, pilot can be set"],
    ["fields of which one is needed", { captain: "" }, "one of captain, pilot must be set"],
  ])("%s", (_, request, line) => {
    expect(broken(request)).toEqual([line]);
  });

  test.each<[Omit<RuledField, "name">, unknown, string]>([
    [{ type: STRING, rules: { required: true } }, "", "made: is required"],
    [
      {
        type: STRING,
        rules: { type: { case: "string", value: { wellKnown: { case: "uri", value: true } } } },
      },
      "",
      "made: is empty, which is not a valid URI",
    ],
    [
      { type: INT32, rules: { type: { case: "int32", value: { in: [1, 2] } } } },
      3,
      "made: must be in list [1, 2]",
    ],
  ])("%#", (field, value, line) => {
    expect(brokenIn(field, value)).toEqual([line]);
  });
});

test("names everything at once; what is left out but once, by either standard", () => {
  expect(broken({ berth: "", contact: "x", cargo: [{ code: "" }, { code: "a", tons: Number.NaN }] })).toEqual(
    [
      "berth: is required",
      "cargo[0].code: is required",
      "contact: must be a valid email address",
      "cargo[1].tons: must be greater than or equal to 0",
      "cargo[1].tons: must be finite",
    ],
  );
});

test("says only that of a request, if something is far too large", () => {
  expect(broken({ berth: "A".repeat(1_001), contact: "x", crew: Array(50_000).fill("") })).toEqual([
    "berth: must be at most 20 characters",
    "crew: must contain no more than 100 item(s)",
  ]);
});

describe("of more than can be checked", () => {
  const desc = rules.LogSignalsRequestSchema;
  const check = createValidate([desc]);
  const said = (request: MessageInitShape<typeof desc>) => lines(check(desc, create(desc, request)));
  const tooMuch = (most: number) =>
    `the request is more than can be checked: it may have ${most} characters in all its texts that must match a pattern`;

  test("says that", () => {
    expect(said({ flags: Array(5_001).fill("a"), log: "1" })).toEqual([
      "flags: is more than can be checked: a request may have 5000 items in all its lists",
    ]);
    expect(said({ log: "a".repeat(100_001) })).toEqual([tooMuch(100_000)]);
    expect(said({ log: "a".repeat(100_000) })).toEqual([]);
    expect(said({ flags: Array(2_000).fill("a".repeat(51)) })).toEqual([tooMuch(100_000)]);
  });

  test("counts anew for each request", () => {
    for (let index = 0; index < 3; index++) {
      expect(said({ log: "a".repeat(60_000) })).toEqual([]);
      expect(said({ log: "a".repeat(60_000), flags: ["a".repeat(50_000)] })).toEqual([tooMuch(100_000)]);
    }
  });

  test("checks as many characters as the limits of a field allow", () => {
    const pattern = "^a*$";
    const text = (maxLen: bigint) => ({ type: { case: "string", value: { pattern, maxLen } } }) as const;
    const long = ruledMessage({ name: "text", type: STRING, rules: text(150_000n) });
    const list = ruledMessage({
      name: "texts",
      type: STRING,
      repeated: true,
      rules: { type: { case: "repeated", value: { maxItems: 100n, items: text(1_500n) } } },
    });
    const validate = createValidate([long, list]);
    expect(validate(long, withField(long, "a".repeat(150_000)))).toEqual([]);
    const texts = Array(100).fill("a".repeat(1_500));
    expect(validate(list, create(list, { texts } as never))).toEqual([]);
  });

  test("names a hundred things at most", () => {
    expect(said({ flags: Array(3_000).fill("-") })).toHaveLength(100);
    const twice = said({ flags: Array(1_000).fill("-"), cargo: Array(1_000).fill({}) });
    expect(twice.filter((line) => line.endsWith("is required"))).toHaveLength(100);
    expect(twice).toHaveLength(200);
  });

  test("does not say that of a rule that fails", () => {
    const failing = ruledMessage({
      name: "text",
      type: STRING,
      rules: { cel: [{ id: "a", message: "no", expression: "this.matches(this)" }] },
    });
    const validate = createValidate([failing]);
    expect(() => validate(failing, withField(failing, "("))).toThrow(/missing closing|error parsing/);
  });
});

test("does not repeat what was sent", () => {
  const secret = "s3cr3t-s3cr3t-s3cr3t";
  const said = broken({
    berth: secret.toUpperCase(),
    contact: secret,
    crew: [secret, secret],
    labels: { ab: secret.repeat(4) },
    remark: secret,
    seal: Buffer.from(secret),
    flag: secret,
    mast: `x${secret}`,
    payment: { case: "voucher", value: "x" },
  });
  expect(said.length).toBeGreaterThan(2);
  expect(said.join().toLowerCase()).not.toContain("s3cr3t");
});

describe("a request type without rules", () => {
  test("is not looked at", () => {
    expect(validate(GetTideRequestSchema, undefined as never)).toEqual([]);
  });

  test("can have required fields all the same", () => {
    expect(lines(validate(pub.StoreCratesRequestSchema, create(pub.StoreCratesRequestSchema)))).toEqual([
      "first: is required",
      "docks: is required",
    ]);
  });
});

test("a request type that was not given is an error, not valid", () => {
  expect(() =>
    validate(pubLegacy.ListEntriesRequestSchema, create(pubLegacy.ListEntriesRequestSchema)),
  ).toThrow("the rules of acme.api.legacy.v1.ListEntriesRequest were not compiled");
});

test("recursive types of every kind compile", () => {
  const inputs = Object.values(vault.VaultService.method).map(({ input }) => input);
  expect(() => createValidate(inputs)).not.toThrow();
});

describe("a rule that does not work keeps the gateway from starting", () => {
  const cel = (expression: string) => ({ cel: [{ id: "a.rule", message: "no", expression }] });
  const fine: RuledField = { name: "fine", type: STRING, rules: cel("this == ''") };

  test.each<[string, Omit<RuledField, "name">, RegExp]>([
    ["not CEL", { type: STRING, rules: cel("this ==") }, /failed to compile a.rule/],
    ["a function that is not there", { type: STRING, rules: cel("this.isShouted()") }, /unbound function/],
    ["a name that is not there", { type: STRING, rules: cel("that == ''") }, /unresolved attribute/],
    ["types that do not fit", { type: INT32, rules: cel("this < 'a'") }, /no matching overload/],
    ["no truth", { type: INT32, rules: cel("this + 1") }, /outputs bigint, wanted either bool or string/],
    [
      "a rule for another type",
      { type: INT32, rules: { type: { case: "string", value: { minLen: 1n } } } },
      /made/,
    ],
    [
      "a pattern that is none",
      { type: STRING, rules: { type: { case: "string", value: { pattern: "(" } } } },
      /regex|regexp/,
    ],
    [
      "a pattern that is none, of items",
      {
        type: STRING,
        repeated: true,
        rules: {
          type: { case: "repeated", value: { items: { type: { case: "string", value: { pattern: "(" } } } } },
        },
      },
      /regex|regexp/,
    ],
    ["what fails for some values", { type: INT32, rules: cel("10 / this == 5") }, /divide by zero/],
  ])("%s", (_, field, message) => {
    const problems = startProblems(fine, { name: "made", ...field });
    expect(problems).toEqual([expect.stringMatching(message)]);
    expect(problems[0]).toMatch(/^acme\.made\.Made\.made: its rule of \(buf\.validate\) does not work: /);
  });

  test("and all of them are listed", () => {
    expect(
      startProblems(
        fine,
        { name: "a", type: STRING, rules: cel("x") },
        { name: "b", type: BYTES, rules: cel("") },
      ),
    ).toEqual([expect.stringContaining("acme.made.Made.a: "), expect.stringContaining("acme.made.Made.b: ")]);
  });
});

test("rules that a company has defined for itself are found in its files", () => {
  const options = create(FieldOptionsSchema);
  const rule = {
    id: "string.capitals",
    message: "must be in capitals",
    expression: "!rule || this.matches('^[A-Z]*$')",
  };
  setExtension(options, predefined, create(PredefinedRulesSchema, { cel: [rule] }));
  const label = FieldDescriptorProto_Label.OPTIONAL;
  const ours = create(FileDescriptorProtoSchema, {
    name: "acme/rules.proto",
    package: "acme.rules",
    syntax: "proto2",
    dependency: ["buf/validate/validate.proto"],
    extension: [
      create(FieldDescriptorProtoSchema, {
        name: "capitals",
        extendee: ".buf.validate.StringRules",
        number: 80048952,
        type: FieldDescriptorProto_Type.BOOL,
        label,
        options,
      }),
    ],
  });
  const resolve = (name: string) =>
    name === "buf/validate/validate.proto" ? file_buf_validate_validate : undefined;
  const capitals = createFileRegistry(ours, resolve).getExtension("acme.rules.capitals");
  const oursFile = createFileRegistry(ours, resolve).getFile("acme/rules.proto");
  if (capitals === undefined || oursFile === undefined) throw new Error("the rule was not made");

  const stringRules = create(StringRulesSchema);
  setExtension(stringRules, capitals, true as never);
  const fieldOptions = create(FieldOptionsSchema);
  setExtension(
    fieldOptions,
    fieldRules,
    create(FieldRulesSchema, { type: { case: "string", value: stringRules } }),
  );
  const file = create(FileDescriptorProtoSchema, {
    name: "acme/made.proto",
    package: "acme.made",
    syntax: "proto3",
    dependency: ["acme/rules.proto"],
    messageType: [
      create(DescriptorProtoSchema, {
        name: "Made",
        field: [{ name: "code", number: 1, type: STRING, label, options: fieldOptions }],
      }),
    ],
  });
  const desc = createFileRegistry(file, () => oursFile).getMessage("acme.made.Made");
  if (desc === undefined) throw new Error("the message was not made");
  const check = createValidate([desc]);
  expect(lines(check(desc, withField(desc, "ABC")))).toEqual([]);
  expect(lines(check(desc, withField(desc, "abc")))).toEqual(["code: must be in capitals"]);
});
