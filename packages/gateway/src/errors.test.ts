import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { PublicError, reword, StartError } from "./errors.ts";
import { thrownBy } from "./testing/call.ts";

describe("PublicError", () => {
  test("carries its code, its words, headers and the cause", () => {
    const cause = new Error("db row 5");
    const error = new PublicError(Code.NotFound, "No such crate.", {
      cause,
      headers: { "retry-after": "5" },
    });
    expect(error).toBeInstanceOf(ConnectError);
    expect(error).toMatchObject({ code: Code.NotFound, rawMessage: "No such crate.", cause });
    expect(error.metadata.get("retry-after")).toBe("5");
    expect(error.details).toEqual([]);
  });

  test("is nothing but what its constructor made, whatever looks like one", () => {
    const real = new PublicError(Code.NotFound, "No such crate.");
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

describe("reword", () => {
  const words = { [Code.NotFound]: "code: there is no crate with this code" };

  test("leaves an answer alone", async () => {
    expect(await reword(Promise.resolve(5), words)).toBe(5);
  });

  test("gives a code the words that fit, and keeps the story", async () => {
    const original = new PublicError(Code.NotFound, "What the request asks for does not exist.");
    expect(await thrownBy(reword(Promise.reject(original), words))).toMatchObject({
      code: Code.NotFound,
      rawMessage: "code: there is no crate with this code",
      cause: original,
    });
  });

  test.each([
    ["another code", new PublicError(Code.Unavailable, "Try again.")],
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
