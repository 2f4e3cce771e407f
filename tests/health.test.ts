import { createServer } from "node:net";
import { status } from "@grpc/grpc-js";
import { OrdersService, UsersService } from "@portico/client-sdk";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  Health,
  HealthCheckResponse_ServingStatus as Status,
} from "../packages/gateway/src/gen/grpc/health/v1/health_pb.ts";
import { type GrpcClient, grpcClient } from "./grpc-client.ts";
import { rawCall, ways } from "./raw-call.ts";
import { type System, startSystem } from "./system.ts";

// Whether the gateway wants traffic, as load balancers and clients ask.

const small = { users: 5, orders: 5, items: 5 };
const waiting = { timeout: 15_000, interval: 20 };

let system: System;
let client: GrpcClient;
async function start(env: Readonly<Record<string, string>> = {}): Promise<void> {
  system = await startSystem({ mocks: small, env });
  client = grpcClient(system.url);
}

describe("a gateway that is well", () => {
  beforeEach(() => start());
  afterEach(async () => {
    client[Symbol.dispose]();
    await system.close();
  });

  test.each(ways)("says so over %s", async (way) => {
    for (const service of ["", OrdersService.typeName]) {
      const answer = await rawCall(system.url, Health.method.check, { service }, { way });
      expect(answer.code).toBe("ok");
    }
    const unknown = await rawCall(system.url, Health.method.check, { service: "acme.Nothing" }, { way });
    expect([unknown.code, unknown.message]).toEqual(["not_found", "There is no such service."]);
  });

  test("says so to grpc-js, of itself and each of its services", async () => {
    expect(await client.unary(Health.method.check, {})).toMatchObject({ status: Status.SERVING });
    const { statuses } = await client.unary(Health.method.list, {});
    expect(Object.keys(statuses)).toEqual(
      expect.arrayContaining(["", OrdersService.typeName, UsersService.typeName]),
    );
    for (const { status } of Object.values(statuses)) expect(status).toBe(Status.SERVING);
  });

  test("is not asked for credentials, but asks for a request that can be read", async () => {
    const body = Buffer.from([0, 0, 0, 0, 2, 255, 255]);
    const answer = await rawCall(system.url, Health.method.check, {}, { way: "grpc", body });
    expect(answer.code).toBe("invalid_argument");
  });

  test("says so to an address that has used up what it may call", async () => {
    await using limited = await startSystem({ mocks: small, env: { RATE_LIMIT_ANONYMOUS: "5/1m" } });
    const invented = { token: "invented" };
    const ask = () => rawCall(limited.url, UsersService.method.getUser, { id: "user-1" }, invented);
    for (let count = 0; count < 5; count++) expect((await ask()).code).toBe("unauthenticated");
    expect((await ask()).code).toBe("resource_exhausted");
    expect((await rawCall(limited.url, Health.method.check, {})).code).toBe("ok");
    expect((await rawCall(limited.url, Health.method.check, {}, invented)).code).toBe("resource_exhausted");
  });

  test("writes no check into the audit log", async () => {
    const { requestId } = await rawCall(system.url, Health.method.check, {});
    await system.logOf(requestId);
    expect(system.log().filter((line) => "audit" in line)).toEqual([]);
  });

  test("tells who watches a service that there is not that it is unknown, and goes on", async () => {
    const stream = client.open(Health.method.watch, { service: "acme.Nothing" });
    expect(await stream.next()).toMatchObject({ status: Status.SERVICE_UNKNOWN });
    expect(await system.inFlight()).toBe(1);
    stream.cancel();
    await expect.poll(() => system.inFlight(), waiting).toBe(0);
  });

  test("repeats itself to who watches, before the stream counts as idle", async () => {
    client[Symbol.dispose]();
    await system.close();
    await start({ STREAM_IDLE_TIMEOUT_MS: "1000" });
    const stream = client.open(Health.method.watch, {});
    for (let heard = 0; heard < 4; heard++)
      expect(await stream.next()).toMatchObject({ status: Status.SERVING });
    stream.cancel();
    await expect.poll(() => system.inFlight(), waiting).toBe(0);
  });
});

test("a gateway that stops says so to who watches, before it ends the stream", async () => {
  await start({ DRAIN_DELAY_MS: "500" });
  const stream = client.open(Health.method.watch, {});
  expect(await stream.next()).toMatchObject({ status: Status.SERVING });
  const closed = system.close();
  expect(await stream.next()).toMatchObject({ status: Status.NOT_SERVING });
  await expect(stream.next()).rejects.toMatchObject({
    code: status.UNAVAILABLE,
    details: expect.stringContaining("restarting"),
  });
  await closed;
  client[Symbol.dispose]();
});

describe("an upstream that goes", () => {
  afterEach(async () => {
    client[Symbol.dispose]();
    await system.close();
  });

  test("takes the gateway with it if the rule names it, until it is back, though nobody calls it", async () => {
    await start({ READY_UPSTREAMS: "users" });
    await expect.poll(() => upstreamState("users"), waiting).toBe("ready");
    const stream = client.open(Health.method.watch, { service: OrdersService.typeName });
    expect(await stream.next()).toMatchObject({ status: Status.SERVING });

    await system.mocks.users.stop();
    expect(await nextChange(stream, Status.SERVING)).toBe(Status.NOT_SERVING);
    expect(await readyz(system.url)).toEqual({ code: 503, body: { status: "not ready" } });
    expect(await readyz(system.adminUrl)).toMatchObject({
      code: 503,
      body: { status: "not ready", lacks: ["the upstream users is unreachable"] },
    });
    // It is still alive, and answers what it can.
    expect((await fetch(`${system.url}/healthz`)).status).toBe(200);
    const token = await system.token("admin");
    const { code } = await rawCall(system.url, OrdersService.method.listOrdersWithUser, {}, { token });
    expect(code).not.toBe("internal");

    await system.mocks.users.restart();
    expect(await nextChange(stream, Status.NOT_SERVING)).toBe(Status.SERVING);
    expect(await readyz(system.url)).toEqual({ code: 200, body: { status: "ready" } });
    stream.cancel();
    await expect.poll(() => system.inFlight(), waiting).toBe(0);
  });

  test("does not take it if others are there, by the rule that comes of itself", async () => {
    await start();
    await expect.poll(() => upstreamState("users"), waiting).toBe("ready");
    await system.mocks.users.stop();
    await expect.poll(() => upstreamState("users"), waiting).toBe("unreachable");
    expect(await readyz(system.url)).toEqual({ code: 200, body: { status: "ready" } });
    for (const mock of [system.mocks.orders, system.mocks.inventory]) await mock.stop();
    await expect.poll(() => readyz(system.url), waiting).toMatchObject({ code: 503 });
  });
});

test("an upstream that is not there at the start is waited for, if the rule asks for all", async () => {
  const port = await freePort();
  await start({ READY_UPSTREAMS: "all", UPSTREAM_USERS: `http://127.0.0.1:${port}` });
  await expect
    .poll(async () => (await readyz(system.adminUrl)).body, waiting)
    .toMatchObject({ lacks: ["the upstream users is unreachable"] });
  client[Symbol.dispose]();
  await system.close();
});

/** The first status that is another one: a status may come more than once. */
async function nextChange(
  stream: { readonly next: () => Promise<{ readonly status: Status } | undefined> },
  from: Status,
): Promise<Status | undefined> {
  for (;;) {
    const status = (await stream.next())?.status;
    if (status !== from) return status;
  }
}

async function readyz(
  url: string,
): Promise<{ readonly code: number; readonly body: Record<string, unknown> }> {
  const answer = await fetch(`${url}/readyz`);
  return { code: answer.status, body: Object(await answer.json()) };
}

async function upstreamState(name: string): Promise<unknown> {
  const { body } = await readyz(system.adminUrl);
  return Object(body["upstreams"])[name];
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const address = server.address();
  await new Promise((closed) => server.close(closed));
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  return address.port;
}
