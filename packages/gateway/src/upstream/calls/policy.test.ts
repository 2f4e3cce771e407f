import { Code } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { internal, pub } from "../../testing/protos.ts";
import { declaration, type UpstreamOptions, upstream } from "../upstream.ts";

const { WarehouseService } = internal;
// Its proto says which methods have no side effects.
const front = pub.WarehouseService;

const policyOf = (options: UpstreamOptions<typeof WarehouseService>, method: string) =>
  upstream("warehouse", WarehouseService, options)[declaration].calls.methods.get(method);

test("has a default for everything", () => {
  const { calls } = upstream("front", front)[declaration];
  expect(calls).toMatchObject({
    timeoutMs: 5_000,
    maxConcurrent: 256,
    breaker: { failureRatio: 0.5, minCalls: 20, windowMs: 10_000, openMs: 1_000 },
    connection: {},
  });
  expect(calls.methods.get("getStatus")).toEqual({
    timeoutMs: 5_000,
    idempotent: true,
    retry: {
      maxAttempts: 3,
      codes: new Set([Code.Unavailable]),
      minDelayMs: 25,
      maxDelayMs: 250,
      attemptTimeoutMs: undefined,
    },
    hedge: undefined,
  });
});

test("only what is idempotent is retried: the proto says so, or the declaration", () => {
  expect(policyOf({}, "getCrate")).toMatchObject({ idempotent: false, retry: undefined });
  const said = policyOf({ methods: { getCrate: { idempotent: true } } }, "getCrate");
  expect(said).toMatchObject({ idempotent: true, retry: { maxAttempts: 3 } });
});

test("what a method says is in place of what the upstream says", () => {
  const options: UpstreamOptions<typeof WarehouseService> = {
    timeoutMs: 800,
    retry: false,
    methods: {
      getCrate: { idempotent: true },
      listCrates: { idempotent: true, timeoutMs: 2_000, retry: { maxAttempts: 2, codes: [Code.Aborted] } },
      watchCrates: { timeoutMs: 60_000 },
    },
  };
  expect(policyOf(options, "getCrate")).toMatchObject({ timeoutMs: 800, retry: undefined });
  expect(policyOf(options, "listCrates")).toMatchObject({
    timeoutMs: 2_000,
    retry: { maxAttempts: 2, codes: new Set([Code.Aborted]) },
  });
  expect(policyOf(options, "watchCrates")?.timeoutMs).toBe(60_000);
  expect(policyOf({}, "watchCrates")?.timeoutMs).toBeUndefined();
});

test("a hedged method is not retried", () => {
  const { calls } = upstream("front", front, { methods: { getStatus: { hedge: { delayMs: 20 } } } })[
    declaration
  ];
  expect(calls.methods.get("getStatus")).toMatchObject({
    hedge: { delayMs: 20, maxAttempts: 2 },
    retry: undefined,
  });
});

test("streams of requests have no policy, since there is no call of them", () => {
  expect(policyOf({}, "loadCrates")).toBeUndefined();
});

test("false switches off", () => {
  const { calls } = upstream("front", front, { retry: false, breaker: false })[declaration];
  expect(calls.breaker).toBeUndefined();
  expect(calls.methods.get("getStatus")?.retry).toBeUndefined();
});

describe("refuses by name", () => {
  type Options = UpstreamOptions<typeof WarehouseService>;
  test.each<[string, Options, string]>([
    ["maxConcurrent", { maxConcurrent: 0 }, "maxConcurrent must be a whole number from 1 to 1000000, got 0"],
    [
      "maxAttempts",
      { retry: { maxAttempts: 6 } },
      "retry.maxAttempts must be a whole number from 2 to 5, got 6",
    ],
    ["minDelayMs", { retry: { minDelayMs: -1 } }, "retry.minDelayMs must be more than 0, got -1"],
    [
      "delays in the wrong order",
      { retry: { minDelayMs: 9, maxDelayMs: 8 } },
      "retry.minDelayMs must not be more than maxDelayMs, got 9 and 8",
    ],
    [
      "attemptTimeoutMs",
      { timeoutMs: 100, retry: { attemptTimeoutMs: 100 } },
      "retry.attemptTimeoutMs must be less than timeoutMs, got 100 and 100",
    ],
    ["no codes", { retry: { codes: [] } }, "retry.codes must not be empty: retry: false stops retries"],
    ["unknown codes", { retry: { codes: [99 as Code] } }, "retry.codes must be of Code, got 99"],
    [
      "failureRatio",
      { breaker: { failureRatio: 0 } },
      "breaker.failureRatio must be above 0 and at most 1, got 0",
    ],
    ["openMs", { breaker: { openMs: 2 ** 31 } }, "breaker.openMs must be more than 0 and at most 2147483647"],
    [
      "the time-out of a method",
      { methods: { getCrate: { timeoutMs: Number.NaN } } },
      "methods.getCrate.timeoutMs must be more than 0, got NaN",
    ],
    [
      "retries of what may not be called twice",
      { methods: { getCrate: { retry: {} } } },
      "methods.getCrate.retry needs a method that can be called twice without harm: say idempotent: true, or",
    ],
    [
      "hedges of what may have side effects",
      { methods: { getCrate: { idempotent: true, hedge: { delayMs: 5 } } } },
      "methods.getCrate.hedge needs idempotency_level = NO_SIDE_EFFECTS in the proto",
    ],
    [
      "what streams do not have",
      { methods: { watchCrates: { idempotent: true } } },
      "methods.watchCrates.idempotent makes no sense for a stream: leave it out",
    ],
    [
      "streams of requests",
      { methods: { loadCrates: {} } },
      "methods.loadCrates is no method that a gateway can call: those are getCrate, batchGetCrates,",
    ],
    ["connections", { connection: { connections: 0 } }, "connections must be a whole number"],
  ])("%s", (_, options, problem) => {
    const make = () => upstream("warehouse", WarehouseService, options);
    expect(make).toThrow(TypeError);
    expect(make).toThrow(/^upstream warehouse: /);
    expect(make).toThrow(problem);
  });

  test("all problems at once", () => {
    const make = () =>
      upstream("warehouse", WarehouseService, { maxConcurrent: 0.5, breaker: { minCalls: 0 } });
    expect(make).toThrow(/maxConcurrent .*; breaker\.minCalls /);
  });

  test("retry and hedge of one method", () => {
    const make = () =>
      upstream("front", front, { methods: { getStatus: { retry: {}, hedge: { delayMs: 5 } } } });
    expect(make).toThrow("methods.getStatus has both retry and hedge: a hedged call is not retried");
  });
});

test("a method that the service does not have does not compile", () => {
  // @ts-expect-error there is no such method
  expect(() => upstream("front", front, { methods: { nothing: {} } })).toThrow("methods.nothing");
});
