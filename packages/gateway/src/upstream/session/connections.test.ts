import type { ServerHttp2Stream } from "node:http2";
import { Code } from "@connectrpc/connect";
import { afterEach, describe, expect, test } from "vitest";
import {
  connectTo,
  endAll,
  eventually,
  failure,
  startRaw,
  startWarehouse,
} from "../../testing/upstream-servers.ts";
import { isNeverProcessed } from "./session.ts";

afterEach(endAll);

const atMost = (maxConcurrentStreams: number) => ({ http2: { settings: { maxConcurrentStreams } } });

describe("when the upstream allows few calls on a connection", () => {
  test("more connections are opened, up to the most that may be", async () => {
    const server = await startWarehouse(atMost(5));
    const { client, session } = connectTo([server.port], { maxConnections: 3 });
    const answers = Array.from({ length: 60 }, (_, i) => client.getCrate({ code: i < 15 ? "slow" : "A" }));
    expect((await Promise.all(answers)).length).toBe(60);
    expect(server.accepted()).toBe(3);
    await eventually(() => session.facts().addresses[0]?.inFlight === 0);
    expect(session.facts()).toMatchObject({ opened: 3, addresses: [{ connections: 3 }] });
  });

  test("calls wait for room, in their order", async () => {
    const server = await startWarehouse(atMost(1));
    const { client } = connectTo([server.port], { maxConnections: 1, connectTimeoutMs: 10_000 });
    await client.getCrate({});
    const ended: number[] = [];
    const calls = Array.from({ length: 20 }, async (_, i) => {
      await client.getCrate({});
      ended.push(i);
    });
    await Promise.all(calls);
    expect(ended).toEqual([...ended].sort((a, b) => a - b));
    expect(server.accepted()).toBe(1);
  });

  test("a call that finds no room in time fails, and was never sent", async () => {
    const server = await startWarehouse(atMost(1));
    const { client } = connectTo([server.port], { maxConnections: 1, connectTimeoutMs: 100 });
    const hanging = failure(client.getCrate({ code: "hang" }, { timeoutMs: 2_000 }));
    await eventually(() => server.running() === 1);
    const error = await failure(client.getCrate({}));
    expect(error).toMatchObject({
      code: Code.Unavailable,
      rawMessage: "upstream warehouse: no connection has room for another call",
    });
    expect(isNeverProcessed(error)).toBe(true);
    expect((await hanging).code).toBe(Code.DeadlineExceeded);
    expect((await client.getCrate({ code: "A" })).crate?.code).toBe("A");
  });

  test("a call whose caller leaves while it waits is not sent any more", async () => {
    let asked = 0;
    const first = Promise.withResolvers<ServerHttp2Stream>();
    const server = await startRaw(
      (session) =>
        session.on("stream", (stream) => {
          asked += 1;
          if (asked === 1) stream.resume().once("end", () => first.resolve(stream));
          else stream.respond({ ":status": 200, "grpc-status": "0" }, { endStream: true });
        }),
      atMost(1).http2,
    );
    const { client, session } = connectTo([server.port], { maxConnections: 1, connectTimeoutMs: 10_000 });
    await session.connect();
    const running = failure(client.getCrate({}));
    const stream = await first.promise;
    const caller = new AbortController();
    const left = Array.from({ length: 20 }, () => failure(client.getCrate({}, { signal: caller.signal })));
    const waiting = failure(client.getCrate({}));
    caller.abort();
    for (const { code } of await Promise.all(left)) expect(code).toBe(Code.Canceled);
    stream.respond({ ":status": 200, "grpc-status": "0" }, { endStream: true });
    await Promise.all([running, waiting]);
    expect(asked).toBe(2);
  });

  test("a call whose time is over while it waits was never sent", async () => {
    const server = await startWarehouse(atMost(1));
    const { client } = connectTo([server.port], { maxConnections: 1, connectTimeoutMs: 10_000 });
    const caller = new AbortController();
    const hanging = failure(client.getCrate({ code: "hang" }, { signal: caller.signal }));
    await eventually(() => server.running() === 1);
    const error = await failure(client.getCrate({}, { timeoutMs: 50 }));
    expect(error.code).toBe(Code.Unavailable);
    expect(isNeverProcessed(error)).toBe(true);
    caller.abort();
    await hanging;
    expect(server.calls()).toBe(1);
  });

  test("none at all: calls fail in time", async () => {
    const server = await startWarehouse(atMost(0));
    const { client } = connectTo([server.port], { connectTimeoutMs: 100 });
    expect((await failure(client.getCrate({}))).rawMessage).toContain("has room");
  });

  test("and then allows more, calls that wait go on", async () => {
    const server = await startRaw(
      (session) => {
        session.on("stream", (stream) =>
          stream.respond({ ":status": 200, "grpc-status": "0" }, { endStream: true }),
        );
        setTimeout(() => session.settings({ maxConcurrentStreams: 100 }), 50);
      },
      { settings: { maxConcurrentStreams: 0 } },
    );
    const { client } = connectTo([server.port], { maxConnections: 1, connectTimeoutMs: 10_000 });
    const calls = Array.from({ length: 10 }, () => failure(client.getCrate({})));
    // An answer without a message; what matters is that there is one.
    for (const error of await Promise.all(calls)) expect(error.rawMessage).not.toContain("has room");
  });
});

test("a stream whose reader stops when the rest has come already takes no room any more", async () => {
  const sent: Promise<unknown>[] = [];
  const server = await startRaw(
    (session) =>
      session.on("stream", (stream) => {
        const message = Buffer.of(0, 0, 0, 0, 0);
        stream.respond(
          { ":status": 200, "content-type": "application/grpc+proto" },
          { waitForTrailers: true },
        );
        stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
        stream.write(message);
        setTimeout(() => stream.end(message), 5);
        sent.push(new Promise((resolve) => stream.once("close", resolve)));
      }),
    atMost(2).http2,
  );
  const { client, session } = connectTo([server.port], { maxConnections: 1, connectTimeoutMs: 10_000 });
  for (let times = 0; times < 10; times += 1) {
    const reader = new AbortController();
    for await (const _ of client.watchCrates({}, { signal: reader.signal })) {
      await sent.at(-1);
      break;
    }
    reader.abort();
  }
  await eventually(() => session.facts().addresses[0]?.inFlight === 0);
  expect(sent).toHaveLength(10);
});

test("a connection with a hundred calls is not left alone with them", async () => {
  const server = await startWarehouse();
  const { client, session } = connectTo([server.port]);
  await session.connect();
  const calls = Array.from({ length: 150 }, () =>
    failure(client.getCrate({ code: "hang" }, { timeoutMs: 1_000 })),
  );
  await eventually(() => server.accepted() === 2);
  await Promise.all(calls);
  expect(session.facts()).toMatchObject({ opened: 2, lost: 0 });
});

test("as many connections as wanted are opened with the first call", async () => {
  const server = await startWarehouse();
  const { client } = connectTo([server.port], { connections: 3 });
  await client.getCrate({});
  await eventually(() => server.open() === 3);
});

describe("a connection that is old", () => {
  test("is replaced, and its calls finish on it", async () => {
    const server = await startWarehouse();
    const { client, session } = connectTo([server.port], { maxAgeMs: 100 });
    const slow = client.getCrate({ code: "slow" });
    await eventually(() => server.accepted() >= 2);
    expect((await slow).crate?.code).toBe("slow");
    await eventually(() => server.accepted() >= 4 && server.open() === 1);
    expect(session.facts().lost).toBe(0);
  });

  test("never leaves calls without one", async () => {
    const server = await startWarehouse();
    const { client, session } = connectTo([server.port], { maxAgeMs: 20 });
    while (server.accepted() < 10) expect((await client.getCrate({ code: "A" })).crate?.code).toBe("A");
    expect(session.facts().lost).toBe(0);
  });

  test("is kept while no new one is to be had", async () => {
    const server = await startWarehouse();
    const { client, session } = connectTo([server.port], { maxAgeMs: 50, connectTimeoutMs: 100 });
    await client.getCrate({});
    server.refuse();
    await eventually(() => server.refused() > 0);
    expect((await client.getCrate({ code: "A" })).crate?.code).toBe("A");
    expect(session.state()).toBe("ready");
  });

  test("and one too many is not replaced", async () => {
    const server = await startWarehouse(atMost(1));
    const { client, session } = connectTo([server.port], { maxAgeMs: 400, maxConnections: 3 });
    await Promise.all(Array.from({ length: 3 }, () => client.getCrate({ code: "slow" })));
    await eventually(() => session.facts().addresses[0]?.connections === 1);
  });
});
