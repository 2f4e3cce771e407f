import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { hasProc } from "../harness/child.ts";
import { figure } from "../harness/figures.ts";
import { data, type FramesClient, flags, headers, openFrames, request, setting } from "../harness/frames.ts";
import { type GatewayProcess, startGateway } from "../harness/gateway-process.ts";
import { scaled } from "../harness/settings.ts";
import { type RememberingUpstreams, startRememberingUpstreams } from "./remembering.ts";
import { largePages } from "./work.ts";

// All that clients may hold at once, as large as it may be.

const mostBytes = 512 * 2 ** 20;
const streams = 100;
const holdMs = scaled(3_000, 500);

let upstreams: RememberingUpstreams;
let gateway: GatewayProcess;
beforeAll(async () => {
  upstreams = await startRememberingUpstreams({ users: 1_000, orders: 2_000, items: 0 });
});
afterAll(() => upstreams[Symbol.asyncDispose]());

test("C4 requests over HTTP/2 that declare all they may and send little of it", async () => {
  await using own = await startGateway(upstreams.urls);
  gateway = own;
  const connections = scaled(1_000, 20);
  const call = await requestFields();
  // The first bytes of a message of 4 MiB.
  const begun = Buffer.from([0, 0, 0x40, 0, 0, 1, 2, 3, 4, 5]);
  await measure(`${connections} connections x ${streams} streams that declare 4 MiB each`, async () => {
    const clients = await openAll(connections, () => openFrames(gateway.url));
    await each(clients, async (client) => {
      for (let id = 1; id < 2 * streams; id += 2) await client.send(headers(id, call), data(id, begun));
    });
    return clients;
  });
});

test("C4 requests over HTTP/2 that send all they may and never end", async () => {
  await using own = await startGateway(upstreams.urls);
  gateway = own;
  const connections = scaled(100, 5);
  const call = await requestFields();
  // What the windows allow: a connection's, 1 MiB.
  const bytes = Buffer.alloc(10_000);
  const declared = Buffer.concat([Buffer.from([0, 0, 3, 0xff, 0xff]), bytes]);
  await measure(`${connections} connections x ${streams} streams, each with 10 kB of a message`, async () => {
    const clients = await openAll(connections, () => openFrames(gateway.url));
    await each(clients, async (client) => {
      for (let id = 1; id < 2 * streams; id += 2) await client.send(headers(id, call), data(id, declared));
    });
    return clients;
  });
});

test("C4 requests over HTTP/1.1 on all connections there may be", async () => {
  await using own = await startGateway(upstreams.urls);
  gateway = own;
  const connections = scaled(4_096, 50);
  const [call] = await largePages(gateway, 1);
  if (call === undefined) throw new Error("there is no request");
  const fields = Object.entries({ ...call.headers, host: "localhost", "content-length": "262144" });
  const head = `POST ${call.path} HTTP/1.1\r\n${fields.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`;
  const bytes = Buffer.concat([Buffer.from(head), Buffer.alloc(200_000, " ")]);
  await measure(`${connections} connections, each with 200 kB of a body of 256 KiB`, async () => {
    const sockets = await openAll(connections, () => openSocket(gateway.url));
    for (const socket of sockets) socket.write(bytes);
    return sockets.map((socket) => ({ socket }));
  });
});

test("C4 answers that nobody takes", async () => {
  await using own = await startGateway(upstreams.urls);
  gateway = own;
  const connections = scaled(100, 2);
  const calls = await largePages(gateway, 16);
  await measure(
    `${connections} connections x ${streams} streams that ask for 1,000 orders and take nothing`,
    async () => {
      const clients = await openAll(connections, () => openFrames(gateway.url, { settings: setting(4, 0) }));
      await each(clients, async (client, index) => {
        const call = calls[index % calls.length];
        if (call === undefined) return;
        for (let id = 1; id < 2 * streams; id += 2) {
          await client.send(
            headers(id, request(call.path, Object.entries(call.headers))),
            data(id, call.body, flags.endStream),
          );
          if (id % 10 === 1) await delay(20);
        }
      });
      return clients;
    },
  );
});

/** Watches the memory of the gateway while clients come, stay and go, and that it is well after that. */
async function measure(
  what: string,
  come: () => Promise<readonly Pick<FramesClient, "socket">[]>,
): Promise<void> {
  const rss = watchRss();
  const startedAt = performance.now();
  const clients = await come();
  await delay(holdMs);
  const open = clients.filter(({ socket }) => !socket.destroyed).length;
  const inFlight = Number((await gateway.readyz()).inFlight);
  for (const { socket } of clients) socket.destroy();
  await expect.poll(async () => (await gateway.readyz()).inFlight, { timeout: 30_000 }).toBe(0);
  const peak = rss.stop();
  const after = await gateway.probe();
  figure({
    id: "C4",
    test: what,
    expected: "RSS <= 512 MB",
    measured:
      `${mb(peak)} at most, ${mb(after.rssBytes)} after it; ${open} connections and ${inFlight} requests were open at the end ` +
      `of ${Math.round((performance.now() - startedAt) / 1_000)} s`,
    reached: peak <= mostBytes,
  });
  expect(gateway.crashes()).toEqual([]);
}

function watchRss() {
  let most = 0;
  const look = () => {
    if (hasProc) most = Math.max(most, gateway.rssBytes());
  };
  const timer = setInterval(look, 20);
  return {
    stop: () => {
      clearInterval(timer);
      return most;
    },
  };
}

async function requestFields() {
  const [call] = await largePages(gateway, 1);
  if (call === undefined) throw new Error("there is no request");
  return request(
    call.path,
    Object.entries({ ...call.headers, "content-type": "application/grpc+proto", te: "trailers" }),
  );
}

async function openAll<T>(count: number, open: () => Promise<T>): Promise<T[]> {
  const opened: T[] = [];
  while (opened.length < count)
    opened.push(...(await Promise.all(Array.from({ length: Math.min(100, count - opened.length) }, open))));
  return opened;
}

/** A hundred at a time. */
async function each<T>(items: readonly T[], act: (item: T, index: number) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += 100)
    await Promise.all(items.slice(at, at + 100).map((item, index) => act(item, at + index)));
}

async function openSocket(url: string): Promise<Socket> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname).on("error", () => {});
  await once(socket, "connect");
  return socket.resume();
}

function mb(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}
