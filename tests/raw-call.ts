import { randomUUID } from "node:crypto";
import {
  create,
  createRegistry,
  type DescMessage,
  type DescMethod,
  type MessageInitShape,
  toBinary,
  toJsonString,
} from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { type Exchange, overH1, overH2 } from "./exchange.ts";
import { openDetails } from "./open-details.ts";

/** The ways to make a call: protocol, codec, and the version of HTTP that is usual for it. */
export const ways = ["connect+json", "connect+proto", "grpc", "grpc-web"] as const;
export type Way = (typeof ways)[number];

/** How a call ended, and all that came over the wire for it. */
export interface RawAnswer extends Exchange {
  /** `ok`, or the name of the error code as Connect writes it; `http 404` if the answer is in no protocol's form. */
  readonly code: string;
  readonly message: string;
  /** The messages of the answer, encoded as they came. */
  readonly messages: readonly Buffer[];
  readonly requestId: string;
}

/** What a call may carry besides its request. */
export interface RawOptions {
  readonly way?: Way;
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** The deadline that the caller asks for. */
  readonly timeoutMs?: number;
  /** Sent in place of the encoded request. */
  readonly body?: Uint8Array | string;
}

/** Makes one call by hand: encodes the request, reads the answer off the wire, and adds nothing. */
export async function rawCall<M extends DescMethod>(
  url: string,
  method: M,
  request: MessageInitShape<M["input"]>,
  options: RawOptions = {},
): Promise<RawAnswer> {
  const { way = "connect+json" } = options;
  const requestId = options.headers?.["x-request-id"] ?? randomUUID();
  const path = `/${method.parent.typeName}/${method.name}`;
  const headers = { ...headersOf(way, method, options), "x-request-id": requestId, ...options.headers };
  const body = options.body ?? encode(way, method, request);
  const exchange = await (way === "grpc" ? overH2 : overH1)(url, { path, headers, body });
  return { ...exchange, ...readAnswer(way, method, exchange), requestId };
}

/** A message in the envelope of gRPC, gRPC-Web and Connect's streams. */
export function envelope(
  payload: Uint8Array | string,
  flags = 0,
  length = Buffer.byteLength(payload),
): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt8(flags);
  prefix.writeUInt32BE(length, 1);
  return Buffer.concat([prefix, Buffer.from(payload)]);
}

/** Everything that came, as text: headers, trailers, body. The details of an error are in clear, see {@link openDetails}. */
export function textOf({ status, headers, trailers, body }: Exchange): string {
  const lines = (fields: Readonly<Record<string, string>>) =>
    Object.entries(fields).map(([name, value]) => `${name}: ${safeDecode(value)}\n`);
  const text = [`${status}\n`, ...lines(headers), body.toString("utf8"), "\n", ...lines(trailers)].join("");
  return openDetails(text);
}

const contentTypes = {
  "connect+json": { unary: "application/json", stream: "application/connect+json" },
  "connect+proto": { unary: "application/proto", stream: "application/connect+proto" },
  grpc: { unary: "application/grpc+proto", stream: "application/grpc+proto" },
  "grpc-web": { unary: "application/grpc-web+proto", stream: "application/grpc-web+proto" },
};

function headersOf(way: Way, method: DescMethod, { token, timeoutMs }: RawOptions): Record<string, string> {
  return {
    "content-type": contentTypes[way][method.methodKind === "unary" ? "unary" : "stream"],
    ...(way === "grpc" && { te: "trailers" }),
    ...(token !== undefined && { authorization: `Bearer ${token}` }),
    ...(timeoutMs !== undefined &&
      (way.startsWith("grpc")
        ? { "grpc-timeout": `${timeoutMs}m` }
        : { "connect-timeout-ms": `${timeoutMs}` })),
  };
}

/** What an `Any` of a request can hold. */
const registry = createRegistry(DurationSchema);

function encode(way: Way, method: DescMethod, request: MessageInitShape<DescMessage>): Uint8Array {
  const message = create(method.input, request);
  const bytes =
    way === "connect+json"
      ? Buffer.from(toJsonString(method.input, message, { registry }))
      : toBinary(method.input, message);
  return way.startsWith("connect") && method.methodKind === "unary" ? bytes : envelope(bytes);
}

type Reading = Pick<RawAnswer, "code" | "message" | "messages">;

function readAnswer(way: Way, method: DescMethod, exchange: Exchange): Reading {
  const { status, headers, trailers, body } = exchange;
  const type = headers["content-type"] ?? "";
  if (way.startsWith("connect") && type === "application/json" && status !== 200)
    return readError(exchange, body.toString());
  if (way.startsWith("connect") && method.methodKind === "unary" && status === 200)
    return { code: "ok", message: "", messages: [body] };
  if (!type.startsWith("application/grpc") && !type.startsWith("application/connect"))
    return { code: `http ${status}`, message: body.toString(), messages: [] };
  const parts = open(body);
  const messages = parts.filter(({ flags }) => flags === 0).map(({ payload }) => payload);
  const last = parts.find(({ flags }) => flags !== 0)?.payload.toString() ?? "";
  if (way.startsWith("connect")) {
    const { error }: { error?: unknown } = JSON.parse(last || "{}");
    return { ...(error === undefined ? ok : readError(exchange, JSON.stringify(error))), messages };
  }
  const end = way === "grpc" ? { ...headers, ...trailers } : { ...headers, ...fieldsOf(last) };
  return { ...readStatus(end), messages };
}

const ok = { code: "ok", message: "" };

function readError({ status }: Exchange, json: string): Reading {
  const { code, message }: { code?: unknown; message?: unknown } = JSON.parse(json);
  return {
    code: typeof code === "string" ? code : `http ${status}`,
    message: String(message ?? ""),
    messages: [],
  };
}

function readStatus(fields: Readonly<Record<string, string>>): Omit<Reading, "messages"> {
  const status = fields["grpc-status"];
  if (status === undefined) return { code: "no grpc-status", message: "" };
  return status === "0"
    ? ok
    : { code: codeName(Number(status)), message: safeDecode(fields["grpc-message"] ?? "") };
}

/** `Code.NotFound` is `not_found`, as on the wire. */
export function codeName(code: Code): string {
  return (Code[code] ?? `code ${code}`).replace(/(?<=[a-z])[A-Z]/g, (letter) => `_${letter}`).toLowerCase();
}

function open(body: Buffer): { flags: number; payload: Buffer }[] {
  const parts: { flags: number; payload: Buffer }[] = [];
  for (let at = 0; at + 5 <= body.length; ) {
    const end = at + 5 + body.readUInt32BE(at + 1);
    parts.push({ flags: body.readUInt8(at), payload: body.subarray(at + 5, end) });
    at = end;
  }
  return parts;
}

function fieldsOf(text: string): Record<string, string> {
  const lines = text.split("\r\n").filter((line) => line !== "");
  return Object.fromEntries(lines.map((line) => line.split(/:\s*/, 2).map((part) => part.trim())));
}

function safeDecode(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}
