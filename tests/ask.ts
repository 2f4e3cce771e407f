import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  fromJsonString,
  type MessageInitShape,
  type MessageShape,
  toJsonString,
} from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from "../packages/gateway/src/gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../packages/gateway/src/gen/google/rpc/status_pb.ts";
import { type Exchange, overH1 } from "./exchange.ts";
import { type RawOptions, rawCall, type Way, ways } from "./raw-call.ts";

/** The ways to call a method that has no side effects. */
export const readingWays = [...ways, "GET"] as const;
export type ReadingWay = (typeof readingWays)[number];

/** An error's details, decoded. */
export interface Details {
  /** The names of the types of all details, in their order. */
  readonly types: readonly string[];
  readonly reason?: string;
  readonly domain?: string;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly requestId?: string;
  /** The fields that are wrong, each with what is wrong. */
  readonly violations?: Readonly<Record<string, string>>;
  readonly retryDelayMs?: number;
}

/** How a call ended, with everything decoded. */
export interface Answer<M extends DescMethod = DescMethod> extends Exchange {
  readonly code: string;
  readonly message: string;
  readonly requestId: string;
  readonly answers: readonly MessageShape<M["output"]>[];
  readonly details: Details;
  /** Headers and trailers, wherever the protocol has put them. */
  readonly fields: Readonly<Record<string, string>>;
}

/** What a call may carry besides its request. */
export interface AskOptions extends Omit<RawOptions, "way"> {
  readonly way?: ReadingWay;
}

/** Makes one call by hand, and decodes its answer and the details of its error. */
export async function ask<M extends DescMethod>(
  url: string,
  method: M,
  request: MessageInitShape<M["input"]>,
  { way = "connect+json", ...options }: AskOptions = {},
): Promise<Answer<M>> {
  if (way === "GET") return get(url, method, request, options);
  const raw = await rawCall(url, method, request, { ...options, way });
  const fields = { ...raw.headers, ...raw.trailers, ...lastFields(way, raw) };
  const answers = raw.messages.map((bytes) => decode(way, method, bytes));
  return { ...raw, answers, fields, details: readDetails(raw.code, detailsOf(way, method, raw, fields)) };
}

async function get<M extends DescMethod>(
  url: string,
  method: M,
  request: MessageInitShape<M["input"]>,
  { token, headers = {} }: AskOptions,
): Promise<Answer<M>> {
  const text = encodeURIComponent(toJsonString(method.input, create<DescMessage>(method.input, request)));
  const path = `/${method.parent.typeName}/${method.name}?connect=v1&encoding=json&message=${text}`;
  const credentials = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const exchange = await overH1(url, { method: "GET", path, headers: { ...credentials, ...headers } });
  const fields = exchange.headers;
  const common = { ...exchange, fields, requestId: fields["x-request-id"] ?? "" };
  if (exchange.status === 200)
    return {
      ...common,
      code: "ok",
      message: "",
      answers: [decode("GET", method, exchange.body)],
      details: none,
    };
  const { code, message, details = [] } = readError(exchange.body);
  return { ...common, code, message, answers: [], details: readDetails(code, details) };
}

function decode<M extends DescMethod>(
  way: ReadingWay,
  { output }: M,
  bytes: Buffer,
): MessageShape<M["output"]> {
  const message: unknown =
    way === "GET" || way === "connect+json"
      ? fromJsonString<DescMessage>(output, bytes.toString())
      : fromBinary<DescMessage>(output, bytes);
  return message as MessageShape<M["output"]>;
}

/** One detail of an error as the protocols carry it. */
interface Packed {
  readonly type: string;
  readonly value: Uint8Array;
}

interface JsonError {
  readonly code: string;
  readonly message: string;
  readonly details?: readonly Packed[];
}

function readError(json: Buffer | string): JsonError {
  const given: { code: string; message: string; details?: { type: string; value: string }[] } = JSON.parse(
    json.toString(),
  );
  const details = given.details?.map(({ type, value }) => ({ type, value: Buffer.from(value, "base64") }));
  return { code: given.code, message: given.message, ...(details && { details }) };
}

function detailsOf(
  way: Way,
  { methodKind }: DescMethod,
  { status, body }: Exchange,
  fields: Readonly<Record<string, string>>,
): readonly Packed[] {
  if (way.startsWith("grpc")) {
    const bytes = Buffer.from(fields["grpc-status-details-bin"] ?? "", "base64");
    return fromBinary(StatusSchema, bytes).details.map(({ typeUrl, value }) => ({
      type: typeUrl.replace("type.googleapis.com/", ""),
      value,
    }));
  }
  if (status !== 200) return readError(body).details ?? [];
  if (methodKind === "unary") return [];
  const { error }: { error?: unknown } = JSON.parse(lastEnvelope(body) || "{}");
  return error === undefined ? [] : (readError(JSON.stringify(error)).details ?? []);
}

/** gRPC-Web and the streams of Connect have their trailers in their last envelope. */
function lastFields(way: Way, { headers, body }: Exchange): Record<string, string> {
  if (way === "grpc-web") return Object.fromEntries(lastEnvelope(body).split("\r\n").flatMap(readLine));
  if (!headers["content-type"]?.startsWith("application/connect+")) return {};
  const { metadata = {} }: { metadata?: Record<string, string[]> } = JSON.parse(lastEnvelope(body) || "{}");
  return Object.fromEntries(Object.entries(metadata).map(([name, values]) => [name, values.join(", ")]));
}

function readLine(line: string): [name: string, value: string][] {
  const [, name, value] = /^([^:]+):\s*(.*)$/.exec(line) ?? [];
  return name === undefined || value === undefined ? [] : [[name.toLowerCase(), value]];
}

/** The text of the envelope that ends an answer; empty if there is none. */
function lastEnvelope(body: Buffer): string {
  for (let at = 0; at + 5 <= body.length; ) {
    const end = at + 5 + body.readUInt32BE(at + 1);
    if (body.readUInt8(at) > 1) return body.subarray(at + 5, end).toString();
    at = end;
  }
  return "";
}

const none: Details = { types: [] };

function readDetails(code: string, packed: readonly Packed[]): Details {
  if (code === "ok") return none;
  const find = <D extends DescMessage>(desc: D): MessageShape<D> | undefined => {
    const found = packed.find(({ type }) => type === desc.typeName);
    return found && fromBinary(desc, found.value);
  };
  const info = find(ErrorInfoSchema);
  const request = find(RequestInfoSchema);
  const bad = find(BadRequestSchema);
  const retry = find(RetryInfoSchema)?.retryDelay;
  return {
    types: packed.map(({ type }) => type),
    ...(info && { reason: info.reason, domain: info.domain, metadata: info.metadata }),
    ...(request && { requestId: request.requestId }),
    ...(bad && {
      violations: Object.fromEntries(
        bad.fieldViolations.map(({ field, description }) => [field, description]),
      ),
    }),
    ...(retry && { retryDelayMs: durationMs(retry) }),
  };
}
