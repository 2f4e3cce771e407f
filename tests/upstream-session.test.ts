import { constants, type ServerHttp2Stream } from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { array, assert, asyncProperty, constantFrom, integer, record } from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createSession, type UpstreamSession } from "../packages/gateway/src/upstream/session/session.ts";
import { createSessionTransport } from "../packages/gateway/src/upstream/session/transport.ts";
import {
  answer,
  type Behaviour,
  endHeaders,
  type FaultyUpstream,
  frame,
  frameType,
  grpcHeaders,
  speakFrames,
  startFaultyUpstream,
} from "./faulty-upstream.ts";
import { WarehouseService } from "./gen/acme/internal/warehouse/v1/warehouse_service_pb.ts";
import { envelope } from "./raw-call.ts";

// Whatever an upstream does, and in whatever order: no call hangs, nothing is uncaught, and once it is in order, calls work.

const uncaught: unknown[] = [];
const note = (error: unknown) => uncaught.push(error);
beforeAll(() => {
  process.on("uncaughtExceptionMonitor", note);
});
afterAll(() => {
  process.off("uncaughtExceptionMonitor", note);
});

const healthy: Behaviour = { stream: (stream) => answer(stream, [envelope("")]) };

/** HPACK: `:status: 200` and a literal `content-type: application/grpc`. */
const head = Buffer.concat([Buffer.from([0x88, 0x0f, 0x10, 16]), Buffer.from("application/grpc")]);
const byHand = (frames: (streamId: number) => Uint8Array[]): Behaviour => ({
  socket: (socket) => speakFrames(socket, (streamId) => void socket.write(Buffer.concat(frames(streamId)))),
});
const setting = (id: number, value: number) => {
  const payload = Buffer.alloc(6);
  payload.writeUInt16BE(id, 0);
  payload.writeUInt32BE(value, 2);
  return payload;
};
const number = (value: number) => {
  const payload = Buffer.alloc(4);
  payload.writeUInt32BE(value);
  return payload;
};
const goAway = (last: number, code: number) => frame(7, 0, 0, Buffer.concat([number(last), number(code)]));
const begin = (stream: ServerHttp2Stream) => {
  stream.respond(grpcHeaders);
  stream.write(Buffer.of(0, 0, 0));
};

const faults: Readonly<Record<string, Behaviour>> = {
  silence: { socket: () => {} },
  "silence after the preface": { socket: (socket) => socket.resume() },
  "the end at once": { socket: (socket) => void socket.end() },
  "a reset of the connection": { socket: (socket) => void socket.resetAndDestroy() },
  "HTTP/1": { socket: (socket) => void socket.end("HTTP/1.1 400 Bad Request\r\n\r\n") },
  "random bytes": { socket: (socket) => void socket.write(Buffer.from("9f3c01ff00".repeat(50), "hex")) },
  "the end in the middle of a frame": byHand((id) => [
    frame(frameType.headers, endHeaders, id, head).subarray(0, 12),
  ]),
  "SETTINGS that cannot be": {
    socket: (socket) => void socket.write(frame(4, 0, 0, setting(4, 0xffff_ffff))),
  },
  "SETTINGS that allow nothing": { socket: (socket) => void socket.write(frame(4, 0, 0, setting(3, 0))) },
  "SETTINGS again and again": byHand(() => Array(500).fill(frame(4, 0, 0))),
  "PING answered without a question": byHand(() => [frame(6, 1, 0, Buffer.alloc(8))]),
  "GOAWAY at once": { socket: (socket) => void socket.write(Buffer.concat([frame(4, 0, 0), goAway(0, 0)])) },
  "GOAWAY for the call": byHand(() => [goAway(0, 0)]),
  "GOAWAY twice": byHand((id) => [goAway(0x7fff_ffff, 0), goAway(id, 0)]),
  "GOAWAY with an error": byHand(() => [goAway(0, 11)]),
  "GOAWAY, then the end": {
    stream: (stream) => {
      stream.session?.goaway(0);
      setImmediate(() => stream.session?.destroy());
    },
  },
  "a WINDOW_UPDATE of 0": byHand((id) => [frame(8, 0, id, number(0))]),
  "a WINDOW_UPDATE of 0 for all": byHand(() => [frame(8, 0, 0, number(0))]),
  "a window that is too large": byHand(() => [
    frame(8, 0, 0, number(0x7fff_ffff)),
    frame(8, 0, 0, number(0x7fff_ffff)),
  ]),
  "DATA without HEADERS": byHand((id) => [frame(frameType.data, 0, id, Buffer.from("data"))]),
  "DATA for a stream that does not exist": byHand((id) => [
    frame(frameType.data, 0, id + 100, Buffer.from("data")),
  ]),
  "HEADERS twice": byHand((id) => [frame(1, endHeaders, id, head), frame(1, endHeaders, id, head)]),
  "HEADERS that cannot be read": byHand((id) => [frame(1, endHeaders, id, Buffer.alloc(20, 0xff))]),
  "HEADERS without an end": byHand((id) => [frame(1, 0, id, head)]),
  "a push": byHand((id) => [frame(5, endHeaders, id, Buffer.concat([number(2), head]))]),
  "a stream that depends on itself": byHand((id) => [
    frame(2, 0, id, Buffer.concat([number(id), Buffer.of(1)])),
  ]),
  "a redirect": {
    stream: (stream) =>
      stream.respond({ ":status": 307, location: "http://127.0.0.1:1/" }, { endStream: true }),
  },
  "an answer without a status": { stream: (stream) => answer(stream, [envelope("")], {}) },
  "trailers only": {
    stream: (stream) => stream.respond({ ...grpcHeaders, "grpc-status": "14" }, { endStream: true }),
  },
  "nothing on the stream": { stream: () => {} },
  "headers, then nothing": { stream: (stream) => stream.respond(grpcHeaders) },
  "a reset in the middle of a message": {
    stream: (stream) => {
      begin(stream);
      setImmediate(() => stream.close(constants.NGHTTP2_CANCEL));
    },
  },
  "the end of the connection in the middle of a message": {
    stream: (stream) => {
      begin(stream);
      setImmediate(() => stream.session?.destroy());
    },
  },
  ...Object.fromEntries(
    Array.from({ length: 15 }, (_, code): [string, Behaviour] => [
      `RST_STREAM ${code}`,
      code % 2 === 0
        ? { stream: (stream) => stream.close(code) }
        : byHand((id) => [frame(3, 0, id, number(code))]),
    ]),
  ),
};

/** What a call may fail with, whatever the upstream does. */
const codes = [
  Code.Unavailable,
  Code.Internal,
  Code.DeadlineExceeded,
  Code.Unknown,
  Code.Unimplemented,
  Code.InvalidArgument,
];

function clientOf(session: UpstreamSession) {
  const transport = createSessionTransport(session, 4_194_304);
  return createClient(WarehouseService, transport);
}

async function works(client: ReturnType<typeof clientOf>): Promise<void> {
  const until = performance.now() + 15_000;
  for (;;) {
    const error = await client.getCrate({}, { timeoutMs: 5_000 }).catch((error: unknown) => error);
    if (!(error instanceof Error)) return;
    if (performance.now() > until) throw error;
    await sleep(20);
  }
}

const quick = { connectTimeoutMs: 200, pingIntervalMs: 50, pingTimeoutMs: 5_000, closeGraceMs: 50 };

async function suffer(
  upstream: FaultyUpstream,
  client: ReturnType<typeof clientOf>,
  name: string,
  calls: number,
  waitMs: number,
) {
  upstream.behave(faults[name] ?? healthy);
  if (waitMs > 0) await sleep(waitMs);
  const outcomes = Array.from({ length: calls }, () =>
    client.getCrate({}, { timeoutMs: 400 }).catch((error: unknown) => error),
  );
  for (const outcome of await Promise.all(outcomes)) {
    if (!(outcome instanceof Error)) continue;
    expect(outcome, name).toBeInstanceOf(ConnectError);
    if (outcome instanceof ConnectError) expect(codes, `${name}: ${outcome}`).toContain(outcome.code);
  }
}

test.each(Object.keys(faults))("after %s, calls work again", async (name) => {
  await using upstream = await startFaultyUpstream();
  const session = createSession("warehouse", [new URL(upstream.url)], quick);
  const client = clientOf(session);
  await works(client);
  await suffer(upstream, client, name, 3, 0);
  upstream.behave(healthy);
  await works(client);
  session.close();
  await expect.poll(() => session.facts().addresses[0]?.inFlight, { timeout: 5_000 }).toBe(0);
  expect(uncaught).toEqual([]);
});

test("after any row of faults, calls work again", async () => {
  await using upstream = await startFaultyUpstream();
  const step = record({
    name: constantFrom(...Object.keys(faults)),
    calls: integer({ min: 0, max: 4 }),
    waitMs: integer({ min: 0, max: 10 }),
  });
  await assert(
    asyncProperty(array(step, { minLength: 2, maxLength: 6 }), async (steps) => {
      const session = createSession("warehouse", [new URL(upstream.url)], quick);
      const client = clientOf(session);
      for (const { name, calls, waitMs } of steps) await suffer(upstream, client, name, calls, waitMs);
      upstream.behave(healthy);
      await works(client);
      session.close();
      await expect.poll(() => session.facts().addresses[0]?.inFlight, { timeout: 5_000 }).toBe(0);
      expect(uncaught).toEqual([]);
    }),
    { numRuns: 20, endOnFailure: true },
  );
}, 120_000);
