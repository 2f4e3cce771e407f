import { type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import { ConnectError, createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
} from "../packages/gateway/src/gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../packages/gateway/src/gen/google/rpc/status_pb.ts";
import { OrdersService } from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { UsersService } from "../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { overH1, overH2 } from "./exchange.ts";
import { type System, startSystem } from "./system.ts";

// What programs read of an error: the same in every protocol, with clients that are not ours.

let system: System;
let headers: Record<string, string>;
beforeAll(async () => {
  system = await startSystem({ env: { ERROR_DOMAIN: "api.example.com" } });
  headers = { authorization: `Bearer ${await system.token("admin")}`, "x-request-id": "request-1" };
});
afterAll(() => system.close());

const transports: Record<string, (baseUrl: string) => Transport> = {
  "Connect, JSON": (baseUrl) =>
    createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: false }),
  "Connect, proto": (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "2" }),
  "Connect, GET": (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "1.1", useHttpGet: true }),
  gRPC: (baseUrl) => createGrpcTransport({ baseUrl }),
  "gRPC-Web": (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
};

describe.each(Object.entries(transports))("over %s", (_, open) => {
  const fail = async (call: (transport: Transport) => Promise<unknown>): Promise<ConnectError> => {
    const error = await call(open(system.url)).then(() => undefined, ConnectError.from);
    if (error === undefined) throw new Error("expected an error");
    return error;
  };

  test("a request that breaks rules learns of every field", async () => {
    const lines = [{ quantity: -1, product: "x".repeat(201) }];
    const error = await fail((transport) =>
      createClient(OrdersService, transport).createOrder({ lineItems: lines }, { headers }),
    );
    expect(only(error, ErrorInfoSchema)).toMatchObject({
      reason: "INVALID_FIELDS",
      domain: "api.example.com",
    });
    expect(only(error, RequestInfoSchema).requestId).toBe("request-1");
    expect(
      only(error, BadRequestSchema)
        .fieldViolations.map(({ field }) => field)
        .sort(),
    ).toEqual(["line_items[0].product", "line_items[0].quantity", "user_id"]);
    expect(error.rawMessage).toMatch(/^(user_id|line_items\[0\]\.\w+): \w/);
  });

  test("a caller without credentials learns the reason", async () => {
    const error = await fail((transport) => createClient(UsersService, transport).listUsers({}));
    expect(only(error, ErrorInfoSchema).reason).toBe("CREDENTIALS_MISSING");
    expect(only(error, RequestInfoSchema).requestId).toBe(error.metadata.get("x-request-id"));
    expect(error.findDetails(BadRequestSchema)).toEqual([]);
  });

  test("an upstream that fails is told by the gateway's reason alone", async () => {
    await system.mocks.users.stop();
    try {
      const error = await fail((transport) =>
        createClient(UsersService, transport).listUsers({}, { headers }),
      );
      expect(only(error, ErrorInfoSchema)).toMatchObject({ reason: "SERVICE_UNAVAILABLE", metadata: {} });
      expect(error.details).toHaveLength(2);
    } finally {
      await system.mocks.users.restart();
    }
  });
});

describe("what reaches no method", () => {
  test("has the same details in JSON", async () => {
    const reasonOf = async (path: string, more: object = {}) => {
      const { body } = await overH1(system.url, { path, headers: { "x-request-id": "request-2", ...more } });
      const { details }: { details: { type: string; value: string }[] } = JSON.parse(body.toString());
      const [info, request, ...others] = details.map(({ value }) => Buffer.from(value, "base64"));
      expect(others).toEqual([]);
      expect(fromBinary(RequestInfoSchema, request ?? new Uint8Array()).requestId).toBe("request-2");
      return fromBinary(ErrorInfoSchema, info ?? new Uint8Array()).reason;
    };
    const listUsers = `/${UsersService.typeName}/ListUsers`;
    expect(await reasonOf("/nothing")).toBe("METHOD_UNKNOWN");
    expect(await reasonOf(listUsers, { "content-type": "text/plain" })).toBe("PROTOCOL_UNSUPPORTED");
    expect(await reasonOf("/%")).toBe("MALFORMED_REQUEST");
  });

  test("has them in gRPC's status, too", async () => {
    const content = { "content-type": "application/grpc", "x-request-id": "request-3", te: "trailers" };
    const { headers } = await overH2(system.url, { path: "/nothing/At", headers: content });
    const bytes = Buffer.from(headers["grpc-status-details-bin"] ?? "", "base64");
    const { code, message, details } = fromBinary(StatusSchema, bytes);
    expect({ code, message }).toEqual({ code: 12, message: "There is no method /nothing/At." });
    expect(details.map(({ typeUrl }) => typeUrl)).toEqual([
      "type.googleapis.com/google.rpc.ErrorInfo",
      "type.googleapis.com/google.rpc.RequestInfo",
    ]);
  });
});

function only<D extends DescMessage>(error: ConnectError, desc: D): MessageShape<D> {
  const [detail, ...others] = error.findDetails(desc);
  if (detail === undefined || others.length > 0)
    throw new Error(`expected one ${desc.typeName} in ${error.message}`);
  return detail;
}
