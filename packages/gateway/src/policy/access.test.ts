import { describe, expect, test } from "vitest";
import { StartError } from "../errors.ts";
import { messageOf, thrownBy } from "../testing/call.ts";
import { accessProblems, parseAccess } from "./access.ts";

describe("parseAccess", () => {
  test("reads roles; anonymous and authenticated may be left out", () => {
    expect(parseAccess('{ "roles": { "support": ["crates.*", "ledger.read"], "all": ["*"] } }', "f")).toEqual(
      {
        roles: { support: ["crates.*", "ledger.read"], all: ["*"] },
        anonymous: [],
        authenticated: [],
        audiences: { partner: [], internal: [] },
        certificates: {},
      },
    );
  });

  test("lists every problem with its place", async () => {
    const text =
      '{ "roles": { "a": ["Crates.read", "crates.*.read"], "b": "x" }, "anonymous": ["cr*"], "admins": [] }';
    const error = await thrownBy(() => parseAccess(text, "access.json"));
    expect(error).toBeInstanceOf(StartError);
    expect((error as StartError).problems).toEqual([
      "access.json: roles.a[0]: must be like orders.read, orders.* or *",
      "access.json: roles.a[1]: must be like orders.read, orders.* or *",
      "access.json: roles.b: Invalid input: expected array, received string",
      "access.json: anonymous[0]: must be like orders.read, orders.* or *",
      'access.json: the file: Unrecognized key: "admins"',
    ]);
  });

  test.each(["", "{", "null", "[]", '"text"', "{}"])("refuses %j", async (text) => {
    expect(await messageOf(() => parseAccess(text, "access.json"))).toContain("access.json");
  });
});

describe("refuses a role that is not there", () => {
  test.each([
    [
      '"audiences": { "partner": ["a", "b"] }',
      'access.json: audiences.partner: there is no role "b": the roles are a',
    ],
    [
      '"certificates": { "x": ["__proto__"] }',
      'access.json: certificates.x: there is no role "__proto__": the roles are a',
    ],
  ])("%s", async (text, problem) => {
    const error = await thrownBy(() => parseAccess(`{ "roles": { "a": [] }, ${text} }`, "access.json"));
    expect((error as StartError).problems).toEqual([problem]);
  });
});

describe("accessProblems", () => {
  const named = new Map([
    ["crates.read", "acme.Crates/Get"],
    ["crates.store", "acme.Crates/Store"],
  ]);
  const problems = (json: object) => accessProblems(parseAccess(JSON.stringify(json), "f"), named, "f");

  test("there are none if every permission is granted, by itself or by a pattern", () => {
    expect(problems({ roles: { a: ["crates.read"], b: ["crates.*"] } })).toEqual([]);
    expect(problems({ roles: { a: ["*"] } })).toEqual([]);
    expect(problems({ roles: {}, anonymous: ["crates.read"], authenticated: ["crates.store"] })).toEqual([]);
  });

  test("a permission or a pattern that nothing asks for is one", () => {
    expect(problems({ roles: { a: ["*", "crates.raed", "creates.*"] } })).toEqual([
      "f: roles.a: crates.raed is no permission of this API: it has crates.read, crates.store",
      "f: roles.a: creates.* is no permission of this API: it has crates.read, crates.store",
    ]);
  });

  test("a permission that nobody can have is one, where it is asked for", () => {
    expect(problems({ roles: { a: ["crates.read"] } })).toEqual([
      "acme.Crates/Store asks for crates.store, which no role in f grants: add it to a role, or mend the proto",
    ]);
  });

  test("so is one that the file does not list, if it has a list", () => {
    expect(problems({ permissions: { "crates.read": "See" }, roles: { a: ["*"] } })).toEqual([
      "acme.Crates/Store asks for crates.store, which f does not list under permissions: add it, or mend the proto",
    ]);
  });

  test("what the file lists is known, also if it is for another gateway", () => {
    const permissions = { "crates.read": "See", "crates.store": "Store", "ledger.read": "Elsewhere" };
    expect(problems({ permissions, roles: { a: ["*"], b: ["ledger.read"] } })).toEqual([]);
    expect(problems({ permissions, roles: { a: ["*"], b: ["ledger.raed"] } })).toHaveLength(1);
  });
});
