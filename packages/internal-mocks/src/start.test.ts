import { connect as connectHttp2 } from "node:http2";
import { connect as connectTcp } from "node:net";
import { Code, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterEach, describe, expect, it, vi } from "vitest";
import { OrdersService } from "./gen/smpl/orders/v1/orders_service_pb.ts";
import { UsersService } from "./gen/smpl/users/v1/users_service_pb.ts";
import { ListenError, type RunningMocks, startMocks } from "./start.ts";

const running: RunningMocks[] = [];

async function start(options: Parameters<typeof startMocks>[0] = {}): Promise<RunningMocks> {
  const mocks = await startMocks(options);
  running.push(mocks);
  return mocks;
}

afterEach(async () => {
  await Promise.all(running.splice(0).map((mocks) => mocks.close()));
});

const usersAt = (baseUrl: string) => createClient(UsersService, createGrpcTransport({ baseUrl }));
const ordersAt = (baseUrl: string) => createClient(OrdersService, createGrpcTransport({ baseUrl }));
const portOf = (url: string) => Number(new URL(url).port);

describe("startMocks", () => {
  it("serves the same data over gRPC as in memory, with one recorder", async () => {
    const mocks = await start();
    const { users } = await usersAt(mocks.users.url).listUsers({ pageSize: 1_000 });
    expect(users).toEqual(
      (await createClient(UsersService, mocks.users.transport).listUsers({ pageSize: 1_000 })).users,
    );
    expect(mocks.users.calls.count("listUsers")).toBe(2);
    expect(mocks.users.calls.all()[0]?.headers["content-type"]).toBe("application/grpc+proto");
  });

  it("streams, applies faults, and sees that a caller left", async () => {
    const mocks = await start();
    const caller = new AbortController();
    const client = ordersAt(mocks.orders.url);
    const ids: (string | undefined)[] = [];
    const watching = (async () => {
      for await (const { order } of client.watchOrders({ backlog: 1 }, { signal: caller.signal }))
        ids.push(order?.id);
    })().catch((error: unknown) => error);
    await vi.waitFor(() => expect(ids).toEqual(["order-5000"]));
    await client.createOrder({ userId: "user-1", lineItems: [{ product: "Headset", quantity: 1 }] });
    await vi.waitFor(() => expect(ids).toEqual(["order-5000", "order-5001"]));
    caller.abort();
    expect(await watching).toMatchObject({ code: Code.Canceled });
    await vi.waitFor(() => expect(mocks.orders.calls.all("watchOrders")[0]?.outcome).toBe("canceled"));
    mocks.orders.fault({ method: "getOrder", code: Code.DataLoss });
    await expect(client.getOrder({ id: "order-1" })).rejects.toMatchObject({ code: Code.DataLoss });
  });

  it("takes one service down and brings it back on the same port with its data", async () => {
    const mocks = await start();
    const { url } = mocks.users;
    await usersAt(url).createUser({ email: "new@example.com" });
    mocks.users.fault({ method: "getUser", hang: true, times: 1 });
    const hanging = usersAt(url)
      .getUser({ id: "user-1" })
      .catch((error: unknown) => error);
    await vi.waitFor(() => expect(mocks.users.calls.active("getUser")).toBe(1));
    await mocks.users.stop();
    expect(await hanging).toBeInstanceOf(Error);
    await vi.waitFor(() => expect(mocks.users.calls.active()).toBe(0));
    await expect(usersAt(url).getUser({ id: "user-1" })).rejects.toMatchObject({ code: Code.Unavailable });
    await expect(ordersAt(mocks.orders.url).getOrder({ id: "order-1" })).resolves.toBeDefined();
    await mocks.users.restart();
    expect(mocks.users.url).toBe(url);
    expect((await usersAt(url).getUser({ id: "user-1001" })).user?.email).toBe("new@example.com");
  });

  it("keeps the order of stops and restarts that overlap, and may be stopped twice", async () => {
    const mocks = await start();
    await Promise.all([
      mocks.users.stop(),
      mocks.users.restart(),
      mocks.users.restart(),
      mocks.users.stop(),
      mocks.users.stop(),
    ]);
    await expect(usersAt(mocks.users.url).listUsers({})).rejects.toMatchObject({ code: Code.Unavailable });
    await mocks.users.restart();
    await expect(usersAt(mocks.users.url).listUsers({})).resolves.toBeDefined();
  });

  it("frees its ports at once when closed, whatever is running", async () => {
    const mocks = await start();
    const ports = {
      users: portOf(mocks.users.url),
      orders: portOf(mocks.orders.url),
      inventory: portOf(mocks.inventory.url),
    };
    mocks.users.fault({ hang: true });
    const calls = Array.from({ length: 20 }, () =>
      usersAt(mocks.users.url)
        .listUsers({})
        .catch((error: unknown) => error),
    );
    await vi.waitFor(() => expect(mocks.users.calls.active()).toBe(20));
    const silent = connectTcp(ports.orders, "127.0.0.1").on("error", () => undefined);
    await vi.waitFor(() => expect(silent.readyState).toBe("open"));
    const before = performance.now();
    await mocks.close();
    expect(performance.now() - before).toBeLessThan(200);
    for (const result of await Promise.all(calls)) expect(result).toBeInstanceOf(Error);
    const again = await start({ ports });
    expect(portOf(again.inventory.url)).toBe(ports.inventory);
  });

  it("says which service cannot have its port, and leaves nothing listening", async () => {
    const taken = portOf((await start()).orders.url);
    const free = portOf((await start()).users.url);
    await running[1]?.close();
    const error = await startMocks({ ports: { users: free, inventory: taken } }).catch(
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(ListenError);
    expect(error).toMatchObject({ service: "inventory", port: taken, host: "127.0.0.1", code: "EADDRINUSE" });
    await start({ ports: { users: free } });
  });

  it("names an option that is out of range", async () => {
    await expect(startMocks({ ports: { users: 70_000 } })).rejects.toThrow(
      /^ports\.users must be .*got 70000/,
    );
    await expect(startMocks({ users: -1 })).rejects.toThrow(/^users must be/);
  });

  it.each(["0.0.0.0", "::1", "::", "localhost"])(
    "gives a url that can be called for host %s",
    async (host) => {
      const mocks = await start({ host });
      await expect(usersAt(mocks.users.url).getUser({ id: "user-1" })).resolves.toBeDefined();
    },
  );
});

describe("a client that misbehaves", () => {
  // An error that nobody catches would fail the run, and the adapter reports with console.error.
  async function surviving(mocks: RunningMocks, misbehave: (port: number) => Promise<void>) {
    const reported = vi.spyOn(console, "error").mockImplementation(() => undefined);
    await misbehave(portOf(mocks.users.url));
    await expect(usersAt(mocks.users.url).getUser({ id: "user-1" })).resolves.toBeDefined();
    expect(reported.mock.calls).toEqual([]);
    reported.mockRestore();
  }

  const talk = (port: number, text: string | Buffer) =>
    new Promise<void>((resolve) => {
      const socket = connectTcp(port, "127.0.0.1").on("error", () => undefined);
      socket.on("close", () => resolve()).resume();
      socket.write(text);
      setTimeout(() => socket.resetAndDestroy(), 50);
    });

  it.each([
    ["HTTP/1.1", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"],
    ["noise", Buffer.alloc(5_000, 0xa5)],
    ["a preface and noise", `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${"x".repeat(1_000)}`],
  ])("with %s harms nobody", async (_, text) => {
    await surviving(await start(), (port) => talk(port, text));
  });

  it.each([
    ["no authority", { ":authority": "" }],
    ["an authority that makes no URL", { ":authority": "a:99999" }],
    ["an unknown path", { ":path": "/nothing" }],
    ["no path", { ":path": "" }],
    ["an odd method", { ":method": "GET" }],
    ["no body where one is due", {}],
  ])("with %s harms nobody", async (_, headers) => {
    await surviving(await start(), async (port) => {
      const session = connectHttp2(`http://127.0.0.1:${port}`);
      const stream = session.request({
        ":method": "POST",
        ":path": "/smpl.users.v1.UsersService/GetUser",
        "content-type": "application/grpc",
        ...headers,
      });
      stream
        .on("error", () => undefined)
        .resume()
        .end();
      await new Promise((resolve) => stream.on("close", resolve));
      session.destroy();
    });
  });

  it("with a thousand calls that it leaves harms nobody, and all of them end", async () => {
    const mocks = await start();
    mocks.users.fault({ method: "listUsers", latencyMs: 20 });
    await surviving(mocks, async () => {
      const client = usersAt(mocks.users.url);
      const calls = Array.from({ length: 1_000 }, (_, n) =>
        client
          .listUsers({ pageSize: 1_000 }, { signal: AbortSignal.timeout(1 + (n % 60)) })
          .catch((error: unknown) => error),
      );
      await Promise.all(calls);
      await vi.waitFor(() => expect(mocks.users.calls.active("listUsers")).toBe(0));
    });
  });

  it("with sessions that break in the middle harms nobody", async () => {
    const mocks = await start();
    await surviving(mocks, async (port) => {
      for (let n = 0; n < 50; n++) {
        const session = connectHttp2(`http://127.0.0.1:${port}`).on("error", () => undefined);
        const stream = session.request({
          ":method": "POST",
          ":path": "/smpl.users.v1.UsersService/ListUsers",
          "content-type": "application/grpc",
        });
        stream.on("error", () => undefined).write(Buffer.from([0, 0, 0, 0, n % 2 === 0 ? 0 : 9]));
        if (n % 2 === 0) stream.end();
        await new Promise((resolve) => setTimeout(resolve, n % 5));
        session.destroy();
      }
    });
  });
});
