import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { OrdersService, Portico } from "@portico/client-sdk";
import { type RunningMocks, startMocks } from "@portico/internal-mocks";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type RawAnswer, rawCall } from "./raw-call.ts";
import { startSystem } from "./system.ts";

// The end of the real program: nobody who was let in is turned away.

const { listOrdersWithUser, watchOrdersWithUser } = OrdersService.method;
const small = { users: 20, orders: 50, items: 20 };

describe("SIGTERM", () => {
  let mocks: RunningMocks;
  let gateway: Program;
  beforeEach(async () => {
    mocks = await startMocks(small);
    gateway = await startProgram(mocks, { DRAIN_DELAY_MS: "400" });
  });
  afterEach(async () => {
    gateway.child.kill("SIGKILL");
    await mocks.close();
  });

  test("lets requests in flight finish over HTTP/1.1 and HTTP/2, and takes no others", async () => {
    mocks.orders.fault({ latencyMs: 1_500 });
    const answers = [listOver("connect+json"), listOver("grpc"), listOver("grpc-web")];
    await expect.poll(() => mocks.orders.calls.active("listOrders"), waiting).toBe(3);

    expect(await statusOf(`${gateway.url}/readyz`)).toBe(200);
    gateway.child.kill("SIGTERM");
    // For a while the port stays open, so that load balancers see this.
    await expect.poll(() => statusOf(`${gateway.url}/readyz`), waiting).toBe(503);
    await expect.poll(() => canConnect(gateway.url), waiting).toBe(false);
    // From here on it takes nobody; the three are still being served, and the admin port says so.
    expect(mocks.orders.calls.active("listOrders")).toBe(3);
    expect(await jsonOf(`${gateway.adminUrl}/readyz`)).toMatchObject({ status: "not ready", inFlight: 3 });

    for (const answer of await Promise.all(answers)) expect(answer.code).toBe("ok");
    expect(await gateway.ended).toEqual({ code: 0, signal: null, stderr: "" });
    expect(gateway.log()).toContainEqual(expect.objectContaining({ msg: "stopped", cutOff: 0 }));
  });

  test("once more, and SIGINT besides, change nothing", async () => {
    mocks.users.fault({ latencyMs: 1_000 });
    const answer = listOver("connect+json");
    await expect.poll(() => mocks.users.calls.active(), waiting).toBe(1);
    gateway.child.kill("SIGTERM");
    gateway.child.kill("SIGTERM");
    await expect.poll(() => statusOf(`${gateway.adminUrl}/readyz`), waiting).toBe(503);
    gateway.child.kill("SIGINT");
    expect((await answer).code).toBe("ok");
    expect(await gateway.ended).toEqual({ code: 0, signal: null, stderr: "" });
    expect(gateway.log().filter(({ msg }) => msg === "draining")).toHaveLength(1);
  });

  test("cuts off what does not end in time, and says how much", async () => {
    const headers = {
      authorization: `Bearer ${await gateway.token()}`,
      "content-type": "application/json",
      "content-length": "100",
    };
    const path = "/smpl.api.orders.v1.OrdersService/ListOrdersWithUser";
    const request = httpRequest(`${gateway.url}${path}`, { method: "POST", headers });
    const cut = new Promise((resolve) => request.on("close", resolve));
    request.on("error", () => {}).write("{");
    await expect.poll(() => jsonOf(`${gateway.adminUrl}/readyz`), waiting).toMatchObject({ inFlight: 1 });
    gateway.child.kill("SIGTERM");
    expect(await gateway.ended).toEqual({ code: 0, signal: null, stderr: "" });
    expect(gateway.log()).toContainEqual(expect.objectContaining({ msg: "stopped", cutOff: 1 }));
    await cut;
  });

  test("ends streams with unavailable, without waiting for them", async () => {
    const ended = watch(gateway.url).catch((error: unknown) => error);
    await expect.poll(() => mocks.orders.calls.active("watchOrders"), waiting).toBe(1);
    gateway.child.kill("SIGTERM");
    expect(await gateway.ended).toEqual({ code: 0, signal: null, stderr: "" });
    expect(gateway.log()).toContainEqual(expect.objectContaining({ msg: "stopped", cutOff: 0 }));
    expect(await ended).toMatchObject({ code: "unavailable" });
  });

  test("is not held up by a connection to the admin port that sends nothing", async () => {
    const { hostname, port } = new URL(gateway.adminUrl);
    const silent = connect(Number(port), hostname).on("error", () => {});
    await once(silent, "connect");
    gateway.child.kill("SIGTERM");
    expect(await gateway.ended).toEqual({ code: 0, signal: null, stderr: "" });
    silent.destroy();
  });

  test("ends an idle gateway at once, its idle connections included", async () => {
    expect((await listOver("connect+json")).code).toBe("ok");
    const { hostname, port } = new URL(gateway.url);
    const idle = connect(Number(port), hostname);
    await once(idle, "connect");
    const closed = once(idle, "close");
    gateway.child.kill("SIGTERM");
    await closed;
    expect(await gateway.ended).toMatchObject({ code: 0, stderr: "" });
  });

  test("the end of the parent is the end of the program", async () => {
    gateway.child.disconnect();
    expect(await gateway.ended).toEqual({ code: 0, signal: null, stderr: "" });
    const told = gateway.log().map(({ msg }) => msg);
    expect(told.slice(-2)).toEqual(["draining", "stopped"]);
  });

  async function listOver(way: "connect+json" | "grpc" | "grpc-web"): Promise<RawAnswer> {
    const token = await gateway.token();
    return rawCall(gateway.url, listOrdersWithUser, { pageSize: 5 }, { way, token });
  }

  async function watch(url: string): Promise<RawAnswer> {
    return rawCall(url, watchOrdersWithUser, { backlog: 1 }, { way: "grpc", token: await gateway.token() });
  }
});

describe("two gateways in one process", () => {
  test("share nothing: not data, not identity, not their logs, not their end", async () => {
    await using first = await startSystem({ mocks: { ...small, seed: 1 } });
    const second = await startSystem({ mocks: { ...small, seed: 2 } });
    const ofFirst = new Portico({ baseUrl: first.url, token: await first.token("support") });
    const ofSecond = new Portico({ baseUrl: second.url, token: await second.token("support") });
    const [a, b] = await Promise.all([
      ofFirst.orders.listOrdersWithUser({ pageSize: 5 }),
      ofSecond.orders.listOrdersWithUser({ pageSize: 5 }),
    ]);
    expect(a.orders).toHaveLength(5);
    expect(a.orders.map((order) => order.userEmail)).not.toEqual(b.orders.map((order) => order.userEmail));
    for (const { mocks } of [first, second]) {
      expect(mocks.orders.calls.count()).toBe(1);
      expect(mocks.users.calls.count()).toBe(1);
    }

    const stranger = new Portico({ baseUrl: second.url, token: await first.token("admin") });
    await expect(stranger.orders.listOrdersWithUser({})).rejects.toMatchObject({ code: "unauthenticated" });
    expect(first.log().filter(({ code }) => code === "unauthenticated")).toEqual([]);

    await second.close();
    expect((await ofFirst.orders.listOrdersWithUser({ pageSize: 5 })).orders).toEqual(a.orders);
    await expect(ofSecond.orders.listOrdersWithUser({})).rejects.toMatchObject({ code: "unavailable" });
  });
});

/** Enough for a machine that is busy. */
const waiting = { timeout: 10_000, interval: 20 };

/** The gateway as `pnpm start` runs it. */
interface Program {
  readonly child: ChildProcess;
  readonly url: string;
  readonly adminUrl: string;
  readonly token: () => Promise<string>;
  readonly log: () => Record<string, unknown>[];
  readonly ended: Promise<{ code: number | null; signal: string | null; stderr: string }>;
}

async function startProgram(mocks: RunningMocks, env: Readonly<Record<string, string>>): Promise<Program> {
  const source = fileURLToPath(new URL("../packages/gateway/src/", import.meta.url));
  const child = fork(`${source}main.ts`, {
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    execArgv: [],
    env: {
      PATH: process.env["PATH"],
      PORTICO_MODE: "demo",
      PORT: "0",
      ADMIN_PORT: "0",
      ACCESS_FILE: `${source}app/access.json`,
      UPSTREAM_USERS: mocks.users.url,
      UPSTREAM_ORDERS: mocks.orders.url,
      UPSTREAM_INVENTORY: mocks.inventory.url,
      DRAIN_TIMEOUT_MS: "4000",
      ...env,
    },
  });
  let stdout = "";
  let stderr = "";
  child.stdout?.on("data", (chunk: Buffer) => (stdout += chunk));
  child.stderr?.on("data", (chunk: Buffer) => (stderr += chunk));
  // Not "close" of the child: Node forgets that event when the parent is the one to disconnect.
  const ended = Promise.all([once(child, "exit"), closed(child.stdout), closed(child.stderr)]).then(
    ([[code, signal]]) => ({ code, signal, stderr }),
  );
  // Without what may be half a line.
  const lines = () => stdout.split("\n").slice(0, -1);
  const log = () => lines().map((line) => JSON.parse(line));
  await Promise.race([once(child, "message"), ended.then(({ stderr }) => Promise.reject(new Error(stderr)))]);
  // The message and the log come by different ways.
  await expect.poll(lines, waiting).toContainEqual(expect.stringContaining("listening"));
  const { url, adminUrl } = log().find(({ msg }) => msg === "listening");
  const token = async () => (await fetch(`${url}/demo/token?sub=ada&role=support`)).text();
  return { child, url, adminUrl, token, log, ended };
}

async function closed(stream: Readable | null): Promise<void> {
  if (stream !== null) await once(stream, "close");
}

async function statusOf(url: string): Promise<number> {
  return (await fetch(url)).status;
}

async function jsonOf(url: string): Promise<unknown> {
  return (await fetch(url)).json();
}

function canConnect(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = connect(Number(port), hostname);
    socket.on("connect", () => resolve(true)).on("error", () => resolve(false));
    socket.on("connect", () => socket.destroy());
  });
}
