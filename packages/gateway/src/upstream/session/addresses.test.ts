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

describe("a name", () => {
  /** Servers on several loopback addresses with one port, which a name stands for; the test says which. */
  async function named(...hosts: string[]) {
    const first = await startWarehouse({ host: hosts[0] ?? "127.0.0.1" });
    const others = hosts.slice(1).map((host) => startWarehouse({ host, port: first.port }));
    const servers = [first, ...(await Promise.all(others))];
    let found: readonly string[] | Error = hosts;
    const resolve = async () => {
      if (found instanceof Error) throw found;
      return found;
    };
    const url = new URL(`http://warehouse.test:${first.port}`);
    const { client, session } = connectTo([url], { resolve, dnsTtlMs: 50 });
    const set = (next: readonly string[] | Error) => {
      found = next;
    };
    return { servers, client, session, set, host: url.host };
  }

  test("stands for all its addresses; calls carry the name", async () => {
    const { servers, client, session, host } = await named("127.0.0.2", "127.0.0.3");
    expect(session.facts().addresses).toMatchObject([{ address: host, state: "idle" }]);
    await eventually(async () => {
      await client.getCrate({});
      return servers.every((server) => server.calls() > 0);
    });
    expect(servers.map((server) => server.authorities())).toEqual([[host], [host]]);
    expect(session.facts().addresses).toMatchObject([
      { address: `${host} at 127.0.0.2`, state: "ready", connections: 1 },
      { address: `${host} at 127.0.0.3`, state: "ready", connections: 1 },
    ]);
  });

  test("with a new address sends calls there, too", async () => {
    const { servers, client, set } = await named("127.0.0.2", "127.0.0.3");
    set(["127.0.0.2"]);
    await client.getCrate({});
    expect(servers[1]?.accepted()).toBe(0);
    set(["127.0.0.2", "127.0.0.3"]);
    await eventually(async () => {
      await client.getCrate({});
      return (servers[1]?.calls() ?? 0) > 0;
    });
  });

  test("without one of its addresses leaves it when the calls there have ended", async () => {
    const { servers, client, session, set } = await named("127.0.0.2", "127.0.0.3");
    await session.connect();
    await eventually(() => session.facts().addresses.every(({ state }) => state === "ready"));
    const slow = [client.getCrate({ code: "slow" }), client.getCrate({ code: "slow" })];
    await eventually(() => servers.every((server) => server.calls() === 1));
    set(["127.0.0.3"]);
    await eventually(() => session.facts().addresses.length === 1);
    for (let times = 0; times < 10; times += 1) await client.getCrate({});
    expect(servers[0]?.calls()).toBe(1);
    expect((await Promise.all(slow)).map(({ crate }) => crate?.code)).toEqual(["slow", "slow"]);
    await eventually(() => servers[0]?.open() === 0);
    expect(session.facts()).toMatchObject({ opened: 2, lost: 0 });
  });

  test("that cannot be found any more keeps its addresses", async () => {
    const { client, set } = await named("127.0.0.2");
    await client.getCrate({});
    set(new Error("SERVFAIL"));
    for (let times = 0; times < 20; times += 1) {
      expect((await client.getCrate({ code: "A" })).crate?.code).toBe("A");
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  });

  test("that was never found fails calls with the reason, and is found as soon as it is there", async () => {
    const { client, session, set, host } = await named("127.0.0.2");
    set(new Error("ENOTFOUND warehouse.test"));
    const error = await failure(client.getCrate({}));
    expect(error).toMatchObject({
      code: Code.Unavailable,
      rawMessage: `upstream warehouse cannot be reached: ${host}: ENOTFOUND warehouse.test`,
    });
    expect(isNeverProcessed(error)).toBe(true);
    expect(session.state()).toBe("unreachable");
    set(["127.0.0.2"]);
    await eventually(() =>
      client.getCrate({}).then(
        () => true,
        () => false,
      ),
    );
  });

  test("is looked up again when its server is gone, though it is known for long", async () => {
    const old = await startWarehouse({ host: "127.0.0.2" });
    const moved = await startWarehouse({ host: "127.0.0.3", port: old.port });
    let found = "127.0.0.2";
    const url = new URL(`http://warehouse.test:${old.port}`);
    const { client } = connectTo([url], { resolve: async () => [found], dnsTtlMs: 3_600_000 });
    await client.getCrate({});
    found = "127.0.0.3";
    await old.stop();
    await eventually(() =>
      client.getCrate({}).then(
        () => true,
        () => false,
      ),
    );
    expect(moved.calls()).toBe(1);
  });

  test("localhost is one address, where something listens", async () => {
    const server = await startWarehouse();
    const { client, session } = connectTo([new URL(`http://localhost:${server.port}`)]);
    await client.getCrate({});
    expect(session.facts().addresses).toMatchObject([
      { address: `localhost:${server.port}`, state: "ready" },
    ]);
  });
});

describe("an address on which calls fail", () => {
  test("is left out, and comes back by itself", async () => {
    let refused = 0;
    const bad = await startRaw((session) =>
      session.on("stream", (stream) => {
        refused += 1;
        stream.respond(
          { ":status": 200, "content-type": "application/grpc", "grpc-status": "14" },
          { endStream: true },
        );
      }),
    );
    const good = await startWarehouse();
    const { client, session } = connectTo([bad.port, good.port]);
    await session.connect();
    await eventually(async () => {
      await client.getCrate({}).catch(() => {});
      return session.facts().addresses[0]?.ejected === true;
    });
    expect(session.facts()).toMatchObject({
      ejections: 1,
      addresses: [{ ejected: true }, { ejected: false }],
    });
    const before = refused;
    expect(before).toBeGreaterThanOrEqual(5);
    for (let times = 0; times < 10; times += 1)
      expect((await client.getCrate({ code: "A" })).crate?.code).toBe("A");
    expect(refused).toBe(before);
    await eventually(async () => {
      await client.getCrate({}).catch(() => {});
      return refused > before;
    });
    expect(session.facts().ejections).toBe(1);
  });

  test("stays when it is one of one", async () => {
    const server = await startWarehouse();
    const { client, session } = connectTo([server.port]);
    for (let times = 0; times < 20; times += 1)
      expect((await failure(client.getCrate({ code: "down" }))).code).toBe(Code.Unavailable);
    expect(session.facts()).toMatchObject({ ejections: 0, addresses: [{ ejected: false }] });
    expect((await client.getCrate({ code: "A" })).crate?.code).toBe("A");
  });

  test("when all fail, half of them stay", async () => {
    const servers = await Promise.all(Array.from({ length: 5 }, () => startWarehouse()));
    const { client, session } = connectTo(servers.map(({ port }) => port));
    await session.connect();
    await eventually(() => session.facts().addresses.every(({ state }) => state === "ready"));
    for (let times = 0; times < 200; times += 1) await failure(client.getCrate({ code: "down" }));
    expect(session.facts().addresses.filter(({ ejected }) => ejected).length).toBeLessThanOrEqual(2);
    expect(session.facts().ejections).toBeGreaterThanOrEqual(2);
  });

  test("is not one that callers leave, or whose time is over", async () => {
    const servers = [await startWarehouse(), await startWarehouse()];
    const { client, session } = connectTo(servers.map(({ port }) => port));
    await session.connect();
    for (let times = 0; times < 30; times += 1) {
      const error = await failure(client.getCrate({ code: "hang" }, { timeoutMs: 5 }));
      expect(error.code).toBe(Code.DeadlineExceeded);
      const left = AbortSignal.timeout(5);
      await failure(client.getCrate({ code: "hang" }, { signal: left }));
    }
    expect(session.facts().ejections).toBe(0);
    await eventually(() => servers.every((server) => server.running() === 0));
    await eventually(() => session.facts().addresses.every(({ inFlight }) => inFlight === 0));
  });
});
