import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import {
  constants,
  createSecureServer,
  createServer,
  type Http2Server,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { type AddressInfo, createServer as createTcpServer, connect as tcpConnect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { connectNodeAdapter, createGrpcTransport } from "@connectrpc/connect-node";
import { afterEach, describe, expect, test } from "vitest";
import { UsersService } from "../gen/smpl/users/v1/users_service_pb.ts";
import { createSession, isNeverProcessed, type SessionOptions } from "./session.ts";

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

describe("calls", () => {
  test("go over one connection, opened by the first", async () => {
    const server = await startUsers();
    const { client, session } = connectTo([server.port]);
    expect(session.state()).toBe("idle");
    const answers = await Promise.all(Array.from({ length: 50 }, () => client.getUser({ id: "u1" })));
    expect(answers.every(({ user }) => user?.id === "u1")).toBe(true);
    expect(session.state()).toBe("ready");
    expect(server.accepted()).toBe(1);
    expect(server.authorities()).toEqual([`127.0.0.1:${server.port}`]);
  });

  test("over TLS", async () => {
    const file = (name: string) =>
      readFileSync(new URL(`../../../../tests/fixtures/tls/${name}`, import.meta.url));
    const tls = { cert: file("cert.pem"), key: file("key.pem") };
    const server = await startUsers({ tls });
    const trusting = connectTo([server.port], { tls: { ca: tls.cert } }, "https");
    expect((await trusting.client.getUser({ id: "u1" })).user?.id).toBe("u1");
    const strict = connectTo([server.port], {}, "https");
    const error = await failure(strict.client.getUser({}));
    expect(error).toMatchObject({
      code: Code.Unavailable,
      rawMessage: expect.stringContaining("self-signed"),
    });
  });

  test("an error that the service answers comes through as it is", async () => {
    const server = await startUsers();
    const { client, session } = connectTo([server.port]);
    const error = await failure(client.getUser({ id: "missing" }));
    expect(error).toMatchObject({ code: Code.NotFound, rawMessage: "no such user" });
    expect(isNeverProcessed(error)).toBe(false);
    expect(session.state()).toBe("ready");
  });

  test("take turns over two addresses", async () => {
    const servers = [await startUsers(), await startUsers()];
    const { client, session } = connectTo(servers.map(({ port }) => port));
    await session.connect();
    await eventually(() => servers.every((server) => server.accepted() === 1));
    await client.getUser({});
    await sleep(50); // both have said SETTINGS by now
    const before = servers.map((server) => server.calls());
    for (let i = 0; i < 20; i += 1) await client.getUser({ id: "u1" });
    const got = servers.map((server, i) => server.calls() - (before[i] ?? 0));
    expect(got).toEqual([10, 10]);
    expect(servers.map((server) => server.authorities())).toEqual(
      servers.map(({ port }) => [`127.0.0.1:${port}`]),
    );
  });

  test("all succeed while one of two addresses is dead, and use it when it is back", async () => {
    const alive = await startUsers();
    const dead = await startUsers();
    await dead.stop();
    const { client } = connectTo([dead.port, alive.port]);
    for (let i = 0; i < 20; i += 1) await client.getUser({ id: "u1" });
    const back = await startUsers({ port: dead.port });
    await eventually(async () => {
      await client.getUser({ id: "u1" });
      return back.calls() > 0;
    });
  });

  test("cancelled while connecting, a call ends at once, and leaves nothing behind", async () => {
    const silent = await startTcp(() => {});
    const { client } = connectTo([silent.port], { connectTimeoutMs: 5_000 });
    const error = await failure(client.getUser({}, { timeoutMs: 50 }));
    expect(error.code).toBe(Code.DeadlineExceeded);
  });
});

describe("an upstream that is away", () => {
  test("fails calls, with the upstream and the cause for the log", async () => {
    const server = await startUsers();
    await server.stop();
    const { client, session } = connectTo([server.port]);
    const error = await failure(client.getUser({}));
    expect(error.code).toBe(Code.Unavailable);
    expect(error.rawMessage).toMatch(/^upstream users cannot be reached: 127\.0\.0\.1:\d+: .*ECONNREFUSED/);
    expect(isNeverProcessed(error)).toBe(true);
    expect(session.state()).toBe("unreachable");
    await expect(session.connect()).rejects.toThrow("cannot be reached");
  });

  test("is not hammered", async () => {
    let attempts = 0;
    const refusing = await startTcp((socket) => {
      attempts += 1;
      socket.destroy();
    });
    const { client } = connectTo([refusing.port]);
    const until = performance.now() + 1_000;
    let calls = 0;
    while (performance.now() < until) {
      await Promise.all(Array.from({ length: 10 }, () => failure(client.getUser({}))));
      calls += 10;
      await sleep(1);
    }
    expect(calls).toBeGreaterThan(100);
    expect(attempts).toBeLessThan(12);
  });

  test("is in use again within a second of being back", async () => {
    const first = await startUsers();
    const { client } = connectTo([first.port]);
    await client.getUser({ id: "u1" });
    await first.stop();
    const away = performance.now() + 1_500;
    while (performance.now() < away) {
      expect((await failure(client.getUser({}))).code).toBe(Code.Unavailable);
      await sleep(20);
    }
    const second = await startUsers({ port: first.port });
    const since = performance.now();
    await eventually(() =>
      client.getUser({ id: "u1" }).then(
        () => true,
        () => false,
      ),
    );
    expect(performance.now() - since).toBeLessThan(1_000);
    expect(second.accepted()).toBe(1);
  });

  test("that accepts and never speaks HTTP/2 fails the call after the connect timeout", async () => {
    const silent = await startTcp(() => {});
    const { client, session } = connectTo([silent.port], { connectTimeoutMs: 200 });
    const calls = [failure(client.getUser({})), failure(client.getUser({}))];
    await eventually(() => session.state() === "connecting");
    for (const error of await Promise.all(calls)) {
      expect(error).toMatchObject({
        code: Code.Unavailable,
        rawMessage: expect.stringContaining("no HTTP/2 connection within 200 ms"),
      });
    }
    expect(silent.accepted(), "both calls shared one attempt").toBe(1);
  });

  test("that hangs up in the middle of a call makes it unavailable, not cancelled", async () => {
    const server = await startUsers();
    const { client } = connectTo([server.port]);
    const error = failure(client.getUser({ id: "hang" }));
    await eventually(() => server.calls() === 1);
    server.breakConnections();
    expect((await error).code).toBe(Code.Unavailable);
    expect(isNeverProcessed(await error)).toBe(false);
    expect((await client.getUser({ id: "u1" })).user?.id, "the next call").toBe("u1");
  });
});

describe("GOAWAY", () => {
  test("on an idle connection: the next call opens another", async () => {
    const server = await startUsers();
    const { client } = connectTo([server.port]);
    const rounds = 60;
    for (let round = 1; round <= rounds; round += 1) {
      await client.getUser({ id: "u1" });
      server.goAway();
      // The next call comes before the GOAWAY, together with it, or after it.
      if (round % 3 > 0) await sleep((round % 3) - 1);
      const crossed = await client.getUser({ id: "u1" }).catch((error: unknown) => error);
      if (crossed instanceof Error) expect(isNeverProcessed(crossed), String(crossed)).toBe(true);
      expect((await client.getUser({ id: "u1" })).user?.id).toBe("u1");
    }
    expect(server.accepted()).toBe(rounds + 1);
    await eventually(() => server.open() === 1);
  });

  test("on a busy connection: what is in flight ends well, and the next call opens another", async () => {
    const server = await startUsers();
    const { client } = connectTo([server.port]);
    const slow = client.getUser({ id: "slow" });
    await eventually(() => server.calls() === 1);
    server.goAway();
    await sleep(20);
    expect((await client.getUser({ id: "u1" })).user?.id).toBe("u1");
    expect(server.accepted()).toBe(2);
    expect((await slow).user?.id).toBe("slow");
    await eventually(() => server.open() === 1);
  });

  test("with an error ends calls as unavailable", async () => {
    const server = await startUsers();
    const { client } = connectTo([server.port]);
    const error = failure(client.getUser({ id: "hang" }));
    await eventually(() => server.calls() === 1);
    server.goAway(constants.NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings");
    expect((await error).code).toBe(Code.Unavailable);
    expect((await client.getUser({ id: "u1" })).user?.id).toBe("u1");
  });

  test("right after the connection was made does not loop", async () => {
    const server = await startRaw((session) => session.once("remoteSettings", () => session.close()));
    const { client } = connectTo([server.port]);
    expect((await failure(client.getUser({}))).code).toBe(Code.Unavailable);
    expect(server.accepted()).toBeLessThanOrEqual(2);
  });
});

describe("streams that the upstream cuts", () => {
  test.each([
    ["NO_ERROR", constants.NGHTTP2_NO_ERROR, Code.Unavailable, false],
    ["REFUSED_STREAM", constants.NGHTTP2_REFUSED_STREAM, Code.Unavailable, true],
    ["CANCEL", constants.NGHTTP2_CANCEL, Code.Unavailable, false],
    ["INTERNAL_ERROR", constants.NGHTTP2_INTERNAL_ERROR, Code.Internal, false],
  ])("with %s before a response", async (name, rst, code, neverProcessed) => {
    const server = await startRaw((session) => session.on("stream", (stream) => stream.close(rst)));
    const { client, session } = connectTo([server.port]);
    const error = await failure(client.getUser({ id: "u1" }));
    expect(error.code).toBe(code);
    expect(error.rawMessage).toMatch(
      new RegExp(`^upstream users \\(127.0.0.1:\\d+\\) cut the call: ${name}$`),
    );
    expect(isNeverProcessed(error)).toBe(neverProcessed);
    expect(session.state(), "the connection goes on").toBe("ready");
  });

  test.each([
    ["NO_ERROR", (stream: ServerHttp2Stream) => stream.close(constants.NGHTTP2_NO_ERROR)],
    ["CANCEL", (stream: ServerHttp2Stream) => stream.close(constants.NGHTTP2_CANCEL)],
    ["its connection", (stream: ServerHttp2Stream) => stream.session?.destroy()],
  ])("with %s after the headers of a response", async (_name, cut) => {
    const server = await startRaw((session) =>
      session.on("stream", (stream) => {
        stream.respond({ ":status": 200, "content-type": "application/grpc+proto" });
        stream.write(Buffer.of(0, 0, 0, 0, 5, 1));
        setTimeout(() => cut(stream), 20);
      }),
    );
    const { client } = connectTo([server.port]);
    expect(await failure(client.getUser({}))).toMatchObject({
      code: Code.Unavailable,
      rawMessage: expect.stringMatching(/^upstream users \(127.0.0.1:\d+\) /),
    });
  });

  test("with a request body that the upstream does not take", async () => {
    const server = await startRaw((session) =>
      session.on("stream", (stream) => stream.close(constants.NGHTTP2_REFUSED_STREAM)),
    );
    const { client } = connectTo([server.port]);
    const error = await failure(client.getUser({ id: "x".repeat(500_000) }));
    expect(error.code).toBe(Code.Unavailable);
  });
});

describe("pings", () => {
  const quick = { pingIntervalMs: 100, pingTimeoutMs: 150, connectTimeoutMs: 300 };

  test("find a half-open connection; calls end, and the next ones use a new connection", async () => {
    const server = await startUsers();
    const proxy = await startProxy(server.port);
    const { client, session } = connectTo([proxy.port], quick);
    await client.getUser({ id: "u1" });
    proxy.swallow(true);
    const error = await failure(client.getUser({ id: "u1" }));
    expect(error).toMatchObject({
      code: Code.Unavailable,
      rawMessage: expect.stringContaining("no answer to a ping for 150 ms"),
    });
    expect(session.state()).not.toBe("ready");
    proxy.swallow(false);
    await eventually(() =>
      client.getUser({ id: "u1" }).then(
        () => true,
        () => false,
      ),
    );
    expect(server.accepted()).toBe(2);
  });

  test("find it without any call", async () => {
    const server = await startUsers();
    const proxy = await startProxy(server.port);
    const { session } = connectTo([proxy.port], quick);
    await session.connect();
    proxy.swallow(true);
    await eventually(() => session.state() !== "ready");
  });

  test("leave a healthy connection alone, even one with a slow call", async () => {
    const server = await startUsers();
    const { client } = connectTo([server.port], { pingIntervalMs: 10, pingTimeoutMs: 2_000 });
    expect((await client.getUser({ id: "slow" })).user?.id).toBe("slow");
    await sleep(200);
    expect((await client.getUser({ id: "u1" })).user?.id).toBe("u1");
    expect(server.accepted()).toBe(1);
    expect(server.pings()).toBeGreaterThan(5);
  });

  test("get rarer when the upstream finds them too many", async () => {
    const server = await startUsers();
    const { client } = connectTo([server.port], { pingIntervalMs: 20 });
    for (let i = 0; i < 5; i += 1) {
      await client.getUser({ id: "u1" });
      server.goAway(constants.NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings");
      await eventually(() => server.open() === 0);
    }
    await client.getUser({ id: "u1" });
    const before = server.pings();
    await sleep(300); // 15 pings at the first interval
    expect(server.pings() - before).toBeLessThan(3);
  });
});

describe("close()", () => {
  test("lets calls in flight finish, and refuses new ones", async () => {
    const server = await startUsers();
    const { client, session } = connectTo([server.port]);
    const slow = client.getUser({ id: "slow" });
    await eventually(() => server.calls() === 1);
    session.close();
    const error = await failure(client.getUser({}));
    expect(error).toMatchObject({
      code: Code.Unavailable,
      rawMessage: "upstream users: the session is closed",
    });
    expect((await slow).user?.id).toBe("slow");
    await eventually(() => server.open() === 0);
    expect(session.state()).toBe("idle");
    session.close();
  });

  test("cuts calls that do not finish within the grace", async () => {
    const server = await startUsers();
    const { client, session } = connectTo([server.port], { closeGraceMs: 100 });
    const error = failure(client.getUser({ id: "hang" }));
    await eventually(() => server.calls() === 1);
    session.close();
    expect((await error).code).toBe(Code.Unavailable);
    await eventually(() => server.open() === 0);
  });

  test("ends an attempt to connect", async () => {
    const silent = await startTcp(() => {});
    const { client, session } = connectTo([silent.port], { connectTimeoutMs: 10_000 });
    const error = failure(client.getUser({}));
    await eventually(() => session.state() === "connecting" && silent.accepted() === 1);
    session.close();
    expect((await error).code).toBe(Code.Unavailable);
  });

  test("lets the process exit", async () => {
    const server = await startUsers();
    const script = `
      import { createSession } from ${JSON.stringify(new URL("./session.ts", import.meta.url).href)};
      const session = createSession("users", [new URL("http://127.0.0.1:${server.port}")]);
      await session.connect();
      session.close();`;
    const cwd = fileURLToPath(new URL(".", import.meta.url));
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: "inherit", cwd });
    closers.push(() => child.kill("SIGKILL"));
    expect(await once(child, "exit")).toEqual([0, null]);
  });
});

test("what cannot be is refused by name", () => {
  const url = new URL("http://127.0.0.1:1");
  expect(() => createSession("users", [])).toThrow("upstream users: at least one address is needed");
  expect(() => createSession("users", [url, new URL("dns:///users:9101")])).toThrow(
    "upstream users: an address must be http:// or https://, got dns:///users:9101",
  );
  expect(() => createSession("users", [url], { pingTimeoutMs: 0, connectTimeoutMs: Number.NaN })).toThrow(
    /connectTimeoutMs .* got NaN; pingTimeoutMs .* got 0/,
  );
});

function connectTo(ports: readonly number[], options: Partial<SessionOptions> = {}, scheme = "http") {
  const session = createSession(
    "users",
    ports.map((port) => new URL(`${scheme}://127.0.0.1:${port}`)),
    options,
  );
  closers.push(() => session.close());
  const transport = createGrpcTransport({ baseUrl: session.authority, sessionManager: session });
  return { session, client: createClient(UsersService, transport) };
}

interface UsersOptions {
  port?: number;
  tls?: { cert: Buffer; key: Buffer };
}

/** The users service over HTTP/2. Ids with a meaning: `missing`, `slow` (300 ms), `hang`. */
async function startUsers({ port = 0, tls }: UsersOptions = {}) {
  let calls = 0;
  const authorities = new Set<string>();
  const adapter = connectNodeAdapter({
    routes: (router) =>
      router.service(UsersService, {
        async getUser({ id }, { signal }) {
          calls += 1;
          if (id === "missing") throw new ConnectError("no such user", Code.NotFound);
          if (id === "slow") await sleep(300);
          if (id === "hang") await once(signal, "abort");
          return { user: { id } };
        },
      }),
  });
  const server = tls === undefined ? createServer(adapter) : createSecureServer(tls, adapter);
  server.on("stream", (_stream: ServerHttp2Stream, headers: Record<string, unknown>) => {
    authorities.add(String(headers[":authority"]));
  });
  return { ...(await listen(server, port)), calls: () => calls, authorities: () => [...authorities] };
}

async function startRaw(onSession: (session: ServerHttp2Session) => void) {
  return listen(createServer().on("session", onSession), 0);
}

async function listen(server: Http2Server, wanted: number) {
  const sessions = new Set<ServerHttp2Session>();
  let accepted = 0;
  let pings = 0;
  server.on("session", (session: ServerHttp2Session) => {
    accepted += 1;
    sessions.add(session);
    session.on("error", () => {});
    session.on("ping", () => {
      pings += 1;
    });
    session.once("close", () => sessions.delete(session));
  });
  const breakConnections = () => {
    for (const session of sessions) session.destroy();
  };
  const stop = async () => {
    breakConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  server.on("stream", (stream: ServerHttp2Stream) => stream.on("error", () => {}));
  server.listen(wanted, "127.0.0.1");
  await once(server, "listening");
  closers.push(stop);
  return {
    // A TCP server's address is never a string.
    port: (server.address() as AddressInfo).port,
    accepted: () => accepted,
    open: () => sessions.size,
    pings: () => pings,
    breakConnections,
    stop,
    goAway(code: number = constants.NGHTTP2_NO_ERROR, data = "") {
      for (const session of sessions) {
        if (code === constants.NGHTTP2_NO_ERROR) session.close();
        else session.goaway(code, 0x7fff_ffff, Buffer.from(data));
        if (code !== constants.NGHTTP2_NO_ERROR) setTimeout(() => session.destroy(), 20);
      }
    },
  };
}

async function startTcp(onSocket: (socket: import("node:net").Socket) => void) {
  let accepted = 0;
  const sockets = new Set<import("node:net").Socket>();
  const server = createTcpServer((socket) => {
    accepted += 1;
    sockets.add(socket);
    socket.on("error", () => {});
    onSocket(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  closers.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, accepted: () => accepted };
}

/** Passes bytes on, or drops them while the connections stay open: a cable that was pulled. */
async function startProxy(target: number) {
  let swallowing = false;
  const proxy = await startTcp((inbound) => {
    const outbound = tcpConnect(target, "127.0.0.1").on("error", () => {});
    inbound.on("data", (bytes) => swallowing || outbound.write(bytes));
    outbound.on("data", (bytes) => swallowing || inbound.write(bytes));
    closers.push(() => outbound.destroy());
  });
  return {
    port: proxy.port,
    swallow: (on: boolean) => {
      swallowing = on;
    },
  };
}

async function failure(call: Promise<unknown>): Promise<ConnectError> {
  const outcome = await call.catch((error: unknown) => error);
  if (outcome instanceof ConnectError) return outcome;
  throw new Error("expected a ConnectError", { cause: outcome });
}

async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(5);
}
