import { setTimeout as delay } from "node:timers/promises";
import { Code } from "@connectrpc/connect";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { InventoryService } from "../packages/gateway/src/gen/smpl/api/inventory/v1/api_inventory_service_pb.ts";
import { OrdersService } from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { UsersService } from "../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { answer, type FaultyUpstream, startFaultyUpstream } from "./faulty-upstream.ts";
import { garbage, healthy, secret } from "./garbage.ts";
import { codeName, type RawAnswer, rawCall, textOf, type Way } from "./raw-call.ts";
import { type System, startSystem } from "./system.ts";

// Upstreams that are down, slow, cut off or that answer garbage, over real sockets.

const { getUser } = UsersService.method;
const { listItemsGroupedByUsers } = InventoryService.method;
const { listOrdersWithUser, watchOrdersWithUser } = OrdersService.method;
const ways: readonly Way[] = ["connect+json", "grpc"];

/** The whole of what the public is told, by code. */
const words: Record<string, string> = {
  invalid_argument: "The request is not valid.",
  permission_denied: "Your credentials do not allow this request.",
  not_found: "id: there is no user with this id",
  already_exists: "What the request would create exists already.",
  failed_precondition: "The request does not fit the present state.",
  out_of_range: "The request is out of range.",
  aborted: "Another request got in the way. Try again.",
  resource_exhausted: "A service that this request needs has too much to do. Try again later.",
  unavailable: "A service that this request needs is not available. Try again shortly.",
  deadline_exceeded: "A service that this request needs did not answer in time.",
  internal: "The request failed inside the API.",
};

/** An error that can bring the process down must never reach it. */
const uncaught: unknown[] = [];
const note = (error: unknown) => uncaught.push(error);
beforeAll(() => void process.on("uncaughtExceptionMonitor", note));
afterEach(() => expect(uncaught).toEqual([]));
afterAll(() => void process.off("uncaughtExceptionMonitor", note));

/** Checks that the caller got the code and the gateway's own words, and that the log knows why. */
async function expectFailure(
  system: System,
  got: RawAnswer,
  code: string,
  cause: string | RegExp,
): Promise<void> {
  expect({ code: got.code, message: got.message }).toEqual({ code, message: words[code] });
  const text = textOf(got);
  for (const hidden of ["db row", "10.0.0.7", "127.0.0.1", "upstream", "users", "ECONN", "HTTP/2"])
    expect(text).not.toContain(hidden);
  const line = await system.logOf(got.requestId);
  expect(line).toMatchObject({ code, upstreamCalls: [expect.objectContaining({ code })] });
  const logged = JSON.stringify(line["err"]);
  expect(logged).toContain("the upstream users failed");
  expect(logged).toMatch(cause);
}

describe("an upstream that fails", () => {
  let system: System;
  let token: string;
  beforeAll(async () => {
    system = await startSystem();
    token = await system.token("admin");
  });
  afterAll(() => system.close());
  afterEach(() => system.mocks.users.clearFaults());
  const call = (way: Way, timeoutMs?: number) =>
    rawCall(system.url, getUser, { id: "user-1" }, { way, token, ...(timeoutMs && { timeoutMs }) });

  const codes: [Code, string][] = [
    [Code.Canceled, "unavailable"],
    [Code.Unknown, "internal"],
    [Code.InvalidArgument, "invalid_argument"],
    [Code.DeadlineExceeded, "deadline_exceeded"],
    [Code.NotFound, "not_found"],
    [Code.AlreadyExists, "already_exists"],
    // Upstreams are told who calls, so that they are believed when they refuse the caller.
    [Code.PermissionDenied, "permission_denied"],
    [Code.ResourceExhausted, "resource_exhausted"],
    [Code.FailedPrecondition, "failed_precondition"],
    [Code.Aborted, "aborted"],
    [Code.OutOfRange, "out_of_range"],
    [Code.Unimplemented, "internal"],
    [Code.Internal, "internal"],
    [Code.Unavailable, "unavailable"],
    [Code.DataLoss, "internal"],
    [Code.Unauthenticated, "internal"],
  ];
  test.each(codes.map(([code, shown]) => ({ given: codeName(code), shown, code })))(
    "with $given is $shown to the public",
    async ({ code, shown }) => {
      for (const way of ways) {
        system.mocks.users.fault({ code, message: secret });
        await expectFailure(system, await call(way), shown, secret);
        system.mocks.users.clearFaults();
        expect((await call(way)).code).toBe("ok");
      }
    },
  );

  test.each(ways)("by being slower than its time-out is deadline_exceeded, over %s", async (way) => {
    system.mocks.users.fault({ latencyMs: 60_000 });
    const startedAt = performance.now();
    await expectFailure(system, await call(way), "deadline_exceeded", /timed out|deadline/);
    expect(performance.now() - startedAt).toBeLessThan(9_000);
    await expectNothingRuns(system);
    system.mocks.users.clearFaults();
    expect((await call(way)).code).toBe("ok");
  });

  test.each(ways)("to answer within the caller's own deadline is let go of, over %s", async (way) => {
    system.mocks.users.fault({ hang: true });
    const got = await call(way, 300);
    expect(got.code).toBe("deadline_exceeded");
    expect(got.message).not.toBe("");
    expect(await system.logOf(got.requestId)).toMatchObject({ code: "deadline_exceeded" });
    await expectNothingRuns(system);
    system.mocks.users.clearFaults();
    expect((await call(way)).code).toBe("ok");
  });

  test.each(ways)("in a join fails the call that needs it, and no other, over %s", async (way) => {
    system.mocks.inventory.fault({ method: "listItems", code: Code.Unavailable, message: secret });
    const got = await rawCall(system.url, listItemsGroupedByUsers, {}, { way, token });
    expect(got).toMatchObject({ code: "unavailable", message: words["unavailable"] });
    expect(textOf(got)).not.toContain("db row");
    expect(await system.logOf(got.requestId)).toMatchObject({
      upstreamCalls: [
        { call: "users.listUsers", code: "ok" },
        { call: "inventory.listItems", code: "unavailable" },
      ],
    });
    expect((await call("connect+json")).code).toBe("ok");
    system.mocks.inventory.clearFaults();
  });
});

async function expectNothingRuns({ mocks }: System): Promise<void> {
  await expect.poll(() => mocks.users.calls.active(), { timeout: 3_000 }).toBe(0);
}

describe("an upstream that goes down", () => {
  test("is unavailable while it is down, and back a second after it is up", async () => {
    await using system = await startSystem();
    const token = await system.token("admin");
    const call = (way: Way) => rawCall(system.url, getUser, { id: "user-1" }, { way, token });
    for (const way of ways) {
      expect((await call(way)).code).toBe("ok");
      await system.mocks.users.stop();
      for (let repeat = 0; repeat < 3; repeat++)
        await expectFailure(
          system,
          await call(way),
          "unavailable",
          /cannot be reached|lost the connection|cut/,
        );
      // What does not need it still works.
      expect(
        (await rawCall(system.url, listOrdersWithUser, { userIds: ["user-0"] }, { way, token })).code,
      ).toBe("ok");
      await system.mocks.users.restart();
      await delay(1_000);
      expect((await call(way)).code).toBe("ok");
    }
  });

  test("and comes back before anyone noticed serves the next calls", async () => {
    await using system = await startSystem();
    const token = await system.token("admin");
    const call = () => rawCall(system.url, getUser, { id: "user-1" }, { token });
    for (let round = 0; round < 5; round++) {
      expect((await call()).code).toBe("ok");
      await system.mocks.users.restart();
      await expect.poll(async () => (await call()).code, { timeout: 1_500, interval: 20 }).toBe("ok");
    }
  });

  test("with calls in flight fails them as unavailable, not as cancelled", async () => {
    await using system = await startSystem();
    const token = await system.token("admin");
    system.mocks.users.fault({ hang: true });
    const calls = ways.map((way) => rawCall(system.url, getUser, { id: "user-1" }, { way, token }));
    await expect.poll(() => system.mocks.users.calls.active()).toBe(2);
    await system.mocks.users.stop();
    // Calls without side effects are made again, and then nobody is there.
    for (const got of await Promise.all(calls))
      await expectFailure(system, got, "unavailable", /lost the connection|cut the call|cannot be reached/);
  });

  test("in the middle of a public stream ends the stream with unavailable", async () => {
    await using system = await startSystem();
    const token = await system.token("admin");
    for (const way of ways) {
      const watching = rawCall(system.url, watchOrdersWithUser, { backlog: 2 }, { way, token });
      await expect.poll(() => system.mocks.users.calls.count("batchGetUsers")).toBeGreaterThan(0);
      await delay(100);
      await system.mocks.orders.restart();
      const got = await watching;
      expect(got).toMatchObject({ code: "unavailable", message: words["unavailable"] });
      expect(got.messages).toHaveLength(2);
      expect(JSON.stringify(await system.logOf(got.requestId))).toContain("the upstream orders failed");
      system.mocks.users.calls.clear();
      await delay(1_000);
    }
  });
});

describe("an upstream that answers garbage", () => {
  let system: System;
  let upstream: FaultyUpstream;
  let token: string;
  beforeAll(async () => {
    upstream = await startFaultyUpstream();
    system = await startSystem({ env: { UPSTREAM_USERS: upstream.url } });
    token = await system.token("admin");
  });
  afterAll(async () => {
    await system.close();
    await upstream[Symbol.asyncDispose]();
  });
  const call = (way: Way) => rawCall(system.url, getUser, { id: "user-1" }, { way, token });

  test.each(Object.entries(garbage()))("%s", async (_name, { code, cause, ...behaviour }) => {
    upstream.behave(behaviour);
    await lost(system);
    for (const way of ways) await expectFailure(system, await call(way), code, cause ?? /./);
    upstream.behave({ stream: (stream) => answer(stream, [healthy]) });
    await expect.poll(async () => (await call("grpc")).code, { timeout: 2_000 }).toBe("ok");
    expect((await call("connect+json")).body.toString()).toContain("ada@example.com");
  });
});

/** Until the gateway has seen that its connection was cut. */
async function lost({ adminUrl }: System): Promise<void> {
  const state = async () => {
    const answer: { upstreams: Record<string, string> } = JSON.parse(
      await (await fetch(`${adminUrl}/readyz`)).text(),
    );
    return answer.upstreams["users"];
  };
  await expect.poll(state).not.toBe("ready");
}
