import { describe, expect, test } from "vitest";
import { StartError } from "../errors.ts";
import { messageOf, thrownBy } from "../testing/call.ts";
import { type Access, createGrants, parseAccess } from "./access.ts";
import { anonymous, type Principal } from "./principal.ts";

describe("parseAccess", () => {
  test("reads roles; anonymous and authenticated may be left out", () => {
    expect(parseAccess('{ "roles": { "support": ["crates.*", "ledger.read"], "all": ["*"] } }', "f")).toEqual(
      {
        roles: { support: ["crates.*", "ledger.read"], all: ["*"] },
        anonymous: [],
        authenticated: [],
      },
    );
  });

  test("lists every problem with its place", async () => {
    const text =
      '{ "roles": { "a": ["Crates.read", "crates.*.read"], "b": "x" }, "anonymous": ["cr*"], "admins": [] }';
    const error = await thrownBy(() => parseAccess(text, "access.json"));
    expect(error).toBeInstanceOf(StartError);
    expect((error as StartError).problems).toEqual([
      "access.json: roles.a.0: must be like orders.read, orders.* or *",
      "access.json: roles.a.1: must be like orders.read, orders.* or *",
      "access.json: roles.b: Invalid input: expected array, received string",
      "access.json: anonymous.0: must be like orders.read, orders.* or *",
      'access.json: the file: Unrecognized key: "admins"',
    ]);
  });

  test.each(["", "{", "null", "[]", '"text"', "{}"])("refuses %j", async (text) => {
    expect(await messageOf(() => parseAccess(text, "access.json"))).toContain("access.json");
  });
});

describe("createGrants", () => {
  const access: Access = {
    roles: { admin: ["*"], reader: ["crates.read"], crates: ["crates.*"], none: [] },
    anonymous: ["status.read"],
    authenticated: ["profile.read"],
  };
  const grants = createGrants(access);
  const ada = (...roles: string[]): Principal => ({ kind: "authenticated", subject: "ada", roles });

  test.each<[string, Principal, string, boolean]>([
    ["* grants everything", ada("admin"), "crates.read", true],
    ["a permission grants itself", ada("reader"), "crates.read", true],
    ["and nothing longer", ada("reader"), "crates.read.all", false],
    ["nor shorter", ada("reader"), "crates", false],
    ["x.* grants x.y", ada("crates"), "crates.store", true],
    ["and x.y.z", ada("crates"), "crates.store.now", true],
    ["but not x", ada("crates"), "crates", false],
    ["nor what merely begins like x", ada("crates"), "cratesman.read", false],
    ["nor what has x inside", ada("crates"), "my.crates.read", false],
    ["any of several roles", ada("none", "reader"), "crates.read", true],
    ["no role", ada(), "crates.read", false],
    ["an unknown role", ada("root"), "crates.read", false],
    ["a role named as a property of every object", ada("constructor", "__proto__"), "crates.read", false],
    ["what comes with credentials", ada(), "profile.read", true],
    ["what is for strangers is not for the authenticated", ada(), "status.read", false],
    ["what is for strangers", anonymous, "status.read", true],
    ["what needs credentials", anonymous, "profile.read", false],
  ])("%s", (_, principal, permission, granted) => {
    expect(grants(principal, permission)).toBe(granted);
  });
});
