import { once } from "node:events";
import { Agent, request as h1Request, type ServerResponse } from "node:http";
import { connect as connectH2 } from "node:http2";
import type { AddressInfo } from "node:net";
import { ConnectError, createClient, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { createConnectTransport as createFetchTransport } from "@connectrpc/connect-web";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { createCorsHeaders } from "../packages/gateway/src/edge/cors.ts";
import { createListener, defaultListenerLimits } from "../packages/gateway/src/edge/listener.ts";
import { createOverload, type Overload } from "../packages/gateway/src/edge/overload/overload.ts";
import type { Vitals } from "../packages/gateway/src/edge/overload/vitals.ts";
import { ErrorInfoSchema, RetryInfoSchema } from "../packages/gateway/src/gen/google/rpc/error_details_pb.ts";
import { UsersService } from "../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { type Exchange, overH1, overH2 } from "./exchange.ts";
import { WarehouseService } from "./gen/acme/api/warehouse/v1/warehouse_service_pb.ts";
import { grpcClient } from "./grpc-client.ts";
import { flags, frameTypes, headers, openFrames, ping, request, reset } from "./harness/frames.ts";
import { startSystem } from "./system.ts";

// Too many requests at once: who is let in, who is not, and what those are told. The requests come over real sockets;
// how the process is, the tests say.

const origin = "https://app.example.com";
const calm: Vitals = { lagMs: 0, maxLagMs: 0, heapPercent: 10 };
const getStatus = `/${WarehouseService.typeName}/GetStatus`;

/** A listener that holds every request for `/hold` until it is let go, and answers all others. */
interface Door extends AsyncDisposable {
  readonly url: string;
  readonly overload: Overload;
  /** Makes requests that are held, and waits until they are. */
  readonly hold: (count: number, headers?: Readonly<Record<string, string>>) => Promise<void>;
  /** Answers everything that is held. */
  readonly letGo: () => Promise<void>;
  readonly report: (vitals: Partial<Vitals>) => void;
  readonly lines: unknown[];
}

async function openDoor(maxConcurrency = 20): Promise<Door> {
  const lines: unknown[] = [];
  let report: (vitals: Vitals) => void = () => {};
  const overload = createOverload({
    ...{ maxConcurrency, maxLoopLagMs: 50, maxHeapPercent: 85 },
    errorDomain: "acme.example",
    cors: createCorsHeaders([origin]),
    log: { warn: (line: unknown) => void lines.push(line) },
    watch: (given) => {
      report = given;
      return () => {};
    },
  });
  const held: ServerResponse[] = [];
  const answers: Promise<Exchange>[] = [];
  const handler = overload.guard((request, response) => {
    if (request.url === "/hold") held.push(response);
    else response.end(request.url);
  });
  const { server, drain } = createListener(handler, { limits: defaultListenerLimits });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const letGo = async () => {
    for (const response of held.splice(0)) response.end("held");
    await Promise.all(answers.splice(0));
    await vi.waitFor(() => expect(overload.facts().inFlight).toBe(0), { timeout: 10_000 });
  };
  return {
    url,
    overload,
    hold: async (count, headers = {}) => {
      const wanted = held.length + count;
      for (let i = 0; i < count; i++) answers.push(overH1(url, { path: "/hold", headers }));
      await vi.waitFor(() => expect(held.length).toBe(wanted), { timeout: 10_000 });
    },
    letGo,
    report: (vitals) => report({ ...calm, ...vitals }),
    lines,
    [Symbol.asyncDispose]: async () => {
      await letGo();
      await drain(1_000);
    },
  };
}

let door: Door;
beforeEach(async () => {
  door = await openDoor();
});
afterEach(() => door[Symbol.asyncDispose]());

const ada = { authorization: "Bearer ada" };
const bob = { authorization: "Bearer bob" };

/** Lets the gateway see that these credentials are good. */
function recognise(...callers: readonly Readonly<Record<string, string>>[]): void {
  for (const headers of callers) door.overload.recognise({ headers } as never, JSON.stringify(headers));
}

async function readAll(stream: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of stream);
}

async function statusOf(headers: Readonly<Record<string, string>> = {}, path = "/"): Promise<number> {
  return (await overH1(door.url, { path, headers })).status;
}

describe("a refusal is read by", () => {
  const transports: Record<string, (baseUrl: string) => Transport> = {
    "Connect with JSON": (baseUrl) =>
      createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: false }),
    "Connect with proto over HTTP/2": (baseUrl) => createConnectTransport({ baseUrl, httpVersion: "2" }),
    "Connect in a browser": (baseUrl) => createFetchTransport({ baseUrl }),
    "Connect with GET": (baseUrl) =>
      createConnectTransport({ baseUrl, httpVersion: "1.1", useHttpGet: true }),
    gRPC: (baseUrl) => createGrpcTransport({ baseUrl }),
    "gRPC-Web": (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
    "gRPC-Web over HTTP/2": (baseUrl) => createGrpcWebTransport({ baseUrl, httpVersion: "2" }),
  };

  const expectRefusal = (error: unknown) => {
    const refusal = ConnectError.from(error);
    expect(refusal).toMatchObject({
      code: 14,
      rawMessage: "The API has too much to do. Try again shortly.",
    });
    expect(refusal.findDetails(ErrorInfoSchema)).toMatchObject([
      { reason: "OVERLOADED", domain: "acme.example" },
    ]);
    expect(refusal.findDetails(RetryInfoSchema)[0]?.retryDelay?.seconds).toBeGreaterThanOrEqual(1n);
    expect(refusal.metadata.get("retry-after")).toMatch(/^[1-3]$/);
  };

  test.each(Object.entries(transports))("%s, of a call and of a stream", async (_, open) => {
    await door.hold(16);
    const client = createClient(WarehouseService, open(door.url));
    expectRefusal(await client.getStatus({}).catch((error: unknown) => error));
    expectRefusal(await readAll(client.watchCrates({})).catch((error: unknown) => error));
  });

  test("Google's client", async () => {
    await door.hold(16);
    using client = grpcClient(door.url);
    await expect(client.unary(WarehouseService.method.getStatus, {})).rejects.toMatchObject({
      code: 14,
      details: "The API has too much to do. Try again shortly.",
    });
  });

  test("a page of an allowed origin alone", async () => {
    await door.hold(16);
    const { status, headers } = await overH1(door.url, { path: getStatus, headers: { origin } });
    expect(status).toBe(503);
    expect(headers["access-control-allow-origin"]).toBe(origin);
    expect(headers["access-control-expose-headers"]).toMatch(/retry-after/);
    expect(headers["vary"]).toBe("Origin");
    const other = await overH1(door.url, { path: getStatus, headers: { origin: "https://evil.example" } });
    expect(other.headers["access-control-allow-origin"]).toBeUndefined();
  });

  test.each([
    ["HTTP/1.1", overH1],
    ["HTTP/2", overH2],
  ])("whoever asks under an id of its own, over %s", async (_, over) => {
    await door.hold(16);
    const named = await over(door.url, { path: getStatus, headers: { "x-request-id": "mine-1" } });
    expect(named).toMatchObject({ status: 503, headers: { "x-request-id": "mine-1" } });
    const unnamed = await over(door.url, { path: getStatus, headers: { "x-request-id": "not harmless" } });
    expect(unnamed.headers["x-request-id"]).toMatch(/^[0-9a-f-]{36}$/);
    const head = await over(door.url, { method: "HEAD", path: "/" });
    expect(head).toMatchObject({ status: 503, body: Buffer.alloc(0) });
  });
});

describe("a connection on which a request was refused", () => {
  test("serves the next one, although the body was not read", async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    await door.hold(16);
    const post = (body: Buffer) =>
      new Promise<{ status: number | undefined; reused: boolean }>((resolve, reject) => {
        const request = h1Request(`${door.url}/`, { agent, method: "POST" }, (response) => {
          response.resume();
          response.on("end", () =>
            // The agent takes the socket back a moment later.
            setImmediate(resolve, { status: response.statusCode, reused: request.reusedSocket }),
          );
        });
        request.on("error", reject);
        request.end(body);
      });
    expect(await post(Buffer.alloc(100_000))).toEqual({ status: 503, reused: false });
    await door.letGo();
    expect(await post(Buffer.alloc(10))).toEqual({ status: 200, reused: true });
    agent.destroy();
  });

  test("over HTTP/2 has no stream left, and serves the next one", async () => {
    await door.hold(16);
    const session = connectH2(door.url);
    const ask = async () => {
      const stream = session.request({ ":method": "POST", ":path": "/" });
      stream.end(Buffer.alloc(100_000));
      const [headers] = await once(stream, "response");
      stream.resume();
      await once(stream, "close");
      return { status: headers[":status"], reset: stream.rstCode };
    };
    expect(await ask()).toEqual({ status: 503, reset: 0 });
    await door.letGo();
    expect(await ask()).toEqual({ status: 200, reset: 0 });
    session.destroy();
  });
});

describe("when not all can be let in", () => {
  test("probes of health are, always", async () => {
    recognise(ada);
    await door.hold(20, ada);
    door.report({ heapPercent: 99 });
    expect(await statusOf({}, "/healthz")).toBe(200);
    expect(await statusOf({}, "/readyz?verbose")).toBe(200);
    expect(await statusOf({}, "/grpc.health.v1.Health/Check")).toBe(200);
    expect(await statusOf(ada)).toBe(503);
  });

  test("probes are counted by their rate: neither slow ones nor many keep others out for long", async () => {
    await door.hold(16);
    const probes = () => Promise.all(Array.from({ length: 70 }, () => statusOf({}, "/healthz")));
    const refused = (statuses: readonly number[]) => statuses.filter((status) => status === 503).length;
    expect(refused(await probes())).toBe(6);
    expect(refused(await probes())).toBe(70);
    door.report({});
    expect(refused(await probes())).toBe(6);
    door.report({});
    expect(await statusOf({}, "/grpc.health.v1.Health/Watch")).toBe(503);
  });

  test("known callers still are when anonymous ones are not", async () => {
    recognise(ada);
    await door.hold(16);
    expect(await statusOf()).toBe(503);
    expect(await statusOf(ada)).toBe(200);
    expect(door.overload.facts().shed.concurrency).toEqual({ anonymous: 1, known: 0 });
  });

  test("invented credentials do not help", async () => {
    await door.hold(16);
    expect(await statusOf({ authorization: "Bearer invented" })).toBe(503);
    expect(await statusOf({ "x-api-key": "invented" })).toBe(503);
  });

  test("a caller who has more than its share is refused, and another is let in", async () => {
    recognise(ada, bob);
    await door.hold(1, bob);
    await door.hold(15, ada);
    expect(await statusOf(ada)).toBe(503);
    expect(await statusOf(bob)).toBe(200);
    expect(door.overload.facts().shed.fairness).toEqual({ anonymous: 0, known: 1 });
  });

  test("a known caller does not pay for others who have filled the limit", async () => {
    recognise(ada, bob);
    await door.hold(20, ada);
    expect(await statusOf(ada)).toBe(503);
    await door.hold(10, bob);
    expect(await statusOf(bob)).toBe(503);
    expect(door.overload.facts()).toMatchObject({ limit: 20, inFlight: 30 });
  });

  test("nobody is once twice the limit is reached", async () => {
    const callers = Array.from({ length: 21 }, (_, i) => ({ "x-api-key": `key ${i}` }));
    recognise(...callers);
    for (const caller of callers.slice(0, 20)) await door.hold(2, caller);
    expect(await statusOf(callers[20])).toBe(503);
    expect(door.overload.facts().inFlight).toBe(40);
  });

  test("a page that asks whether it may call is told", async () => {
    await door.hold(16);
    const preflight = (from: string) =>
      overH1(door.url, {
        method: "OPTIONS",
        path: getStatus,
        headers: { origin: from, "access-control-request-method": "POST" },
      });
    const { status, headers } = await preflight(origin);
    expect(status).toBe(204);
    expect(headers["access-control-allow-origin"]).toBe(origin);
    expect(headers["access-control-allow-headers"]).toMatch(/authorization/);
    expect((await preflight("https://evil.example")).headers["access-control-allow-origin"]).toBeUndefined();
  });

  test("the log says so once a second, with counts", async () => {
    await door.hold(16);
    for (let i = 0; i < 3; i++) await statusOf();
    for (let i = 0; i < 10; i++) door.report({});
    await statusOf();
    door.report({});
    expect(door.lines).toMatchObject([{ refused: 3, limit: 20 }, { refused: 1 }]);
  });
});

describe("as soon as there is room", () => {
  test("everyone is let in again", async () => {
    await door.hold(16);
    expect(await statusOf()).toBe(503);
    await door.letGo();
    expect(await statusOf()).toBe(200);
  });

  test("requests that were cut off by their callers leave room", async () => {
    const session = connectH2(door.url);
    const streams = Array.from({ length: 16 }, () => session.request({ ":path": "/hold" }));
    await vi.waitFor(() => expect(door.overload.facts().inFlight).toBe(16), { timeout: 10_000 });
    expect(await statusOf()).toBe(503);
    for (const stream of streams) stream.on("error", () => {}).close(8);
    await vi.waitFor(() => expect(door.overload.facts().inFlight).toBe(0), { timeout: 10_000 });
    expect(await statusOf()).toBe(200);
    session.destroy();
  });

  test("streams that have long been open take none, as long as there are not too many", async () => {
    for (let round = 0; round < 5; round++) {
      await door.hold(8);
      for (let i = 0; i < 11; i++) door.report({});
    }
    expect(door.overload.facts().inFlight).toBe(0);
    expect(await statusOf()).toBe(503);
    await door.letGo();
    expect(await statusOf()).toBe(200);
  });
});

describe("requests that go on for long", () => {
  /** Lets what is held grow old, so that it does not count any more. */
  const holdLong = async (count: number, headers: Readonly<Record<string, string>> = {}) => {
    for (let left = count; left > 0; left -= 10) {
      await door.hold(Math.min(left, 10), headers);
      for (let i = 0; i < 11; i++) door.report({});
    }
  };

  test("are half of all for one caller, and the rest is for others", async () => {
    recognise(ada, bob);
    await holdLong(40, ada);
    expect(await statusOf(ada)).toBe(503);
    expect(await statusOf(bob)).toBe(200);
    expect(await statusOf()).toBe(200);
    expect(door.overload.facts().shed.fairness).toEqual({ anonymous: 0, known: 1 });
  });

  test("leave some room to known callers", async () => {
    recognise(ada, bob);
    await holdLong(40, ada);
    await holdLong(24);
    expect(await statusOf()).toBe(503);
    expect(await statusOf(bob)).toBe(200);
    expect(door.overload.facts().shed.concurrency).toEqual({ anonymous: 1, known: 0 });
  });
});

test("a stream that its client gives up at once, without an error, is nobody's error", async () => {
  await door.hold(16);
  await using client = await openFrames(door.url);
  const fields = request(getStatus, [["content-type", "application/grpc"]]);
  await client.send(
    headers(1, fields),
    reset(1, 0),
    headers(3, fields, flags.endStream),
    reset(3, 0),
    ping(),
  );
  await client.next(({ type, flags: flag }) => type === frameTypes.ping && flag === flags.ack);
  expect(await statusOf()).toBe(503);
});

describe("a process in need", () => {
  test("lets one request in at a time while its heap is full, and all when enough is free", async () => {
    door.report({ heapPercent: 86 });
    await door.hold(1);
    expect(await statusOf()).toBe(503);
    door.report({ heapPercent: 82 });
    expect(await statusOf()).toBe(503);
    expect(door.overload.facts().shed.heap).toEqual({ anonymous: 2, known: 0 });
    door.report({ heapPercent: 79 });
    expect(await statusOf()).toBe(200);
  });

  test("lets fewer in while its event loop is late, and more when it is not", async () => {
    await using wide = await openDoor(1_000);
    expect(wide.overload.facts().limit).toBe(128);
    await wide.hold(100);
    wide.report({ lagMs: 80, maxLagMs: 120 });
    expect(wide.overload.facts()).toMatchObject({ limit: 85, inFlight: 100, loopLagMs: 120 });
    expect((await overH1(wide.url, { path: "/" })).status).toBe(503);
    expect(wide.overload.facts().shed.loop_lag).toEqual({ anonymous: 1, known: 0 });
    for (let i = 0; i < 8; i++) wide.report({});
    expect(wide.overload.facts().limit).toBeGreaterThan(128);
    expect((await overH1(wide.url, { path: "/" })).status).toBe(200);
  });
});

test("in the gateway, whoever was authenticated once goes before whoever was not", async () => {
  // Of 16 at a time, strangers have 13. No lag lowers that.
  await using system = await startSystem({ env: { MAX_CONCURRENT_CALLS: "16", MAX_LOOP_LAG_MS: "10000" } });
  const path = `/${UsersService.typeName}/ListUsers`;
  const headers = {
    authorization: `Bearer ${await system.token("admin")}`,
    "content-type": "application/json",
  };
  expect((await overH1(system.url, { path, headers, body: "{}" })).status).toBe(200);
  // What waits for its body is at work, for a second: on a slow machine, that may take another try.
  await vi.waitFor(
    async () => {
      const session = connectH2(system.url).on("error", () => {});
      try {
        const waiting = Array.from({ length: 13 }, () =>
          session
            .request({ ...headers, ":method": "POST", ":path": path }, { endStream: false })
            .on("error", () => {}),
        );
        await Promise.all(waiting.map((stream) => once(stream, "ready")));
        await new Promise((answered) => session.ping(answered));
        const [stranger, known] = await Promise.all([
          overH1(system.url, { path, headers: { "content-type": "application/json" }, body: "{}" }),
          overH1(system.url, { path, headers, body: "{}" }),
        ]);
        expect([stranger.status, known.status]).toEqual([503, 200]);
      } finally {
        session.destroy();
      }
    },
    { timeout: 15_000, interval: 100 },
  );
});
