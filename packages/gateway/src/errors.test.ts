import { create, toJson } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { errorDetails, invalid, PublicError, reword, StartError } from "./errors.ts";
import { type Reason, reasons } from "./reasons.ts";
import { thrownBy } from "./testing/call.ts";

describe("PublicError", () => {
  test("carries its code, its words, headers and the cause", () => {
    const cause = new Error("db row 5");
    const error = new PublicError("NOT_FOUND", "No such crate.", {
      cause,
      headers: { "x-crate": "5" },
    });
    expect(error).toBeInstanceOf(ConnectError);
    expect(error).toMatchObject({ code: Code.NotFound, rawMessage: "No such crate.", cause });
    expect(error.metadata.get("x-crate")).toBe("5");
    expect(error.details).toEqual([]);
  });

  test("has the words of the catalogue, if there are no better ones", () => {
    for (const [reason, { code, message }] of Object.entries(reasons))
      expect(new PublicError(reason as Reason)).toMatchObject({ code, rawMessage: message, reason });
  });

  test.each([
    [1, "1"],
    [1_000, "1"],
    [1_001, "2"],
    [60_000, "60"],
  ])("says when to call again: %i ms", (retryAfterMs, seconds) => {
    const { metadata } = new PublicError("RATE_LIMIT_EXCEEDED", undefined, { retryAfterMs });
    expect(metadata.get("retry-after")).toBe(seconds);
  });

  test("is nothing but what its constructor made, whatever looks like one", () => {
    const real = new PublicError("NOT_FOUND", "No such crate.");
    const lookalike = Object.assign(Object.create(ConnectError.prototype), { ...real, name: "ConnectError" });
    const values = [
      new ConnectError("internal row 5", Code.NotFound),
      lookalike,
      { ...real },
      null,
      undefined,
      "x",
    ];
    for (const value of values) expect(value instanceof PublicError).toBe(false);
    expect(real instanceof PublicError).toBe(true);
    expect(ConnectError.from(real) instanceof PublicError).toBe(true);
  });
});

describe("invalid", () => {
  test("is about the first field in words, and about all of them in details", () => {
    const violations = [
      { field: "page_size", description: "must not be negative, got -1" },
      { field: "lines[2].name", description: "is required" },
    ] as const;
    const error = invalid(...violations);
    expect(error).toMatchObject({ reason: "INVALID_FIELDS", options: { violations } });
    expect(error.rawMessage).toBe("page_size: must not be negative, got -1");
    expect(invalid({ field: "", description: "must not be empty" }).rawMessage).toBe("must not be empty");
  });
});

describe("errorDetails", () => {
  const context = { requestId: "request-1", domain: "api.example.com" };
  const shown = (...given: Parameters<typeof errorDetails>) =>
    errorDetails(...given).map((detail) => {
      if (!("desc" in detail)) throw new Error("an outgoing detail has its descriptor");
      return { [detail.desc.typeName]: toJson(detail.desc, create(detail.desc, detail.value)) };
    });

  test("always say the reason, its domain and the request", () => {
    expect(shown("INTERNAL", context)).toEqual([
      { "google.rpc.ErrorInfo": { reason: "INTERNAL", domain: "api.example.com" } },
      { "google.rpc.RequestInfo": { requestId: "request-1" } },
    ]);
  });

  test("say what is wrong with each field, when to call again, and facts", () => {
    const violations = [{ field: "a", description: "is required" }];
    const options = { violations, retryAfterMs: 1_500, metadata: { limit: "600/1m" }, cause: "secret" };
    expect(shown("RATE_LIMIT_EXCEEDED", context, options)).toEqual([
      {
        "google.rpc.ErrorInfo": {
          reason: "RATE_LIMIT_EXCEEDED",
          domain: "api.example.com",
          metadata: { limit: "600/1m" },
        },
      },
      expect.anything(),
      { "google.rpc.BadRequest": { fieldViolations: violations } },
      { "google.rpc.RetryInfo": { retryDelay: "1.500s" } },
    ]);
  });

  test("have bounds, whatever a request breaks", () => {
    const field = `${"a".repeat(10_000)}\ud800`;
    const violations = new Array(10_000).fill({ field, description: field });
    expect(JSON.stringify(shown("INVALID_FIELDS", context, { violations })).length).toBeLessThan(20_000);
  });
});

describe("reword", () => {
  const words = { NOT_FOUND: "code: there is no crate with this code" };

  test("leaves an answer alone", async () => {
    expect(await reword(Promise.resolve(5), words)).toBe(5);
  });

  test("gives a reason the words that fit, and keeps the story", async () => {
    const original = new PublicError("NOT_FOUND", "What the request asks for does not exist.");
    expect(await thrownBy(reword(Promise.reject(original), words))).toMatchObject({
      code: Code.NotFound,
      rawMessage: "code: there is no crate with this code",
      cause: original,
    });
  });

  test("words about a field are sent as such, and say whose fault it is", async () => {
    const violation = { field: "code", description: "is taken" };
    const of = (reason: Reason) =>
      thrownBy(reword(Promise.reject(new PublicError(reason)), { [reason]: violation }));
    expect(await of("ALREADY_EXISTS")).toMatchObject({
      reason: "ALREADY_EXISTS",
      rawMessage: "code: is taken",
      options: { violations: [violation] },
    });
    expect(await of("REQUEST_REJECTED")).toMatchObject({
      reason: "INVALID_FIELDS",
      options: { violations: [violation] },
    });
  });

  test.each([
    ["another reason", new PublicError("SERVICE_UNAVAILABLE", "Try again.")],
    ["an error that is not public", new ConnectError("row 5", Code.NotFound)],
    ["no error at all", "row 5"],
  ])("leaves %s alone", async (_, error) => {
    expect(await thrownBy(reword(Promise.reject(error), words))).toBe(error);
  });
});

test("StartError lists all problems, lines under lines", () => {
  const error = new StartError(["one:\nfirst\nsecond", "two"]);
  expect(error.name).toBe("StartError");
  expect(error.message).toBe("Portico cannot start:\n  - one:\n    first\n    second\n  - two");
  expect(error.problems).toEqual(["one:\nfirst\nsecond", "two"]);
});
