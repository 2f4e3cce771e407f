import { create } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { createMethodTable, entryOf } from "../policy/method-table.ts";
import { service } from "../service.ts";
import { gazette, policy, pub } from "../testing/protos.ts";
import { cacheControl, createTagOf, type Got, unlessKnown, varyWith } from "./conditional-get.ts";

const { readIssue, readLetter, readNotice } = gazette.GazetteService.method;
const text = () => ({ text: "" });
const methods = createMethodTable([
  service(gazette.GazetteService, {
    readIssue: text,
    readLetter: text,
    readReport: text,
    readNotice: text,
    readTicker: text,
  }),
]);

describe("a tag", () => {
  const issue = (prices: Record<string, bigint>, text = "news") =>
    create(gazette.ReadIssueResponseSchema, { text, prices });
  const tagOf = createTagOf(methods.keys());
  const tag = tagOf(readIssue, issue({ EUR: 1n }), "application/json");

  test("is weak, and the same for the same", () => {
    expect(tag).toMatch(/^W\/"[\w-]{22}"$/);
    expect(createTagOf(methods.keys())(readIssue, issue({ EUR: 1n }), "application/json")).toBe(tag);
  });

  test("is another one for another answer, format, type or proto", () => {
    const others = [
      tagOf(readIssue, issue({ EUR: 2n }), "application/json"),
      tagOf(readIssue, issue({ EUR: 1n }), "application/proto"),
      tagOf(readLetter, create(gazette.ReadLetterResponseSchema, { text: "news" }), "application/json"),
      tagOf(readNotice, create(gazette.ReadNoticeResponseSchema, { text: "news" }), "application/json"),
      createTagOf(pub.WarehouseService.methods)(readIssue, issue({ EUR: 1n }), "application/json"),
    ];
    expect(new Set([tag, ...others]).size).toBe(6);
  });
});

describe("cache-control", () => {
  const lifetime = { freshMs: 5_999, staleMs: 2_999 };
  const control = (method: keyof typeof gazette.GazetteService.method, parts: Partial<Got> = {}) =>
    cacheControl({
      entry: entryOf(methods, gazette.GazetteService.method[method]),
      requestHeaders: new Headers(),
      hasCertificate: false,
      lifetime,
      ...parts,
    });
  const withToken = new Headers({ authorization: "Bearer token" });
  const withKey = new Headers({ "x-api-key": "key" });

  test("lets everyone keep what is for everyone, in whole seconds", () => {
    expect(control("readIssue")).toBe("public, max-age=5, stale-while-revalidate=2");
    expect(control("readIssue", { lifetime: { freshMs: 0, staleMs: 0 } })).toBe("public, max-age=0");
  });

  test.each([
    ["is for one caller", control("readLetter")],
    ["needs a permission", control("readReport")],
    ["has a condition, which may no longer hold", control("readNotice")],
    ["was asked for with a token", control("readIssue", { requestHeaders: withToken })],
    ["was asked for with a key", control("readIssue", { requestHeaders: withKey })],
    [
      "was asked for with a token by who has a certificate too",
      control("readIssue", { requestHeaders: withToken, hasCertificate: true }),
    ],
  ])("lets the caller alone keep what %s, and ask each time", (_, given) => {
    expect(given).toBe("private, no-cache");
  });

  test("lets a method for everyone with credentials alone be kept by its caller", () => {
    const shared = createMethodTable([
      service(policy.SharedService, { forAll: () => ({}), forTenant: () => ({}), forOne: () => ({}) }),
    ]);
    const entry = entryOf(shared, policy.SharedService.method.forAll);
    expect(control("readIssue", { entry })).toBe("private, no-cache");
  });

  test.each([
    ["failed, is not whole, or is of a method without a cache", { lifetime: undefined }],
    ["is for who has nothing but a certificate", { hasCertificate: true }],
  ])("lets nobody keep what %s", (_, parts) => {
    expect(control("readIssue", parts)).toBe("no-store");
    expect(control("readLetter", parts)).toBe("no-store");
  });
});

test.each([
  [undefined, "accept-encoding, authorization, x-api-key"],
  ["Origin", "Origin, accept-encoding, authorization, x-api-key"],
  ["Accept-Encoding, Origin", "accept-encoding, Origin, authorization, x-api-key"],
])("vary keeps what was there: %s", (before, after) => {
  expect(varyWith(before)).toBe(after);
});

describe("if-none-match", () => {
  const body = (async function* () {})();
  const answer = (status: number, etag?: string) => ({
    status,
    body,
    header: new Headers({ ...(etag !== undefined && { etag }), "content-type": "application/json" }),
  });

  test.each([['W/"a"'], ['"a"'], ['"b", W/"c" ,W/"a"'], ["*"], [' "a" ']])(
    "with %s is answered without a body",
    (named) => {
      const known = unlessKnown(answer(200, 'W/"a"'), named);
      expect(known).toEqual({ status: 304, header: new Headers({ etag: 'W/"a"' }) });
      expect(Object.fromEntries(known.header ?? [])).toEqual({ etag: 'W/"a"' });
    },
  );

  test.each([[null], [""], ['W/"b"'], ["a"], ["W/a"], ['"A"'], ['"a'], ["'a'"], ['"*"']])(
    "with %s is answered in full",
    (named) => {
      const given = answer(200, 'W/"a"');
      expect(unlessKnown(given, named)).toBe(given);
    },
  );

  test("does not matter for what has no tag, or is an error", () => {
    for (const given of [answer(200), answer(403, 'W/"a"'), answer(404)])
      expect(unlessKnown(given, "*")).toBe(given);
  });

  test("of any length costs no time", () => {
    const given = answer(200, 'W/"a"');
    expect(unlessKnown(given, `"${'"'.repeat(64 * 1024)}`)).toBe(given);
    expect(unlessKnown(given, `${'"b",'.repeat(16 * 1024)}"a"`).status).toBe(304);
  });
});
