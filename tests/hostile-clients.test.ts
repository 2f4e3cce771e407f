import { once } from "node:events";
import { request as h1Request } from "node:http";
import { connect as connectH2, constants } from "node:http2";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { OrdersService } from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { UsersService } from "../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { type Exchange, overH1, overH2, overTcp } from "./exchange.ts";
import { detailsIn } from "./open-details.ts";
import { envelope, rawCall, textOf } from "./raw-call.ts";
import { type System, startSystem } from "./system.ts";

// Clients that leave, flood or stall on purpose. An error that nobody catches would fail the run, as it would end
// the program.

let system: System;
let token: string;
beforeAll(async () => {
  system = await startSystem();
  token = await system.token("admin");
});
afterAll(() => system.close());
afterEach(async () => {
  const healthy = await rawCall(system.url, UsersService.method.getUser, { id: "user-1" }, { token });
  expect(healthy.code).toBe("ok");
  await expect.poll(() => system.inFlight(), waiting).toBe(0);
});

const getUser = `/${UsersService.typeName}/GetUser`;
const listOrders = `/${OrdersService.typeName}/ListOrdersWithUser`;
const watchOrders = `/${OrdersService.typeName}/WatchOrdersWithUser`;
const empty = "?encoding=json&message=%7B%7D";

/** Enough for a machine that is busy. */
const waiting = { timeout: 10_000 };

function open(bytes: string): Socket {
  const { hostname, port } = new URL(system.url);
  const socket = connect(Number(port), hostname).on("error", ignore).on("data", ignore);
  socket.write(bytes);
  return socket;
}

function get(path: string, authorized = true): string {
  const authorization = authorized ? `authorization: Bearer ${token}\r\n` : "";
  return `GET ${path} HTTP/1.1\r\nhost: a\r\n${authorization}\r\n`;
}

describe("a client that leaves", () => {
  const counts = [1, 4, 8, 16, 17, 100, 5_000];
  test.each([
    ["with a token", true],
    ["without", false],
  ])("%s, after pipelined requests", async (_name, authorized) => {
    for (const count of counts)
      for (const delay of [0, 1, 2, 3, 5, 10]) {
        const socket = open(get(`${listOrders}${empty}`, authorized).repeat(count));
        await sleep(delay);
        if (delay % 2 === 0) socket.destroy();
        else socket.resetAndDestroy();
      }
    await expect.poll(() => system.inFlight(), waiting).toBe(0);
  });

  test("in the middle of a body", async () => {
    for (const delay of [0, 1, 3, 10]) {
      const head = `POST ${listOrders} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${token}\r\n`;
      const socket = open(`${head}content-type: application/json\r\ncontent-length: 9000\r\n\r\n{"pageSize"`);
      await sleep(delay);
      socket.destroy();
    }
    await expect.poll(() => system.inFlight(), waiting).toBe(0);
  });

  test.each([0, 1, 3, 10, 40])("HTTP/2 streams and all, after %d ms", async (delay) => {
    for (const leave of ["close", "destroy"] as const) {
      const session = connectH2(system.url).on("error", ignore);
      const headers = { authorization: `Bearer ${token}`, ":path": `${listOrders}${empty}` };
      const streams = Array.from({ length: 50 }, () => session.request(headers).on("error", ignore));
      await sleep(delay);
      for (const stream of streams) stream.close(constants.NGHTTP2_CANCEL);
      session[leave]();
    }
    await expect.poll(() => system.inFlight(), waiting).toBe(0);
  });

  test("without having read a long stream, is forgotten", async () => {
    const body = envelope('{"backlog":100}');
    const head =
      `POST ${watchOrders} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${token}\r\n` +
      `content-type: application/connect+json\r\ncontent-length: ${body.length}\r\n\r\n`;
    const socket = open(head).pause();
    socket.write(body);
    const session = connectH2(system.url, { settings: { initialWindowSize: 0 } }).on("error", ignore);
    const type = "application/connect+json";
    const headers = { authorization: `Bearer ${token}`, "content-type": type };
    session
      .request({ ...headers, ":method": "POST", ":path": watchOrders })
      .on("error", ignore)
      .end(body);
    await expect.poll(() => system.inFlight(), waiting).toBe(2);
    socket.destroy();
    session.destroy();
    await expect.poll(() => system.inFlight(), waiting).toBe(0);
    await expect.poll(() => system.mocks.orders.calls.active(), waiting).toBe(0);
  });
});

test("pipelining: 16 requests are answered, 17 end the connection", async () => {
  const request = get(`${getUser}?encoding=json&message=%7B%22id%22:%22user-1%22%7D`);
  const answers = (await overTcp(system.url, request.repeat(16), 500)).match(/HTTP\/1\.1 200/g);
  expect(answers).toHaveLength(16);
  const socket = open(request.repeat(5_000));
  await expect.poll(() => socket.closed, waiting).toBe(true);
  expect(await system.inFlight()).toBeLessThanOrEqual(16);
});

describe("Expect: 100-continue", () => {
  const long = `{"id":"user-1"${" ".repeat(5_000)}}`;
  const headers = {
    "content-type": "application/json",
    "content-length": long.length,
    expect: "100-continue",
  };

  test("a caller who is refused is not asked for the body", async () => {
    const lines = Object.entries({ host: "a", ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
    const got = await overTcp(system.url, `POST ${getUser} HTTP/1.1\r\n${lines.join("")}\r\n`);
    expect(got).toMatch(/^HTTP\/1\.1 401 [\s\S]*connection: close/i);

    const session = connectH2(system.url);
    const stream = session.request({ ...headers, ":method": "POST", ":path": getUser }, { endStream: false });
    const asked: string[] = [];
    stream.on("continue", () => asked.push("continue"));
    const [answer] = await once(stream, "response");
    expect(answer[":status"]).toBe(401);
    expect(asked).toEqual([]);
    stream.close();
    session.destroy();
  });

  test("one who is admitted is, and gets the answer", async () => {
    const authorization = `Bearer ${token}`;
    const { hostname, port } = new URL(system.url);
    const options = { hostname, port, path: getUser, agent: false, headers: { ...headers, authorization } };
    const request = h1Request({ ...options, method: "POST" });
    request.flushHeaders();
    await once(request, "continue");
    request.end(long);
    const [response] = await once(request, "response");
    response.resume();
    expect(response.statusCode).toBe(200);

    const session = connectH2(system.url);
    const sent = { ...headers, authorization, ":method": "POST", ":path": getUser };
    const stream = session.request(sent, { endStream: false });
    await once(stream, "continue");
    stream.end(long);
    const [answer] = await once(stream, "response");
    expect(answer[":status"]).toBe(200);
    session.destroy();
  });

  test("nor does one harm who does not wait to be asked", async () => {
    const withToken = { ...headers, authorization: `Bearer ${token}`, "content-length": `${long.length}` };
    for (const exchange of [overH1, overH2]) {
      const got = await exchange(system.url, { path: getUser, headers: withToken, body: long });
      expect(got.status).toBe(200);
      expect(got.body.toString()).toContain("user-1");
    }
  });

  test("a pipelined one is answered in its turn, asked or not", async () => {
    const lines = Object.entries({ host: "a", ...headers, authorization: `Bearer ${token}` });
    const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join("");
    const got = await overTcp(system.url, `POST ${getUser} HTTP/1.1\r\n${head}\r\n${long}`.repeat(2), 500);
    const statuses = (got.match(/HTTP\/1\.1 \d+/g) ?? []).filter((status) => !status.endsWith("100"));
    expect(statuses).toEqual(["HTTP/1.1 200", "HTTP/1.1 200"]);
    expect(got.match(/"id":"user-1"/g)).toHaveLength(2);
  });
});

describe("a GET whose message is not UTF-8", () => {
  const queries = [
    "?encoding=json&message=%7B%22id%22:%22%ff%22%7D",
    "?encoding=json&%6dessage=%7B%22id%22:%22%c3%28%22%7D",
    "??message=a&encoding=json&message=%7B%22id%22:%22%ff%22%7D",
    "?message=%7B%7D&encoding=json&message=%ff",
    `?encoding=json&base64=1&message=${Buffer.from('{"id":"\xff"}', "latin1").toString("base64url")}`,
  ];
  test.each(queries)("%j", async (query) => {
    for (const exchange of [overH1, overH2]) {
      const headers = { authorization: `Bearer ${token}` };
      const got = await exchange(system.url, { method: "GET", path: `${getUser}${query}`, headers });
      expect(got.status).toBe(400);
      const message = expect.stringMatching(/^(message: is|The request is) not valid UTF-8\.?$/);
      expect(refusalIn(got)).toEqual({ code: "invalid_argument", message, reason: "MALFORMED_REQUEST" });
    }
  });

  test("one in bytes instead of escapes is not guessed at", async () => {
    const path = `${getUser}?encoding=json&message=%7B%22id%22:%22é%22%7D`;
    const headers = { authorization: `Bearer ${token}` };
    const got = await overH2(system.url, { method: "GET", path, headers });
    expect(JSON.parse(got.body.toString())).toMatchObject({ message: "message: is not percent-encoded" });
    const bytes = Buffer.from(get(path), "utf8");
    expect(await overTcp(system.url, bytes, 500)).toMatch(/^HTTP\/1\.1 400/);
  });

  test("letters beyond ASCII are fine when they are escaped", async () => {
    const path = `${getUser}?encoding=json&message=${encodeURIComponent('{"id":"é€😀"}')}&other=%ff`;
    const headers = { authorization: `Bearer ${token}` };
    const got = await overH1(system.url, { method: "GET", path, headers });
    expect(JSON.parse(got.body.toString())).toMatchObject({ code: "not_found" });
  });
});

describe("a method that does not exist", () => {
  const path = "/nobody.Knows/This";
  const message = `There is no method ${path}.`;
  const bodies: [name: string, type: string, body: string | Uint8Array][] = [
    ["JSON that is broken", "application/json", "{bad"],
    ["JSON of 2 MB", "application/json", JSON.stringify("x".repeat(2_000_000))],
    ["protobuf", "application/proto", Buffer.of(1, 2)],
    ["text", "text/plain", "hello"],
    ["no type", "", "hello"],
  ];
  test.each(bodies)("is said to be so, whatever the body: %s", async (_name, type, body) => {
    for (const exchange of [overH1, overH2]) {
      const headers: Record<string, string> = type === "" ? {} : { "content-type": type };
      const got = await exchange(system.url, { path, headers, body });
      expect(got.status).toBe(404);
      expect(refusalIn(got)).toEqual({ code: "unimplemented", message, reason: "METHOD_UNKNOWN" });
    }
  });

  test("in gRPC's words, too", async () => {
    for (const [exchange, type] of [
      [overH2, "application/grpc"],
      [overH1, "application/grpc-web+proto"],
    ] as const) {
      const got = await exchange(system.url, {
        path,
        headers: { "content-type": type },
        body: envelope("x".repeat(100)),
      });
      expect(got.status).toBe(200);
      expect(got.headers).toMatchObject({ "grpc-status": "12", "grpc-message": message });
    }
  });

  test("is answered before the body is there", async () => {
    const head = `POST ${path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: 90000000\r\n\r\n`;
    expect(await overTcp(system.url, head)).toMatch(/^HTTP\/1\.1 404 /);
  });
});

/** All that an answer in JSON says, with the reason in place of the details. */
function refusalIn(got: Exchange): object {
  const { details: _, ...error } = JSON.parse(got.body.toString());
  const [info, request, ...others] = detailsIn(textOf(got));
  expect(request).toMatchObject({ requestId: got.headers["x-request-id"] });
  expect(others).toEqual([]);
  return { ...error, reason: info?.["reason"] };
}

function ignore(): void {}
