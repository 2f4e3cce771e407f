import { request as httpRequest } from "node:http";
import { connect as connectHttp2, constants } from "node:http2";
import { Code } from "@connectrpc/connect";
import { OrdersService } from "@portico/client-sdk";
import { service } from "@portico/gateway";
import type { CallRecord, OrdersService as InternalOrders } from "@portico/internal-mocks";
import { afterEach, describe, expect, test } from "vitest";
import { inventoryService } from "../packages/gateway/src/app/inventory.ts";
import { itemsByOwner, usersById } from "../packages/gateway/src/app/loaders.ts";
import { usersService } from "../packages/gateway/src/app/users.ts";
import { OrdersService as PublicOrders } from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { envelope, rawCall, ways } from "./raw-call.ts";
import { type System, type SystemOptions, startSystem } from "./system.ts";

// What the caller allows is what the services behind the gateway get, and who leaves leaves everywhere.

const { listOrdersWithUser } = OrdersService.method;

let system: System;
let token: string;
async function start(options: SystemOptions = {}): Promise<void> {
  system = await startSystem(options);
  token = await system.token("support");
}
afterEach(() => system.close());

describe.each(ways)("%s", (way) => {
  test("the caller's deadline ends a call to a service that hangs", async () => {
    await start();
    system.mocks.orders.fault({ hang: true });
    const answer = await rawCall(system.url, listOrdersWithUser, {}, { way, token, timeoutMs: 300 });
    expect(answer).toMatchObject({ code: "deadline_exceeded", status: way.startsWith("grpc") ? 200 : 504 });
    const call = await onlyCall();
    expect(call.outcome).toBe("canceled");
    // Less than the caller's, by what it took to get there and what the answer needs.
    expect(timeoutOf(call)).toBeLessThan(300);
    expect(timeoutOf(call)).toBeGreaterThan(0);
  });

  test("a caller that allows more than there is gets what there is", async () => {
    await start({ env: { DEFAULT_TIMEOUT_MS: "300", MAX_TIMEOUT_MS: "400" } });
    system.mocks.orders.fault({ hang: true });
    const answer = await rawCall(system.url, listOrdersWithUser, {}, { way, token, timeoutMs: 60_000 });
    expect(answer).toMatchObject({ code: "deadline_exceeded" });
    const call = await onlyCall();
    expect(timeoutOf(call)).toBeLessThan(400);
  });

  test("a caller that does not say gets the default", async () => {
    await start({ env: { DEFAULT_TIMEOUT_MS: "300" } });
    system.mocks.orders.fault({ hang: true });
    const answer = await rawCall(system.url, listOrdersWithUser, {}, { way, token });
    expect(answer).toMatchObject({ code: "deadline_exceeded" });
    const call = await onlyCall();
    expect(timeoutOf(call)).toBeLessThan(300);
  });
});

test("a deadline that is over before the first call makes none", async () => {
  await start();
  const answer = await rawCall(system.url, listOrdersWithUser, {}, { token, timeoutMs: 1 });
  expect(answer).toMatchObject({ code: "deadline_exceeded" });
  expect(system.mocks.orders.calls.count()).toBe(0);
});

test("a service has its own limit, which is not the caller's fault or doing", async () => {
  await start();
  system.mocks.orders.fault({ hang: true });
  const answer = await rawCall(system.url, listOrdersWithUser, {}, { token });
  expect(answer).toMatchObject({
    code: "deadline_exceeded",
    message: "A service that this request needs did not answer in time.",
  });
  expect(timeoutOf(await onlyCall())).toBe(2_000);
});

test("a deadline that is no number is refused", async () => {
  await start();
  const headers = { "connect-timeout-ms": "soon" };
  const answer = await rawCall(system.url, listOrdersWithUser, {}, { token, headers });
  expect(answer).toMatchObject({ code: "invalid_argument" });
  expect(system.mocks.orders.calls.count()).toBe(0);
});

describe("calls that do not need each other", () => {
  test("run at the same time, and all end when the caller leaves over HTTP/1.1", async () => {
    await start({ services: [usersService, joining, inventoryService] });
    hangBoth();
    const { hostname, port } = new URL(system.url);
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const request = httpRequest({ hostname, port, path, method: "POST", headers, agent: false }).on(
      "error",
      () => {},
    );
    request.end("{}");
    await bothRun();
    request.destroy();
    await bothEnd();
  });

  test("run at the same time, and all end when the caller leaves over HTTP/2", async () => {
    await start({ services: [usersService, joining, inventoryService] });
    hangBoth();
    const session = connectHttp2(system.url);
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/grpc", te: "trailers" };
    const stream = session.request({ ...headers, ":method": "POST", ":path": path }).on("error", () => {});
    stream.end(envelope(""));
    await bothRun();
    stream.close(constants.NGHTTP2_CANCEL);
    await bothEnd();
    session.destroy();
  });

  test("all end when one of them fails", async () => {
    await start({ services: [usersService, joining, inventoryService] });
    system.mocks.users.fault({ hang: true });
    system.mocks.inventory.fault({ code: Code.Unavailable, latencyMs: 100 });
    const answer = await rawCall(system.url, listOrdersWithUser, {}, { token });
    expect(answer.code).toBe("unavailable");
    await expect.poll(() => system.mocks.users.calls.active(), soon).toBe(0);
  });

  test("are the parts of a batch that is too large for one call", async () => {
    await start({ services: [usersService, joining, inventoryService] });
    hangBoth();
    const answer = rawCall(system.url, listOrdersWithUser, { pageSize: 501 }, { token, timeoutMs: 1_000 });
    await expect.poll(() => system.mocks.users.calls.active("batchGetUsers"), waiting).toBe(2);
    expect(system.mocks.users.calls.all("batchGetUsers").map(({ request }) => request.ids.length)).toEqual([
      500, 1,
    ]);
    expect((await answer).code).toBe("deadline_exceeded");
  });
});

test("500 orders take one list and one batch, however many users there are", async () => {
  await start();
  const answer = await rawCall(system.url, listOrdersWithUser, { pageSize: 500 }, { token });
  expect(answer.code).toBe("ok");
  const { users, orders, inventory } = system.mocks;
  expect(orders.calls.all().map(({ method }) => method)).toEqual(["listOrders"]);
  expect(users.calls.all().map(({ method }) => method)).toEqual(["batchGetUsers"]);
  expect(inventory.calls.count()).toBe(0);
  const [batch] = users.calls.all("batchGetUsers");
  expect(new Set(batch?.request.ids).size).toBe(batch?.request.ids.length);
});

const path = `/${PublicOrders.typeName}/ListOrdersWithUser`;

/** Needs users and items, for as many ids as `page_size` says; answers nothing. */
const joining = service(PublicOrders, {
  listOrdersWithUser: async ({ pageSize }, call) => {
    const ids = Array.from({ length: pageSize || 1 }, (_, index) => `user-${index + 1}`);
    await Promise.all([usersById.loadAll(ids, call), itemsByOwner.loadAll(ids, call)]);
    return {};
  },
  getOrderWithUser: () => ({}),
  createOrder: () => ({}),
  watchOrdersWithUser: async function* () {},
});

function hangBoth(): void {
  system.mocks.users.fault({ hang: true });
  system.mocks.inventory.fault({ hang: true });
}

async function bothRun(): Promise<void> {
  const active = () => [system.mocks.users.calls.active(), system.mocks.inventory.calls.active()];
  await expect.poll(active, waiting).toEqual([1, 1]);
}

async function bothEnd(): Promise<void> {
  const { users, inventory } = system.mocks;
  const outcomes = () => [...users.calls.all(), ...inventory.calls.all()].map(({ outcome }) => outcome);
  await expect.poll(outcomes, soon).toEqual(["canceled", "canceled"]);
  await expect.poll(() => system.inFlight(), waiting).toBe(0);
}

/** Once it has ended. */
async function onlyCall(): Promise<CallRecord<typeof InternalOrders>> {
  await expect.poll(() => system.mocks.orders.calls.active(), waiting).toBe(0);
  const [call, ...others] = system.mocks.orders.calls.all();
  if (call === undefined || others.length > 0) throw new Error(`there were ${others.length + 1} calls`);
  return call;
}

/** Milliseconds, from gRPC's digits and unit. */
function timeoutOf({ headers }: CallRecord<typeof InternalOrders>): number {
  const given = /^(\d+)m$/.exec(headers["grpc-timeout"] ?? "");
  if (given === null) throw new Error(`grpc-timeout is ${headers["grpc-timeout"]}`);
  return Number(given[1]);
}

/** Enough for a machine that is busy. */
const waiting = { timeout: 10_000 };
/** Sooner than the time-out of the upstream, which would end the calls as well. */
const soon = { timeout: 1_500 };
