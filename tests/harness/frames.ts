import { once } from "node:events";
import { connect, type Socket } from "node:net";

/** The types of frames, RFC 9113, 6. */
export const frameTypes = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  push: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const;

/** The flags of frames. `ack` is that of SETTINGS and PING. */
export const flags = { endStream: 1, ack: 1, endHeaders: 4, padded: 8, priority: 32 } as const;

/** What a client says first. */
export const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

export interface Frame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

/** How a connection ended, as its client saw it. */
export interface FramesEnd {
  /** Of the GOAWAY that was received last; undefined if there was none. */
  readonly goaway:
    | { readonly code: number; readonly lastStreamId: number; readonly text: string }
    | undefined;
  /** Node's code of the error that ended it, such as `ECONNRESET`. */
  readonly error: string | undefined;
}

/** A client of HTTP/2 that sends what it is told, allowed or not. */
export interface FramesClient extends AsyncDisposable {
  /** Writes bytes. Resolves to false if the connection has ended; waits while the other side does not read. */
  readonly send: (...bytes: readonly Uint8Array[]) => Promise<boolean>;
  /** Everything that came, in turns: the last 10,000 frames. */
  readonly received: () => readonly Frame[];
  /** How many frames of a type came. */
  readonly count: (type: number) => number;
  /** Resolves to the first frame, of those that came and those that will, that is wanted; undefined if it ends before. */
  readonly next: (isWanted: (frame: Frame) => boolean) => Promise<Frame | undefined>;
  /** Resolves when the connection is closed. */
  readonly ended: Promise<FramesEnd>;
  readonly isOpen: () => boolean;
  /** Stops reading, so that the other side cannot get rid of what it writes. */
  readonly pause: () => void;
  readonly resume: () => void;
  readonly socket: Socket;
}

/** What a client does by itself. */
export interface FramesOptions {
  /** Says the preface and empty SETTINGS. Default: true. */
  readonly greet?: boolean;
  /** Acknowledges SETTINGS. Default: true. */
  readonly acknowledge?: boolean;
  /** The payload of the SETTINGS that it greets with, such as {@link setting}s. */
  readonly settings?: Uint8Array;
}

/**
 * Connects to a port and speaks HTTP/2 by hand.
 *
 * @example
 * await using client = await openFrames(gateway.url);
 * await client.send(headers(1, request("/healthz"), flags.endStream));
 * const answer = await client.next(({ type, streamId }) => type === frameTypes.headers && streamId === 1);
 */
export async function openFrames(url: string, options: FramesOptions = {}): Promise<FramesClient> {
  const { greet = true, acknowledge = true, settings = new Uint8Array() } = options;
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.setNoDelay();
  await once(socket, "connect");
  const frames: Frame[] = [];
  const counts = new Map<number, number>();
  const waiting = new Set<{ isWanted: (frame: Frame) => boolean; resolve: (frame?: Frame) => void }>();
  let goaway: FramesEnd["goaway"];
  let error: string | undefined;
  const take = (frame: Frame) => {
    counts.set(frame.type, (counts.get(frame.type) ?? 0) + 1);
    frames.push(frame);
    if (frames.length > 10_000) frames.splice(0, 5_000);
    if (frame.type === frameTypes.goaway) goaway = readGoaway(frame.payload);
    if (acknowledge && frame.type === frameTypes.settings && (frame.flags & flags.ack) === 0)
      socket.write(frameOf(frameTypes.settings, flags.ack, 0));
    for (const it of waiting)
      if (it.isWanted(frame)) {
        waiting.delete(it);
        it.resolve(frame);
      }
  };
  readFrames(socket, take);
  socket.on("error", (reason: NodeJS.ErrnoException) => {
    error = reason.code ?? reason.message;
  });
  const ended = new Promise<FramesEnd>((resolve) => {
    socket.on("close", () => {
      for (const { resolve } of waiting) resolve();
      waiting.clear();
      resolve({ goaway, error });
    });
  });
  const send = (...bytes: readonly Uint8Array[]) =>
    new Promise<boolean>((resolve) => {
      if (socket.destroyed || !socket.writable) {
        resolve(false);
        return;
      }
      socket.write(Buffer.concat(bytes), (failed) => resolve(!failed));
    });
  if (greet) await send(preface, frameOf(frameTypes.settings, 0, 0, settings));
  return {
    socket,
    send,
    ended,
    received: () => frames,
    count: (type) => counts.get(type) ?? 0,
    next: (isWanted) => {
      const there = frames.find(isWanted);
      if (there !== undefined || socket.destroyed) return Promise.resolve(there);
      return new Promise((resolve) => waiting.add({ isWanted, resolve }));
    },
    isOpen: () => !socket.destroyed,
    pause: () => void socket.pause(),
    resume: () => void socket.resume(),
    [Symbol.asyncDispose]: async () => {
      socket.destroy();
      await ended;
    },
  };
}

/** A frame, RFC 9113, 4.1. */
export function frameOf(
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

export type Fields = readonly (readonly [name: string, value: string])[];

/** HEADERS that are complete. With `flags.endStream` a request without a body. */
export function headers(streamId: number, fields: Fields, flag = 0): Buffer {
  return frameOf(frameTypes.headers, flags.endHeaders | flag, streamId, hpack(fields));
}

/** The fields of a request; more may follow them. */
export function request(path: string, fields: Fields = [], method = "POST", authority = "localhost"): Fields {
  return [[":method", method], [":scheme", "http"], [":path", path], [":authority", authority], ...fields];
}

export function data(streamId: number, bytes: Uint8Array, flag = 0): Buffer {
  return frameOf(frameTypes.data, flag, streamId, bytes);
}

/** RST_STREAM; by default with CANCEL. */
export function reset(streamId: number, code = 8): Buffer {
  return frameOf(frameTypes.reset, 0, streamId, uint32(code));
}

export function ping(payload: Uint8Array = new Uint8Array(8), flag = 0): Buffer {
  return frameOf(frameTypes.ping, flag, 0, payload);
}

/** One setting, to be joined to the payload of SETTINGS. 4 is INITIAL_WINDOW_SIZE. */
export function setting(id: number, value: number): Buffer {
  const bytes = Buffer.alloc(6);
  bytes.writeUInt16BE(id, 0);
  bytes.writeUInt32BE(value, 2);
  return bytes;
}

export function settings(...payload: readonly Uint8Array[]): Buffer {
  return frameOf(frameTypes.settings, 0, 0, Buffer.concat(payload));
}

export function windowUpdate(streamId: number, by: number): Buffer {
  return frameOf(frameTypes.windowUpdate, 0, streamId, uint32(by));
}

/** GOAWAY of this client. */
export function goaway(lastStreamId: number, code = 0): Buffer {
  return frameOf(frameTypes.goaway, 0, 0, Buffer.concat([uint32(lastStreamId), uint32(code)]));
}

/** Fields as HPACK literals without indexing, Huffman or table: RFC 7541, 6.2.2. */
export function hpack(fields: Fields): Buffer {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), literal(name), literal(value)]));
}

function literal(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  return Buffer.concat([integer(bytes.length, 7), bytes]);
}

/** RFC 7541, 5.1; the bits before the prefix are 0. */
function integer(value: number, prefixBits: number): Buffer {
  const most = 2 ** prefixBits - 1;
  if (value < most) return Buffer.from([value]);
  const bytes = [most];
  let rest = value - most;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  return Buffer.from([...bytes, rest]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function readGoaway(payload: Buffer) {
  return {
    lastStreamId: payload.readUInt32BE(0) & 0x7fff_ffff,
    code: payload.readUInt32BE(4),
    text: payload.subarray(8).toString("latin1"),
  };
}

function readFrames(socket: Socket, take: (frame: Frame) => void): void {
  let seen: Buffer = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer) => {
    seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk]);
    let at = 0;
    for (; seen.length >= at + 9; ) {
      const length = seen.readUIntBE(at, 3);
      if (seen.length < at + 9 + length) break;
      const streamId = seen.readUInt32BE(at + 5) & 0x7fff_ffff;
      const payload = seen.subarray(at + 9, at + 9 + length);
      take({ type: seen.readUInt8(at + 3), flags: seen.readUInt8(at + 4), streamId, payload });
      at += 9 + length;
    }
    seen = seen.subarray(at);
  });
}
