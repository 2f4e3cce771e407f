import { describe, expect, test } from "vitest";
import { thrownBy } from "../../testing/call.ts";
import { type ClientCertificate, createCertificateVerifier } from "./certificates.ts";

const start = Date.parse("2026-06-01T00:00:00Z");
const roles = {
  "spiffe://acme/billing": ["biller"],
  "billing.acme.example": ["host"],
  "Billing, night shift": ["person"],
};

function certificate(parts: Partial<ClientCertificate> = {}): ClientCertificate {
  return {
    authorized: true,
    commonName: "billing",
    alternativeNames: "URI:spiffe://acme/billing",
    expiresAt: start + 1_000,
    ...parts,
  };
}

const verify = createCertificateVerifier(() => roles, { now: () => start });

describe("a certificate that is valid", () => {
  test("is a caller with the roles of its name", () => {
    expect(verify(certificate())).toEqual({
      kind: "certificate",
      id: '["certificate","certificates","spiffe://acme/billing"]',
      subject: "spiffe://acme/billing",
      issuer: "certificates",
      tenant: undefined,
      roles: ["biller"],
    });
  });

  test.each<[string, Partial<ClientCertificate>, string, string[]]>([
    [
      "the first URI before everything else",
      { alternativeNames: "DNS:billing.acme.example, email:a@acme.example, URI:urn:acme:1, URI:urn:acme:2" },
      "urn:acme:1",
      [],
    ],
    [
      "the first DNS name if there is no URI, in lower case",
      { alternativeNames: "IP Address:10.0.0.1, DNS:Billing.ACME.example, DNS:other.example" },
      "billing.acme.example",
      ["host"],
    ],
    [
      "the CN if there is neither",
      { alternativeNames: undefined, commonName: "Billing, night shift" },
      "Billing, night shift",
      ["person"],
    ],
    ["the CN beside other kinds", { alternativeNames: "email:a@acme.example" }, "billing", []],
  ])("is named by %s", (_, parts, subject, rolesOfIt) => {
    expect(verify(certificate(parts))).toMatchObject({ subject, roles: rolesOfIt });
  });

  test.each(["constructor", "__proto__", "toString"])("has no roles by the name %s", (commonName) => {
    expect(verify(certificate({ alternativeNames: undefined, commonName })).roles).toEqual([]);
  });

  test("is the same object each time, until the access file changes", () => {
    let from: Record<string, readonly string[]> = roles;
    const verify = createCertificateVerifier(() => from, { now: () => start });
    const one = certificate();
    const before = verify(one);
    expect(verify(one)).toBe(before);
    from = { "spiffe://acme/billing": [] };
    expect(verify(one)).toMatchObject({ subject: before.subject, roles: [] });
  });
});

describe("a certificate that is not valid", () => {
  test.each<[string, Partial<ClientCertificate>]>([
    ["of another CA", { authorized: false, problem: "UNABLE_TO_VERIFY_LEAF_SIGNATURE" }],
    ["of no known fault", { authorized: false }],
    ["whose dates cannot be read, of another CA", { authorized: false, expiresAt: Number.NaN }],
    ["without a name", { alternativeNames: undefined, commonName: undefined }],
    ["with an empty name", { alternativeNames: undefined, commonName: "" }],
    ["with a CN like a URI", { alternativeNames: undefined, commonName: "spiffe://acme/billing" }],
    ["with a CN like another URI", { alternativeNames: "", commonName: "urn:acme:1" }],
    ["with a control character", { alternativeNames: undefined, commonName: "billing\0" }],
    ["with a character that turns the line", { alternativeNames: undefined, commonName: "a\u202eb" }],
    ["with an outer space", { alternativeNames: undefined, commonName: "billing " }],
    ["with a very long CN", { alternativeNames: undefined, commonName: "b".repeat(257) }],
    ["with a quoted name", { alternativeNames: 'URI:"spiffe://acme/x\\u002c URI:spiffe://acme/billing"' }],
    [
      "with a quoted name after a plain one",
      { alternativeNames: 'URI:spiffe://acme/billing, DNS:"a\\u0000b"' },
    ],
    ["with a quote inside", { alternativeNames: 'URI:spiffe://acme/"billing' }],
    ["with an unknown kind of name", { alternativeNames: "URL:spiffe://acme/billing" }],
    ["with a piece that has no kind", { alternativeNames: "URI:spiffe://acme/x, spiffe://acme/billing" }],
    ["with a comma but no space", { alternativeNames: "URI:spiffe://acme/x,URI:spiffe://acme/billing" }],
    ["with a line break", { alternativeNames: "URI:spiffe://acme/billing\n" }],
    ["with a URI without scheme", { alternativeNames: "URI:billing" }],
    ["with an empty URI, though it has a CN", { alternativeNames: "URI:" }],
    ["with a URI with a space", { alternativeNames: "URI:spiffe://acme/bil ling" }],
    ["with a URI beyond ASCII", { alternativeNames: "URI:spiffe://acme/b\u0456lling" }],
    ["with two SPIFFE ids", { alternativeNames: "URI:spiffe://acme/billing, URI:spiffe://acme/x" }],
    [
      "with a SPIFFE id behind another URI",
      { alternativeNames: "URI:urn:acme:1, URI:SPIFFE://acme/billing" },
    ],
    ["with a wildcard", { alternativeNames: "DNS:*.acme.example" }],
    ["with a DNS name with a dot too many", { alternativeNames: "DNS:billing..example" }],
    ["with a very long DNS name", { alternativeNames: `DNS:${"a.".repeat(200)}b` }],
  ])("is refused: %s", async (_, parts) => {
    const error = await thrownBy(() => verify(certificate(parts)));
    expect(error).toMatchObject({
      reason: "CREDENTIALS_INVALID",
      rawMessage: "The client certificate is not valid.",
      cause: { message: expect.stringMatching(/^the client certificate was refused: /) },
    });
  });

  test.each<[string, Partial<ClientCertificate>]>([
    ["before the connection began", { authorized: false, problem: "CERT_HAS_EXPIRED", expiresAt: start - 1 }],
    ["while the connection was open", { expiresAt: start }],
    ["at a time that cannot be read", { expiresAt: Number.NaN }],
  ])("is said to have expired: %s", async (_, parts) => {
    expect(await thrownBy(() => verify(certificate(parts)))).toMatchObject({
      reason: "CREDENTIALS_EXPIRED",
      rawMessage: "The client certificate has expired.",
    });
  });

  test("expires also for a caller that was known before", () => {
    let now = start;
    const verify = createCertificateVerifier(() => roles, { now: () => now });
    const one = certificate();
    expect(verify(one).roles).toEqual(["biller"]);
    now += 1_000;
    expect(() => verify(one)).toThrow("The client certificate has expired.");
  });
});
