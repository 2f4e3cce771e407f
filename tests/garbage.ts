import { constants, type ServerHttp2Stream } from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { GetUserResponseSchema } from "../packages/gateway/src/gen/smpl/users/v1/users_service_pb.ts";
import {
  answer,
  type Behaviour,
  endHeaders,
  frame,
  frameType,
  grpcHeaders,
  speakFrames,
} from "./faulty-upstream.ts";
import { envelope } from "./raw-call.ts";

/** What an upstream says for itself, in its errors and in its garbage. Nobody outside may read it. */
export const secret = "internal db row 5 at 10.0.0.7";

const user = { id: "user-1", email: "ada@example.com" };
const message = toBinary(GetUserResponseSchema, create(GetUserResponseSchema, { user }));
/** The answer that a service should give. */
export const healthy = envelope(message);

/** What an upstream does, what the public is told, and what the log says. */
type Garbage = Behaviour & { readonly code: string; readonly cause?: RegExp };

/** Answers of `GetUser` that no service should give, by what they are. */
export function garbage(): Record<string, Garbage> {
  return { ...notHttp2(), ...wrongHttp(), ...wrongMessages(), ...wrongTrailers(), ...cuts() };
}

function notHttp2(): Record<string, Garbage> {
  const bytes = (text: string): Garbage => ({ code: "unavailable", socket: (socket) => socket.write(text) });
  return {
    "silence instead of HTTP/2": { code: "unavailable", cause: /no HTTP\/2 connection/, socket: () => {} },
    "hanging up at once": { code: "unavailable", socket: (socket) => socket.destroy() },
    "ending at once": { code: "unavailable", socket: (socket) => socket.end() },
    "bytes without a meaning": bytes(`\u0000\u0001\u0002 ${secret} `.repeat(100)),
    "an HTTP/1 answer": bytes(`HTTP/1.1 200 OK\r\ncontent-length: ${secret.length}\r\n\r\n${secret}`),
    "the greeting of a mail server": bytes(`220 ${secret} ESMTP\r\n`),
    "a frame that is larger than it may be": {
      code: "unavailable",
      socket: (socket) => socket.write(Buffer.concat([frame(4, 0, 0), Buffer.alloc(64, 0xff)])),
    },
  };
}

function wrongHttp(): Record<string, Garbage> {
  const status = (status: number, code = "internal", headers = {}): Garbage => ({
    code,
    cause: new RegExp(`${status}`),
    stream: (stream) => answer(stream, [Buffer.from(secret)], {}, { ":status": status, ...headers }),
  });
  return {
    "HTTP 404": status(404, "internal", { "content-type": "text/html" }),
    "HTTP 302 with a location": status(302, "internal", { location: "http://10.0.0.7/internal" }),
    "HTTP 401": status(401),
    "HTTP 429": status(429, "unavailable"),
    "HTTP 500": status(500),
    "HTTP 503": status(503, "unavailable"),
    "a content type that is not gRPC": {
      code: "internal",
      stream: (stream) =>
        answer(
          stream,
          [Buffer.from(secret)],
          { "grpc-status": "0" },
          { ":status": 200, "content-type": "text/html" },
        ),
    },
    "no content type": {
      code: "internal",
      stream: (stream) => answer(stream, [healthy], { "grpc-status": "0" }, { ":status": 200 }),
    },
  };
}

function wrongMessages(): Record<string, Garbage> {
  const chunks = (...chunks: Uint8Array[]): Garbage => ({
    code: "internal",
    stream: (stream) => answer(stream, chunks),
  });
  return {
    "no message": chunks(),
    "half a message": chunks(healthy.subarray(0, 12)),
    "half an envelope": chunks(healthy.subarray(0, 3)),
    "two messages": chunks(healthy, healthy),
    "messages without end": {
      code: "internal",
      stream: (stream) => {
        stream.respond(grpcHeaders);
        const timer = setInterval(() => stream.write(healthy), 1);
        stream.on("close", () => clearInterval(timer));
      },
    },
    "a length of 4 GB": chunks(envelope(message, 0, 0xffff_ffff)),
    "a length of one byte less": chunks(envelope(message, 0, message.length - 1)),
    "a message that is not protobuf": chunks(envelope(Buffer.alloc(20, 0xff))),
    "a message that is cut inside": chunks(envelope(message.subarray(0, message.length - 4))),
    "text in the place of a message": chunks(Buffer.from(`<html>${secret}</html>`)),
    "a message above the limit": chunks(envelope(Buffer.alloc(5 * 2 ** 20))),
    "a compressed message that was not announced": chunks(envelope(message, 1)),
    "an encoding that was not offered": {
      code: "internal",
      stream: (stream) =>
        answer(
          stream,
          [envelope(message, 1)],
          { "grpc-status": "0" },
          { ...grpcHeaders, "grpc-encoding": "zstd" },
        ),
    },
    "flags that do not exist": chunks(envelope(message, 0xf1)),
  };
}

function wrongTrailers(): Record<string, Garbage> {
  const trailers = (trailers: Readonly<Record<string, string>>, code = "internal"): Garbage => ({
    code,
    stream: (stream) => answer(stream, [healthy], trailers),
  });
  return {
    "no trailers": {
      code: "internal",
      stream: (stream) => {
        stream.respond(grpcHeaders);
        stream.end(healthy);
      },
    },
    "trailers without a status": trailers({ "grpc-message": secret }),
    "a status that is no number": trailers({ "grpc-status": secret }),
    "a status that does not exist": trailers({ "grpc-status": "99", "grpc-message": secret }),
    "a negative status": trailers({ "grpc-status": "-1" }),
    "a message that cannot be decoded": trailers({ "grpc-status": "13", "grpc-message": "%E0%A4%A %zz" }),
    "details that are not base64": trailers({ "grpc-status": "13", "grpc-status-details-bin": "!!!" }),
    "details that are not protobuf": trailers({ "grpc-status": "13", "grpc-status-details-bin": "////" }),
    "a status before a message": {
      code: "internal",
      stream: (stream) =>
        answer(stream, [healthy], {}, { ...grpcHeaders, "grpc-status": "13", "grpc-message": secret }),
    },
  };
}

function cuts(): Record<string, Garbage> {
  const reset = (rstCode: number, code = "unavailable"): Garbage => ({
    code,
    stream: (stream) => stream.close(rstCode),
  });
  const begun = (then: (stream: ServerHttp2Stream) => void): Garbage => ({
    code: "unavailable",
    stream: (stream) => {
      stream.respond(grpcHeaders);
      stream.write(healthy.subarray(0, 12), () => then(stream));
    },
  });
  return {
    "a reset: NO_ERROR": reset(constants.NGHTTP2_NO_ERROR),
    "a reset: PROTOCOL_ERROR": reset(constants.NGHTTP2_PROTOCOL_ERROR, "internal"),
    "a reset: INTERNAL_ERROR": reset(constants.NGHTTP2_INTERNAL_ERROR, "internal"),
    "a reset: REFUSED_STREAM": reset(constants.NGHTTP2_REFUSED_STREAM),
    "a reset: CANCEL": reset(constants.NGHTTP2_CANCEL),
    "a reset: ENHANCE_YOUR_CALM": reset(constants.NGHTTP2_ENHANCE_YOUR_CALM),
    // Node's server ends the stream before it resets it: a whole answer, without a status.
    "a reset in the middle of a message": {
      ...begun((stream) => stream.close(constants.NGHTTP2_CANCEL)),
      code: "internal",
    },
    "a connection cut in the middle of a message": begun((stream) => stream.session?.destroy()),
    "GOAWAY for a call that is there, then the end": {
      code: "unavailable",
      stream: (stream) => {
        stream.session?.goaway(constants.NGHTTP2_NO_ERROR, 0);
        setImmediate(() => stream.session?.destroy());
      },
    },
    "GOAWAY with an error": {
      code: "unavailable",
      stream: (stream) => stream.session?.goaway(constants.NGHTTP2_INTERNAL_ERROR, 0, Buffer.from(secret)),
    },
    "headers, then silence": { code: "deadline_exceeded", stream: (stream) => stream.respond(grpcHeaders) },
    "empty DATA frames without end": { code: "unavailable", socket: floodWithEmptyData },
  };
}

/** Headers by hand, in HPACK: `:status: 200`, then a literal `content-type`. */
function floodWithEmptyData(socket: Parameters<typeof speakFrames>[0]): void {
  const type = "application/grpc+proto";
  const head = Buffer.concat([Buffer.from([0x88, 0x0f, 0x10, type.length]), Buffer.from(type)]);
  speakFrames(socket, (streamId) => {
    socket.write(frame(frameType.headers, endHeaders, streamId, head));
    const timer = setInterval(
      () => socket.write(Buffer.concat(Array(100).fill(frame(frameType.data, 0, streamId)))),
      1,
    );
    socket.on("close", () => clearInterval(timer));
  });
}

/** An answer of a newer service: fields that nobody here knows, in the message and in the user. */
export const newerUser = Buffer.concat([
  field(
    1,
    Buffer.concat([
      field(1, "user-1"),
      field(2, user.email),
      field(99, "NEWER FIELD"),
      field(15, "NEWER FIELD"),
    ]),
  ),
  field(7, "NEWER FIELD"),
]);

function field(number: number, value: Uint8Array | string): Buffer {
  const tag = (number << 3) | 2;
  const head = tag < 128 ? [tag] : [(tag & 127) | 128, tag >> 7];
  return Buffer.concat([Buffer.from([...head, Buffer.byteLength(value)]), Buffer.from(value)]);
}
