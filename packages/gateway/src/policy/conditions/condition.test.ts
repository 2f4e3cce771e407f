import { parse } from "@bufbuild/cel";
import { create, type DescMessage, type MessageInitShape } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { describe, expect, test } from "vitest";
import { StartError } from "../../errors.ts";
import { pub, pubCatalog, pubLegacy, rules } from "../../testing/protos.ts";
import { type Authenticated, anonymous, type Principal, principalId } from "../principal.ts";
import { checkCondition } from "./check.ts";
import { compileCondition } from "./condition.ts";

const tide = rules.GetTideRequestSchema;
const duties = rules.AssignDutiesRequestSchema;
type Tide = MessageInitShape<typeof tide>;

const ada: Authenticated = {
  kind: "token",
  id: principalId("token", "https://identity.acme.example", "ada"),
  subject: "ada",
  issuer: "https://identity.acme.example",
  tenant: "acme",
  roles: ["reader", "keeper"],
};
const now = Date.parse("2026-11-25T12:00:00Z");

function holds<D extends DescMessage>(
  source: string,
  input: D,
  request: MessageInitShape<D>,
  principal: Principal = ada,
  ...permissions: readonly string[]
): boolean | Error {
  const has = (permission: string) => permissions.includes(permission);
  return compileCondition(source, input).holds(create(input, request), principal, { has }, now);
}

function problems(source: string, input: DescMessage = tide): readonly string[] {
  try {
    compileCondition(source, input);
  } catch (error) {
    if (error instanceof StartError) return error.problems;
    throw error;
  }
  throw new Error("expected problems");
}

describe("what a caller does not have", () => {
  const own = "request.place == principal.subject";
  const nobody = { ...ada, subject: "", tenant: undefined };

  test.each<[string, Tide, Principal, boolean | string]>([
    [own, { place: "ada" }, ada, true],
    [own, { place: "eve" }, ada, false],
    [own, { place: "" }, ada, false],
    [own, { place: "" }, anonymous, "the caller has no subject"],
    [own, { place: "" }, nobody, "the caller has no subject"],
    [`!(${own})`, { place: "ada" }, anonymous, "the caller has no subject"],
    ["request.place != principal.subject", { place: "ada" }, anonymous, "the caller has no subject"],
    ["principal.tenant == principal.subject", {}, anonymous, "the caller has no tenant"],
    ["principal.tenant == request.place", { place: "" }, nobody, "the caller has no tenant"],
    ["principal.tenant == request.place", { place: "" }, { ...ada, tenant: "" }, "the caller has no tenant"],
    ["principal.issuer == request.place", { place: "" }, anonymous, "the caller has no issuer"],
    ["request.place in [principal.subject, 'x']", { place: "" }, anonymous, "the caller has no subject"],
    ["has(principal.tenant) ? principal.tenant == request.place : true", {}, nobody, true],
    ["has(principal.subject)", {}, anonymous, false],
    ["has(principal.subject)", {}, ada, true],
    ["principal.roles == []", {}, anonymous, true],
    ["principal.kind == 'anonymous'", {}, anonymous, true],
    ["principal.kind == 'anonymous'", {}, ada, false],
  ])("%s, request %j", (source, request, principal, expected) => {
    const result = holds(source, tide, request, principal);
    expect(result instanceof Error ? result.message : result).toBe(expected);
  });

  test("leaves the other side of || to decide", () => {
    const source = `${own} || principal.has("tides.read_all")`;
    expect(holds(source, tide, { place: "" }, anonymous, "tides.read_all")).toBe(true);
    expect(holds(source, tide, { place: "" }, anonymous)).toBeInstanceOf(Error);
    expect(holds(source, tide, { place: "eve" }, ada)).toBe(false);
  });
});

describe("permissions", () => {
  const source = 'principal.has("a.read") && (principal.has("a.all") || principal.has("a.read"))';

  test("are those of the call", () => {
    const condition = compileCondition(source, tide);
    const request = create(tide);
    expect(condition.holds(request, ada, { has: () => true }, now)).toBe(true);
    expect(condition.holds(request, ada, { has: (permission) => permission === "a.all" }, now)).toBe(false);
  });

  test("can be listed, each once", () => {
    expect(compileCondition(source, tide)).toMatchObject({ source, permissions: ["a.read", "a.all"] });
  });

  test("that cannot be looked up let nobody in", () => {
    const has = () => {
      throw new Error("the access file is gone");
    };
    expect(compileCondition(source, tide).holds(create(tide), ada, { has }, now)).toMatchObject({
      message: "the access file is gone",
    });
  });

  test.each([
    "principal.has(request.place)",
    'principal.has("a." + "read")',
    "principal.has()",
    'principal.has("a", "b")',
    'principal.has(request.precise ? "a.read" : "a.all")',
  ])("must be written out: %s", (source) => {
    expect(problems(source)).toEqual([expect.stringMatching(/must have one permission that is written out/)]);
  });

  test("must look like permissions", () => {
    expect(problems('principal.has("A.*")')).toEqual([
      'principal.has("A.*"): "A.*" is not a permission, such as "orders.read"',
    ]);
  });
});

test.each([
  ["request.place == principal.subject", true],
  ['principal.has("a.read")', true],
  ["has(principal.tenant)", true],
  ["request.place in principal.roles", true],
  ["request.place == 'a'", false],
  ["now < request.at", false],
])("%s reads the principal: %j", (source, reads) => {
  expect(compileCondition(source, tide).readsPrincipal).toBe(reads);
});

describe("every kind of field can be read", () => {
  test.each<[string, Tide]>([
    ["request.place == 'a'", { place: "a" }],
    ["request.ship == 9007199254740993", { ship: 9007199254740993n }],
    ["request.register == 9007199254740993", { register: "9007199254740993" }],
    ["request.serial == 18446744073709551615u", { serial: 18446744073709551615n }],
    ["request.ship < request.serial", { ship: -1n }],
    ["request.depth < 0.5", { depth: 0.25 }],
    ["request.precise", { precise: true }],
    ["request.seal == b'\\x01\\x02' && size(request.seal) == 2", { seal: new Uint8Array([1, 2]) }],
    ["request.size == Size.SIZE_LARGE", { size: rules.Size.LARGE }],
    ["request.size == acme.api.rules.v1.Size.SIZE_LARGE", { size: rules.Size.LARGE }],
    ["request.size in [Size.SIZE_SMALL, Size.SIZE_LARGE]", { size: rules.Size.SMALL }],
    ["Size.SIZE_LARGE in request.sizes", { sizes: [rules.Size.LARGE] }],
    ["now < request.at", { at: { seconds: 1_800_000_000n } }],
    ["request.at - now < duration('24h')", { at: { seconds: 1_700_000_000n } }],
    ["request.window < duration('1h')", { window: { seconds: 60n } }],
    ["now == timestamp('2026-11-25T12:00:00Z')", {}],
    ["'a' in request.stations && request.stations[0] == 'a'", { stations: ["a"] }],
    ["2 in request.ships", { ships: [2n] }],
    ["request.spots[0].depth == 5", { spots: [{ depth: 5 }] }],
    [
      "request.labels['a'] == 'b' && request.labels.a == 'b' && 'a' in request.labels",
      { labels: { a: "b" } },
    ],
    ["!('constructor' in request.labels) && !has(request.labels.__proto__)", { labels: { a: "b" } }],
    ["request.spots_by_number[5].name == 'x'", { spotsByNumber: { 5: { name: "x" } } }],
    ["request.spot.name == '' && !has(request.spot)", {}],
    ["!has(request.note) && request.note == ''", {}],
    ["request.remark == 'a'", { remark: "a" }],
    ["request.remark == null", {}],
    ["has(request.remark) && request.remark < 'b'", { remark: "a" }],
    ["request.limit == 5", { limit: 5n }],
    ["request.attributes['a'] == 'b'", { attributes: { a: "b" } }],
    ["has(request.attachment)", { attachment: anyPack(rules.SpotSchema, create(rules.SpotSchema)) }],
    ["has(request.named) && !has(request.measured)", { datum: { case: "named", value: "" } }],
    ["type(request.ship) == int && type(request.spot) == Spot", {}],
  ])("%s", (source, request) => {
    expect(holds(source, tide, request)).toBe(true);
  });

  test("of proto2: defaults, groups, closed enums", () => {
    const { ListEntriesRequestSchema, EntrySchema } = pubLegacy;
    expect(holds("request.currency == 'EUR' && !has(request.currency)", ListEntriesRequestSchema, {})).toBe(
      true,
    );
    expect(holds("request.page_size == 20", ListEntriesRequestSchema, {})).toBe(true);
    expect(holds("request.party.name == 'x'", EntrySchema, { id: "a", party: { name: "x" } })).toBe(true);
    expect(holds("request.kind == Kind.KIND_DEBIT", EntrySchema, { id: "a" })).toBe(true);
  });

  test("of editions", () => {
    expect(holds("request.edition == 1 && request.title == ''", pubCatalog.SheetSchema, {})).toBe(true);
    expect(holds("request.gutter.width > 3", pubCatalog.SheetSchema, { gutter: { width: 4 } })).toBe(true);
  });

  test("of a whole crate", () => {
    const source = "request.main_hazard == Hazard.HAZARD_FLAMMABLE && request.handling == 'x'";
    expect(problems(source, pub.CrateSchema)).toEqual([
      "request.handling: acme.api.warehouse.v1.Crate has no field handling",
    ]);
    expect(holds("request.thaw_time > duration('1s')", pub.CrateSchema, {})).toBe(false);
  });
});

describe("what makes no sense keeps the gateway from starting", () => {
  test.each<[string, string]>([
    [
      "request.placce == 'a'",
      "request.placce: acme.api.rules.v1.GetTideRequest has no field placce; did you mean place?",
    ],
    [
      "request.spot.nam == 'a'",
      "request.spot.nam: acme.api.rules.v1.Spot has no field nam; did you mean name?",
    ],
    [
      "request.spots[0].nam == 'a'",
      "request.spots[0].nam: acme.api.rules.v1.Spot has no field nam; did you mean name?",
    ],
    [
      "request.spots_by_number[1].nam == 'a'",
      "request.spots_by_number[1].nam: acme.api.rules.v1.Spot has no field nam; did you mean name?",
    ],
    ["has(request.placce)", "acme.api.rules.v1.GetTideRequest has no field placce; did you mean place?"],
    ["request.place.a == 'a'", "request.place.a: a value of type string has no field a"],
    ["request.attachment.name == 'a'", "a value of type google.protobuf.Any has no field name"],
    [
      "requst.place == 'a'",
      "is not known here: a condition reads principal, request, now; did you mean request?",
    ],
    ["request.size == Size.SIZE_HUGE", "Size.SIZE_HUGE: is not known here"],
    ["principal.subjct == 'a'", "but no subjct; did you mean subject?"],
    ["principal == 'a'", "principal: is no value by itself"],
    ["principal['subject'] == 'a'", "principal: is no value by itself"],
    ["principal.hass('a.read')", "the principal has no function hass(); did you mean has?"],
    ["principal.kind == 'robot'", '"robot" is not one of "anonymous", "token", "api_key", "certificate"'],
    ["principal.kind in ['robot']", '"robot" is not one of'],
    ["request.ship == '5'", "a value of type int never equals one of type string"],
    ["'5' in request.ships", "a value of type string never equals one of type int"],
    ["request.remark == 5", "a value of type string never equals one of type int"],
    [
      "request.size == 'SIZE_LARGE'",
      "a value of type Size never equals one of type string; write Size.SIZE_LARGE",
    ],
    ["now < 5", "< cannot be applied to (google.protobuf.Timestamp, int)"],
    ["request.place.startsWith(5)", "startsWith() cannot be applied to string.(int)"],
    ["request.place.matched('a')", "there is no function matched(); did you mean matches?"],
    ["request.place['a'] == 'a'", "a value of type string has nothing at an index of type string"],
    ["request.place", "gives a value of type string, but must be true or false"],
    ["request.place && true", "needs true or false, not a value of type string"],
    ["request.place ? true : request.precise", "needs true or false, not a value of type string"],
    ["has(request)", "has() takes a field, such as has(request.field)"],
    ["request.place.all(x, true)", "nothing can go through a value of type string"],
    ["principal.subject.matches('(')", "never gives a value: error parsing regexp"],
    ["principal.subject.matches(request.note)", "matches() needs a pattern that is written out"],
    ["request.window < duration('1hh')", 'duration("1hh"): never gives a value'],
    ["request.spot == Spot{name: 'a'}", "makes a message: compare its fields one by one"],
    ["request.remark < 'b'", "fails for some calls: found no matching overload"],
    ["dyn(request.place) < 5", "fails for some calls: found no matching overload"],
    ["true", "is true for every call"],
    ["true || request.precise", "is true for every call"],
    ["request.precise && false", "is false for every call"],
    ["[1, 2].exists(x, x == 2)", "is true for every call"],
    ["1 +", "is not CEL, as cel.dev describes it: 1:3"],
    ["", "is not CEL"],
  ])("%s", (source, problem) => {
    expect(problems(source)).toEqual([expect.stringContaining(problem)]);
  });

  test("all of it at once", () => {
    expect(problems("request.plac == 'a' || principal.has('A') || now < 5")).toHaveLength(3);
  });
});

describe("loops and patterns", () => {
  test.each<[string, MessageInitShape<typeof duties>, boolean]>([
    ["request.duties.all(duty, duty in principal.roles)", { duties: ["reader", "keeper"] }, true],
    ["request.duties.all(duty, duty in principal.roles)", { duties: ["reader", "admin"] }, false],
    ["request.duties.exists(duty, duty == principal.subject)", { duties: ["eve", "ada"] }, true],
    ["request.duties.exists_one(duty, duty == 'a')", { duties: ["a", "a"] }, false],
    ["size(request.duties.filter(duty, duty != 'a')) == 1", { duties: ["a", "b"] }, true],
    ["'ax' in request.duties.map(duty, duty + 'x')", { duties: ["a"] }, true],
    ["request.watches.all(name, request.watches[name] == 'a')", { watches: { x: "a" } }, true],
    ["request.posts.all(post, post.depth > 1 && size(post.inner) == 0)", { posts: [{ depth: 2 }] }, true],
    ["request.watch.duties.all(duty, duty == request.text)", { watch: { duties: ["a"] }, text: "a" }, true],
    ["['a', 'b'].exists(text, text == request.text)", { text: "b" }, true],
    ["principal.roles.exists(role, role.startsWith('read'))", {}, true],
    ["request.motto.matches('^[a-z]+$')", { motto: "abc" }, true],
    ["request.signs.all(sign, sign.matches('^[a-z]+$'))", { signs: ["ab", "c"] }, true],
    ["request.signs.exists(sign, sign.contains('aab'))", { signs: ["ab", "aaab"] }, true],
    ["request.motto.contains('aab')", { motto: "aaab" }, true],
    ["request.motto.contains(request.sign)", { motto: "abcd", sign: "bc" }, true],
    ["principal.subject.contains(request.text)", { text: "d" }, true],
    ["request.duties.all(duty, 'ada'.contains(duty))", { duties: ["d", "a"] }, true],
    ["request.text.startsWith(request.motto)", { text: "abc", motto: "ab" }, true],
    ["int(request.motto) == 5 && double(request.remark) == 0.5", { motto: "5", remark: "0.5" }, true],
    ["int(request.posts[0].depth) == 5 && uint(1.5) == 1u", { posts: [{ depth: 5 }] }, true],
    ["timestamp(request.motto) < now", { motto: "2026-01-01T00:00:00Z" }, true],
    ["now.getHours(request.sign) == 13", { sign: "Europe/Paris" }, true],
    ["request.times.all(time, time.getFullYear() == 1970)", { times: [{ seconds: 1n }] }, true],
    ["request.posts.all(post, int(post.depth) + post.depth == 4)", { posts: [{ depth: 2 }] }, true],
    [
      "request.posts.map(post, post.depth).exists(depth, depth + depth == 4)",
      { posts: [{ depth: 2 }] },
      true,
    ],
    ["request.signs.map(sign, sign + sign).exists(sign, sign == 'abab')", { signs: ["ab"] }, true],
    [
      "request.signs.map(sign, sign.size() > 1, sign + 'x').exists(sign, sign == 'abx')",
      { signs: ["ab"] },
      true,
    ],
    ["size(([] + request.duties).filter(duty, duty != 'a')) == 1", { duties: ["a", "b"] }, true],
  ])("%s", (source, request, expected) => {
    expect(holds(source, duties, request)).toBe(expected);
  });

  test.each<[string, string]>([
    ["request.names.all(name, name == 'a')", "any number of items"],
    ["request.extras.all(extra, extra == 'a')", "goes through 501 items"],
    ["request.unseen.duties.all(duty, duty == 'a')", "any number of items"],
    ["(request.duties + request.duties).all(duty, duty == 'a')", "goes through 1000 items"],
    ["request.posts[0].inner.all(post, post.name == 'a')", "any number of items"],
    ["request.posts.map(post, post.inner)[0].all(post, post.name == 'a')", "any number of items"],
    ["dyn(request.watch).duties.all(duty, duty == 'a')", "any number of items"],
    ["[request.watch, request.unseen][0].duties.all(duty, duty == 'a')", "any number of items"],
    [
      "(request.text == '' ? request.watch : request.unseen).duties.all(duty, duty == 'a')",
      "any number of items",
    ],
    ["request.duties.all(a, request.duties.exists(b, a == b))", "is a loop in a loop"],
    ["request.posts.all(post, post.inner.all(inner, inner.name == ''))", "is a loop in a loop"],
    ["request.duties.all(duty, duty in request.names)", "does the same work in each round"],
    ["request.duties.all(duty, request.text.contains(duty))", "does the same work in each round"],
    ["request.duties.all(duty, size(request.text) > 5)", "does the same work in each round"],
    ["request.duties.all(duty, request.motto.matches('a'))", "does the same work in each round"],
    ["request.text.matches('a')", "goes through any number of characters"],
    ["(request.motto + request.motto).matches('a')", "goes through 20000 characters"],
    [
      "request.duties.all(duty, duty.matches('a'))",
      "goes through any number of characters in each of 500 rounds",
    ],
    [
      "request.signs.filter(sign, sign != '').map(sign, sign + sign).all(sign, sign.matches('a'))",
      "goes through 400 characters in each of 50 rounds",
    ],
    ["request.text.contains('aab')", "goes through any number of characters"],
    ["'a' == request.text || dyn(request.motto).contains('a')", "goes through any number of characters"],
    ["request.motto.contains(request.text)", "searches for any number of characters"],
    ["request.motto.contains(request.motto)", "searches for 10000 characters"],
    [
      "request.duties.all(duty, duty.contains('aab'))",
      "goes through any number of characters in each of 500",
    ],
    ["request.duties.all(duty, request.motto.contains(duty))", "does the same work in each round"],
    ["int(request.text) == 5", "goes through any number of characters"],
    ["uint(request.text) == 5u", "goes through any number of characters"],
    ["double(request.text) == 5.0", "goes through any number of characters"],
    ["bool(request.text)", "goes through any number of characters"],
    ["timestamp(request.text) < now", "goes through any number of characters"],
    ["duration(request.text) < duration('1s')", "goes through any number of characters"],
    ["now.getHours(request.text) == 5", "goes through any number of characters"],
    [
      "request.duties.exists(duty, int(duty) == 5)",
      "goes through any number of characters in each of 500 rounds",
    ],
    [
      "request.times.all(time, time.getHours('Europe/Paris') == 5)",
      "looks into a time zone in each of 500 rounds",
    ],
    [
      "request.duties.map(duty, duty + duty).exists(duty, duty == 'a')",
      "puts together any number of characters",
    ],
    [
      "request.signs.map(a, a + a).map(b, b + b).map(c, c + c).map(d, d + d).exists(e, e == 'a')",
      "puts together 3200 characters or items in each of 50 rounds",
    ],
    [
      "request.posts.all(post, size(post.inner + post.inner) > 1)",
      "puts together any number of characters or items",
    ],
    ["request.unseen.name.matches('a')", "goes through any number of characters"],
    ["request.duties.all(duty, request.watch == request.unseen)", "does the same work in each round"],
    ["request.duties.all(request, request == 'a')", "request has a meaning already"],
    ["request.posts.all(post, post.nam == 'a')", "acme.api.rules.v1.Spot has no field nam"],
  ])("that take too long, or go wrong: %s", (source, problem) => {
    expect(problems(source, duties)).toEqual([expect.stringContaining(problem)]);
  });

  test("name the rule that a field needs", () => {
    expect(problems("request.labels.all(label, label == 'a')")).toEqual([
      'request.labels.all(label, label == "a"): goes through any number of items, which takes too long for a long request: give the field the rule (buf.validate.field).map.max_pairs = 500, or less',
    ]);
    expect(problems("request.duties.all(duty, duty.matches('a'))", duties)).toEqual([
      'duty.matches("a"): goes through any number of characters in each of 500 rounds, which takes too long for a long request: give the field the rule (buf.validate.field).string.max_len = 20, or less, or repeated.items.string.max_len for the items of a list',
    ]);
    expect(problems("request.motto.contains(request.text)", duties)).toEqual([
      "request.motto.contains(request.text): searches for any number of characters, which takes too long for a long request: write them out, or give their field the rule (buf.validate.field).string.max_len = 1000, or less",
    ]);
  });
});

test("the time of every function that there is was thought of", () => {
  const expr = parse("true").expr;
  if (expr === undefined) throw new Error("nothing was parsed");
  const { env } = checkCondition({ ...parse("true"), expr }, tide);
  const names = new Set([...env.funcs].map(({ name }) => name).filter((name) => /^[a-zA-Z]/.test(name)));
  // A new one may search, split or repeat a text: see cost.ts.
  expect([...names].filter((name) => !/^get[A-Z]/.test(name)).sort()).toEqual(
    [
      "bool",
      "bytes",
      "contains",
      "double",
      "duration",
      "dyn",
      "endsWith",
      "int",
      "matches",
      "size",
      "startsWith",
    ].concat(["string", "timestamp", "type", "uint"]),
  );
});

describe("never throws", () => {
  test("for a text that is no number", () => {
    const result = holds("int(request.motto) == 1", duties, { motto: "x" });
    expect((result as Error).message).toMatch(/BigInt/);
  });

  test.each<[string, Tide, RegExp]>([
    ["request.ship / request.ship == 1", { ship: 0n }, /divide by zero/],
    ["request.stations[5] == 'a'", {}, /index|field not found/],
    ["request.labels['a'] == 'b'", {}, /field not found/],
  ])("%s", (source, request, message) => {
    const result = holds(source, tide, request);
    expect(result).toBeInstanceOf(Error);
    expect((result as Error).message).toMatch(message);
  });

  test("for a request of another type", () => {
    const { holds } = compileCondition("request.place == 'a'", tide);
    expect(holds(create(duties), ada, { has: () => true }, now)).toBeInstanceOf(Error);
  });
});
