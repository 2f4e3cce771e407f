import { describe, expect, test } from "vitest";
import { authenticated } from "../testing/principals.ts";
import { parseAccess } from "./access.ts";
import { anonymous, type Principal } from "./principal.ts";
import { createRightsOf } from "./rights.ts";

const access = parseAccess(
  JSON.stringify({
    roles: { admin: ["*"], reader: ["crates.read"], crates: ["crates.*"], none: [], guest: [], staff: [] },
    anonymous: ["status.read"],
    authenticated: ["profile.read"],
    audiences: { partner: ["guest"], internal: ["staff"] },
  }),
  "access.json",
);
const rightsOf = createRightsOf(access, "version");
const ada = (...roles: string[]) => authenticated("ada", ...roles);

describe("the rights of a caller", () => {
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
    expect(rightsOf(principal).has(permission)).toBe(granted);
  });
});

describe("the key of rights", () => {
  const keyOf = (principal: Principal, of = rightsOf) => of(principal).key;

  test("is the same for the same roles, in whatever order and with whatever others that mean nothing", () => {
    expect(keyOf(ada("reader", "none"))).toBe(keyOf(ada("none", "unknown", "reader")));
    expect(rightsOf(ada("reader"))).toBe(rightsOf(authenticated("bob", "reader")));
  });

  test("differs for other roles, for strangers, and once the file has changed", () => {
    const keys = [ada(), ada("reader"), ada("reader", "none"), anonymous].map((it) => keyOf(it));
    expect(new Set(keys).size).toBe(keys.length);
    expect(keyOf(ada("reader"), createRightsOf(access, "another"))).not.toBe(keyOf(ada("reader")));
  });

  test("cannot be made up by the name of a role", () => {
    const odd = parseAccess(JSON.stringify({ roles: { 'a","b': [], a: [], b: [] } }), "access.json");
    const of = createRightsOf(odd, "version");
    expect(keyOf(ada('a","b'), of)).not.toBe(keyOf(ada("a", "b"), of));
  });
});

test.each<[string, Principal, string]>([
  ["a stranger", anonymous, "public"],
  ["who has no role that says more", ada("admin"), "public"],
  ["a partner", ada("guest"), "partner"],
  ["the company itself", ada("guest", "staff"), "internal"],
])("the audience of %s", (_, principal, audience) => {
  expect(rightsOf(principal).audience).toBe(audience);
});
