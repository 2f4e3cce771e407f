import { create, type DescMessage, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import {
  ErrorInfoSchema,
  HelpSchema,
  RequestInfoSchema,
} from "../packages/gateway/src/gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../packages/gateway/src/gen/google/rpc/status_pb.ts";
import { detailsIn, openDetails } from "./open-details.ts";

// The search for leaks is only as good as this.

const info = bytesOf(ErrorInfoSchema, { reason: "JWS", metadata: { a: "]", b: '"details":[' } });
const request = bytesOf(RequestInfoSchema, { requestId: "1" });
const extra = Buffer.concat([request, Buffer.of(0x7a, 1, 0x61)]);
const opened = [
  { "@type": "google.rpc.ErrorInfo", reason: "JWS", metadata: { a: "]", b: '"details":[' } },
  { "@type": "google.rpc.RequestInfo", requestId: "1" },
];

describe("over Connect", () => {
  const json = (...details: object[]) => JSON.stringify({ error: { code: "internal", details } });
  const detail = (type: string, value: Buffer, more: object = {}) => ({
    type: `google.rpc.${type}`,
    value: value.toString("base64").replaceAll("=", ""),
    ...more,
  });

  test("details are in clear, and nothing of them is left in base64", () => {
    const debug = { requestId: "1" };
    const text = openDetails(
      `1 ${json(detail("ErrorInfo", info), detail("RequestInfo", request, { debug }))} 2`,
    );
    expect(detailsIn(text)).toEqual(opened);
    expect(text).not.toMatch(/"details":\[\{"type|"value"/);
    expect(text).toMatch(/^1 \{"error".* 2$/s);
  });

  test.each([
    ["of another type", detail("Help", bytesOf(HelpSchema, {}))],
    ["of no type", { value: "" }],
    ["under another name", detail("ErrorInfo", Buffer.of(0xff))],
    ["with more bytes than its type has", detail("RequestInfo", extra)],
    ["with other words for people", detail("RequestInfo", request, { debug: { requestId: "2" } })],
    ["with more beside it", detail("RequestInfo", request, { more: 1 })],
  ])("a detail stays as it is: %s", (_, strange) => {
    const text = json(detail("RequestInfo", request), strange);
    expect(openDetails(text)).toBe(text);
  });
});

describe("over gRPC", () => {
  const header = (...details: [type: string, value: Buffer][]) => {
    const anys = details.map(([type, value]) => ({
      typeUrl: `type.googleapis.com/google.rpc.${type}`,
      value,
    }));
    const status = bytesOf(StatusSchema, { code: 13, message: "JWS", details: anys });
    return `a: b\ngrpc-status-details-bin: ${status.toString("base64")}\r\nc: d`;
  };

  test("details are in clear, and the status that they come in", () => {
    const text = openDetails(header(["ErrorInfo", info], ["RequestInfo", request]));
    expect(detailsIn(text)).toEqual([{ code: 13, message: "JWS" }, ...opened]);
    expect(text).not.toContain("-bin");
    expect(text).toMatch(/^a: b\n.*\r\nc: d$/s);
  });

  test.each<[string, string]>([
    ["another type", header(["Help", bytesOf(HelpSchema, {})])],
    ["more bytes than the type has", header(["RequestInfo", extra])],
    ["no status", "grpc-status-details-bin: ////"],
    ["another header", header(["RequestInfo", request]).replace("status", "stack")],
  ])("they stay as they are: %s", (_, text) => {
    expect(openDetails(text)).toBe(text);
  });
});

function bytesOf<D extends DescMessage>(desc: D, init: MessageInitShape<D>): Buffer {
  return Buffer.from(toBinary(desc, create(desc, init)));
}
