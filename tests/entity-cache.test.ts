import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { fromBinary } from "@bufbuild/protobuf";
import { Code, type ConnectRouter, createClient } from "@connectrpc/connect";
import { connectNodeAdapter, createGrpcTransport } from "@connectrpc/connect-node";
import { loader, present, service } from "@portico/gateway";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { users } from "../packages/gateway/src/app/upstreams.ts";
import { userView } from "../packages/gateway/src/app/views.ts";
import {
  GetOrderWithUserResponseSchema,
  OrdersService,
} from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import {
  GetUserResponseSchema,
  UsersService,
} from "../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { OrdersService as InternalOrdersService } from "../packages/gateway/src/gen/smpl/orders/v1/orders_service_pb.ts";
import { UsersService as InternalUsersService } from "../packages/gateway/src/gen/smpl/users/v1/users_service_pb.ts";
import { rawCall } from "./raw-call.ts";
import { noRedis, startRedis } from "./redis.ts";
import { type System, type SystemOptions, startSystem } from "./system.ts";

// Over the wire: what loaders keep of entities, for how long, and for whom.

const { getOrderWithUser } = OrdersService.method;
const { createUser, getUser } = UsersService.method;
const on = { ENTITY_CACHE_BYTES: String(2 ** 24) };
const patient = { timeout: 20_000 };

/** The email that an order is answered with. */
async function emailOf({ url }: System, orderId: string, token: string): Promise<string> {
  const { code, messages } = await rawCall(url, getOrderWithUser, { id: orderId }, { way: "grpc", token });
  expect(code).toBe("ok");
  return fromBinary(GetOrderWithUserResponseSchema, messages[0] ?? new Uint8Array()).order?.userEmail ?? "";
}

/** An order of a user, who need not exist. */
async function orderOf(userId: string, { mocks }: System): Promise<string> {
  const orders = createClient(InternalOrdersService, createGrpcTransport({ baseUrl: mocks.orders.url }));
  const { order } = await orders.createOrder({ userId, lineItems: [{ product: "Webcam", quantity: 1 }] });
  return present(order, "order").id;
}

async function factsOf({ adminUrl }: System): Promise<Record<string, number>> {
  const state = (await (await fetch(`${adminUrl}/readyz`)).json()) as { entities: Record<string, number> };
  return state.entities;
}

describe("users of the demo, which everyone shares", () => {
  let system: System;
  let admin: string;
  beforeAll(async () => {
    system = await startSystem({ env: on, mocks: { users: 1_000 } });
    admin = await system.token("admin");
  });
  afterAll(() => system.close());
  beforeEach(() => {
    system.mocks.users.calls.clear();
    system.mocks.users.clearFaults();
  });
  const batches = () => system.mocks.users.calls.count("batchGetUsers");

  test("are fetched for the first call, and not for the second, whoever makes it", async () => {
    const order = await orderOf("user-1", system);
    const email = await emailOf(system, order, admin);
    expect(email).toContain("@");
    expect(await emailOf(system, order, await system.token("support", "bob"))).toBe(email);
    expect(batches()).toBe(1);
    const { hits = 0, misses = 0, entries = 0, bytes = 0 } = await factsOf(system);
    expect([hits, misses, entries, bytes].map((count) => count > 0)).toEqual([true, true, true, true]);
  });

  test("are told nothing of who asks, as what they answer is for all", async () => {
    await emailOf(system, await orderOf("user-2", system), admin);
    const [batch] = system.mocks.users.calls.all("batchGetUsers");
    expect(batch?.headers).toMatchObject({ "x-portico-kind": "anonymous" });
    expect(batch?.headers).not.toHaveProperty("x-portico-subject");
    expect(batch?.headers).not.toHaveProperty("x-portico-roles");
  });

  test("are fetched once for a hundred callers at the same time", async () => {
    const order = await orderOf("user-3", system);
    const tokens = await Promise.all(
      Array.from({ length: 100 }, (_, index) => system.token("support", `caller-${index}`)),
    );
    system.mocks.users.fault({ method: "batchGetUsers", latencyMs: 500 });
    const emails = await Promise.all(tokens.map((token) => emailOf(system, order, token)));
    expect(new Set(emails).size).toBe(1);
    expect(batches()).toBe(1);
  });

  test("are fetched anew after their creation: that there was none is forgotten", async () => {
    const order = await orderOf("user-1001", system);
    expect(await emailOf(system, order, admin)).toBe("");
    expect(await emailOf(system, order, admin)).toBe("");
    expect(batches()).toBe(1);
    const request = { email: "new@example.com" };
    expect((await rawCall(system.url, createUser, request, { token: admin })).code).toBe("ok");
    expect(await emailOf(system, order, admin)).toBe("new@example.com");
    expect(batches()).toBe(2);
  });

  test("are not kept if they could not be fetched", async () => {
    const order = await orderOf("user-4", system);
    system.mocks.users.fault({ method: "batchGetUsers", code: Code.Internal, times: 1 });
    expect(await emailOf(system, order, admin)).toBe("");
    expect(await emailOf(system, order, admin)).toContain("@");
  });
});

test("a service without the batch is asked for its whole list instead, and not for the batch again", async () => {
  await using system = await startSystem({ mocks: { users: 1_000 } });
  const token = await system.token("admin");
  system.mocks.users.fault({ method: "batchGetUsers", code: Code.Unimplemented });
  for (const user of ["user-1", "user-2", "user-3"])
    expect(await emailOf(system, await orderOf(user, system), token)).toContain("@");
  expect(system.mocks.users.calls.count("batchGetUsers")).toBe(1);
  expect(system.mocks.users.calls.count("listUsers")).toBe(3);
  const state = await (await fetch(`${system.adminUrl}/readyz`)).json();
  expect(state).toMatchObject({ unimplemented: ["users.batchGetUsers"] });
});

test("what came with a whole list is kept, too", async () => {
  await using system = await startSystem({ env: on, mocks: { users: 1_000 } });
  const token = await system.token("admin");
  system.mocks.users.fault({ method: "batchGetUsers", code: Code.Unimplemented });
  for (const user of ["user-1", "user-2", "user-3"])
    expect(await emailOf(system, await orderOf(user, system), token)).toContain("@");
  expect(system.mocks.users.calls.count()).toBe(2);
});

const usersService = (name: string, cache: NonNullable<Parameters<typeof byId>[1]>) => {
  const usersById = byId(name, cache);
  return service(UsersService, {
    async getUser({ id }, call) {
      const [user] = await usersById.loadAll([id], call);
      return { user: await userView.one(present(user, "user"), call) };
    },
    async createUser({ email, displayName }, call) {
      await users.createUser({ email, displayName }, call);
      return {};
    },
    listUsers: () => ({}),
  });
};

function byId(name: string, cache: { ttlMs: number; staleMs?: number; scope?: "public" | "principal" }) {
  return loader(users, {
    name,
    batch: { method: "batchGetUsers", request: (ids) => ({ ids }), items: "users", key: "id", max: 500 },
    // As if the user of that id were changed by it.
    cache: { ...cache, forget: { createUser: (_, request) => [request.displayName] } },
  });
}

/** What a user is called, and what the email says. */
async function userOf({ url }: Pick<System, "url">, id: string, token: string) {
  const { code, messages } = await rawCall(url, getUser, { id }, { way: "connect+proto", token });
  expect(code).toBe("ok");
  return fromBinary(GetUserResponseSchema, messages[0] ?? new Uint8Array()).user;
}

describe("in time", () => {
  const start = async (name: string, cache: Parameters<typeof byId>[1]) => {
    const system = await startSystem({
      env: on,
      mocks: { users: 10 },
      services: [usersService(name, cache)],
    });
    const token = await system.token("admin");
    return {
      system,
      fetches: () => system.mocks.users.calls.count("batchGetUsers"),
      ask: () => userOf(system, "user-7", token),
    };
  };

  test("an entity is fetched anew", async () => {
    const { system, ask, fetches } = await start("short", { ttlMs: 300, scope: "public" });
    await using _ = system;
    await ask();
    const asked = async () => {
      await ask();
      return fetches();
    };
    await expect.poll(asked, patient).toBeGreaterThan(1);
  });

  test("a stale one is given at once, even if its service hangs, and renewed behind the back of the caller", async () => {
    const { system, ask, fetches } = await start("stale", { ttlMs: 1, staleMs: 600_000, scope: "public" });
    await using _ = system;
    const first = await ask();
    await new Promise((resolve) => setTimeout(resolve, 20));
    system.mocks.users.fault({ method: "batchGetUsers", hang: true, times: 1 });
    expect(await ask()).toEqual(first);
    expect((await factsOf(system))["stale"]).toBe(1);
    await expect.poll(async () => (await factsOf(system))["failedRefreshes"], patient).toBe(1);
    const before = fetches();
    await ask();
    await expect.poll(fetches, patient).toBeGreaterThan(before);
  });
});

describe("callers who do not share", () => {
  /** A service whose users are called after whoever asks for them. */
  async function startMirror(): Promise<{ readonly url: string } & Disposable> {
    const routes = (router: ConnectRouter) =>
      router.service(InternalUsersService, {
        batchGetUsers: ({ ids }, { requestHeader }) => {
          const who = ["subject", "roles"].map((fact) => requestHeader.get(`x-portico-${fact}`)).join("/");
          return { users: ids.map((id) => ({ id, email: who, displayName: id })) };
        },
      });
    const server = createServer(connectNodeAdapter({ routes }));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo;
    return { url: `http://127.0.0.1:${port}`, [Symbol.dispose]: () => void server.close() };
  }

  /** A hundred callers ask each system for a user, twice. Gives how often one got what was not its own. */
  const swarm = async (systems: readonly System[]) => {
    const callers = Array.from({ length: 100 }, (_, index) => ({
      subject: `caller-${index >> 1}`,
      role: index % 2 === 0 ? ("admin" as const) : ("support" as const),
    }));
    const asks = await Promise.all(
      callers.flatMap(({ subject, role }) =>
        systems.map(async (system) => ({
          who: `${subject}/${role}`,
          system,
          token: await system.token(role, subject),
        })),
      ),
    );
    let foreign = 0;
    const left = [...asks, ...asks];
    const work = async () => {
      for (let next = left.pop(); next !== undefined; next = left.pop()) {
        const user = await userOf(next.system, "user-1", next.token);
        if (user?.email !== next.who) foreign += 1;
      }
    };
    await Promise.all(Array.from({ length: 10 }, work));
    return foreign;
  };

  test("never get what was fetched for another, or for the same one in another role", async () => {
    using mirror = await startMirror();
    const services = [usersService("mirrored", { ttlMs: 600_000 })];
    await using system = await startSystem({ env: { ...on, UPSTREAM_USERS: mirror.url }, services });
    expect(await swarm([system])).toBe(0);
    expect(await factsOf(system)).toMatchObject({ misses: 100, hits: 100 });
  }, 60_000);

  test.skipIf(noRedis !== "")(
    `nor at two gateways with one Redis${noRedis}`,
    async () => {
      using mirror = await startMirror();
      await using redis = await startRedis();
      const services = [usersService("mirrored twice", { ttlMs: 600_000 })];
      const options: SystemOptions = {
        env: { ...on, UPSTREAM_USERS: mirror.url, REDIS_URL: redis.url },
        services,
      };
      await using first = await startSystem(options);
      await using second = await startSystem(options);
      expect(await swarm([first, second])).toBe(0);
    },
    60_000,
  );
});

describe.skipIf(noRedis !== "")(`gateways with one Redis${noRedis}`, () => {
  const startAll = async (name: string, redisUrl: string) => {
    const services = [usersService(name, { ttlMs: 600_000, scope: "public" })];
    const env = { ...on, REDIS_URL: redisUrl };
    const first = await startSystem({ env, services, mocks: { users: 50 } });
    const others = { env: { ...env, UPSTREAM_USERS: first.mocks.users.url }, services };
    const [second, third] = [await startSystem(others), await startSystem(others)];
    const tokens = new Map([first, second, third].map((system) => [system, system.token("admin")]));
    return {
      first,
      second,
      third,
      fetches: () => first.mocks.users.calls.count("batchGetUsers"),
      ask: async (system: System, id: string) => userOf(system, id, (await tokens.get(system)) ?? ""),
      token: (system: System) => tokens.get(system),
      [Symbol.asyncDispose]: async () => {
        for (const system of [third, second, first]) await system.close();
      },
    };
  };

  /**
   * Tries with one user after the other: on a machine that has too much to do, Redis can take longer than the gateway
   * waits for it, which then goes on without.
   */
  const eventually = async (attempt: (id: string) => Promise<void>): Promise<void> => {
    let id = 1;
    await vi.waitFor(() => attempt(`user-${id++}`), { timeout: 50_000, interval: 1_500 });
  };
  const writes = () => new Promise((resolve) => setTimeout(resolve, 200));

  test("share what they fetched", async () => {
    await using redis = await startRedis();
    await using all = await startAll("shared", redis.url);
    const { first, second, ask, fetches } = all;
    await eventually(async (id) => {
      const user = await ask(first, id);
      await writes();
      const before = fetches();
      expect(await ask(second, id)).toEqual(user);
      expect(fetches()).toBe(before);
    });
  }, 60_000);

  test("learn from each other what was changed", async () => {
    await using redis = await startRedis();
    await using all = await startAll("changed", redis.url);
    const { first, second, third, ask, fetches, token } = all;
    await eventually(async (id) => {
      await ask(first, id);
      await writes();
      let before = fetches();
      await ask(second, id);
      // The old one is in Redis, else this shows nothing.
      expect(fetches()).toBe(before);
      const request = { email: `${id}@example.com`, displayName: id };
      const { code } = await rawCall(first.url, createUser, request, { token: (await token(first)) ?? "" });
      expect(code).toBe("ok");
      await writes();
      before = fetches();
      await ask(third, id);
      expect(fetches()).toBe(before + 1);
    });
  }, 60_000);

  test("go on without it: hung, dead, and back", async () => {
    await using redis = await startRedis();
    await using all = await startAll("lost", redis.url);
    const { first, second, ask, fetches } = all;
    await ask(first, "user-1");
    redis.pause();
    expect((await ask(second, "user-1"))?.id).toBe("user-1");
    expect((await ask(first, "user-2"))?.id).toBe("user-2");
    redis.resume();
    await redis.stop();
    const before = fetches();
    expect((await ask(first, "user-1"))?.id).toBe("user-1");
    expect((await ask(first, "user-2"))?.id).toBe("user-2");
    expect(fetches()).toBe(before);
    expect((await ask(second, "user-3"))?.id).toBe("user-3");
  });
});
