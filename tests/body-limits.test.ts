import { request as h1Request } from "node:http";
import { connect as connectH2 } from "node:http2";
import { connect, type Socket } from "node:net";
import { gunzipSync } from "node:zlib";
import { afterEach, describe, expect, test } from "vitest";
import { OrdersService } from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { UsersService } from "../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { overH1 } from "./exchange.ts";
import { data, flags, frameTypes, headers, openFrames, request } from "./harness/frames.ts";
import { envelope, rawCall, textOf, ways } from "./raw-call.ts";
import { type System, type SystemOptions, startSystem } from "./system.ts";

// What the bodies of requests and answers may take: memory, time and compression.

const { getUser } = UsersService.method;
const { listOrdersWithUser } = OrdersService.method;
const path = `/${UsersService.typeName}/GetUser`;
/** How busy the machine is is not what is tested here. */
const patient = { MAX_LOOP_LAG_MS: "10000" };
/** Enough for a machine that is busy. */
const waiting = { timeout: 20_000 };

let system: System;
let token: string;
const sockets = new Set<{ destroy: () => unknown }>();
async function start(env: SystemOptions["env"] = {}): Promise<void> {
  system = await startSystem({ env: { ...patient, ...env } });
  token = await system.token("admin");
}
afterEach(async () => {
  for (const socket of sockets) socket.destroy();
  sockets.clear();
  await expect.poll(() => system.inFlight(), waiting).toBe(0);
  await system.close();
});

/** Begins a call over HTTP/1.1 that says that it has so many bytes, and sends fewer. */
function begin(declared: number, sent: Uint8Array, by = token): Socket {
  const { hostname, port } = new URL(system.url);
  const socket = connect(Number(port), hostname).on("error", () => {});
  sockets.add(socket);
  socket.write(
    `POST ${path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${by}\r\n` +
      `content-type: application/json\r\ncontent-length: ${declared}\r\n\r\n`,
  );
  socket.write(sent);
  return socket;
}

function got(socket: Socket): () => string {
  let text = "";
  socket.on("data", (chunk) => {
    text += chunk.toString("latin1");
  });
  return () => text;
}

describe("when all bodies together take what they may", () => {
  const small = { MAX_IN_FLIGHT_BYTES: `${2 ** 21}`, MAX_REQUEST_BYTES: `${2 ** 20}` };

  test("the next call is told to come back, whatever its protocol, and others are served", async () => {
    await start(small);
    const large = 2 ** 20 - 5;
    // Seven eighths, after which only those that have begun may go on.
    const half = Buffer.alloc((7 / 8) * 2 ** 20, 0x20);
    const held = begin(large, half);
    begin(large, half, await system.token("admin", "bob"));
    const call = (way: (typeof ways)[number]) =>
      rawCall(system.url, getUser, { id: "user-1" }, { way, token });
    await expect.poll(async () => (await call("connect+json")).code, waiting).toBe("unavailable");
    for (const way of ways) {
      const answer = await call(way);
      expect(answer.code).toBe("unavailable");
      expect(textOf(answer)).toMatch(/retry-after: 1[\s\S]*OVERLOADED|OVERLOADED[\s\S]*retry-after: 1/);
    }
    const query = "?encoding=json&message=%7B%22id%22:%22user-1%22%7D";
    const headers = { authorization: `Bearer ${token}` };
    expect((await overH1(system.url, { method: "GET", path: `${path}${query}`, headers })).status).toBe(200);

    const answer = got(held);
    held.write(Buffer.alloc(large - half.length, 0x20));
    await expect.poll(answer, waiting).toMatch(/^HTTP\/1\.1 400 /);
    for (const way of ways) expect((await call(way)).code).toBe("ok");
  });

  test("one caller takes half of it, and others are served", async () => {
    await start(small);
    begin(2 ** 20, Buffer.alloc(2 ** 20 - 5, 0x20));
    const code = async (by: string) =>
      (await rawCall(system.url, getUser, { id: "user-1" }, { token: by })).code;
    await expect.poll(() => code(token), waiting).toBe("unavailable");
    expect(await code(await system.token("admin", "bob"))).toBe("ok");
  });

  test("a caller that leaves gives back what its body took", async () => {
    await start(small);
    const held = begin(2 ** 20, Buffer.alloc(2 ** 20 - 5, 0x20));
    const code = async () => (await rawCall(system.url, getUser, { id: "user-1" }, { token })).code;
    await expect.poll(code, waiting).toBe("unavailable");
    held.destroy();
    await expect.poll(code, waiting).toBe("ok");
  });
});

describe("what is declared takes no memory", () => {
  const declared = 4 * 2 ** 20;
  const kept = (): number => process.memoryUsage().arrayBuffers;

  /** Each of them could have all that it declares. */
  const count = 12;
  const most = 16 * 2 ** 20;

  test("in envelopes", async () => {
    await start({ MAX_REQUEST_BYTES: `${declared}` });
    const before = kept();
    const session = connectH2(system.url).on("error", () => {});
    sockets.add(session);
    for (let index = 0; index < count; index++) {
      const headers = {
        authorization: `Bearer ${token}`,
        "content-type": "application/grpc+proto",
        te: "trailers",
      };
      const stream = session.request({ ...headers, ":method": "POST", ":path": path }).on("error", () => {});
      stream.write(envelope("", 0, declared));
    }
    await expect.poll(() => system.inFlight(), waiting).toBe(count);
    expect((await rawCall(system.url, getUser, { id: "user-1" }, { way: "grpc", token })).code).toBe("ok");
    expect(kept() - before).toBeLessThan(most);
  });

  test("in headers", async () => {
    await start({ MAX_REQUEST_BYTES: `${declared}` });
    const before = kept();
    for (let index = 0; index < count; index++) begin(declared, Buffer.from('{"id"'));
    await expect.poll(() => system.inFlight(), waiting).toBe(count);
    expect((await rawCall(system.url, getUser, { id: "user-1" }, { token })).code).toBe("ok");
    expect(kept() - before).toBeLessThan(most);
  });
});

describe("a body in single bytes", () => {
  test.each(ways)("is the same over %s", async (way) => {
    await start();
    const length = 40_000;
    const id = "x".repeat(length);
    const json = Buffer.from(JSON.stringify({ id }));
    const field = Buffer.concat([
      Buffer.of(0x0a, (length & 127) | 128, ((length >> 7) & 127) | 128, length >> 14),
      Buffer.from(id),
    ]);
    const bodies = {
      "connect+json": json,
      "connect+proto": field,
      grpc: envelope(field),
      "grpc-web": envelope(field),
    };
    const types = {
      "connect+json": "json",
      "connect+proto": "proto",
      grpc: "grpc+proto",
      "grpc-web": "grpc-web+proto",
    };
    const { hostname, port } = new URL(system.url);
    const headers = { "content-type": `application/${types[way]}`, authorization: `Bearer ${token}` };
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const request = h1Request(
      { hostname, port, path, method: "POST", headers, agent: false },
      async (response) => {
        const body = (await response.toArray()).map(String).join("");
        resolve(`${JSON.stringify(response.headers)}${body}${JSON.stringify(response.trailers)}`);
      },
    ).on("error", reject);
    request.setNoDelay(true);
    // Each is a chunk of its own.
    for (const byte of bodies[way]) request.write(Buffer.of(byte));
    request.end();
    expect(decodeURIComponent(await promise)).toContain("must be at most 100 characters");
  });
});

describe("compression", () => {
  const list = (
    pageSize: number,
    headers: Record<string, string>,
    way: (typeof ways)[number] = "connect+json",
  ) => rawCall(system.url, listOrdersWithUser, { pageSize }, { way, token, headers });

  test("is for answers that are long enough", async () => {
    await start();
    const long = await list(500, { "accept-encoding": "gzip" });
    expect(long.headers["content-encoding"]).toBe("gzip");
    expect(JSON.parse(gunzipSync(long.body).toString()).orders.length).toBeGreaterThan(100);
    const short = await list(5, { "accept-encoding": "gzip" });
    expect(short.headers["content-encoding"]).toBeUndefined();
    expect(JSON.parse(short.body.toString()).orders).toHaveLength(5);
  });

  test("begins where it is told to", async () => {
    await start({ GZIP_MIN_BYTES: "10" });
    expect((await list(1, { "accept-encoding": "gzip" })).headers["content-encoding"]).toBe("gzip");
  });

  test.each(["br", "deflate", "zstd", "br, deflate", "identity", ""])("is not %j", async (encoding) => {
    await start();
    const answer = await list(500, { "accept-encoding": encoding });
    expect(answer.code).toBe("ok");
    expect(answer.headers["content-encoding"]).toBeUndefined();
  });

  test("is gzip when others are asked for besides", async () => {
    await start();
    expect((await list(500, { "accept-encoding": "br, gzip" })).headers["content-encoding"]).toBe("gzip");
  });

  test.each(["grpc", "grpc-web"] as const)("of %s is told for each message", async (way) => {
    await start();
    const flag = async (pageSize: number) => {
      const { status, body } = await list(pageSize, { "grpc-accept-encoding": "gzip" }, way);
      expect(status).toBe(200);
      return body[0];
    };
    expect([await flag(5), await flag(500)]).toEqual([0, 1]);
  });
});

test.each(["application/json", "application/grpc+proto", "application/grpc-web+proto"])(
  "a refusal that comes before the %s is there is whole, even if the rest never comes",
  async (type) => {
    await start();
    const fields = request(path, [
      ["content-type", type],
      ["authorization", `Bearer ${token}`],
      ["te", "trailers"],
      ["content-length", "300005"],
    ]);
    const begin = Buffer.alloc(16_000);
    begin.writeUInt32BE(300_000, 1);
    await using client = await openFrames(system.url);
    await client.send(headers(1, fields), data(1, begin));
    await client.next(({ type, streamId }) => type === frameTypes.headers && streamId === 1);
    // Short of what was announced, as some clients do when they see an answer.
    await client.send(data(1, Buffer.alloc(0), flags.endStream));
    const last = await client.next(
      ({ type, streamId, flags: set }) =>
        streamId === 1 && (type === frameTypes.reset || (set & flags.endStream) !== 0),
    );
    expect(last?.type).not.toBe(frameTypes.reset);
  },
);
