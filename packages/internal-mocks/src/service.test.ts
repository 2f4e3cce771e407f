import { Code, createClient, createRouterTransport } from "@connectrpc/connect";
import { describe, expect, it, vi } from "vitest";
import { OrdersService } from "./gen/smpl/orders/v1/orders_service_pb.ts";
import { UsersService } from "./gen/smpl/users/v1/users_service_pb.ts";
import { createMocks } from "./mocks.ts";

function setUp() {
  const { users, orders } = createMocks({ users: 10, orders: 10, recordedCalls: 5 });
  return {
    users,
    orders,
    usersClient: createClient(UsersService, users.transport),
    ordersClient: createClient(OrdersService, orders.transport),
  };
}

async function first<T>(stream: AsyncIterable<T>): Promise<T | undefined> {
  for await (const message of stream) return message;
  return undefined;
}

describe("calls", () => {
  it("are noted with what was asked and how it ended", async () => {
    const { users, usersClient } = setUp();
    await usersClient.batchGetUsers({ ids: ["user-1"] }, { headers: { "x-request-id": "abc" } });
    await usersClient.getUser({ id: "nobody" }).catch(() => undefined);
    const [batch, get] = users.calls.all();
    expect(batch).toMatchObject({
      method: "batchGetUsers",
      outcome: "ok",
      headers: { "x-request-id": "abc" },
    });
    expect(get).toMatchObject({ method: "getUser", request: { id: "nobody" }, outcome: "error" });
    expect(users.calls.all("batchGetUsers").map((call) => call.request.ids)).toEqual([["user-1"]]);
    expect(Math.abs((batch?.at ?? 0) - Date.now())).toBeLessThan(60_000);
  });

  it("are counted, kept up to a bound, and forgotten on demand", async () => {
    const { users, usersClient } = setUp();
    for (let n = 1; n <= 8; n++) await usersClient.getUser({ id: `user-${n}` });
    await usersClient.listUsers({});
    expect([users.calls.count(), users.calls.count("getUser"), users.calls.count("createUser")]).toEqual([
      9, 8, 0,
    ]);
    expect(users.calls.all("getUser").map((call) => call.request.id)).toEqual([
      "user-5",
      "user-6",
      "user-7",
      "user-8",
    ]);
    users.calls.clear();
    expect([users.calls.count(), users.calls.all()]).toEqual([0, []]);
  });

  it("are active until they end, also after they were forgotten", async () => {
    const { users, usersClient } = setUp();
    users.fault({ method: "getUser", hang: true });
    const caller = new AbortController();
    const call = usersClient
      .getUser({ id: "user-1" }, { signal: caller.signal })
      .catch((error: unknown) => error);
    await vi.waitFor(() => expect(users.calls.active("getUser")).toBe(1));
    const [record] = users.calls.all();
    expect(record?.outcome).toBe("running");
    users.calls.clear();
    expect([users.calls.active(), users.calls.active("listUsers")]).toEqual([1, 0]);
    caller.abort();
    expect(await call).toMatchObject({ code: Code.Canceled });
    await vi.waitFor(() => expect(users.calls.active()).toBe(0));
    expect(record?.outcome).toBe("canceled");
  });

  it("note a stream with its request, and that its caller left while nobody pulled", async () => {
    const { orders, ordersClient } = setUp();
    const caller = new AbortController();
    await first(ordersClient.watchOrders({ backlog: 3 }, { signal: caller.signal }));
    expect(orders.calls.all("watchOrders")[0]).toMatchObject({ request: { backlog: 3 }, outcome: "running" });
    caller.abort();
    await vi.waitFor(() => expect(orders.calls.all()[0]?.outcome).toBe("canceled"));
    expect(orders.calls.active()).toBe(0);
  });

  it("note a stream that fails", async () => {
    const { orders, ordersClient } = setUp();
    await expect(first(ordersClient.watchOrders({ backlog: -1 }))).rejects.toMatchObject({
      code: Code.InvalidArgument,
    });
    expect(orders.calls.all()[0]?.outcome).toBe("error");
  });

  it("are noted in a router of somebody else's, too", async () => {
    const { users } = setUp();
    const own = createRouterTransport(users.routes, { router: { interceptors: [] } });
    await createClient(UsersService, own).getUser({ id: "user-1" });
    expect(users.calls.count("getUser")).toBe(1);
  });
});

describe("faults", () => {
  it("end a call with an error, after it was noted", async () => {
    const { users, usersClient } = setUp();
    users.fault({ method: "getUser", code: Code.Unavailable, message: "db row 5" });
    await expect(usersClient.getUser({ id: "user-1" })).rejects.toMatchObject({
      code: Code.Unavailable,
      rawMessage: "db row 5",
    });
    expect(users.calls.all("getUser")).toMatchObject([{ outcome: "error" }]);
    await expect(usersClient.listUsers({})).resolves.toBeDefined();
    users.clearFaults();
    await expect(usersClient.getUser({ id: "user-1" })).resolves.toBeDefined();
  });

  it("befall as many calls as they are told, one after the other", async () => {
    const { users, usersClient } = setUp();
    users.fault({ method: "getUser", code: Code.Unavailable, times: 2 });
    users.fault({ method: "getUser", code: Code.Internal, times: 1 });
    const codes: (Code | "ok")[] = [];
    for (let n = 0; n < 4; n++) {
      codes.push(
        await usersClient.getUser({ id: "user-1" }).then(
          () => "ok" as const,
          (error) => error.code,
        ),
      );
    }
    expect(codes).toEqual([Code.Unavailable, Code.Unavailable, Code.Internal, "ok"]);
  });

  it("add up: a delay and then an error, on any method", async () => {
    const { users, usersClient } = setUp();
    users.fault({ latencyMs: 30 });
    users.fault({ latencyMs: 30, code: Code.Aborted });
    const start = performance.now();
    await expect(usersClient.listUsers({})).rejects.toMatchObject({ code: Code.Aborted });
    expect(performance.now() - start).toBeGreaterThan(50);
  });

  it("befall streams", async () => {
    const { orders, ordersClient } = setUp();
    orders.fault({ method: "watchOrders", code: Code.Internal });
    await expect(first(ordersClient.watchOrders({ backlog: 1 }))).rejects.toMatchObject({
      code: Code.Internal,
    });
  });

  it.each([{ hang: true }, { latencyMs: 60_000 }])("with %o end at the caller's deadline", async (fault) => {
    const { users, usersClient } = setUp();
    users.fault({ method: "getUser", ...fault });
    const call = usersClient.getUser({ id: "user-1" }, { timeoutMs: 30 });
    await expect(call).rejects.toMatchObject({ code: Code.DeadlineExceeded });
    await vi.waitFor(() => expect(users.calls.all()[0]?.outcome).toBe("canceled"));
  });

  it.each([
    ["method", { method: "getUsers", hang: true }],
    ["latencyMs, code, hang", { method: "getUser" }],
    ["latencyMs", { latencyMs: -1 }],
    ["latencyMs", { latencyMs: Number.NaN }],
    ["message", { message: "why", hang: true }],
    ["times", { code: Code.Internal, times: 0 }],
  ])("name %s when it makes no sense", (field, fault) => {
    const { users } = setUp();
    // @ts-expect-error the first row has a method that the type refuses
    expect(() => users.fault(fault)).toThrow(new RegExp(`^fault: .*${field}`));
  });
});

describe("createMocks", () => {
  it.each([
    ["users", { users: -1 }],
    ["orders", { orders: 1_000_001 }],
    ["items", { items: 1.5 }],
    ["seed", { seed: Number.NaN }],
    ["recordedCalls", { recordedCalls: -1 }],
  ])("names the option %s when it is out of range", (name, options) => {
    expect(() => createMocks(options)).toThrow(new RegExp(`^${name} must be .*got`));
  });

  it("shares nothing between two", async () => {
    const [one, two] = [setUp(), setUp()];
    await one.usersClient.createUser({ email: "new@example.com" });
    await expect(two.usersClient.getUser({ id: "user-11" })).rejects.toMatchObject({ code: Code.NotFound });
    expect(two.users.calls.count("createUser")).toBe(0);
  });
});
