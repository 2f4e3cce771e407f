import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { PublicError } from "../errors.ts";
import { type CallRecord, createCallRecord } from "./call-record.ts";
import { describeRequest, failureOf } from "./span-attributes.ts";

const whole = { status: 200, complete: true };
const rpc = "acme.api.warehouse.v1.WarehouseService/GetCrate";

function described(parts: Partial<CallRecord>, answer = whole) {
  const request = { requestId: "request-1", httpMethod: "POST", path: "/secret-path", address: "10.9.8.7" };
  return describeRequest({ ...createCallRecord(request), ...parts }, answer);
}

describe("the span of a request", () => {
  test("is called like its method, and says how it ended as its protocol does", () => {
    expect(described({ rpc, protocol: "grpc", outcome: "ok", caller: "ada", answer: "cache" })).toEqual({
      name: rpc,
      attributes: {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.request.body.size": 0,
        "http.response.body.size": 0,
        "portico.request_id": "request-1",
        "rpc.service": "acme.api.warehouse.v1.WarehouseService",
        "rpc.method": "GetCrate",
        "rpc.system": "grpc",
        "rpc.grpc.status_code": 0,
        "portico.caller": "known",
        "portico.answer": "cache",
      },
      failed: false,
    });
    const outcome = Code.Unavailable;
    expect(described({ rpc, protocol: "connect", outcome })).toMatchObject({
      attributes: {
        "rpc.system": "connect_rpc",
        "rpc.connect_rpc.error_code": "unavailable",
        "error.type": "unavailable",
      },
      failed: true,
    });
    expect(described({ rpc, protocol: "grpc-web", outcome }).attributes["rpc.grpc.status_code"]).toBe(14);
  });

  test("has failed if the gateway did, not if the caller did", () => {
    const failed = (outcome: Code) => described({ rpc, outcome }).failed;
    expect([Code.Internal, Code.DeadlineExceeded, Code.Unimplemented].map(failed)).toEqual([
      true,
      true,
      true,
    ]);
    expect([Code.InvalidArgument, Code.PermissionDenied, Code.Canceled].map(failed)).toEqual([
      false,
      false,
      false,
    ]);
    expect(described({}, { status: 500, complete: true }).failed).toBe(true);
    expect(described({}, { status: 404, complete: true }).failed).toBe(false);
  });

  test("tells neither who called from where, nor the path, nor the words of errors", () => {
    const error = new Error("secret words");
    const text = JSON.stringify(
      described({
        rpc,
        caller: "secret-ada",
        outcome: Code.Internal,
        error,
        partial: { count: 2, cause: error },
      }),
    );
    expect(text).not.toMatch(/secret|10\.9\.8\.7/);
    expect(text).toContain('"portico.missing":2');
  });

  test("does not repeat an HTTP method that a stranger invented", () => {
    expect(described({ httpMethod: "SECRET" })).toMatchObject({ name: "_OTHER" });
  });
});

test("a part that failed says with which code, and with which reason if the gateway chose one", () => {
  expect(failureOf("ok", undefined)).toBeUndefined();
  expect(failureOf(Code.Unknown, new Error("secret"))).toEqual({ "error.type": "unknown" });
  expect(failureOf(Code.Unavailable, new PublicError("SERVICE_UNAVAILABLE", "secret"))).toEqual({
    "error.type": "unavailable",
    "portico.reason": "SERVICE_UNAVAILABLE",
  });
});
