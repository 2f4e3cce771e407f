import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { figure } from "../harness/figures.ts";
import { data, flags, frameTypes, headers, openFrames, request, setting } from "../harness/frames.ts";
import { startGateway } from "../harness/gateway-process.ts";
import { summarize } from "../harness/load.ts";
import { startLoadProcess } from "../harness/load-process.ts";
import type { PreparedRequest } from "../harness/requests.ts";
import { scaled } from "../harness/settings.ts";
import { startUpstreams } from "../harness/upstream-process.ts";
import { codesInWords, ms } from "./words.ts";
import { largePages, lookups, names } from "./work.ts";

/** Milliseconds after which every slow client must be gone. */
const mostMs = 35_000;

/** For how long it is watched whether they are. */
const patienceMs = 60_000;

/** Occupies the gateway for as long as it can. Resolves to how long that was, in milliseconds. */
type SlowClient = (url: string, call: PreparedRequest) => Promise<number>;

const slowClients: Readonly<Record<string, SlowClient>> = {
  "senders over HTTP/1.1": async (url, call) => {
    const socket = await open(url);
    socket.resume();
    return lastsUntil(new Promise((resolve) => socket.once("close", resolve)), async () => {
      await write(socket, h1Head({ ...call, headers: { ...call.headers, "content-length": "10000" } }));
      await drip(() => write(socket, Buffer.from(" ")));
    });
  },
  "readers over HTTP/1.1": async (url, call) => {
    const socket = await open(url);
    socket.pause();
    // More than the buffers of both systems take.
    const all = Buffer.concat(Array.from({ length: 16 }, () => Buffer.concat([h1Head(call), call.body])));
    // Node tells of the end only to who reads: writing does.
    return lastsUntil(gone(socket), () => write(socket, all));
  },
  "senders over HTTP/2": async (url, call) => {
    await using client = await openFrames(url);
    const over = Promise.race([client.ended, client.next(({ streamId }) => streamId === 1)]);
    return await lastsUntil(over, async () => {
      await client.send(headers(1, fieldsOf(call)));
      await drip(() => client.send(data(1, Buffer.from(" "))));
    });
  },
  "readers over HTTP/2": async (url, call) => {
    await using client = await openFrames(url, { settings: setting(4, 1) });
    const isReset = ({ type, streamId }: { type: number; streamId: number }) =>
      type === frameTypes.reset && streamId === 1;
    return await lastsUntil(Promise.race([client.ended, client.next(isReset)]), () =>
      client.send(headers(1, fieldsOf(call)), data(1, call.body, flags.endStream)),
    );
  },
};

test("C6 slow readers and senders", async () => {
  await using upstreams = await startUpstreams({ users: 1_000, orders: 2_000, items: 0 });
  await using gateway = await startGateway(upstreams.urls);
  const { url } = gateway;
  const each = scaled(250, 5);
  const calls = await largePages(gateway, 16);
  const healthy = {
    ...{ url, requests: await lookups(gateway, names(8)), lean: true, connections: 64, patienceMs: 30_000 },
    pace: { perSecond: 50 },
  };
  await using warm = await startLoadProcess({ ...healthy, forMs: 2_000 });
  await warm.done;
  await using quiet = await startLoadProcess({ ...healthy, forMs: scaled(5_000, 1_000) });
  const before = summarize(await quiet.done);
  await using load = await startLoadProcess(healthy);
  const startedAt = performance.now();
  const lasted = await Promise.all(
    Object.entries(slowClients).map(async ([what, client]) => {
      const all = Array.from({ length: each }, async (_, index) => {
        await delay(index * 5);
        const call = calls[index % calls.length];
        return call === undefined ? 0 : client(url, call);
      });
      return [what, Math.max(...(await Promise.all(all)))] as const;
    }),
  );
  const lastMs = performance.now() - startedAt;
  await expect.poll(async () => (await gateway.readyz()).inFlight, { timeout: 30_000 }).toBeLessThan(10);
  const meanwhile = summarize(await load.stop());
  const longest = Math.max(...lasted.map(([, time]) => time));
  const change = meanwhile.p99 / before.p99 - 1;
  figure({
    id: "C6",
    test: `${4 * each} slow clients: ${each} each of ${lasted.map(([what]) => what).join(", ")}`,
    expected: "closed <= 35 s; p99 of healthy callers +<= 20 %",
    measured:
      `closed after at most ${lasted.map(([what, time]) => `${(time / 1_000).toFixed(1)} s (${what})`).join(", ")}; ` +
      `healthy: ${codesInWords(meanwhile)}, p50 ${ms(before.p50)} -> ${ms(meanwhile.p50)}, p99 ${ms(before.p99)} -> ` +
      `${ms(meanwhile.p99)} (${(change * 100).toFixed(0)} %)`,
    reached: longest <= mostMs && change <= 0.2 && meanwhile.failed === 0,
  });
  expect(lastMs).toBeLessThan(3 * mostMs);
  expect(["ok", "unavailable"]).toEqual(expect.arrayContaining(Object.keys(meanwhile.codes)));
});

/** How long it takes until something is over, with what keeps the gateway waiting meanwhile. */
async function lastsUntil(over: Promise<unknown>, occupy: () => Promise<unknown>): Promise<number> {
  const startedAt = performance.now();
  void occupy();
  // Who is still there then is told as such: the test must not wait for ever.
  const patience = new AbortController();
  await Promise.race([over, delay(patienceMs, undefined, { signal: patience.signal }).catch(() => {})]);
  patience.abort();
  return performance.now() - startedAt;
}

/** A byte a second, until there is nobody to send it to. */
async function drip(send: () => Promise<boolean>): Promise<void> {
  while (await send()) await delay(1_000);
}

async function open(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname).on("error", () => {});
  await once(socket, "connect");
  return socket;
}

/** When the other side has closed: who does not read is told by what it writes. */
async function gone(socket: Socket): Promise<void> {
  while (await write(socket, Buffer.from("\r\n"))) await delay(500);
}

function write(socket: Socket, bytes: Uint8Array): Promise<boolean> {
  return new Promise((resolve) => {
    if (socket.destroyed || !socket.writable) resolve(false);
    else socket.write(bytes, (failed) => resolve(!failed));
  });
}

function h1Head({ path, headers }: PreparedRequest): Buffer {
  const fields = Object.entries({ host: "localhost", ...headers });
  return Buffer.from(
    `POST ${path} HTTP/1.1\r\n${fields.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`,
  );
}

function fieldsOf({ path, headers: { "content-length": _, ...fields } }: PreparedRequest) {
  return request(path, Object.entries(fields));
}
