import {
  Code,
  ConnectError,
  type ConnectRouter,
  createRouterTransport,
  type Interceptor,
} from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import type { Call } from "../../call.ts";
import { drain, testCall, thrownBy } from "../../testing/call.ts";
import { internal } from "../../testing/protos.ts";
import { createUpstreamClients } from "../clients.ts";
import { markNeverProcessed } from "../session/stream-faults.ts";
import { type UpstreamOptions, upstream } from "../upstream.ts";
import { backoffMs } from "./retry.ts";

const { method } = internal.WarehouseService;
type Options = UpstreamOptions<typeof internal.WarehouseService>;

/** Retries without a wait that anyone would notice. */
const idempotent: Options = {
  retry: { minDelayMs: 0.01, maxDelayMs: 0.01 },
  methods: { getCrate: { idempotent: true } },
};
const unavailable = (metadata: Record<string, string> = {}) =>
  new ConnectError("db-7 is away", Code.Unavailable, metadata);

describe("a call that fails", () => {
  test("is made again, twice at the most, and says so", async () => {
    const { warehouse, call, headers } = start(idempotent, () => {
      throw unavailable();
    });
    expect(await thrownBy(warehouse.getCrate({}, call))).toMatchObject({ code: Code.Unavailable });
    expect(headers.map((it) => it.get("grpc-previous-rpc-attempts"))).toEqual([null, "1", "2"]);
    expect(call.record.upstreamCalls).toMatchObject([
      { outcome: Code.Unavailable, attempts: 3, hedged: false },
    ]);
    expect(call.upstreams.facts()["warehouse"]).toMatchObject({ retries: 2, retriesDenied: 0, inFlight: 0 });
  });

  test("and then succeeds is a success", async () => {
    const { warehouse, call } = start(idempotent, (attempt) => {
      if (attempt === 1) throw unavailable();
      return { crate: { code: "A-1" } };
    });
    expect(await warehouse.getCrate({}, call)).toMatchObject({ crate: { code: "A-1" } });
    expect(call.record.upstreamCalls).toMatchObject([{ outcome: "ok", attempts: 2 }]);
  });

  test.each<[string, Options, Code]>([
    ["has side effects", { retry: { minDelayMs: 0.01 } }, Code.Unavailable],
    ["must not be retried", { ...idempotent, retry: false }, Code.Unavailable],
    ["fails for good", idempotent, Code.NotFound],
    ["fails inside", idempotent, Code.Internal],
  ])("is made once if it %s", async (_, options, code) => {
    const { warehouse, call, headers } = start(options, () => {
      throw new ConnectError("no", code);
    });
    await thrownBy(warehouse.getCrate({}, call));
    expect(headers).toHaveLength(1);
  });

  test("is made again for the codes that are named", async () => {
    const options: Options = {
      methods: { getCrate: { idempotent: true, retry: { codes: [Code.Aborted], minDelayMs: 0.01 } } },
    };
    const { warehouse, call } = start(options, (attempt) => {
      if (attempt === 1) throw new ConnectError("busy", Code.Aborted);
      return {};
    });
    await warehouse.getCrate({}, call);
    expect(call.record.upstreamCalls).toMatchObject([{ attempts: 2 }]);
  });

  test("is not made again when there is no time left", async () => {
    const { warehouse, call, headers } = start(idempotent, () => {
      throw unavailable();
    });
    let left = 60_000;
    const late = { ...call, remainingMs: () => left };
    const answer = thrownBy(warehouse.getCrate({}, late));
    left = 59;
    expect(await answer).toMatchObject({ reason: "SERVICE_UNAVAILABLE" });
    expect(headers).toHaveLength(1);
  });

  test("is not made again when the caller has left", async () => {
    const controller = new AbortController();
    const { warehouse, call, headers } = start(idempotent, () => {
      controller.abort();
      throw unavailable();
    });
    const left = { ...call, signal: controller.signal };
    expect(await thrownBy(warehouse.getCrate({}, left))).toMatchObject({ reason: "CALLER_LEFT" });
    expect(headers).toHaveLength(1);
  });

  test("has the whole upstream's budget", async () => {
    const { warehouse, call, headers } = start({ ...idempotent, breaker: false }, () => {
      throw unavailable();
    });
    for (let times = 0; times < 20; times++) await thrownBy(warehouse.getCrate({}, call));
    expect(headers).toHaveLength(22);
    expect(call.upstreams.facts()["warehouse"]).toMatchObject({ retries: 2, retriesDenied: 19 });
  });
});

describe("an upstream that says when to call again", () => {
  test.each([
    ["never", "-1", 1],
    ["after the deadline", "3600000", 1],
    ["now", "0", 2],
  ])("%s is heard", async (_, pushback, sent) => {
    const { warehouse, call, headers } = start(idempotent, (attempt) => {
      if (attempt === 1) throw unavailable({ "grpc-retry-pushback-ms": pushback });
      return {};
    });
    await warehouse.getCrate({}, call).catch(() => {});
    expect(headers).toHaveLength(sent);
  });

  test("is quoted to the caller", async () => {
    const { warehouse, call } = start({}, () => {
      throw unavailable({ "grpc-retry-pushback-ms": "2500" });
    });
    expect(await thrownBy(warehouse.getCrate({}, call))).toMatchObject({ options: { retryAfterMs: 2_500 } });
  });
});

describe("an upstream that is silent", () => {
  const hang = (attempt: number, signal: AbortSignal) =>
    attempt === 1 ? new Promise<never>((_, reject) => signal.addEventListener("abort", reject)) : {};

  test("leaves time for another attempt if attempts have a time-out", async () => {
    const retry = { attemptTimeoutMs: 20, minDelayMs: 0.01 };
    const { warehouse, call } = start({ ...idempotent, retry }, hang);
    await warehouse.getCrate({}, call);
    expect(call.record.upstreamCalls).toMatchObject([{ outcome: "ok", attempts: 2 }]);
  });

  test("has the call's whole time otherwise", async () => {
    const { warehouse, call } = start({ ...idempotent, timeoutMs: 20 }, hang);
    expect(await thrownBy(warehouse.getCrate({}, call))).toMatchObject({ reason: "SERVICE_TIMEOUT" });
    expect(call.record.upstreamCalls).toMatchObject([{ attempts: 1 }]);
  });
});

describe("what surely never got to the upstream", () => {
  test("is sent once more, whatever it does, and costs nothing", async () => {
    const { warehouse, call } = start(
      {},
      (attempt) => {
        if (attempt === 1) throw unavailable();
        return {};
      },
      true,
    );
    await warehouse.getCrate({}, call);
    expect(call.record.upstreamCalls).toMatchObject([{ outcome: "ok", attempts: 2 }]);
    expect(call.upstreams.facts()["warehouse"]).toMatchObject({ retries: 0, retriesDenied: 0 });
  });

  test("and fails again and again fails, after a free repeat and those that the budget has", async () => {
    const { warehouse, call, headers } = start(
      {},
      () => {
        throw unavailable();
      },
      true,
    );
    expect(await thrownBy(warehouse.getCrate({}, call))).toMatchObject({ reason: "SERVICE_UNAVAILABLE" });
    expect(headers).toHaveLength(4);
    expect(call.upstreams.facts()["warehouse"]).toMatchObject({ breaker: "closed", inFlight: 0, retries: 2 });
    expect(await thrownBy(warehouse.getCrate({}, call))).toMatchObject({ reason: "SERVICE_UNAVAILABLE" });
    expect(headers).toHaveLength(6);
  });

  test("of a stream as well, as long as nothing has come", async () => {
    const { warehouse, call } = start(
      {},
      (attempt) => {
        if (attempt === 1) throw unavailable();
        return {};
      },
      true,
    );
    expect(await drain(warehouse.watchCrates({}, call))).toHaveLength(1);
    expect(call.record.upstreamCalls).toMatchObject([{ outcome: "ok", attempts: 2 }]);
  });
});

test("a stream that broke off is not opened again", async () => {
  let opened = 0;
  const warehouse = upstream("warehouse", internal.WarehouseService, idempotent);
  const call = callOf(warehouse, (router) =>
    router.rpc(method.watchCrates, async function* () {
      opened += 1;
      yield {};
      throw unavailable();
    }),
  );
  expect(await thrownBy(drain(warehouse.watchCrates({}, call)))).toMatchObject({
    reason: "SERVICE_UNAVAILABLE",
  });
  expect(opened).toBe(1);
  expect(call.upstreams.facts()["warehouse"]?.streams).toBe(0);
});

test("waits are random, and get longer up to a limit", () => {
  const retry = { minDelayMs: 25, maxDelayMs: 250 };
  expect([1, 2, 3].map((made) => backoffMs(retry, made, 0))).toEqual([25, 25, 25]);
  expect([1, 2, 3].map((made) => backoffMs(retry, made, 1))).toEqual([100, 250, 250]);
  expect(backoffMs(retry, 2, 0.5)).toBe(137.5);
});

/** An upstream that answers as told, by the number of the attempt, and the headers of each. */
function start(
  options: Options,
  answer: (attempt: number, signal: AbortSignal) => object | Promise<object>,
  isNeverProcessed = false,
) {
  const headers: Headers[] = [];
  const warehouse = upstream("warehouse", internal.WarehouseService, options);
  const call = callOf(
    warehouse,
    (router) => {
      router.rpc(method.getCrate, (_request, { requestHeader, signal }) =>
        answer(headers.push(requestHeader), signal),
      );
      router.rpc(method.watchCrates, async function* (_request, { requestHeader, signal }) {
        yield await answer(headers.push(requestHeader), signal);
      });
    },
    isNeverProcessed,
  );
  return { warehouse, call, headers };
}

function callOf(
  warehouse: Parameters<typeof createUpstreamClients>[0][number],
  routes: (router: ConnectRouter) => void,
  isNeverProcessed = false,
): Call {
  const lose: Interceptor = (next) => async (request) => {
    const response = await next(request).catch(rethrow);
    return response.stream ? { ...response, message: losing(response.message) } : response;
  };
  const transport = createRouterTransport(routes, {
    transport: { interceptors: isNeverProcessed ? [lose] : [] },
  });
  const upstreams = createUpstreamClients([warehouse], {
    addresses: {},
    transports: { warehouse: transport },
    maxResponseBytes: 1_024,
  });
  return testCall({ upstreams });
}

/** Fails as if the upstream had done nothing. */
function rethrow(error: unknown): never {
  throw error instanceof ConnectError ? markNeverProcessed(error) : error;
}

async function* losing<T>(messages: AsyncIterable<T>): AsyncGenerator<T> {
  try {
    yield* messages;
  } catch (error) {
    rethrow(error);
  }
}
