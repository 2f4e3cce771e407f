import { type DescMethod, type Message, toBinary, toJsonString } from "@bufbuild/protobuf";
import * as fc from "fast-check";
import { data, flags, frameOf, headers, ping, request, reset, windowUpdate } from "../../harness/frames.ts";
import { arbitraryMessage } from "../../other-protos/arbitrary-message.ts";
import { envelope } from "../../raw-call.ts";
import { mutate } from "./mutate.ts";
import type { Random } from "./random.ts";

/** The places where an input is not what it should be. */
export const kinds = [
  "json",
  "proto",
  "envelope",
  "stream",
  "chunked",
  "headers",
  "path",
  "get",
  "frames",
] as const;
export type Kind = (typeof kinds)[number];

/** What is sent. */
export interface Input {
  readonly kind: Kind;
  /** A whole HTTP/1.1 request; of `frames`, what follows the preface and the SETTINGS. */
  readonly bytes: Buffer;
  /** The message in it, if the rest of the request is right: whether it can be read, protobuf-es is asked. */
  readonly body?: { readonly method: DescMethod; readonly format: "json" | "proto"; readonly bytes: Buffer };
}

/** Makes inputs. */
export type MakeInput = (kind: Kind, random: Random) => Input;

/**
 * Creates what makes inputs for the unary methods of an API, and one of its streams: messages of their types with any value,
 * as any client could send them, and then, most of the time, changed.
 *
 * @param token of a caller who may do everything: what is refused before it is read finds nothing
 */
export function createInputs(
  methods: readonly [DescMethod, ...DescMethod[]],
  stream: DescMethod,
  token: string,
): MakeInput {
  const streamed = poolOf(stream);
  const pools = new Map(methods.map((method) => [method, poolOf(method)] as const));
  const anyMessage = (random: Random) => {
    const method = random.pick(methods);
    const messages = pools.get(method) ?? [];
    return { method, message: messages[random.below(messages.length)] ?? messages[0] };
  };
  const bodyOf = (format: "json" | "proto", random: Random) => {
    const { method, message } = anyMessage(random);
    const whole = message === undefined ? Buffer.alloc(0) : encode(format, method, message);
    return { method, format, bytes: random.chance(0.1) ? whole : mutate(whole, random) };
  };
  const make: Readonly<Record<Kind, (random: Random) => Omit<Input, "kind">>> = {
    json: (random) => post(bodyOf("json", random), token),
    proto: (random) => post(bodyOf("proto", random), token),
    envelope: (random) => {
      const { method, message } = anyMessage(random);
      const whole = message === undefined ? Buffer.alloc(0) : encode("proto", method, message);
      const body = mutate(Buffer.from(envelope(whole)), random);
      return {
        bytes: http("POST", pathOf(method), { "content-type": "application/grpc-web+proto" }, token, body),
      };
    },
    stream: (random) => {
      const message = streamed[random.below(streamed.length)];
      const format: "json" | "proto" = random.pick(["json", "proto"]);
      const type = random.pick([`connect+${format}`, `connect+${format}`, `grpc-web+${format}`]);
      const whole = message === undefined ? Buffer.alloc(0) : encode(format, stream, message);
      const envelopes = Buffer.concat([envelope(whole, random.pick([0, 0, 0, 1, 2])), streamEnd(random)]);
      const body = random.chance(0.2) ? envelope(whole) : mutate(envelopes, random);
      // One that is answered does not end by itself.
      const fields = {
        "content-type": `application/${type}`,
        "connect-timeout-ms": "60",
        "grpc-timeout": "60m",
      };
      return { bytes: http("POST", pathOf(stream), fields, token, body) };
    },
    chunked: (random) => {
      const { method, format, bytes } = bodyOf(random.pick(["json", "proto"]), random);
      const type = { "content-type": `application/${format}`, "transfer-encoding": "chunked" };
      const head = http("POST", pathOf(method), type, token, Buffer.alloc(0)).toString("latin1");
      const body = chunksOf(bytes, random);
      return {
        bytes: Buffer.concat([
          Buffer.from(head.replace("content-length: 0\r\n", ""), "latin1"),
          random.chance(0.5) ? body : mutate(body, random),
        ]),
      };
    },
    headers: (random) => ({ bytes: mutateHead(post(bodyOf("json", random), token).bytes, random) }),
    path: (random) => {
      const path = mutate(Buffer.from(pathOf(random.pick(methods))), random).toString("latin1");
      const { bytes } = bodyOf("json", random);
      return { bytes: http("POST", path, { "content-type": "application/json" }, token, bytes) };
    },
    get: (random) => {
      const { method, bytes } = bodyOf(random.pick(["json", "proto"]), random);
      const query = mutate(Buffer.from(getQuery(bytes, random)), random).toString("latin1");
      return { bytes: http("GET", `${pathOf(method)}?${query}`, {}, token, Buffer.alloc(0)) };
    },
    frames: (random) => ({ bytes: framesOf(random, pathOf(random.pick(methods)), token) }),
  };
  return (kind, random) => ({ kind, ...make[kind](random) });
}

/** Messages of the type that a method takes. Always the same, so that a seed makes the same inputs on every machine. */
function poolOf(method: DescMethod): Message[] {
  return fc.sample(arbitraryMessage(method.input), { seed: 1, numRuns: 200 });
}

function encode(format: "json" | "proto", method: DescMethod, message: Message): Buffer {
  if (format === "proto") return Buffer.from(toBinary(method.input, message));
  try {
    return Buffer.from(toJsonString(method.input, message));
  } catch {
    // A time stamp of the year 300,000, for one, has no JSON.
    return Buffer.from("{}");
  }
}

function pathOf({ parent, name }: DescMethod): string {
  return `/${parent.typeName}/${name}`;
}

function post(body: NonNullable<Input["body"]>, token: string): Omit<Input, "kind"> {
  const headers = { "content-type": `application/${body.format}` };
  return { body, bytes: http("POST", pathOf(body.method), headers, token, body.bytes) };
}

function http(
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
  token: string,
  body: Buffer,
): Buffer {
  const all = { host: "localhost", authorization: `Bearer ${token}`, ...headers };
  const lines = Object.entries(all).map(([name, value]) => `${name}: ${value}\r\n`);
  const length = method === "GET" ? "" : `content-length: ${body.length}\r\n`;
  return Buffer.concat([
    Buffer.from(`${method} ${path} HTTP/1.1\r\n${lines.join("")}${length}\r\n`, "latin1"),
    body,
  ]);
}

/** Nothing most of the time; the end that the protocols have, or a second message. */
function streamEnd(random: Random): Buffer {
  return random.pick([
    Buffer.alloc(0),
    Buffer.alloc(0),
    envelope("{}", 2),
    envelope("", 0x80),
    envelope("{}"),
  ]);
}

/** Chunks of any size, some with extensions and trailers. */
function chunksOf(bytes: Buffer, random: Random): Buffer {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const part = bytes.subarray(at, at + 1 + random.below(40));
    const extension = random.chance(0.1) ? ";a=b" : "";
    parts.push(Buffer.from(`${part.length.toString(16)}${extension}\r\n`), part, Buffer.from("\r\n"));
    at += part.length;
  }
  const trailer = random.chance(0.1) ? "x: y\r\n" : "";
  return Buffer.concat([...parts, Buffer.from(`0\r\n${trailer}\r\n`)]);
}

function getQuery(message: Buffer, random: Random): string {
  const [encoding, base64] = [random.pick(["json", "proto"]), random.chance(0.5)];
  const text = base64 ? message.toString("base64url") : encodeURIComponent(message.toString("utf8"));
  return `connect=v1&encoding=${encoding}${base64 ? "&base64=1" : ""}&message=${text}`;
}

const oddHeaders: readonly [string, ...string[]] = [
  "connect-timeout-ms: -1",
  "connect-timeout-ms: 99999999999999999999",
  "grpc-timeout: 1x",
  "content-encoding: gzip",
  "content-encoding: br",
  "content-length: 0",
  "content-length: 99999999999",
  "transfer-encoding: chunked",
  "transfer-encoding: xchunked",
  "expect: 100-continue",
  "host: other",
  "connect-protocol-version: 7",
  "accept-encoding: br, *;q=0",
  "x-forwarded-for: ::::",
  "upgrade: h2c",
  "connection: upgrade, close",
  "traceparent: 00-00000000000000000000000000000000-0000000000000000-ff",
  `cookie: ${"a".repeat(4_000)}`,
  "if-none-match: *",
  "authorization: Basic Og==",
];

/** Changes the lines before the body, half of the time by whole lines. */
function mutateHead(bytes: Buffer, random: Random): Buffer {
  const end = bytes.indexOf("\r\n\r\n");
  const [head, rest] = [bytes.subarray(0, end), bytes.subarray(end)];
  if (random.chance(0.5)) return Buffer.concat([mutate(head, random), rest]);
  const lines = Array.from({ length: 1 + random.below(3) }, () => `\r\n${random.pick(oddHeaders)}`);
  return Buffer.concat([head, Buffer.from(lines.join("")), rest]);
}

/** A few frames: proper ones in any order, with any stream and any flag, and then bytes that are changed. */
function framesOf(random: Random, path: string, token: string): Buffer {
  const stream = () => random.pick([0, 1, 1, 1, 2, 3, 5, 0x7fff_ffff]);
  const fields = request(path, [
    ["content-type", random.pick(["application/grpc", "application/json", "application/grpc-web+proto"])],
    ["authorization", `Bearer ${token}`],
    ["te", "trailers"],
  ]);
  const any: readonly [() => Buffer, ...(() => Buffer)[]] = [
    () => headers(stream(), fields, random.pick([0, flags.endStream])),
    () => headers(stream(), fields.slice(random.below(4)), random.below(256)),
    () =>
      data(
        stream(),
        envelope(random.bytes(random.below(64))),
        random.pick([0, flags.endStream, flags.padded]),
      ),
    () => reset(stream(), random.below(20)),
    () => ping(random.bytes(random.pick([8, 8, 0, 7, 9])), random.below(2)),
    () => windowUpdate(stream(), random.pick([0, 1, 0x7fff_ffff])),
    () => frameOf(random.below(12), random.below(256), stream(), random.bytes(random.below(40))),
  ];
  const frames = Array.from({ length: 1 + random.below(6) }, () => random.pick(any)());
  const bytes = Buffer.concat(frames);
  return random.chance(0.5) ? bytes : mutate(bytes, random);
}
