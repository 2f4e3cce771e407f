import { Code, ConnectError, createRouterTransport } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { testCall, thrownBy } from "../../testing/call.ts";
import { pub } from "../../testing/protos.ts";
import { createUpstreamClients } from "../clients.ts";
import { upstream } from "../upstream.ts";
import type { HedgeOptions } from "./options.ts";

const { method } = pub.WarehouseService;

/** Without a wait that anyone would notice. */
const soon = { delayMs: 1 };
/** Nobody waits for so long. */
const later = { delayMs: 60_000 };

test("the first answer is the call's, and the other attempt is cancelled", async () => {
  const cancelled = Promise.withResolvers<void>();
  const { front, call } = start(soon, (attempt, signal) => {
    if (attempt === 2) return {};
    signal.addEventListener("abort", () => cancelled.resolve());
    return new Promise(() => {});
  });
  await front.getStatus({}, call);
  await cancelled.promise;
  expect(call.record.upstreamCalls).toMatchObject([{ outcome: "ok", attempts: 2, hedged: true }]);
  expect(factsOf(call)).toMatchObject({ hedges: 1, retries: 0, breaker: "closed" });
  await expect.poll(() => factsOf(call)?.inFlight).toBe(0);
});

test("what is answered in time is sent once", async () => {
  const { front, call } = start(later, () => ({}));
  await front.getStatus({}, call);
  expect(call.record.upstreamCalls).toMatchObject([{ attempts: 1, hedged: false }]);
});

test("an attempt that fails in a way that may pass leaves the call to the other", async () => {
  const second = Promise.withResolvers<void>();
  const { front, call } = start(soon, async (attempt) => {
    if (attempt === 2) {
      second.resolve();
      throw new ConnectError("away", Code.Unavailable);
    }
    await second.promise;
    await new Promise((resolve) => setImmediate(resolve));
    return {};
  });
  await front.getStatus({}, call);
  expect(call.record.upstreamCalls).toMatchObject([{ outcome: "ok", attempts: 2, hedged: true }]);
});

test("one that fails alone is followed by the next at once", async () => {
  const { front, call } = start(later, (attempt) => {
    if (attempt === 1) throw new ConnectError("away", Code.Unavailable);
    return {};
  });
  await front.getStatus({}, call);
  expect(call.record.upstreamCalls).toMatchObject([{ outcome: "ok", attempts: 2, hedged: false }]);
});

test("one that fails for good ends the call", async () => {
  const { front, call, sent } = start(soon, (attempt) => {
    if (attempt === 2) throw new ConnectError("no such crate", Code.NotFound);
    return new Promise(() => {});
  });
  expect(await thrownBy(front.getStatus({}, call))).toMatchObject({ reason: "NOT_FOUND" });
  expect(sent()).toBe(2);
});

test("an upstream that asks for a pause is sent no other", async () => {
  const { front, call, sent } = start(later, () => {
    throw new ConnectError("away", Code.Unavailable, { "grpc-retry-pushback-ms": "10" });
  });
  expect(await thrownBy(front.getStatus({}, call))).toMatchObject({ reason: "SERVICE_UNAVAILABLE" });
  expect(sent()).toBe(1);
});

test("there are no more than may be, and no more than the budget has", async () => {
  const { front, call, sent } = start({ ...later, maxAttempts: 5 }, () => {
    throw new ConnectError("away", Code.Unavailable);
  });
  await thrownBy(front.getStatus({}, call));
  expect(sent()).toBe(3);
  await thrownBy(front.getStatus({}, call));
  expect(sent()).toBe(4);
  expect(factsOf(call)).toMatchObject({ hedges: 2, retriesDenied: 2 });
});

test("a caller who leaves ends all attempts", async () => {
  const controller = new AbortController();
  let running = 0;
  const ended = Promise.withResolvers<void>();
  const { front, call } = start(soon, (attempt, signal) => {
    running += 1;
    signal.addEventListener("abort", () => {
      running -= 1;
      if (running === 0) ended.resolve();
    });
    if (attempt === 2) controller.abort();
    return new Promise(() => {});
  });
  const left = { ...call, signal: controller.signal };
  expect(await thrownBy(front.getStatus({}, left))).toMatchObject({ reason: "CALLER_LEFT" });
  await ended.promise;
});

/** An upstream that answers as told, by the number of the attempt. */
function start(
  hedge: HedgeOptions,
  answer: (attempt: number, signal: AbortSignal) => object | Promise<object>,
) {
  let sent = 0;
  const front = upstream("front", pub.WarehouseService, { methods: { getStatus: { hedge } } });
  const transport = createRouterTransport((router) =>
    router.rpc(method.getStatus, (_request, { signal }) => answer(++sent, signal)),
  );
  const upstreams = createUpstreamClients([front], {
    addresses: {},
    transports: { front: transport },
    maxResponseBytes: 1_024,
  });
  return { front, call: testCall({ upstreams }), sent: () => sent };
}

function factsOf({ upstreams }: { readonly upstreams: ReturnType<typeof createUpstreamClients> }) {
  return upstreams.facts()["front"];
}
