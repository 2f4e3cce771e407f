import { request as httpRequest } from "node:http";
import { connect as connectHttp2 } from "node:http2";
import { connect as connectTcp, createServer, type Socket } from "node:net";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { InventoryService, OrdersService, UsersService } from "@portico/client-sdk";
import { service } from "@portico/gateway";
import { generateKeyPair, SignJWT } from "jose";
import { afterEach, expect, test } from "vitest";
import { inventoryService } from "../packages/gateway/src/app/inventory.ts";
import { ordersService } from "../packages/gateway/src/app/orders.ts";
import { usersService } from "../packages/gateway/src/app/users.ts";
import { OrdersService as PublicOrders } from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { endHeaders, frame, frameType, startFaultyUpstream } from "./faulty-upstream.ts";
import { envelope, rawCall, ways } from "./raw-call.ts";
import { type System, type SystemOptions, startSystem } from "./system.ts";

// How calls end that do not end by themselves, and what is said of them.

const { listItemsGroupedByUsers } = InventoryService.method;
const { listOrdersWithUser, getOrderWithUser, createOrder } = OrdersService.method;
const { getUser, createUser } = UsersService.method;
const list = "/smpl.api.orders.v1.OrdersService/ListOrdersWithUser";

let system: System;
let token: string;
async function start(options: SystemOptions = {}): Promise<void> {
  system = await startSystem(options);
  token = await system.token("admin");
}
afterEach(() => system.close());

test("a body that never ends is given up at the deadline", async () => {
  await start();
  const answer = Promise.withResolvers<number | undefined>();
  const request = httpRequest(`${system.url}${list}`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      "content-length": "100",
      "connect-timeout-ms": "300",
    },
  });
  request.on("response", ({ statusCode }) => answer.resolve(statusCode)).on("error", answer.reject);
  request.write("{");
  expect(await answer.promise).toBe(504);
  request.on("error", () => {}).destroy();
  await expect.poll(() => system.inFlight()).toBe(0);
});

test("an issuer that does not answer costs no more than the call may take", async () => {
  const sockets = new Set<Socket>();
  const issuer = createServer((socket) => void sockets.add(socket.on("error", () => {})));
  await new Promise<void>((resolve) => issuer.listen(0, "127.0.0.1", resolve));
  const address = issuer.address();
  const url = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}`;
  system = await startSystem({
    env: { PORTICO_MODE: "production", AUTH_ISSUER: url, AUTH_AUDIENCE: "api", AUTH_JWKS_URL: `${url}/keys` },
  });
  // Only a token that says it is from that issuer is worth asking it for keys.
  const { privateKey } = await generateKeyPair("ES256");
  const ofIssuer = new SignJWT({ iss: url, aud: "api", sub: "ada", exp: 1e10 });
  const signed = await ofIssuer.setProtectedHeader({ alg: "ES256", kid: "one" }).sign(privateKey);
  const answer = await rawCall(system.url, listOrdersWithUser, {}, { token: signed, timeoutMs: 300 });
  expect(answer.code).toBe("deadline_exceeded");
  expect(system.mocks.orders.calls.count()).toBe(0);
  for (const socket of sockets) socket.destroy();
  issuer.close();
});

test("an answer that nobody takes is cut off once its call is over", async () => {
  const big = "x".repeat(200_000);
  const endless = service(PublicOrders, {
    ...(ordersService.handlers as object),
    async *watchOrdersWithUser() {
      for (;;) yield { order: { product: big } };
    },
  } as never);
  await start({ services: [usersService, endless, inventoryService], env: { STREAM_TIMEOUT_MS: "300" } });
  const session = connectHttp2(system.url, { settings: { initialWindowSize: 0 } });
  session.on("error", () => {});
  const stream = session.request({
    ":method": "POST",
    ":path": "/smpl.api.orders.v1.OrdersService/WatchOrdersWithUser",
    authorization: `Bearer ${token}`,
    "content-type": "application/grpc",
    te: "trailers",
  });
  stream.on("error", () => {}).end(envelope(new Uint8Array()));
  await expect.poll(() => system.inFlight()).toBe(1);
  await expect.poll(() => system.inFlight(), { timeout: 5_000 }).toBe(0);
  // A clean end would make half an answer look whole.
  await expect.poll(() => stream.rstCode).not.toBe(0);
  session.destroy();
});

test("a stream that is open when the gateway stops ends with unavailable, at once", async () => {
  await start();
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/connect+json" };
  const watch = fetch(`${system.url}/smpl.api.orders.v1.OrdersService/WatchOrdersWithUser`, {
    method: "POST",
    headers,
    body: envelope('{"backlog":1}'),
  });
  const answer = await watch;
  const closing = system.close();
  expect(await answer.text()).toContain(
    '{"error":{"code":"unavailable","message":"The API is restarting. Connect again.","details":[',
  );
  await closing;
});

test("an upstream that answers nothing where it always answers something is no blank", async () => {
  await using upstream = await startFaultyUpstream();
  await start({ env: { UPSTREAM_USERS: upstream.url, UPSTREAM_ORDERS: upstream.url } });
  const blank = { code: "internal", message: "The request failed inside the API." };
  for (const way of ways) {
    const ask = { way, token };
    expect(await rawCall(system.url, getUser, { id: "user-1" }, ask)).toMatchObject(blank);
    expect(await rawCall(system.url, createUser, { email: "a@example.com" }, ask)).toMatchObject(blank);
    expect(await rawCall(system.url, getOrderWithUser, { id: "order-1" }, ask)).toMatchObject(blank);
  }
});

test.each([Code.InvalidArgument, Code.NotFound])(
  "a batch that is refused with %i is not blamed on the caller",
  async (code) => {
    await start();
    system.mocks.inventory.fault({ method: "listItems", code });
    expect((await rawCall(system.url, listItemsGroupedByUsers, {}, { token })).code).toBe("internal");
    system.mocks.users.fault({ method: "batchGetUsers", code });
    const order = { userId: "user-1", lineItems: [{ product: "Cable", quantity: 1 }] };
    expect((await rawCall(system.url, createOrder, order, { token })).code).toBe("internal");
  },
);

test.each(["grpc+json", "grpc-web+json"])(
  "what a caller sent never breaks the error of %s",
  async (format) => {
    await start();
    for (const body of [
      '{"pageSize":"\\ud800"}',
      `{"${"ü".repeat(40_000)}":1}`,
      `{"${"x".repeat(200_000)}":1}`,
    ]) {
      const session = connectHttp2(system.url);
      const stream = session.request({
        ":method": "POST",
        ":path": list,
        authorization: `Bearer ${token}`,
        "content-type": `application/${format}`,
        te: "trailers",
      });
      let text = "";
      const note = (part: unknown) => {
        text += part instanceof Buffer ? String(part) : JSON.stringify(part);
      };
      stream.on("response", note).on("trailers", note).on("data", note);
      const ended = new Promise((resolve, reject) => stream.on("end", resolve).on("error", reject));
      stream.end(envelope(body));
      await ended;
      expect(text).toContain('":status":200');
      expect(text).toMatch(/grpc-status"?: ?"?3/);
      session.close();
    }
  },
);

test("who leaves is in the log as canceled, whichever way", async () => {
  await start();
  system.mocks.orders.fault({ hang: true });
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const leave = new AbortController();
  const h1 = fetch(`${system.url}${list}`, {
    method: "POST",
    headers: { ...headers, "x-request-id": "h1" },
    body: "{}",
    signal: leave.signal,
  });
  await expect.poll(() => system.mocks.orders.calls.active()).toBe(1);
  leave.abort();
  await h1.catch(() => {});
  const left = { code: "canceled", reason: "CALLER_LEFT", complete: false, level: 30 };
  expect(await system.logOf("h1")).toMatchObject({ ...left, upstreamCalls: [{ code: "canceled" }] });
  const part = httpRequest(`${system.url}${list}`, {
    method: "POST",
    headers: { ...headers, "x-request-id": "h1-body", "content-length": "100" },
  });
  part.on("error", () => {}).write("{");
  await expect.poll(() => system.inFlight()).toBe(1);
  part.destroy();
  expect(await system.logOf("h1-body")).toMatchObject(left);
  for (const rstCode of [1, 2, 7, 8]) {
    const session = connectHttp2(system.url);
    const stream = session.request({
      ...headers,
      ":method": "POST",
      ":path": list,
      "x-request-id": `h2-${rstCode}`,
    });
    stream.on("error", () => {}).end("{}");
    await expect.poll(() => system.mocks.orders.calls.active()).toBe(1);
    stream.close(rstCode);
    expect(await system.logOf(`h2-${rstCode}`)).toMatchObject(left);
    await expect.poll(() => system.mocks.orders.calls.active()).toBe(0);
    session.close();
  }
});

// Any part of a protobuf message that ends with a field is a message, too. Node's own client ends a body before it resets
// the stream, so that this one writes its frames by hand.
test.each(["application/proto", "application/json", "application/grpc", "application/grpc-web+proto"])(
  "the part of a body that came before an HTTP/2 stream was reset is no request: %s",
  async (type) => {
    await start();
    const part = toBinary(createUser.input, create(createUser.input, { email: "part@example.com" }));
    const body = type === "application/json" ? '{"email":"part@example.com"}' : part;
    const { hostname, port } = new URL(system.url);
    for (const code of [0, 1, 2, 7, 8, "none"] as const) {
      const requestId = `${type.replaceAll(/\W/g, "-")}-${code}`;
      const socket = connectTcp(Number(port), hostname).on("error", () => {});
      socket.resume().write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
      socket.write(frame(frameType.settings, 0, 0));
      const fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/smpl.api.users.v1.UsersService/CreateUser",
        ":authority": "a",
        authorization: `Bearer ${token}`,
        "content-type": type,
        "x-request-id": requestId,
      };
      socket.write(frame(frameType.headers, endHeaders, 1, hpack(fields)));
      socket.write(frame(frameType.data, 0, 1, Buffer.from(type.includes("grpc") ? envelope(body) : body)));
      await expect.poll(() => system.inFlight()).toBe(1);
      await new Promise((resolve) => setTimeout(resolve, 20));
      if (code === "none") socket.destroy();
      else socket.write(frame(frameType.reset, 0, 1, Buffer.of(0, 0, 0, code)));
      const left = { code: "canceled", reason: "CALLER_LEFT", upstreamCalls: [] };
      expect(await system.logOf(requestId)).toMatchObject(left);
      socket.destroy();
    }
    expect(system.log().filter((line) => line["audit"] !== undefined)).toEqual([]);
    expect(system.mocks.users.calls.count()).toBe(0);
  },
);

/** Header fields as literals without an index (RFC 7541, 6.2.2). */
function hpack(fields: Readonly<Record<string, string>>): Buffer {
  const text = (value: string) => Buffer.concat([length(Buffer.byteLength(value)), Buffer.from(value)]);
  const field = ([name, value]: [string, string]) => [Buffer.of(0), text(name), text(value)];
  return Buffer.concat(Object.entries(fields).flatMap(field));
}

/** An integer with a prefix of seven bits (RFC 7541, 5.1). */
function length(value: number): Buffer {
  if (value < 127) return Buffer.of(value);
  const bytes = [127];
  let rest = value - 127;
  for (; rest > 127; rest >>= 7) bytes.push((rest & 127) | 128);
  return Buffer.from([...bytes, rest]);
}
