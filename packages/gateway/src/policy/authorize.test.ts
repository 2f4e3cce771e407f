import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { PublicError } from "../errors.ts";
import { thrownBy } from "../testing/call.ts";
import { pub } from "../testing/protos.ts";
import { createAuthorize, unauthenticated } from "./authorize.ts";
import type { Access, MethodEntry } from "./method-table.ts";
import { anonymous, type Principal } from "./principal.ts";

const authorize = createAuthorize(
  (principal) => principal.kind === "authenticated" && principal.subject === "ada",
);
const ada: Principal = { kind: "authenticated", subject: "ada", roles: [] };
const bob: Principal = { kind: "authenticated", subject: "bob", roles: [] };
const permission: Access = { kind: "permission", permission: "crates.read" };

describe("lets in", () => {
  test.each<[string, Access, Principal]>([
    ["anyone", { kind: "anonymous" }, anonymous],
    ["also with credentials", { kind: "anonymous" }, bob],
    ["anyone with credentials", { kind: "authenticated" }, bob],
    ["who has the permission", permission, ada],
  ])("%s", (_, access, principal) => {
    expect(authorize(entryOf(access), principal)).toBeUndefined();
  });

  test("a stranger to whom the permission is granted", () => {
    expect(createAuthorize(() => true)(entryOf(permission), anonymous)).toBeUndefined();
  });
});

describe("keeps out", () => {
  test.each<[string, Access, Principal, Code]>([
    ["a stranger where credentials are needed", { kind: "authenticated" }, anonymous, Code.Unauthenticated],
    ["a stranger where a permission is needed", permission, anonymous, Code.Unauthenticated],
    ["who has not the permission", permission, bob, Code.PermissionDenied],
  ])("%s", async (_, access, principal, code) => {
    const error = await thrownBy(() => authorize(entryOf(access), principal));
    expect(error).toBeInstanceOf(PublicError);
    expect(error).toMatchObject({ code });
    // Which permission it takes is nobody's business.
    expect(String(error)).not.toContain("crates.read");
  });
});

test("the error for missing credentials says which kind would do", () => {
  const error = unauthenticated("No.", new Error("why"));
  expect(error.metadata.get("www-authenticate")).toBe("Bearer");
  expect(error.cause).toEqual(new Error("why"));
});

function entryOf(access: Access): MethodEntry {
  const method = pub.WarehouseService.method.getCrate;
  return {
    method,
    name: "acme.api.warehouse.v1.WarehouseService/GetCrate",
    access,
    required: () => undefined,
    handler: () => ({}),
  };
}
