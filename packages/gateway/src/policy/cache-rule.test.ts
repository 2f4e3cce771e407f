import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { canonicalBytes } from "../canonical-bytes.ts";
import { pub } from "../testing/protos.ts";
import { type CachedMethod, type CacheRule, cacheKey, cacheProblems } from "./cache-rule.ts";
import { type Authenticated, anonymous, type Principal, principalId } from "./principal.ts";

const rule = (scope: CacheRule["scope"]): CacheRule => ({ ttlMs: 1_000, staleMs: 0, scope });

describe("at the start", () => {
  const { getStatus, getCrate, watchCrates } = pub.WarehouseService.method;
  const problemsOf = (parts: Partial<CachedMethod>) =>
    cacheProblems({
      method: getStatus,
      rule: rule("principal"),
      conditions: [],
      guardedFields: [],
      ...parts,
    });
  const source = "request.code == principal.subject";
  const ofCaller = { source, readsPrincipal: true };
  const ofRequest = { source: "request.code != ''", readsPrincipal: false };
  const guardedFields = [pub.CrateSchema.field.note, pub.KeeperSchema.field.name];

  test.each(["public", "tenant", "principal"] as const)(
    "scope %s will do for what is the same for all",
    (scope) => {
      expect(problemsOf({ rule: rule(scope), conditions: [ofRequest] })).toEqual([]);
    },
  );

  test("a method that may have side effects is told what to write", () => {
    expect(problemsOf({ method: getCrate })).toEqual([
      [
        "acme.api.warehouse.v1.WarehouseService.GetCrate has a cache, but does not say that a call changes nothing. If so, write into the rpc, in acme/api/warehouse/v1/warehouse_service.proto:",
        "  option idempotency_level = NO_SIDE_EFFECTS;",
        "If not, leave out cache",
      ].join("\n"),
    ]);
  });

  test("a stream has no cache", () => {
    expect(problemsOf({ method: watchCrates })).toEqual([
      "acme.api.warehouse.v1.WarehouseService.WatchCrates has a cache, but is a stream, of which nothing is kept: leave out cache",
    ]);
  });

  test.each(["public", "tenant"] as const)(
    "scope %s is refused where the answer depends on the caller",
    (scope) => {
      const scopeName = `SCOPE_${scope.toUpperCase()}`;
      const begin = `acme.api.warehouse.v1.WarehouseService.GetStatus has a cache, but ${scopeName} does not fit:`;
      const end = "Write scope: SCOPE_PRINCIPAL, or nothing";
      expect(problemsOf({ rule: rule(scope), conditions: [ofRequest, ofCaller], guardedFields })).toEqual([
        `${begin} its condition depends on the caller: ${source}\n${end}`,
        `${begin} some may not read fields of its answer: acme.api.warehouse.v1.Crate.note, acme.api.warehouse.v1.Keeper.name\n${end}`,
      ]);
    },
  );

  test("scope principal will do for them", () => {
    expect(problemsOf({ conditions: [ofCaller], guardedFields })).toEqual([]);
  });

  test("all that is wrong is said at once", () => {
    expect(problemsOf({ method: getCrate, rule: rule("public"), guardedFields })).toHaveLength(2);
  });
});

describe("the key", () => {
  const ada: Authenticated = {
    kind: "token",
    id: principalId("token", "https://issuer.test", "ada"),
    subject: "ada",
    issuer: "https://issuer.test",
    tenant: "north",
    roles: ["reader"],
  };
  const bob: Authenticated = {
    ...ada,
    id: principalId("token", "https://issuer.test", "bob"),
    subject: "bob",
  };
  const rights = { key: "reader" };
  const request = canonicalBytes(pub.GetCrateRequestSchema, create(pub.GetCrateRequestSchema, { code: "a" }));
  const keyOf = (
    scope: CacheRule["scope"],
    principal: Principal,
    given = rights,
    name = "S/M",
    bytes = request,
  ) => cacheKey({ scope }, name, bytes, principal, given);
  const scopes = ["public", "tenant", "principal"] as const;

  test("is the same for the same, and tells nothing", () => {
    for (const scope of scopes) {
      const key = keyOf(scope, ada);
      expect(key).toMatch(/^[\w-]{43}$/);
      expect(keyOf(scope, { ...ada })).toBe(key);
    }
    expect(new Set(scopes.map((scope) => keyOf(scope, ada))).size).toBe(3);
  });

  test.each(scopes)(
    "of scope %s is another with other rights, for another method or another request",
    (scope) => {
      const other = Buffer.from("other");
      const keys = [
        keyOf(scope, ada),
        keyOf(scope, ada, { key: "writer" }),
        keyOf(scope, ada, rights, "S/N"),
        keyOf(scope, ada, rights, "S/M", other),
        keyOf(scope, ada, rights, "S/M", new Uint8Array()),
      ];
      expect(new Set(keys).size).toBe(keys.length);
    },
  );

  test("of scope principal is one caller's, in one tenant and with one set of roles", () => {
    const callers: Principal[] = [
      ada,
      bob,
      anonymous,
      { ...ada, id: principalId("api_key", "https://issuer.test", "ada"), kind: "api_key" },
      { ...ada, tenant: "south" },
      { ...ada, tenant: undefined },
      { ...ada, tenant: "" },
      { ...ada, roles: ["reader", "a role that the access file does not know"] },
      { ...ada, roles: [] },
    ];
    expect(new Set(callers.map((caller) => keyOf("principal", caller))).size).toBe(callers.length);
  });

  test("of scope tenant is shared within a tenant of one issuer", () => {
    expect(keyOf("tenant", bob)).toBe(keyOf("tenant", ada));
    const others: Principal[] = [ada, { ...ada, tenant: "south" }, { ...ada, issuer: "https://other.test" }];
    expect(new Set(others.map((caller) => keyOf("tenant", caller))).size).toBe(others.length);
  });

  test("of scope tenant is none for those without a tenant", () => {
    for (const caller of [anonymous, { ...ada, tenant: undefined }, { ...ada, tenant: "" }])
      expect(keyOf("tenant", caller)).toBeUndefined();
  });

  test("of scope public is everyone's", () => {
    expect(keyOf("public", bob)).toBe(keyOf("public", ada));
    expect(keyOf("public", anonymous)).toBe(keyOf("public", ada));
  });

  test("is another wherever the same text is parted in another way", () => {
    const parted = [
      keyOf("tenant", { ...ada, issuer: "a", tenant: "bc" }),
      keyOf("tenant", { ...ada, issuer: "ab", tenant: "c" }),
      keyOf("tenant", { ...ada, issuer: 'a","b', tenant: "c" }),
      keyOf("tenant", { ...ada, issuer: "a", tenant: 'b","c' }),
      keyOf("tenant", ada, { key: "x" }, "S/My"),
      keyOf("tenant", ada, { key: "yx" }, "S/M"),
      keyOf("public", ada, rights, "S/M", Buffer.from("]x")),
      keyOf("public", ada, rights, "S/M]", Buffer.from("x")),
    ];
    expect(new Set(parted).size).toBe(parted.length);
  });

  test("tells apart tenants whose names UTF-8 cannot", () => {
    expect(keyOf("tenant", { ...ada, tenant: "\ud800" })).not.toBe(
      keyOf("tenant", { ...ada, tenant: "\ud801" }),
    );
  });
});
