import { once } from "node:events";
import { connect as connectHttp2, constants } from "node:http2";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import type { JsonValue } from "@bufbuild/protobuf";
import { OrdersService, UsersService } from "@portico/client-sdk";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isMissing } from "./program.ts";
import { rawCall, ways as rawWays } from "./raw-call.ts";
import { type System, startSystem } from "./system.ts";
import { ways } from "./ways/index.ts";
import type { Answer, Target, UnaryCall } from "./ways/way.ts";

// One port, every way to call it: the same answer, or the same error in the same words.

const { listOrdersWithUser, getOrderWithUser } = OrdersService.method;
const { createUser } = UsersService.method;
const pageOfFive = { method: listOrdersWithUser, request: { pageSize: 5 } };
const oneUuid = expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);

interface RefusedCall extends Omit<UnaryCall, "headers"> {
  readonly why: string;
  readonly role?: "admin" | "viewer";
  readonly code: string;
  readonly message: string;
  /** Of Connect; gRPC and gRPC-Web have 200 and a status. */
  readonly httpStatus: number;
  readonly grpcStatus: string;
  readonly upstreamCalls: number;
}

const refusedCalls: readonly RefusedCall[] = [
  {
    why: "a call without credentials",
    ...pageOfFive,
    code: "unauthenticated",
    message: "This method needs credentials.",
    httpStatus: 401,
    grpcStatus: "16",
    upstreamCalls: 0,
  },
  {
    why: "a viewer who creates a user",
    method: createUser,
    request: { email: "new@example.com" },
    role: "viewer",
    code: "permission_denied",
    message: "Your credentials do not allow this method.",
    httpStatus: 403,
    grpcStatus: "7",
    upstreamCalls: 0,
  },
  {
    why: "an id that does not exist",
    method: getOrderWithUser,
    request: { id: "order-0" },
    role: "viewer",
    code: "not_found",
    message: "id: there is no order with this id",
    httpStatus: 404,
    grpcStatus: "5",
    upstreamCalls: 1,
  },
  {
    why: "a page size below zero",
    method: listOrdersWithUser,
    request: { pageSize: -1 },
    role: "viewer",
    code: "invalid_argument",
    message: "page_size: must not be negative, got -1",
    httpStatus: 400,
    grpcStatus: "3",
    upstreamCalls: 0,
  },
  {
    why: "a method that does not exist",
    method: { ...listOrdersWithUser, name: "ListNothing", localName: "listNothing" },
    request: {},
    role: "admin",
    code: "unimplemented",
    message: "There is no method /smpl.api.orders.v1.OrdersService/ListNothing.",
    httpStatus: 404,
    grpcStatus: "12",
    upstreamCalls: 0,
  },
];

describe.each([
  { port: "cleartext", tls: false },
  { port: "TLS", tls: true },
])("over $port", ({ tls }) => {
  let system: System;
  let target: Target;
  let support: Record<string, string>;
  let expected: Answer;
  beforeAll(async () => {
    system = await startSystem({ tls });
    target = { url: system.url, ca: system.ca };
    // `fetch`, which the SDK uses, has no other way to learn of an authority.
    if (system.ca !== undefined) setDefaultCACertificates([...getCACertificates("default"), system.ca]);
    support = await bearer("support");
    const [first] = ways;
    expected = (await first?.call(target, { ...pageOfFive, headers: support })) ?? none;
  });
  afterAll(() => system.close());

  const bearer = async (role: "admin" | "support" | "viewer") => ({
    authorization: `Bearer ${await system.token(role)}`,
  });
  const upstreamCalls = () => [...system.mocks.users.calls.all(), ...system.mocks.orders.calls.all()].length;

  test("the first way gets five orders with their users", () => {
    const withUser = { userEmail: expect.stringMatching(/^\S+@\S+$/), total: expect.anything() };
    expect(expected).toMatchObject({ code: "ok", message: { orders: new Array(5).fill(withUser) } });
  });

  describe.each(ways)("$name", (way) => {
    if (way.program !== undefined && isMissing(way.program)) {
      test.skip(`needs ${way.program} on the PATH`);
      return;
    }

    test("gets the same answer", async () => {
      expect(await way.call(target, { ...pageOfFive, headers: support })).toEqual(expected);
    });

    test.each(refusedCalls.filter((call) => way.cannot?.({ ...call, headers: {} }) !== true))(
      "is told $code for $why",
      async ({ method, request, role, code, message, ...wanted }) => {
        const headers = role === undefined ? {} : await bearer(role);
        system.mocks.users.calls.clear();
        system.mocks.orders.calls.clear();
        const answer = await way.call(target, { method, request, headers });
        expect(answer).toEqual({ code, message, requestId: oneUuid });
        expect(upstreamCalls()).toBe(wanted.upstreamCalls);
      },
    );

    test("finds its own request id in the answer and in the log", async () => {
      const requestId = `caller-${ways.indexOf(way)}`;
      const answer = await way.call(target, { ...pageOfFive, headers: { "x-request-id": requestId } });
      expect(answer).toMatchObject({ code: "unauthenticated", requestId });
      expect(await system.logOf(requestId)).toMatchObject({ code: "unauthenticated", upstreamCalls: [] });
    });
  });
});

describe("on the wire", () => {
  let system: System;
  beforeAll(async () => {
    system = await startSystem();
  });
  afterAll(() => system.close());

  describe.each(rawWays)("%s", (way) => {
    test.each(refusedCalls)("$code has its status", async ({ method, request, role, ...wanted }) => {
      const token = role === undefined ? {} : { token: await system.token(role) };
      const answer = await rawCall(system.url, method, request, { way, ...token });
      expect(answer).toMatchObject({ code: wanted.code, message: wanted.message, messages: [] });
      expect(answer.headers["x-request-id"]).toBe(answer.requestId);
      expect(answer.status).toBe(way.startsWith("grpc") ? 200 : wanted.httpStatus);
      if (way === "grpc")
        expect({ ...answer.headers, ...answer.trailers }["grpc-status"]).toBe(wanted.grpcStatus);
    });
  });

  test("a status message in gRPC is encoded no further than it must be", async () => {
    const token = await system.token("viewer");
    const request = { pageSize: -1 };
    const { trailers } = await rawCall(system.url, listOrdersWithUser, request, { way: "grpc", token });
    expect(trailers["grpc-message"]).toBe("page_size: must not be negative, got -1");
  });

  test("an unknown method ends in one frame over gRPC, which is what makes its headers a status", async () => {
    const session = connectHttp2(system.url);
    const stream = session.request({
      ":method": "POST",
      ":path": `/${OrdersService.typeName}/ListNothing`,
      "content-type": "application/grpc",
      te: "trailers",
    });
    const [headers, flags] = await once(stream.end(), "response");
    expect(headers).toMatchObject({ ":status": 200, "grpc-status": "12" });
    expect(flags & constants.NGHTTP2_FLAG_END_STREAM).not.toBe(0);
    session.destroy();
  });
});

const none: Answer = { code: "ok", message: null satisfies JsonValue };
