import { pino } from "pino";
import { describe, expect, test } from "vitest";
import { describeError } from "./describe-error.ts";

const jwt = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl";
const key = `ptk_abcdefghijkl_${"aB3_-".repeat(9).slice(0, 43)}`;

describe("takes out", () => {
  test.each([
    ["no row for ada.l+x@mail.acme.example", "no row for (email)"],
    ["mailto:BOB@ACME.EXAMPLE.", "mailto:(email)."],
    ["jürgen@bücher.example, o'neil@acme.example", "(email), (email)"],
    [`token ${jwt} is old`, "token (token) is old"],
    [`"${jwt.slice(0, 40)}..."`, '"(token)"'],
    [`eyJhbGciOiJSU0EtT0FFUCJ9.a.b.c.d`, "(token)"],
    [`authorization: Bearer ${jwt}`, "authorization: Bearer (secret)"],
    ["bearer  opaque-token/12=, and more", "bearer (secret), and more"],
    ["Basic YWRhOnNlY3JldA==", "Basic (secret)"],
    [`the key ${key}!`, "the key ptk_abcdefghijkl_(secret)!"],
  ])("%s", (text, rest) => {
    expect(describeError(new Error(text))["message"]).toBe(rest);
    expect(describeError(text)).toEqual({ message: rest });
    expect(describeError(new Error("outer", { cause: new Error(text) }))["stack"]).toContain(rest);
  });
});

test.each([
  "a bearer token was refused",
  "the basic rules",
  "user @ home, 5@6, a@b",
  "the API key abcdefghijkl was revoked",
  "at file:///node_modules/.pnpm/@scope+pack@2.2.0/node_modules/@scope/pack/index.js:88:23",
])("leaves alone: %s", (text) => {
  expect(describeError(text)).toEqual({ message: text });
});

test.each(["a", "a@", "eyJ", "eyJ-", "ptk_", "bearer ", "a.", "@a.", "eyJaaaaaaaa."])(
  "takes no time to speak of for what repeats %j",
  (part) => {
    // What grows with the square of the length would take minutes for this.
    expect(describeError(part.repeat(1_000_000 / part.length))).toHaveProperty("message");
  },
);

test("serves as pino's serializer", () => {
  const lines: string[] = [];
  const log = pino({ serializers: { err: describeError } }, { write: (line) => void lines.push(line) });
  log.warn({ err: Object.assign(new Error(`for ${jwt}`), { claims: "canary" }) }, "failed");
  expect(JSON.parse(lines[0] ?? "").err).toEqual({
    type: "Error",
    message: "for (token)",
    stack: expect.stringContaining("for (token)"),
  });
});
