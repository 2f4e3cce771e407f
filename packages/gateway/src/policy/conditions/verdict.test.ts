import { describe, expect, test } from "vitest";
import { authenticated } from "../../testing/principals.ts";
import { policy } from "../../testing/protos.ts";
import { anonymous, type Principal } from "../principal.ts";
import { conditionVerdict } from "./verdict.ts";

const verdict = (source: string, principal: Principal, ...granted: string[]) =>
  conditionVerdict(source, policy.TightenRequestSchema, principal, { has: (it) => granted.includes(it) });
const somebody = authenticated("ada", "clerk");
const own = "request.name == principal.subject";

describe("what holds for every call of a kind of caller", () => {
  test.each<[string, string[], boolean | undefined]>([
    [`${own} || principal.has('all.read')`, ["all.read"], true],
    [`principal.has('all.read') || ${own}`, ["all.read"], true],
    [`${own} || principal.has('all.read')`, [], undefined],
    [`${own} && principal.has('all.read')`, [], false],
    [`${own} && principal.has('all.read')`, ["all.read"], undefined],
    [`principal.has('all.read') ? ${own} : now < timestamp('2030-01-01T00:00:00Z')`, ["all.read"], undefined],
    ["'clerk' in principal.roles || request.name == ''", [], true],
    ["'boss' in principal.roles && request.name == ''", [], false],
    ["has(principal.subject) || request.name == ''", [], true],
  ])("%s with %j is %s", (source, granted, expected) => {
    expect(verdict(source, somebody, ...granted)).toBe(expected);
  });
});

describe("what depends on who they are", () => {
  test.each([
    own,
    "principal.subject == 'ada'",
    "principal.issuer == 'https://id.example.com'",
    "principal.kind == 'token'",
    "principal.tenant == 'acme'",
    "has(principal.tenant)",
    "!has(principal.tenant)",
    "principal.subject.startsWith('a')",
  ])("is not told by one of them: %s", (source) => {
    expect(verdict(source, somebody)).toBeUndefined();
  });
});

describe("callers without credentials are all alike", () => {
  test.each<[string, boolean | undefined]>([
    ["principal.kind == 'anonymous' || request.name == ''", true],
    ["principal.kind != 'anonymous' && request.name == ''", false],
    ["has(principal.subject) && request.name == principal.subject", false],
    ["has(principal.tenant) && request.name == ''", false],
    ["'clerk' in principal.roles && request.name == ''", false],
    ["request.name == ''", undefined],
  ])("%s is %s", (source, expected) => {
    expect(verdict(source, anonymous)).toBe(expected);
  });
});
