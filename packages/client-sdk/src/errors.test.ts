import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, expectTypeOf, it } from "vitest";
import {
  AuthenticationError,
  ConnectionError,
  NotFoundError,
  PermissionError,
  PorticoError,
  RateLimitError,
  TimeoutError,
  toPorticoError,
  ValidationError,
} from "./errors.ts";
import { OrdersService } from "./orders.ts";
import { drain, inMemory, thrownBy } from "./testing/api.ts";
import { UsersService } from "./users.ts";

const kinds = [
  [Code.Canceled, "canceled", PorticoError],
  [Code.Unknown, "unknown", PorticoError],
  [Code.InvalidArgument, "invalid_argument", ValidationError],
  [Code.DeadlineExceeded, "deadline_exceeded", TimeoutError],
  [Code.NotFound, "not_found", NotFoundError],
  [Code.AlreadyExists, "already_exists", PorticoError],
  [Code.PermissionDenied, "permission_denied", PermissionError],
  [Code.ResourceExhausted, "resource_exhausted", RateLimitError],
  [Code.FailedPrecondition, "failed_precondition", PorticoError],
  [Code.Aborted, "aborted", PorticoError],
  [Code.OutOfRange, "out_of_range", PorticoError],
  [Code.Unimplemented, "unimplemented", PorticoError],
  [Code.Internal, "internal", PorticoError],
  [Code.Unavailable, "unavailable", ConnectionError],
  [Code.DataLoss, "data_loss", PorticoError],
  [Code.Unauthenticated, "unauthenticated", AuthenticationError],
] as const;

describe.each(kinds)("%i %s", (code, name, kind) => {
  const refuse = () => {
    throw new ConnectError("No.", code, { "x-request-id": "r-7", "retry-after": "3" });
  };
  const api = inMemory((router) => {
    router.service(UsersService, { getUser: refuse, listUsers: refuse });
    router.service(OrdersService, {
      async *watchOrdersWithUser({ backlog }) {
        for (let i = 0; i < backlog; i++) yield {};
        refuse();
      },
    });
  });

  it.each([
    ["a unary call", () => api.users.getUser({ id: "1" })],
    ["a stream that does not start", () => drain(api.orders.watchOrdersWithUser({}))],
    ["a stream that breaks", () => drain(api.orders.watchOrdersWithUser({ backlog: 2 }))],
    ["items", () => drain(api.users.listUsersAll())],
    ["pages", () => drain(api.users.listUsersAll().pages())],
    ["an array", () => api.users.listUsersAll().toArray()],
  ])("%s", async (_, call) => {
    const error = await thrownBy(call);
    expect(error).toBeInstanceOf(kind);
    expect(error).toBeInstanceOf(PorticoError);
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({
      name: kind.name,
      code: name,
      message: "No. (request id: r-7)",
      requestId: "r-7",
      retryAfterMs: 3_000,
    });
    expect(error).toHaveProperty("cause.code", code);
  });
});

describe("toPorticoError", () => {
  it("has plain words where the server has none, and no empty request id", () => {
    const error = toPorticoError(new ConnectError("", Code.PermissionDenied));
    expect(error.message).toBe("permission denied");
    expect(error).toMatchObject({ requestId: undefined, retryAfterMs: undefined });
  });

  it.each(["Wed, 21 Oct 2026 07:28:00 GMT", "-1", "1.5", ""])("leaves out the retry-after %j", (seconds) => {
    const error = toPorticoError(new ConnectError("", Code.Unavailable, { "retry-after": seconds }));
    expect(error.retryAfterMs).toBeUndefined();
  });

  it("keeps an error that is one already, wrapped or not", () => {
    const error = new NotFoundError("gone");
    expect(toPorticoError(error)).toBe(error);
    expect(toPorticoError(ConnectError.from(error))).toBe(error);
  });

  it("keeps the original error as the cause", () => {
    const cause = new RangeError("boom");
    expect(toPorticoError(cause)).toMatchObject({ code: "unknown", message: "boom", cause });
    expect(toPorticoError("boom")).toMatchObject({ code: "unknown", message: "boom" });
  });

  it("uses the request id of the call where the error has none", () => {
    expect(toPorticoError(new ConnectError("x"), "r-1").message).toBe("x (request id: r-1)");
    const own = new ConnectError("x", Code.Internal, { "x-request-id": "r-2" });
    expect(toPorticoError(own, "r-1").requestId).toBe("r-2");
  });
});

it("can be made by hand, for the tests of an application", () => {
  const error = new RateLimitError("Slow down", { retryAfterMs: 100 });
  expect(error).toMatchObject({ code: "resource_exhausted", retryAfterMs: 100, message: "Slow down" });
  expect("cause" in error).toBe(false);
  expectTypeOf(error.code).toEqualTypeOf<"resource_exhausted">();
});
