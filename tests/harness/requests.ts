import { create, type DescMethod, type MessageInitShape, toBinary, toJsonString } from "@bufbuild/protobuf";
import { envelope } from "../raw-call.ts";

/** How calls are sent: the protocol and the version of HTTP. */
export type LoadWay = "h1-json" | "h1-proto" | "h2-json" | "grpc";

/** A request as it goes out, made once and sent often. Plain data, so that it can be given to another process. */
export interface PreparedRequest {
  readonly way: LoadWay;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  /** The only right answer, byte for byte; any is right if absent. Over HTTP/1.1 alone. */
  readonly answer?: Uint8Array;
}

/** What goes along with a request. */
export interface PrepareOptions {
  readonly token?: string;
  /** The deadline that the caller asks for; nothing if absent. */
  readonly timeoutMs?: number;
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * Encodes a unary call.
 *
 * @example const request = prepare("grpc", UsersService.method.getUser, { id: "user-1" }, { token, timeoutMs: 1_000 });
 */
export function prepare<M extends DescMethod>(
  way: LoadWay,
  method: M,
  message: MessageInitShape<M["input"]>,
  { token, timeoutMs, headers = {} }: PrepareOptions = {},
): PreparedRequest {
  const full = create(method.input, message);
  const bytes = way.endsWith("json")
    ? Buffer.from(toJsonString(method.input, full))
    : toBinary(method.input, full);
  const body = way === "grpc" ? envelope(bytes) : bytes;
  return {
    way,
    path: `/${method.parent.typeName}/${method.name}`,
    headers: {
      "content-type": contentTypes[way],
      ...(way === "grpc" ? { te: "trailers" } : { "content-length": String(body.length) }),
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(timeoutMs !== undefined &&
        (way === "grpc" ? { "grpc-timeout": `${timeoutMs}m` } : { "connect-timeout-ms": `${timeoutMs}` })),
      ...headers,
    },
    // Not a view of Node's pool of buffers: that would go along to another process whole.
    body: new Uint8Array(body),
  };
}

const contentTypes: Readonly<Record<LoadWay, string>> = {
  "h1-json": "application/json",
  "h1-proto": "application/proto",
  "h2-json": "application/json",
  grpc: "application/grpc+proto",
};
