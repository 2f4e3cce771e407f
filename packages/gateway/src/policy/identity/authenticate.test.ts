import { describe, expect, test } from "vitest";
import type { PublicError } from "../../errors.ts";
import { thrownBy } from "../../testing/call.ts";
import { authenticated } from "../../testing/principals.ts";
import { anonymous } from "../principal.ts";
import { createAuthenticate } from "./authenticate.ts";
import { unauthenticated } from "./unauthenticated.ts";

const byToken = authenticated("by-token");
const byKey = authenticated("by-key");
const byCertificate = authenticated("by-certificate");
const certificate = {
  authorized: true,
  commonName: "service",
  alternativeNames: undefined,
  expiresAt: Number.POSITIVE_INFINITY,
};
const authenticate = createAuthenticate({
  token: async (token) => {
    if (token === "good") return byToken;
    throw unauthenticated("CREDENTIALS_INVALID", "The token is not valid.");
  },
  apiKey: () => byKey,
  certificate: () => byCertificate,
});
const tokensOnly = createAuthenticate({ token: async () => byToken });
const who = (headers: Record<string, string>, given?: typeof certificate, from = authenticate) =>
  from({ headers: new Headers(headers), certificate: given });

describe("recognises a caller", () => {
  test("by a bearer token, in any case of its scheme", async () => {
    expect(await who({ authorization: "Bearer good" })).toBe(byToken);
    expect(await who({ authorization: "bearer  good" })).toBe(byToken);
  });

  test("by an API key", async () => {
    expect(await who({ "x-api-key": "ptk_1" })).toBe(byKey);
  });

  test("by its certificate, if it sends neither", async () => {
    expect(await who({}, certificate)).toBe(byCertificate);
    expect(await who({ authorization: "Bearer good" }, certificate)).toBe(byToken);
    expect(await who({ "x-api-key": "ptk_1" }, certificate)).toBe(byKey);
  });

  test("as nobody, if there is nothing to recognise it by", async () => {
    expect(await who({})).toBe(anonymous);
    expect(await who({}, certificate, tokensOnly)).toBe(anonymous);
  });
});

describe("refuses", () => {
  test.each<[string, Record<string, string>, string]>([
    ["a token and a key at once", { authorization: "Bearer good", "x-api-key": "ptk_1" }, "not both"],
    [
      "a token that is not valid, although a certificate would do",
      { authorization: "Bearer bad" },
      "not valid",
    ],
    ["another scheme", { authorization: "Basic YTpi" }, '"Bearer" and a token'],
    ["a scheme alone", { authorization: "Bearer" }, '"Bearer" and a token'],
    ["two tokens", { authorization: "Bearer good good" }, '"Bearer" and a token'],
    ["an empty header", { authorization: "" }, '"Bearer" and a token'],
  ])("%s", async (_, headers, message) => {
    const error = await thrownBy(who(headers, certificate));
    expect(error).toMatchObject({ reason: "CREDENTIALS_INVALID", message: expect.stringContaining(message) });
    expect((error as PublicError).metadata.get("www-authenticate")).toBe("Bearer");
  });

  test("an API key where none are taken, rather than to ignore it", async () => {
    expect(await thrownBy(who({ "x-api-key": "ptk_1" }, undefined, tokensOnly))).toMatchObject({
      reason: "CREDENTIALS_INVALID",
      message: expect.stringContaining("takes no API keys"),
    });
  });
});
