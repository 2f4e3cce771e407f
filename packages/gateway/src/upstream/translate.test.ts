import { Code, ConnectError, createClient, createRouterTransport } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { PublicError } from "../errors.ts";
import { ErrorInfoSchema, RetryInfoSchema } from "../gen/google/rpc/error_details_pb.ts";
import { thrownBy } from "../testing/call.ts";
import { internal } from "../testing/protos.ts";
import { toPublicError } from "./translate.ts";

const warehouse = { name: "warehouse", identity: [] };
const running = new AbortController().signal;
const codes = Object.values(Code).filter((code) => typeof code === "number");

describe("what an upstream answers", () => {
  const believed = [
    Code.InvalidArgument,
    Code.NotFound,
    Code.AlreadyExists,
    Code.FailedPrecondition,
    Code.OutOfRange,
    Code.Aborted,
    Code.ResourceExhausted,
    Code.Unavailable,
    Code.DeadlineExceeded,
  ];
  const expected = (code: Code) => {
    if (code === Code.Canceled) return Code.Unavailable;
    return believed.includes(code) ? code : Code.Internal;
  };

  test.each(codes.map((code) => [Code[code], code] as const))("%s", async (_, code) => {
    const error = toPublicError(await answered(code), running, warehouse);
    expect(error).toBeInstanceOf(PublicError);
    expect(error.code).toBe(expected(code));
  });
});

test.each(codes.map((code) => [Code[code], code] as const))(
  "%s that no upstream answered is never the caller's fault",
  (_, code) => {
    const { code: shown } = toPublicError(new ConnectError("broken", code), running, warehouse);
    expect([Code.Unavailable, Code.DeadlineExceeded, Code.Internal]).toContain(shown);
    expect(shown === Code.DeadlineExceeded).toBe(code === Code.DeadlineExceeded);
  },
);

test.each([
  ["an error", new TypeError("x is undefined")],
  ["a string", "oops"],
  ["nothing", undefined],
])("%s is an internal one", (_, error) => {
  expect(toPublicError(error, running, warehouse).code).toBe(Code.Internal);
});

test("the words are the gateway's own, and the story is in the cause", async () => {
  const original = await answered(Code.NotFound);
  const error = toPublicError(original, running, warehouse);
  expect(error.rawMessage).toBe("What the request asks for does not exist.");
  expect(error.details).toEqual([]);
  expect([...error.metadata]).toEqual([]);
  expect(error.cause).toMatchObject({
    message: "the upstream warehouse failed",
    cause: original,
  });
});

test("permission_denied is about the caller only if the upstream was told who calls", async () => {
  const refused = await answered(Code.PermissionDenied);
  const told = { name: "warehouse", identity: ["subject"] as const };
  expect(toPublicError(refused, running, told).reason).toBe("CONDITION_NOT_MET");
  expect(toPublicError(refused, running, warehouse).reason).toBe("INTERNAL");
});

describe("of the details of an upstream", () => {
  const after = (code: Code, seconds: number) =>
    answered(code, [
      { desc: RetryInfoSchema, value: { retryDelay: { seconds: BigInt(seconds), nanos: 0 } } },
      { desc: ErrorInfoSchema, value: { reason: "DB_7_DOWN", domain: "internal.example.com" } },
    ]);

  test.each([
    [Code.Unavailable, 5, 5_000],
    [Code.ResourceExhausted, 5, 5_000],
    [Code.Unavailable, 1e9, 3_600_000],
    [Code.Unavailable, -5, undefined],
    [Code.NotFound, 5, undefined],
  ])("only when to call again is passed on: %s, %s s", async (code, seconds, expected) => {
    const error = toPublicError(await after(code, seconds), running, warehouse);
    expect(error.options.retryAfterMs).toBe(expected);
    expect(error.details).toEqual([]);
    expect(JSON.stringify([...error.metadata])).not.toContain("db");
  });
});

test("a public error stays as it is", () => {
  const error = new PublicError("NOT_FOUND", "No such crate.");
  expect(toPublicError(error, AbortSignal.abort(), warehouse)).toBe(error);
});

describe("when the call is over already", () => {
  test("because of its deadline, that is the reason", () => {
    const overdue = new PublicError("DEADLINE_EXCEEDED");
    const error = toPublicError(
      new ConnectError("gone", Code.Canceled),
      AbortSignal.abort(overdue),
      warehouse,
    );
    expect(error).toBe(overdue);
  });

  test("because the caller left, it is canceled", () => {
    const left = AbortSignal.abort(new ConnectError("gone", Code.Canceled));
    const error = toPublicError(new ConnectError("broken", Code.Unavailable), left, warehouse);
    expect(error).toMatchObject({ code: Code.Canceled, rawMessage: "The caller ended the call." });
    expect(error.cause).toMatchObject({ message: expect.stringContaining("the upstream warehouse failed") });
  });
});

/** The error that a client has when an upstream answers with a code. */
function answered(code: Code, details?: ConnectError["details"]): Promise<unknown> {
  const transport = createRouterTransport((router) =>
    router.rpc(internal.WarehouseService.method.getCrate, () => {
      const error = new ConnectError("no row in db-7", code, { "x-host": "db-7" });
      throw Object.assign(error, { details: details ?? [] });
    }),
  );
  return thrownBy(createClient(internal.WarehouseService, transport).getCrate({}));
}
