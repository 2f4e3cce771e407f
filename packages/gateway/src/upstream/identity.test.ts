import { describe, expect, test } from "vitest";
import { type Authenticated, anonymous } from "../policy/principal.ts";
import { authenticated } from "../testing/principals.ts";
import { identityHeaders } from "./identity.ts";
import type { IdentityFact } from "./upstream.ts";

const all: readonly IdentityFact[] = ["kind", "subject", "issuer", "tenant", "roles"];
const ada: Authenticated = { ...authenticated("ada", "admin", "support"), tenant: "acme" };

describe("what an upstream is told about the caller", () => {
  test("is what it asks for, and nothing else", () => {
    expect(identityHeaders([], ada)).toEqual({});
    expect(identityHeaders(["subject"], ada)).toEqual({ "x-portico-subject": "ada" });
    expect(identityHeaders(all, ada)).toEqual({
      "x-portico-kind": "token",
      "x-portico-subject": "ada",
      "x-portico-issuer": "https://id.example.com",
      "x-portico-tenant": "acme",
      "x-portico-roles": "admin,support",
    });
  });

  test("leaves out what there is not", () => {
    expect(identityHeaders(all, anonymous)).toEqual({ "x-portico-kind": "anonymous" });
    expect(identityHeaders(["tenant"], authenticated("bob"))).toEqual({});
  });

  test.each([
    ["Ada Lovelace", "Ada%20Lovelace"],
    ["ada@example.com", "ada@example.com"],
    ["Grüße, %", "Gr%C3%BC%C3%9Fe%2C%20%25"],
    ["a\r\nx-portico-roles: admin", "a%0D%0Ax-portico-roles:%20admin"],
    ["\u{1f600}\ud800", "%F0%9F%98%80%EF%BF%BD"],
  ])("can be written into a header, and read back: %j", (subject, encoded) => {
    const headers = identityHeaders(["subject", "roles"], authenticated(subject, subject, "b"));
    expect(headers).toEqual({ "x-portico-subject": encoded, "x-portico-roles": `${encoded},b` });
    expect(decodeURIComponent(encoded)).toBe(subject.toWellFormed());
    expect(new Headers(headers).get("x-portico-subject")).toBe(encoded);
  });
});
