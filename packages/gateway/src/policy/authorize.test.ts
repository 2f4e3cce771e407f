import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { PublicError } from "../errors.ts";
import { thrownBy } from "../testing/call.ts";
import { authenticated } from "../testing/principals.ts";
import { pub } from "../testing/protos.ts";
import { warehouseService } from "../testing/warehouse.ts";
import { authorize, refuseOutsiders } from "./authorize.ts";
import { unauthenticated } from "./identity/unauthenticated.ts";
import type { MethodAccess } from "./method-policy.ts";
import { createMethodTable, type MethodEntry } from "./method-table.ts";
import { anonymous, type Principal } from "./principal.ts";
import type { Rights } from "./rights.ts";

const ada = authenticated("ada");
const bob = authenticated("bob");
const permission: MethodAccess = { kind: "permission", permissions: ["crates.read"] };
const both: MethodAccess = { kind: "permission", permissions: ["crates.use", "crates.read"] };
const rightsTo = (...permissions: readonly string[]): Rights => ({
  has: (permission) => permissions.includes(permission),
  audience: "public",
  key: permissions.join(),
});
const rights = (principal: Principal) => (principal === ada ? rightsTo("crates.read") : rightsTo());

describe("lets in", () => {
  test.each<[string, MethodAccess, Principal]>([
    ["anyone", { kind: "anonymous" }, anonymous],
    ["also with credentials", { kind: "anonymous" }, bob],
    ["anyone with credentials", { kind: "authenticated" }, bob],
    ["who has the permission", permission, ada],
  ])("%s", (_, access, principal) => {
    expect(authorize(entryOf({ access }), principal, rights(principal))).toBeUndefined();
  });

  test("a stranger to whom the permission is granted", () => {
    expect(authorize(entryOf({ access: permission }), anonymous, rightsTo("crates.read"))).toBeUndefined();
  });
});

describe("keeps out", () => {
  test.each<[string, MethodAccess, Principal, Code]>([
    ["a stranger where credentials are needed", { kind: "authenticated" }, anonymous, Code.Unauthenticated],
    ["a stranger where a permission is needed", permission, anonymous, Code.Unauthenticated],
    ["who has not the permission", permission, bob, Code.PermissionDenied],
    ["who has only one of two", both, ada, Code.PermissionDenied],
  ])("%s", async (_, access, principal, code) => {
    const error = await thrownBy(() => authorize(entryOf({ access }), principal, rights(principal)));
    expect(error).toBeInstanceOf(PublicError);
    expect(error).toMatchObject({ code });
    // Which permission it takes is nobody's business.
    expect(String(error)).not.toContain("crates.");
  });

  test("who may not read a field that must not be left out", async () => {
    const entry = entryOf({ access: { kind: "anonymous" }, refused: ["crates.weigh"] });
    expect(authorize(entry, ada, rightsTo("crates.weigh"))).toBeUndefined();
    expect(await thrownBy(() => authorize(entry, ada, rightsTo()))).toMatchObject({
      reason: "PERMISSION_MISSING",
    });
    expect(await thrownBy(() => authorize(entry, anonymous, rightsTo()))).toMatchObject({
      reason: "CREDENTIALS_MISSING",
    });
  });

  test("who is not in the audience, as if there were no such method", async () => {
    const entry = entryOf({ access: { kind: "anonymous" }, audience: "partner" });
    expect(refuseOutsiders(entry, { ...rightsTo(), audience: "partner" })).toBeUndefined();
    expect(refuseOutsiders(entry, { ...rightsTo(), audience: "internal" })).toBeUndefined();
    expect(await thrownBy(() => refuseOutsiders(entry, rightsTo()))).toMatchObject({
      code: Code.Unimplemented,
      rawMessage: "There is no method /acme.api.warehouse.v1.WarehouseService/GetCrate.",
    });
  });
});

test("the error for missing credentials says which kind would do", () => {
  const error = unauthenticated("CREDENTIALS_MISSING", "No.", "why");
  expect(error.metadata.get("www-authenticate")).toBe("Bearer");
  expect(error.cause).toEqual(new Error("why"));
});

interface Given {
  readonly access: MethodAccess;
  readonly audience?: Rights["audience"];
  readonly refused?: readonly string[];
}

function entryOf({ access, audience = "public", refused = [] }: Given): MethodEntry {
  const method = pub.WarehouseService.method.getCrate;
  const [entry] = createMethodTable([warehouseService]).values();
  if (entry === undefined) throw new Error("the service has no methods");
  const name = "acme.api.warehouse.v1.WarehouseService/GetCrate";
  return { ...entry, method, name, access, audience, guards: { ...entry.guards, refused } };
}
