import { spawn } from "node:child_process";
import { once } from "node:events";
import { constants, type ServerHttp2Stream } from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Code } from "@connectrpc/connect";
import { afterEach, describe, expect, test } from "vitest";
import {
  connectTo,
  endAll,
  eventually,
  failure,
  startProxy,
  startRaw,
  startTcp,
  startWarehouse,
} from "../../testing/upstream-servers.ts";
import { createSession, isNeverProcessed, isWorthRepeating } from "./session.ts";

afterEach(endAll);

describe("calls", () => {
  test("go over one connection, opened by the first", async () => {
    const server = await startWarehouse();
    const { client, session } = connectTo([server.port]);
    expect(session.state()).toBe("idle");
    const answers = await Promise.all(Array.from({ length: 50 }, () => client.getCrate({ code: "u1" })));
    expect(answers.every(({ crate }) => crate?.code === "u1")).toBe(true);
    expect(session.state()).toBe("ready");
    expect(server.accepted()).toBe(1);
    expect(server.authorities()).toEqual([`127.0.0.1:${server.port}`]);
  });

  test("an error that the service answers comes through as it is", async () => {
    const server = await startWarehouse();
    const { client, session } = connectTo([server.port]);
    const error = await failure(client.getCrate({ code: "missing" }));
    expect(error).toMatchObject({ code: Code.NotFound, rawMessage: "no such crate" });
    expect(isNeverProcessed(error)).toBe(false);
    expect(session.state()).toBe("ready");
  });

  test("take turns over two addresses", async () => {
    const servers = [await startWarehouse(), await startWarehouse()];
    const { client, session } = connectTo(servers.map(({ port }) => port));
    await session.connect();
    await eventually(() => servers.every((server) => server.accepted() === 1));
    await client.getCrate({});
    await sleep(50); // both have said SETTINGS by now
    const before = servers.map((server) => server.calls());
    for (let i = 0; i < 20; i += 1) await client.getCrate({ code: "u1" });
    const got = servers.map((server, i) => server.calls() - (before[i] ?? 0));
    expect(got).toEqual([10, 10]);
    expect(servers.map((server) => server.authorities())).toEqual(
      servers.map(({ port }) => [`127.0.0.1:${port}`]),
    );
  });

  test("all succeed while one of two addresses is dead, and use it when it is back", async () => {
    const alive = await startWarehouse();
    const dead = await startWarehouse();
    await dead.stop();
    const { client } = connectTo([dead.port, alive.port]);
    for (let i = 0; i < 20; i += 1) await client.getCrate({ code: "u1" });
    const back = await startWarehouse({ port: dead.port });
    await eventually(async () => {
      await client.getCrate({ code: "u1" });
      return back.calls() > 0;
    });
  });

  test("whose time is over while connecting were never sent: there is no connection", async () => {
    const silent = await startTcp(() => {});
    const { client } = connectTo([silent.port], { connectTimeoutMs: 10_000 });
    const error = await failure(client.getCrate({}, { timeoutMs: 50 }));
    expect(error).toMatchObject({
      code: Code.Unavailable,
      rawMessage: "upstream warehouse: no connection in time",
    });
    expect(isNeverProcessed(error)).toBe(true);
  });
});

describe("an upstream that is away", () => {
  test("fails calls, with the upstream and the cause for the log", async () => {
    const server = await startWarehouse();
    await server.stop();
    const { client, session } = connectTo([server.port]);
    const error = await failure(client.getCrate({}));
    expect(error.code).toBe(Code.Unavailable);
    expect(error.rawMessage).toMatch(
      /^upstream warehouse cannot be reached: 127\.0\.0\.1:\d+: .*ECONNREFUSED/,
    );
    expect([isNeverProcessed(error), isWorthRepeating(error)]).toEqual([true, false]);
    expect(session.state()).toBe("unreachable");
    await expect(session.connect()).rejects.toThrow("cannot be reached");
  });

  test("is not hammered: all calls at a time share one attempt", async () => {
    const refusing = await startTcp((socket) => socket.destroy());
    const { client } = connectTo([refusing.port]);
    const calls = Array.from({ length: 100 }, () => failure(client.getCrate({})));
    for (const { code } of await Promise.all(calls)) expect(code).toBe(Code.Unavailable);
    expect(refusing.accepted()).toBe(1);
  });

  test("is in use again when it is back, over one connection", async () => {
    const first = await startWarehouse();
    const { client } = connectTo([first.port]);
    await client.getCrate({ code: "u1" });
    await first.stop();
    for (let times = 0; times < 20; times += 1)
      expect((await failure(client.getCrate({}))).code).toBe(Code.Unavailable);
    const second = await startWarehouse({ port: first.port });
    await eventually(() =>
      client.getCrate({ code: "u1" }).then(
        () => true,
        () => false,
      ),
    );
    expect(second.accepted()).toBe(1);
  });

  test("that accepts and never speaks HTTP/2 fails the call after the connect timeout", async () => {
    const silent = await startTcp(() => {});
    const { client, session } = connectTo([silent.port], { connectTimeoutMs: 200 });
    const calls = [failure(client.getCrate({})), failure(client.getCrate({}))];
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
    const server = await startWarehouse();
    const { client } = connectTo([server.port]);
    const error = failure(client.getCrate({ code: "hang" }));
    await eventually(() => server.calls() === 1);
    server.breakConnections();
    expect((await error).code).toBe(Code.Unavailable);
    expect(isNeverProcessed(await error)).toBe(false);
    expect((await client.getCrate({ code: "u1" })).crate?.code, "the next call").toBe("u1");
  });
});

describe("GOAWAY", () => {
  test("on an idle connection: the next call opens another", async () => {
    const server = await startWarehouse();
    const { client } = connectTo([server.port]);
    const rounds = 60;
    for (let round = 1; round <= rounds; round += 1) {
      await client.getCrate({ code: "u1" });
      server.goAway();
      // The next call comes before the GOAWAY, together with it, or after it.
      if (round % 3 > 0) await sleep((round % 3) - 1);
      const crossed = await client.getCrate({ code: "u1" }).catch((error: unknown) => error);
      if (crossed instanceof Error) expect(isNeverProcessed(crossed), String(crossed)).toBe(true);
      expect((await client.getCrate({ code: "u1" })).crate?.code).toBe("u1");
    }
    expect(server.accepted()).toBe(rounds + 1);
    await eventually(() => server.open() === 1);
  });

  test("on a busy connection: what is in flight ends well, and the next call opens another", async () => {
    const server = await startWarehouse();
    const { client } = connectTo([server.port]);
    const slow = client.getCrate({ code: "slow" });
    await eventually(() => server.calls() === 1);
    server.goAway();
    await sleep(20);
    expect((await client.getCrate({ code: "u1" })).crate?.code).toBe("u1");
    expect(server.accepted()).toBe(2);
    expect((await slow).crate?.code).toBe("slow");
    await eventually(() => server.open() === 1);
  });

  test("with an error ends calls as unavailable", async () => {
    const server = await startWarehouse();
    const { client } = connectTo([server.port]);
    const error = failure(client.getCrate({ code: "hang" }));
    await eventually(() => server.calls() === 1);
    server.goAway(constants.NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings");
    expect((await error).code).toBe(Code.Unavailable);
    expect((await client.getCrate({ code: "u1" })).crate?.code).toBe("u1");
  });

  test("right after the connection was made does not loop", async () => {
    const server = await startRaw((session) => session.once("remoteSettings", () => session.close()));
    const { client } = connectTo([server.port]);
    expect((await failure(client.getCrate({}))).code).toBe(Code.Unavailable);
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
    const error = await failure(client.getCrate({ code: "u1" }));
    expect(error.code).toBe(code);
    expect(error.rawMessage).toMatch(
      new RegExp(`^upstream warehouse \\(127.0.0.1:\\d+\\) cut the call: ${name}$`),
    );
    expect([isNeverProcessed(error), isWorthRepeating(error)]).toEqual([neverProcessed, neverProcessed]);
    expect(session.state(), "the connection goes on").toBe("ready");
  });

  test.each([
    // Node's server ends the stream before it resets it: a whole answer, without a status.
    ["NO_ERROR", Code.Internal, (stream: ServerHttp2Stream) => stream.close(constants.NGHTTP2_NO_ERROR)],
    ["CANCEL", Code.Internal, (stream: ServerHttp2Stream) => stream.close(constants.NGHTTP2_CANCEL)],
    ["its connection", Code.Unavailable, (stream: ServerHttp2Stream) => stream.session?.destroy()],
  ])("with %s after the headers of a response", async (_name, code, cut) => {
    const server = await startRaw((session) =>
      session.on("stream", (stream) => {
        stream.respond({ ":status": 200, "content-type": "application/grpc+proto" });
        stream.write(Buffer.of(0, 0, 0, 0, 5, 1));
        setTimeout(() => cut(stream), 20);
      }),
    );
    const { client } = connectTo([server.port]);
    expect(await failure(client.getCrate({}))).toMatchObject({
      code,
      rawMessage: expect.stringMatching(/^upstream warehouse \(127.0.0.1:\d+\) /),
    });
  });

  test("as refused, though it has begun to answer: the call may have been processed", async () => {
    const server = await startRaw((session) =>
      session.on("stream", (stream) => {
        stream.respond({ ":status": 200, "content-type": "application/grpc+proto" });
        setTimeout(() => stream.close(constants.NGHTTP2_REFUSED_STREAM), 20);
      }),
    );
    const { client } = connectTo([server.port]);
    expect(isNeverProcessed(await failure(client.getCrate({})))).toBe(false);
  });

  test("with a request body that the upstream does not take", async () => {
    const server = await startRaw((session) =>
      session.on("stream", (stream) => stream.close(constants.NGHTTP2_REFUSED_STREAM)),
    );
    const { client } = connectTo([server.port]);
    const error = await failure(client.getCrate({ code: "x".repeat(500_000) }));
    expect(error.code).toBe(Code.Unavailable);
  });
});

describe("pings", () => {
  const quick = { pingIntervalMs: 100, pingTimeoutMs: 150, connectTimeoutMs: 300 };

  test("find a half-open connection; calls end, and the next ones use a new connection", async () => {
    const server = await startWarehouse();
    const proxy = await startProxy(server.port);
    const { client, session } = connectTo([proxy.port], quick);
    await client.getCrate({ code: "u1" });
    proxy.swallow(true);
    const error = await failure(client.getCrate({ code: "u1" }));
    expect(error).toMatchObject({
      code: Code.Unavailable,
      rawMessage: expect.stringContaining("no answer to a ping for 150 ms"),
    });
    expect(session.state()).not.toBe("ready");
    proxy.swallow(false);
    await eventually(() =>
      client.getCrate({ code: "u1" }).then(
        () => true,
        () => false,
      ),
    );
    expect(server.accepted()).toBe(2);
  });

  test("find it without any call", async () => {
    const server = await startWarehouse();
    const proxy = await startProxy(server.port);
    const { session } = connectTo([proxy.port], quick);
    await session.connect();
    proxy.swallow(true);
    await eventually(() => session.state() !== "ready");
  });

  test("leave a healthy connection alone, even one with a slow call", async () => {
    const server = await startWarehouse();
    const { client } = connectTo([server.port], { pingIntervalMs: 10, pingTimeoutMs: 2_000 });
    expect((await client.getCrate({ code: "slow" })).crate?.code).toBe("slow");
    await sleep(200);
    expect((await client.getCrate({ code: "u1" })).crate?.code).toBe("u1");
    expect(server.accepted()).toBe(1);
    expect(server.pings()).toBeGreaterThan(5);
  });

  test("get rarer when the upstream finds them too many", async () => {
    const server = await startWarehouse();
    const { client } = connectTo([server.port], { pingIntervalMs: 20 });
    for (let i = 0; i < 5; i += 1) {
      await client.getCrate({ code: "u1" });
      server.goAway(constants.NGHTTP2_ENHANCE_YOUR_CALM, "too_many_pings");
      await eventually(() => server.open() === 0);
    }
    await client.getCrate({ code: "u1" });
    const before = server.pings();
    await sleep(300); // 15 pings at the first interval
    expect(server.pings() - before).toBeLessThan(3);
  });
});

describe("close()", () => {
  test("lets calls in flight finish, and refuses new ones", async () => {
    const server = await startWarehouse();
    const { client, session } = connectTo([server.port]);
    const slow = client.getCrate({ code: "slow" });
    await eventually(() => server.calls() === 1);
    session.close();
    const error = await failure(client.getCrate({}));
    expect(error).toMatchObject({
      code: Code.Unavailable,
      rawMessage: "upstream warehouse: the session is closed",
    });
    expect((await slow).crate?.code).toBe("slow");
    await eventually(() => server.open() === 0);
    expect(session.state()).toBe("idle");
    session.close();
  });

  test("cuts calls that do not finish within the grace", async () => {
    const server = await startWarehouse();
    const { client, session } = connectTo([server.port], { closeGraceMs: 100 });
    const error = failure(client.getCrate({ code: "hang" }));
    await eventually(() => server.calls() === 1);
    session.close();
    expect((await error).code).toBe(Code.Unavailable);
    await eventually(() => server.open() === 0);
  });

  test("ends an attempt to connect", async () => {
    const silent = await startTcp(() => {});
    const { client, session } = connectTo([silent.port], { connectTimeoutMs: 10_000 });
    const error = failure(client.getCrate({}));
    await eventually(() => session.state() === "connecting" && silent.accepted() === 1);
    session.close();
    expect((await error).code).toBe(Code.Unavailable);
  });

  test("lets the process exit", async () => {
    const server = await startWarehouse();
    const script = `
      import { createSession } from ${JSON.stringify(new URL("./session.ts", import.meta.url).href)};
      const session = createSession("warehouse", [new URL("http://127.0.0.1:${server.port}")]);
      await session.connect();
      session.close();`;
    const cwd = fileURLToPath(new URL(".", import.meta.url));
    const child = spawn(process.execPath, ["--input-type=module", "-e", script], { stdio: "inherit", cwd });
    const exited = once(child, "exit").finally(() => child.kill("SIGKILL"));
    expect(await exited).toEqual([0, null]);
  });
});

test("what cannot be is refused by name", () => {
  const url = new URL("http://127.0.0.1:1");
  expect(() => createSession("warehouse", [])).toThrow("upstream warehouse: at least one address is needed");
  expect(() => createSession("warehouse", [url, new URL("dns:///warehouse:9101")])).toThrow(
    "upstream warehouse: an address must be http:// or https://, got dns:///warehouse:9101",
  );
  expect(() => createSession("warehouse", [url], { pingTimeoutMs: 0, connectTimeoutMs: Number.NaN })).toThrow(
    /connectTimeoutMs .* got NaN; pingTimeoutMs .* got 0/,
  );
});
