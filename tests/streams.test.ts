import { type JsonValue, toJson } from "@bufbuild/protobuf";
import { OrderSchema, OrdersService, Portico } from "@portico/client-sdk";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { rawCall, ways as rawWays } from "./raw-call.ts";
import { type System, startSystem } from "./system.ts";
import { streamWays } from "./ways/index.ts";
import { Refused, type StreamCall, type StreamWay } from "./ways/way.ts";

// Orders as they are created, over every protocol that can stream.

const { watchOrdersWithUser } = OrdersService.method;

let system: System;
let token: string;
beforeEach(async () => {
  system = await startSystem({ mocks: { users: 20, orders: 50, items: 20 } });
  token = await system.token("admin");
});
// Fails if the gateway still has a request in flight: every stream below must have ended there, too.
afterEach(() => system.close());

describe.each(streamWays)("$name", (way) => {
  test("sends the latest orders with their users, then a new one, and ends when the caller leaves", async () => {
    const stream = watch(way, { backlog: 3 });
    const backlog = [await stream.next(), await stream.next(), await stream.next()];
    const newest = await otherCaller().orders.listOrdersWithUser({ pageSize: 3 });
    expect(backlog).toEqual(newest.orders.map((order) => toJson(OrderSchema, order)).reverse());

    const order = await createOrder("user-7");
    expect(await stream.next()).toMatchObject({
      id: order?.id,
      userEmail: order?.userEmail,
      product: "Lamp",
    });
    expect(order?.userEmail).toMatch(/@/);

    expect(system.mocks.orders.calls.active("watchOrders")).toBe(1);
    expect(await system.inFlight()).toBe(1);
    await stream.leave();
    await everythingEnded();
  });

  test("ends at the upstream when the caller leaves while nothing happens", async () => {
    const stream = watch(way, {});
    const next = stream.next().catch(() => "ended");
    await expect.poll(() => system.mocks.orders.calls.active("watchOrders"), waiting).toBe(1);
    await stream.leave();
    await next;
    await everythingEnded();
  });

  test("fetches the users of what comes together at once, and anew for what comes later", async () => {
    const userId = "user-7";
    for (let made = 0; made < 3; made++) await createOrder(userId);
    system.mocks.users.calls.clear();
    const stream = watch(way, { backlog: 3, userIds: [userId] });
    const messages = [await stream.next(), await stream.next(), await stream.next()];
    expect(new Set(messages.map((message) => Reflect.get(Object(message), "userId")))).toEqual(
      new Set([userId]),
    );
    const fetched = () => system.mocks.users.calls.all("batchGetUsers").map(({ request }) => request.ids);
    // How many batches three messages make depends on how quickly they come.
    const before = fetched().length;
    expect(before).toBeLessThanOrEqual(3);
    await createOrder(userId);
    await stream.next();
    await stream.leave();
    // Once for the stream, and once for whoever made the order.
    expect(fetched().length).toBe(before + 2);
    expect(new Set(fetched().flat())).toEqual(new Set([userId]));
    expect(system.mocks.users.calls.count()).toBe(fetched().length);
  });

  test("ends in unavailable when the service behind it stops", async () => {
    const stream = watch(way, { backlog: 1 });
    await stream.next();
    const next = stream.next();
    await system.mocks.orders.stop();
    await expect(next).rejects.toMatchObject({
      answer: {
        code: "unavailable",
        message: "A service that this request needs is not available. Try again shortly.",
      },
    });
    await stream.leave();
    await everythingEnded();
  });

  test("ends at the caller's deadline", async () => {
    const stream = watch(way, { backlog: 1 }, { timeoutMs: 400 });
    await stream.next();
    await expect(stream.next()).rejects.toMatchObject({ answer: { code: "deadline_exceeded" } });
    await stream.leave();
    await everythingEnded();
  });

  test("is refused before it starts", async () => {
    const stream = watch(way, {}, { headers: {} });
    await expect(stream.next()).rejects.toMatchObject({
      answer: {
        code: "unauthenticated",
        message: "This method needs credentials.",
        requestId: expect.any(String),
      },
    });
    await stream.leave();
    expect(system.mocks.orders.calls.count()).toBe(0);
  });
});

// Read off the wire: no client that counts the time itself, or puts an end into its own words.
describe.each(rawWays)("%s on the wire", (way) => {
  test("the deadline is kept by the gateway, after what was there to send", async () => {
    const answer = await rawCall(
      system.url,
      watchOrdersWithUser,
      { backlog: 2 },
      { way, token, timeoutMs: 300 },
    );
    expect(answer).toMatchObject({ status: 200, code: "deadline_exceeded" });
    expect(answer.messages).toHaveLength(2);
    await everythingEnded();
    const [upstreamCall] = system.mocks.orders.calls.all("watchOrders");
    expect(Number.parseInt(upstreamCall?.headers["grpc-timeout"] ?? "", 10)).toBeLessThan(300);
  });

  test("a service that stops ends the stream in an error, not in silence", async () => {
    const ended = rawCall(system.url, watchOrdersWithUser, { backlog: 2 }, { way, token });
    await expect.poll(() => system.mocks.users.calls.count("batchGetUsers"), waiting).toBeGreaterThan(0);
    await system.mocks.orders.stop();
    expect(await ended).toMatchObject({ status: 200, code: "unavailable" });
  });
});

test("leaving a loop over the SDK's stream ends it everywhere", async () => {
  for await (const { order } of otherCaller().orders.watchOrdersWithUser({ backlog: 2 })) {
    expect(order?.userEmail).toMatch(/@/);
    break;
  }
  await everythingEnded();
});

test("the configured limit ends a stream whose caller names none", async () => {
  await using limited = await startSystem({ env: { STREAM_TIMEOUT_MS: "200" } });
  const answer = await rawCall(
    limited.url,
    watchOrdersWithUser,
    {},
    { way: "grpc", token: await limited.token("viewer") },
  );
  expect(answer).toMatchObject({ code: "deadline_exceeded", messages: [] });
});

function otherCaller(): Portico {
  return new Portico({ baseUrl: system.url, token: () => system.token("admin", "bob") });
}

async function createOrder(userId: string) {
  const lineItems = [{ product: "Lamp", quantity: 2 }];
  return (await otherCaller().orders.createOrder({ userId, lineItems })).order;
}

/** A stream, one message at a time. */
function watch(way: StreamWay, request: StreamCall["request"], options: Partial<StreamCall> = {}) {
  const controller = new AbortController();
  const messages = way
    .watch(
      { url: system.url },
      {
        method: watchOrdersWithUser,
        request,
        headers: { authorization: `Bearer ${token}` },
        signal: controller.signal,
        ...options,
      },
    )
    [Symbol.asyncIterator]();
  return {
    next: async (): Promise<JsonValue> => {
      const { done, value } = await messages.next();
      if (done) throw new Error("the stream ended");
      return Reflect.get(Object(value), "order");
    },
    leave: async () => {
      controller.abort();
      await messages.next().catch((error: unknown) => expect(error).toBeInstanceOf(Refused));
    },
  };
}

async function everythingEnded(): Promise<void> {
  const { calls } = system.mocks.orders;
  await expect.poll(() => calls.active("watchOrders"), waiting).toBe(0);
  expect(calls.all("watchOrders").map((call) => call.outcome)).toEqual(["canceled"]);
  await expect.poll(() => system.inFlight(), waiting).toBe(0);
}

/** Enough for a machine that is busy. */
const waiting = { timeout: 10_000 };
