import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { startMocks } from "@portico/internal-mocks";
import { expect, test } from "vitest";
import { hasProc } from "../harness/child.ts";
import { figure } from "../harness/figures.ts";
import { data, flags, headers, openFrames, request, reset } from "../harness/frames.ts";
import { type GatewayProcess, startGateway } from "../harness/gateway-process.ts";
import { quantile, startLoad, summarize } from "../harness/load.ts";
import type { LoadWay, PreparedRequest } from "../harness/requests.ts";
import { scaled } from "../harness/settings.ts";
import { causes, inWords, ms, orderCall, steady, unhurried, userCall } from "./calls.ts";

test("B11 clients who leave at any moment", async () => {
  const mocks = await startMocks({ users: 20, orders: 20, items: 20, recordedCalls: 0 });
  try {
    const urls = { users: mocks.users.url, orders: mocks.orders.url, inventory: mocks.inventory.url };
    await using gateway = await startGateway(urls, unhurried);
    const token = await gateway.token();
    const abortMs = await measureAborts(gateway, mocks.users, token);

    // Long enough that many leave while their call is with the service.
    mocks.users.fault({ latencyMs: 30 });
    const bystander = startLoad({ url: gateway.url, requests: [orderCall("grpc", token)], ...steady });
    await delay(300);
    const openBefore = hasProc ? gateway.descriptors() : 0;
    const clients = scaled(10_000, 200);
    let left = 0;
    const leaveInTurns = async () => {
      while (left++ < clients) await leaveAtSomePoint(gateway.url, token, left);
    };
    await Promise.all(Array.from({ length: 40 }, leaveInTurns));
    await expect.poll(() => mocks.users.calls.active(), waiting).toBe(0);
    const others = summarize(await bystander.stop());
    await expect.poll(async () => (await gateway.readyz()).inFlight, waiting).toBe(0);
    if (hasProc) await expect.poll(gateway.descriptors, waiting).toBeLessThanOrEqual(openBefore);
    const p99 = quantile(abortMs, 0.99);
    figure({
      id: "B11",
      test: `client disconnects at random points x ${clients}, over HTTP/1.1 and HTTP/2`,
      expected: "upstream aborted <= 100 ms; in flight returns to 0",
      measured:
        `aborted after ${ms(quantile(abortMs, 0.5))} (p50), ${ms(p99)} (p99), of ${abortMs.length}; in flight: 0; ` +
        `others: ${inWords(others)}`,
      reached: p99 <= 100 && others.failed === 0,
    });
    expect(others.codes, JSON.stringify(causes(gateway))).toEqual({ ok: others.count });
    expect(gateway.crashes()).toEqual([]);
  } finally {
    await mocks.close();
  }
});

const waiting = { timeout: 30_000, interval: 20 };
const ways: readonly LoadWay[] = ["h1-json", "grpc"];

/** How long after its caller left a call to the service has ended, sorted. */
async function measureAborts(
  gateway: GatewayProcess,
  users: Awaited<ReturnType<typeof startMocks>>["users"],
  token: string,
): Promise<number[]> {
  users.fault({ hang: true });
  const took: number[] = [];
  for (let round = 0; round < scaled(100, 10); round++) {
    const way = ways[round % 2] ?? "grpc";
    const leave = await begin(gateway.url, userCall(way, token));
    await expect.poll(() => users.calls.active(), { timeout: 10_000, interval: 2 }).toBe(1);
    const leftAt = performance.now();
    leave();
    while (users.calls.active() > 0) await delay(1);
    took.push(performance.now() - leftAt);
  }
  users.clearFaults();
  return took.sort((a, b) => a - b);
}

/** Sends a whole call. Resolves to what hangs up. */
async function begin(url: string, prepared: PreparedRequest): Promise<() => void> {
  if (prepared.way === "grpc") {
    const client = await openFrames(url);
    await client.send(...h2Bytes(prepared));
    return () => void client.socket.destroy();
  }
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname).on("error", () => {});
  await once(socket, "connect");
  socket.resume().write(h1Bytes(prepared));
  return () => void socket.destroy();
}

/** In turns over each protocol: sends a part of the bytes, waits for a moment, and is gone in one way or another. */
async function leaveAtSomePoint(url: string, token: string, turn: number): Promise<void> {
  const way = ways[turn % 2] ?? "grpc";
  const prepared = userCall(way, token);
  const waitMs = Math.random() < 0.5 ? 0 : Math.random() * 45;
  if (way === "grpc") {
    await using client = await openFrames(url);
    const bytes = Buffer.concat(h2Bytes(prepared));
    await client.send(bytes.subarray(0, someOf(bytes)));
    if (Math.random() < 0.5) await delay(waitMs);
    // Some take back the call alone.
    else await client.send(reset(1));
    await delay(waitMs / 2);
    return;
  }
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname).on("error", () => {});
  const closed = new Promise((resolve) => socket.once("close", resolve));
  const bytes = h1Bytes(prepared);
  socket.resume().write(bytes.subarray(0, someOf(bytes)));
  await delay(waitMs);
  if (Math.random() < 0.3) socket.resetAndDestroy();
  else socket.destroy();
  await closed;
}

/** All of it for one in two; else any part. */
function someOf({ length }: Uint8Array): number {
  return Math.random() < 0.5 ? length : Math.floor(Math.random() * length);
}

function h1Bytes({ path, headers, body }: PreparedRequest): Buffer {
  const lines = Object.entries({ host: "localhost", ...headers }).map(
    ([name, value]) => `${name}: ${value}\r\n`,
  );
  return Buffer.concat([Buffer.from(`POST ${path} HTTP/1.1\r\n${lines.join("")}\r\n`), body]);
}

function h2Bytes({ path, headers: fields, body }: PreparedRequest): Buffer[] {
  return [headers(1, request(path, Object.entries(fields))), data(1, body, flags.endStream)];
}
