import { IncomingMessage } from "node:http";
import { Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { requestProblem } from "./request-rules.ts";

function problemOf(url: string, method = "POST", rawHeaders: readonly string[] = ["host", "a"]) {
  const request = new IncomingMessage(new Socket());
  return requestProblem(Object.assign(request, { url, method, rawHeaders: [...rawHeaders] }));
}

describe("headers", () => {
  const credentials = ["authorization", "Bearer a"];
  test.each([
    ["authorization", ["host", "a", ...credentials, "Authorization", "Bearer b"]],
    ["content-type", ["content-type", "text/plain", "host", "a", "content-type", "text/plain"]],
  ])("%s is said once, or not at all", (name, lines) => {
    const message = `The request has more than one ${name} header.`;
    expect(problemOf("/", "POST", lines)).toEqual({ status: 400, message });
    expect(problemOf("/", "POST", lines.slice(0, 4))).toBeUndefined();
  });

  test("others may be said more than once", () => {
    expect(problemOf("/", "POST", ["host", "a", ...credentials, "x", "1", "x", "2"])).toBeUndefined();
  });
});

describe("paths", () => {
  test.each([
    "/",
    "/acme.v1.Books/GetBook",
    "/healthz",
    "/docs/",
    "/v1/books/a%20b%C3%A9",
    "/v1/books:batchGet",
    "/a.b/..c/...",
    "/a?b=//../%2f%41{}",
    `/${"a".repeat(2_047)}`,
    `/a?${"b".repeat(10_000)}`,
  ])("%s is one", (url) => {
    expect(problemOf(url)).toBeUndefined();
  });

  test.each([
    ["", /begin with a slash/],
    ["*", /begin with a slash/],
    ["a", /begin with a slash/],
    ["http://a/b", /begin with a slash/],
    ["?a", /begin with a slash/],
    ["//", /empty/],
    ["//a", /empty/],
    ["/a//b", /empty/],
    ["/./a", /empty/],
    ["/a/../b", /empty/],
    ["/a/.", /empty/],
    ["/a/..", /empty/],
    ["/a/..?b", /empty/],
    ["/a\\b", /percent-encoded/],
    ["/a b", /percent-encoded/],
    ["/a\x7f", /percent-encoded/],
    ["/a\x00", /percent-encoded/],
    ["/a\xe9", /percent-encoded/],
    ["/a#b", /percent-encoded/],
    ["/a{b}", /percent-encoded/],
    ["/%", /no escape/],
    ["/%4", /no escape/],
    ["/%zz", /no escape/],
    ["/a%2Fb", /slashes or control/],
    ["/a%2fb", /slashes or control/],
    ["/a%5cb", /slashes or control/],
    ["/a%00", /slashes or control/],
    ["/a%1F", /slashes or control/],
    ["/a%7f", /slashes or control/],
    ...["41", "5a", "61", "7A", "30", "39", "2d", "2E", "5f", "7e", "55"].map((hex): [string, RegExp] => [
      `/a%${hex}`,
      /needs no escape/,
    ]),
  ])("%j is none", (url, message) => {
    expect(problemOf(url)).toMatchObject({ status: 400, message: expect.stringMatching(message) });
  });

  test("one of more than 2 KiB is too long", () => {
    expect(problemOf(`/${"a".repeat(2_048)}`)?.status).toBe(414);
  });
});

test("100 header lines are fine, one more is not", () => {
  const lines = (count: number) => [
    "host",
    "a",
    ...Array.from({ length: count - 1 }, () => ["x", "y"]).flat(),
  ];
  expect(problemOf("/", "GET", lines(100))).toBeUndefined();
  expect(problemOf("/", "GET", lines(101))?.status).toBe(431);
});

test.each([
  ["/a?encoding=json&message=%ff", /UTF-8/],
  ["/a?%6D%65%73%73%61%67%65=%ff", /UTF-8/],
  ["/a?x&message=&%6dessage=%ff", /UTF-8/],
  ["/a?message=\xe9", /percent-encoded/],
  ["/a?base64=1&message=!", /base64/],
  ["/a?%62ase64=%31&mes%73age=A", /base64/],
  ["/a?message=%ff&base64=1", /UTF-8/],
])("the message of %j cannot be read", (url, message) => {
  expect(problemOf(url, "GET")).toMatchObject({ status: 400, message: expect.stringMatching(message) });
});

test.each([
  "/a?messages=%ff",
  "/a?Message=%ff",
  "/a?%4dessage=%ff",
  "/a?amessage=%ff",
  "/a?x=message=%ff",
  "/a??message=%ff",
  "/a?base64=0&message=!",
  "/a?base64=1&message=AA==",
  "/a?message",
])("the message of %j is fine, or there is none", (url) => {
  expect(problemOf(url, "GET")).toBeUndefined();
});
