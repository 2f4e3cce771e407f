import {
  data,
  type Fields,
  flags,
  frameOf,
  frameTypes,
  goaway,
  headers,
  ping,
  reset,
  setting,
  settings,
  windowUpdate,
} from "../harness/frames.ts";

/** What a flood is made of. */
export interface FloodParts {
  /** How many frames, or streams, it has. */
  readonly count: number;
  /** The fields of a POST that would be let in. */
  readonly post: Fields;
  /** The fields of a GET that anybody may make. */
  readonly get: Fields;
}

/** A flood: what it is called, and what makes its bytes, without the connection's greeting. */
export type Flood = readonly [name: string, bytes: () => Buffer];

/** Frames in their thousands that ask for nothing, or take back what they asked for: after CVE-2019-9511 and those since. */
export function floodsOf({ count, post, get }: FloodParts): readonly Flood[] {
  const many = (frame: (index: number) => Uint8Array): Buffer =>
    Buffer.concat(Array.from({ length: count }, (_, index) => frame(index)));
  const id = (index: number): number => 2 * index + 1;
  /** A call whose body does not come. */
  const begin = (streamId: number): Buffer => headers(streamId, post);
  const whole = (streamId: number): Buffer => headers(streamId, get, flags.endStream);
  const behind = (first: Buffer, frame: (index: number) => Uint8Array) => Buffer.concat([first, many(frame)]);
  const eachWith = (first: (streamId: number) => Buffer, then: (streamId: number) => Buffer): Buffer =>
    many((index) => Buffer.concat([first(id(index)), then(id(index))]));
  return [
    ["streams that are reset", () => eachWith(whole, (stream) => reset(stream))],
    ["streams that we must reset: no window", () => eachWith(begin, (stream) => windowUpdate(stream, 0))],
    [
      "streams that we must reset: too large a window",
      () => eachWith(begin, (stream) => windowUpdate(stream, 2 ** 31 - 1)),
    ],
    [
      "streams that we must reset: a body after the end",
      () => eachWith(whole, (stream) => data(stream, Buffer.of(1))),
    ],
    ["streams that we must reset: priority", () => eachWith(begin, dependentOnItself)],
    ["streams beyond those that are allowed", () => many((index) => begin(id(index)))],
    [
      "CONTINUATION of a header that does not end",
      () =>
        behind(frameOf(frameTypes.headers, flags.endStream, 1, headers(1, post).subarray(9)), () =>
          frameOf(frameTypes.continuation, 0, 1),
        ),
    ],
    ["PING", () => many(() => ping())],
    ["answers to no PING", () => many(() => ping(new Uint8Array(8), flags.ack))],
    ["SETTINGS", () => many(() => settings())],
    ["SETTINGS that change the window", () => many((index) => settings(setting(4, 65_535 + (index % 2))))],
    ["acknowledged SETTINGS", () => many(() => frameOf(frameTypes.settings, flags.ack, 0))],
    ["empty DATA", () => behind(begin(1), () => data(1, Buffer.alloc(0)))],
    [
      "DATA of nothing but padding",
      () => behind(begin(1), () => frameOf(frameTypes.data, flags.padded, 1, Buffer.of(0))),
    ],
    ["WINDOW_UPDATE of the connection", () => many(() => windowUpdate(0, 1))],
    ["WINDOW_UPDATE of a stream", () => behind(begin(1), () => windowUpdate(1, 1))],
    ["PRIORITY", () => many((index) => frameOf(frameTypes.priority, 0, id(index), Buffer.of(0, 0, 0, 0, 1)))],
    ["RST_STREAM of one stream", () => behind(whole(1), () => reset(1))],
    ["GOAWAY", () => many(() => goaway(0))],
    ["frames of no known type", () => many(() => frameOf(0xfa, 0, 0, Buffer.alloc(8)))],
  ];
}

function dependentOnItself(streamId: number): Buffer {
  const payload = Buffer.alloc(5);
  payload.writeUInt32BE(streamId, 0);
  payload.writeUInt8(1, 4);
  return frameOf(frameTypes.priority, 0, streamId, payload);
}
