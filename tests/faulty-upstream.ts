import { createServer as createH2, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import { type AddressInfo, createServer as createTcp, type Socket } from "node:net";
import { envelope } from "./raw-call.ts";

/** How an upstream behaves: with `socket` it does not speak HTTP/2 by itself, with `stream` it does. */
export type Behaviour =
  | { readonly socket: (socket: Socket) => void }
  | { readonly stream: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => void };

/** A server on one port that can behave in any way, one after the other. */
export interface FaultyUpstream extends AsyncDisposable {
  readonly url: string;
  /** Behaves so from now on. Connections that are open are cut. */
  behave(behaviour: Behaviour): void;
}

/** Starts a server that at first answers every call with `OK` and an empty message. */
export async function startFaultyUpstream(): Promise<FaultyUpstream> {
  let behaviour: Behaviour = { stream: (stream) => answer(stream, [envelope("")]) };
  const sockets = new Set<Socket>();
  const h2 = createH2();
  h2.on("sessionError", ignore);
  h2.on("session", (session) => session.on("error", ignore));
  h2.on("stream", (stream, headers) => {
    stream.on("error", ignore);
    if ("stream" in behaviour) behaviour.stream(stream, headers);
  });
  const tcp = createTcp((socket) => {
    sockets.add(socket);
    socket.on("error", ignore);
    socket.on("close", () => sockets.delete(socket));
    if ("socket" in behaviour) behaviour.socket(socket);
    else h2.emit("connection", socket);
  });
  await new Promise<void>((resolve) => tcp.listen(0, "127.0.0.1", resolve));
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    // A TCP server's address is never the text that a Unix socket's is.
    url: `http://127.0.0.1:${(tcp.address() as AddressInfo).port}`,
    behave(next) {
      behaviour = next;
      cut();
    },
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((resolve) => tcp.close(resolve));
      cut();
      await closed;
    },
  };
}

/** The headers of a proper gRPC answer. */
export const grpcHeaders = { ":status": 200, "content-type": "application/grpc+proto" };

/** Answers a gRPC call with these chunks and trailers, whatever they mean. */
export function answer(
  stream: ServerHttp2Stream,
  chunks: readonly Uint8Array[],
  trailers: Readonly<Record<string, string>> = { "grpc-status": "0" },
  headers: Readonly<Record<string, string | number>> = grpcHeaders,
): void {
  stream.respond(headers, { waitForTrailers: true });
  stream.on("wantTrailers", () => stream.sendTrailers(trailers));
  for (const chunk of chunks) stream.write(chunk);
  stream.end();
}

/** Speaks HTTP/2 by hand: sends the frames that `onHeaders` makes for the stream that was opened. */
export function speakFrames(socket: Socket, onHeaders: (streamId: number) => void): void {
  let seen = Buffer.alloc(0);
  let at = preface.length;
  socket.write(frame(frameType.settings, 0, 0));
  socket.on("data", (chunk) => {
    seen = Buffer.concat([seen, chunk]);
    for (; seen.length >= at + 9; at += 9 + seen.readUIntBE(at, 3)) {
      if (seen.length < at + 9 + seen.readUIntBE(at, 3)) break;
      const [type, flags, streamId] = [
        seen.readUInt8(at + 3),
        seen.readUInt8(at + 4),
        seen.readUInt32BE(at + 5),
      ];
      if (type === frameType.settings && flags === 0) socket.write(frame(frameType.settings, ack, 0));
      if (type === frameType.headers) onHeaders(streamId);
    }
  });
}

/** A frame of RFC 9113, 4.1. */
export function frame(
  type: number,
  flags: number,
  streamId: number,
  payload: Uint8Array = new Uint8Array(),
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(streamId, 5);
  return Buffer.concat([head, payload]);
}

export const frameType = { data: 0, headers: 1, reset: 3, settings: 4 };
export const endHeaders = 4;
const ack = 1;
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

function ignore(): void {}
