import { create, type Message } from "@bufbuild/protobuf";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { noRedis, startRedis, type TestRedis } from "../../../../tests/redis.ts";
import { canonicalBytes } from "../canonical-bytes.ts";
import { PublicError } from "../errors.ts";
import { type PartialResult, PartialResultSchema } from "../gen/portico/api/v1/partial_result_pb.ts";
import { createKeptBytes, type KeptBytesOptions } from "../kept-bytes.ts";
import { type CacheRule, cacheKey } from "../policy/cache-rule.ts";
import { type Authenticated, principalId } from "../policy/principal.ts";
import { createRedis, type SharedStore } from "../redis.ts";
import { messageOf, thrownBy } from "../testing/call.ts";
import { pub, pubLegacy } from "../testing/protos.ts";
import { type AnswerCacheOptions, type Answered, createAnswerCache, type Wanted } from "./answer-cache.ts";

const output = pub.CrateSchema;
const rule = { ttlMs: 1_000, staleMs: 500 };
const crate = (code: string): Message => create(output, { code });

/** A cache with a clock that stands until it is moved, and runs that end when the test says so. */
function setUp(options: Partial<AnswerCacheOptions & KeptBytesOptions> = {}) {
  const clock = { time: 5_000 };
  const errors: unknown[] = [];
  const runs: Run[] = [];
  const now = () => clock.time;
  const cache = createAnswerCache({
    kept: createKeptBytes({ maxBytes: 2 ** 20, namespace: "test", now, ...options }),
    now,
    onError: (error) => errors.push(error),
    ...options,
  });
  function ask(parts: Partial<Wanted> = {}) {
    const run = (signal: AbortSignal, remainingMs: () => number) => {
      const { promise, resolve, reject } = Promise.withResolvers<Answered>();
      const answer = (code: string, partial?: PartialResult) => resolve({ message: crate(code), partial });
      runs.push({ signal, remainingMs, answer, fail: reject });
      return promise;
    };
    const signal = new AbortController().signal;
    return cache.answer({ key: "key", rule, output, timeoutMs: 10_000, signal, run, ...parts });
  }
  /** Asks with a run that ends at once. */
  const get = (code: string, parts: Partial<Wanted> = {}) =>
    ask({ run: async () => whole(crate(code)), ...parts });
  return { cache, clock, errors, runs, ask, get };
}

interface Run {
  readonly signal: AbortSignal;
  readonly remainingMs: () => number;
  readonly answer: (code: string, partial?: PartialResult) => void;
  readonly fail: (error: unknown) => void;
}

/** Lets everything happen that needs no time. */
const settle = () => new Promise((resolve) => setImmediate(resolve));
const noParts = create(PartialResultSchema);
const whole = (message: Message): Answered => ({ message, partial: undefined });
/** An answer of that origin, that is whole. */
const from = (origin: string, code: string) =>
  expect.objectContaining({ from: origin, ...whole(crate(code)) });

describe("an answer", () => {
  test("is kept until its time is over", async () => {
    const { clock, get } = setUp();
    expect(await get("a")).toEqual(from("run", "a"));
    clock.time += 999;
    expect(await get("b")).toEqual(from("cache", "a"));
    clock.time += 501;
    expect(await get("c")).toEqual(from("run", "c"));
  });

  test("is kept under its key alone", async () => {
    const { get } = setUp();
    await get("a");
    expect(await get("b", { key: "other" })).toEqual(from("run", "b"));
  });

  test("is a message of the caller's own", async () => {
    const { ask, get, runs } = setUp();
    const asked = [ask(), ask(), ask()];
    await settle();
    runs[0]?.answer("a");
    const answers = [...(await Promise.all(asked)), await get("b"), await get("b")];
    for (const { message } of answers) {
      expect(message).toEqual(crate("a"));
      Object.assign(message, { code: "changed" });
    }
    expect(new Set(answers.map(({ message }) => message)).size).toBe(5);
    expect(await get("b")).toEqual(from("cache", "a"));
  });

  test("is given without what its type does not know, also to the caller who ran", async () => {
    const { ask } = setUp();
    const $unknown = [{ no: 1_000, wireType: 0, data: new Uint8Array([1]) }];
    const { message } = await ask({ run: async () => whole(Object.assign(crate("a"), { $unknown })) });
    expect(message).toEqual(crate("a"));
  });

  test("ages from when its run began", async () => {
    const { ask, clock, get, runs } = setUp();
    const asked = ask();
    await settle();
    clock.time += 1_200;
    runs[0]?.answer("a");
    expect(await asked).toEqual(from("run", "a"));
    expect((await get("b")).from).toBe("stale");
  });

  test("with times that an earlier one of the same key did not have is kept for these", async () => {
    const { clock, get } = setUp();
    await get("a", { rule: { ttlMs: 1, staleMs: 0 } });
    clock.time += 1;
    await get("b", { rule: { ttlMs: 5_000, staleMs: 0 } });
    clock.time += 4_999;
    expect(await get("c")).toEqual(from("cache", "b"));
  });

  test("says how long it is still fresh, and how long it may be stale after that", async () => {
    const { clock, get } = setUp();
    expect(await get("a")).toMatchObject({ freshMs: 1_000, staleMs: 500 });
    clock.time += 400;
    expect(await get("a")).toMatchObject({ freshMs: 600, staleMs: 500 });
    clock.time += 700;
    expect(await get("a")).toMatchObject({ from: "stale", freshMs: 0, staleMs: 400 });
  });

  test("that lacks something is given to all who wait for it, with what it lacks, and not kept", async () => {
    const { ask, get, runs, cache } = setUp();
    const asked = [ask(), ask()];
    await settle();
    const partial = create(PartialResultSchema, { missing: [{ path: "code", count: 1 }] });
    runs[0]?.answer("a", partial);
    expect(await Promise.all(asked)).toMatchObject([
      { from: "run", message: crate("a"), partial },
      { from: "coalesced", message: crate("a"), partial },
    ]);
    expect(cache.facts().entries).toBe(0);
    expect(await get("b")).toEqual(from("run", "b"));
  });

  test("that lacks something does not replace a stale one that is whole", async () => {
    const { ask, clock, get, runs } = setUp();
    await get("whole");
    clock.time += 1_000;
    await ask();
    await settle();
    runs[0]?.answer("less", noParts);
    await settle();
    expect(await get("never")).toEqual(from("stale", "whole"));
  });

  test("that cannot be written fails, for all who wait, and is not kept", async () => {
    const { ask, get, cache } = setUp();
    const incomplete = {
      output: pubLegacy.EntrySchema,
      run: async () => whole(create(pubLegacy.EntrySchema)),
    };
    const errors = await Promise.all([
      messageOf(ask({ key: "k", ...incomplete })),
      messageOf(ask({ key: "k", ...incomplete })),
    ]);
    for (const error of errors) expect(error).toContain("required field not set");
    expect(cache.facts().entries).toBe(0);
    expect((await get("a", { key: "k" })).from).toBe("run");
  });
});

describe("memory", () => {
  const large = (bytes: number) => "x".repeat(bytes);

  test("is bounded: those used least recently go first", async () => {
    const { cache, get } = setUp({ maxBytes: 64 * 1024 });
    for (let index = 0; index < 200; index += 1) {
      await get(large(2_000), { key: `key ${index}` });
      await get("again", { key: "key 0" });
      expect(cache.facts().bytes).toBeLessThanOrEqual(64 * 1024);
    }
    const { entries } = cache.facts();
    expect(entries).toBeGreaterThan(20);
    expect(entries).toBeLessThanOrEqual(Math.floor((64 * 1024) / 2_600));
    expect((await get("new", { key: "key 0" })).from).toBe("cache");
    expect((await get("new", { key: "key 1" })).from).toBe("run");
  });

  test("counts empty answers too", async () => {
    const { cache, get } = setUp({ maxBytes: 64 * 1024 });
    for (let index = 0; index < 500; index += 1) await get("", { key: `key ${index}` });
    expect(cache.facts().entries).toBeLessThan(150);
  });

  test("an answer of more than a sixteenth is given, but not kept, nor is the one before it", async () => {
    const { cache, clock, get } = setUp({ maxBytes: 64 * 1024 });
    await get("small");
    clock.time += 1_500;
    expect(await get(large(5_000))).toEqual(from("run", large(5_000)));
    expect((await get("small")).from).toBe("run");
    expect(cache.facts().entries).toBe(1);
  });
});

describe("equal calls at the same time", () => {
  test("share one run", async () => {
    const { ask, runs, cache } = setUp();
    const asked = [ask(), ask(), ask()];
    await settle();
    expect(runs).toHaveLength(1);
    runs[0]?.answer("a");
    expect(await Promise.all(asked)).toEqual([
      from("run", "a"),
      from("coalesced", "a"),
      from("coalesced", "a"),
    ]);
    expect(cache.facts()).toMatchObject({ hits: 0, misses: 1, coalesced: 2, stale: 0, entries: 1 });
  });

  test("share nothing with those of another key", async () => {
    const { ask, runs } = setUp();
    const asked = [ask({ key: "1" }), ask({ key: "2" })];
    await settle();
    runs[0]?.answer("a");
    runs[1]?.answer("b");
    expect(await Promise.all(asked)).toEqual([from("run", "a"), from("run", "b")]);
  });

  test("fail together, each with an error of its own", async () => {
    const { ask, runs, cache } = setUp();
    const errors = Promise.all([thrownBy(ask()), thrownBy(ask()), thrownBy(ask())]);
    await settle();
    const cause = new PublicError("SERVICE_BUSY", "Too busy.", {
      retryAfterMs: 2_000,
      metadata: { limit: "1" },
      headers: { "x-extra": "1" },
    });
    runs[0]?.fail(cause);
    for (const error of await errors) {
      expect(error).toBeInstanceOf(PublicError);
      expect(error).toMatchObject({ reason: "SERVICE_BUSY", rawMessage: "Too busy.", cause });
      expect(error).toMatchObject({ options: { retryAfterMs: 2_000, metadata: { limit: "1" } } });
      expect(error instanceof PublicError && [...error.metadata]).toEqual([...cause.metadata]);
    }
    expect(new Set([cause, ...(await errors)]).size).toBe(4);
    expect(cache.facts().entries).toBe(0);
  });

  test("fail with what is no error for callers as it is", async () => {
    const { ask } = setUp();
    const error = new Error("secret");
    expect(await thrownBy(ask({ run: () => Promise.reject(error) }))).toBe(error);
    const run = () => {
      throw error;
    };
    expect(await thrownBy(ask({ run }))).toBe(error);
  });

  test("are refused together by the run, as they have the same rights; who calls next is not", async () => {
    const { ask, get, runs } = setUp();
    const errors = Promise.all([thrownBy(ask()), thrownBy(ask())]);
    await settle();
    runs[0]?.fail(new PublicError("PERMISSION_MISSING"));
    for (const error of await errors) expect(error).toMatchObject({ reason: "PERMISSION_MISSING" });
    expect(await get("a")).toEqual(from("run", "a"));
  });

  test("a failure is not kept: the next call runs, even if it comes as soon as that is known", async () => {
    const { ask, get, runs } = setUp();
    const next = ask().catch(() => get("b"));
    await settle();
    runs[0]?.fail(new PublicError("NOT_FOUND"));
    expect(await next).toEqual(from("run", "b"));
  });
});

describe("a caller who leaves", () => {
  const caller = (parts: Partial<Wanted> = {}) => {
    const controller = new AbortController();
    return { controller, parts: { ...parts, signal: controller.signal } };
  };

  test("gets the reason of its own signal at once; the others get the answer", async () => {
    const { ask, runs } = setUp();
    const [first, second] = [caller(), caller()];
    const asked = [thrownBy(ask(first.parts)), ask(second.parts), ask()] as const;
    await settle();
    const reason = new PublicError("DEADLINE_EXCEEDED");
    first.controller.abort(reason);
    expect(await asked[0]).toBe(reason);
    expect(runs[0]?.signal.aborted).toBe(false);
    runs[0]?.answer("a");
    expect(await asked[1]).toEqual(from("coalesced", "a"));
    expect(await asked[2]).toEqual(from("coalesced", "a"));
    expect(runs).toHaveLength(1);
  });

  test("ends the run if it is the last", async () => {
    const { ask, runs, cache } = setUp();
    const callers = [caller(), caller(), caller()];
    const asked = callers.map(({ parts }) => thrownBy(ask(parts)));
    await settle();
    for (const [index, { controller }] of callers.entries()) {
      expect(runs[0]?.signal.aborted).toBe(false);
      controller.abort(index);
      await settle();
    }
    expect(await Promise.all(asked)).toEqual([0, 1, 2]);
    expect(runs[0]?.signal.aborted).toBe(true);
    expect(runs[0]?.signal.reason).toMatchObject({ reason: "CALLER_LEFT" });
    runs[0]?.answer("late");
    await settle();
    expect(cache.facts().entries).toBe(0);
  });

  test("does not harm who comes after: that is a new run, whatever becomes of the old one", async () => {
    const { ask, runs } = setUp();
    const first = caller();
    const left = thrownBy(ask(first.parts));
    await settle();
    first.controller.abort("gone");
    await left;
    const [second, third] = [ask(), ask()];
    await settle();
    expect(runs).toHaveLength(2);
    runs[0]?.fail(new PublicError("CALLER_LEFT"));
    await settle();
    runs[1]?.answer("b");
    expect(await second).toEqual(from("run", "b"));
    expect(await third).toEqual(from("coalesced", "b"));
  });

  test("and one who comes in the same moment get what is theirs", async () => {
    for (const order of ["leave, come", "come, leave"]) {
      const { ask, runs } = setUp();
      const first = caller();
      const left = thrownBy(ask(first.parts));
      await settle();
      const comes = order === "come, leave" ? ask() : undefined;
      first.controller.abort("gone");
      const second = comes ?? ask();
      await settle();
      for (const run of runs) if (!run.signal.aborted) run.answer("b");
      expect((await second).message).toEqual(crate("b"));
      expect(await left).toBe("gone");
    }
  });

  test("before it asks gets nothing, and runs nothing", async () => {
    const { ask, get, runs, cache } = setUp();
    await get("a");
    expect(await thrownBy(ask({ signal: AbortSignal.abort("gone") }))).toBe("gone");
    expect(runs).toHaveLength(0);
    expect(cache.facts().hits).toBe(0);
  });
});

describe("the time of a run", () => {
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  /** A setting whose timers and clock go together. */
  const timed = (options: Partial<AnswerCacheOptions> = {}) => {
    const parts = setUp(options);
    const pass = async (ms: number) => {
      parts.clock.time += ms;
      await vi.advanceTimersByTimeAsync(ms);
    };
    const ask = () => {
      const controller = new AbortController();
      setTimeout(() => controller.abort("own deadline"), 10_000);
      return parts.ask({ signal: controller.signal });
    };
    return { ...parts, ask, pass };
  };

  test("is no caller's: one who joins late has all of its own", async () => {
    const { ask, pass, runs } = timed();
    const first = thrownBy(ask());
    await pass(9_999);
    const second = ask();
    await pass(1);
    expect(await first).toBe("own deadline");
    await pass(9_998);
    expect(runs[0]?.signal.aborted).toBe(false);
    expect(runs[0]?.remainingMs()).toBe(2);
    runs[0]?.answer("a");
    expect(await second).toEqual(from("coalesced", "a"));
    expect(runs).toHaveLength(1);
    // That of the second caller; the clock of the run has stopped.
    expect(vi.getTimerCount()).toBe(1);
  });

  test("takes nobody on once it has been as long as a caller may wait", async () => {
    const { ask, get, pass, runs } = timed();
    const first = thrownBy(ask());
    await pass(5_000);
    const second = ask();
    await pass(5_000);
    expect(await first).toBe("own deadline");
    const third = ask();
    await pass(0);
    expect(runs).toHaveLength(2);
    runs[1]?.answer("new");
    expect(await third).toEqual(from("run", "new"));
    // The run that began first ends last, and does not replace what is newer.
    runs[0]?.answer("old");
    expect(await second).toEqual(from("coalesced", "old"));
    expect(await get("newer")).toEqual(from("cache", "new"));
  });

  test("in the background is limited too, even if it does not heed its signal", async () => {
    const { ask, get, pass, errors, runs, cache } = timed();
    await get("a", { rule: { ttlMs: 1_000, staleMs: 60_000 } });
    await pass(1_000);
    expect((await ask()).from).toBe("stale");
    await pass(19_999);
    expect(runs[0]?.signal.aborted).toBe(false);
    await pass(1);
    expect(runs[0]?.signal.aborted).toBe(true);
    expect(errors).toMatchObject([{ reason: "DEADLINE_EXCEEDED" }]);
    expect(cache.facts().failedRefreshes).toBe(1);
    expect((await ask()).from).toBe("stale");
    await pass(0);
    expect(runs).toHaveLength(2);
  });
});

describe("a stale answer", () => {
  /** A cache with an answer `old` that has just become stale. */
  const stale = async (options: Partial<AnswerCacheOptions> = {}) => {
    const parts = setUp(options);
    await parts.get("old");
    parts.clock.time += 1_000;
    return parts;
  };

  test("is given at once, while one run replaces it", async () => {
    const { ask, get, runs, cache, clock } = await stale();
    expect(await Promise.all([ask(), ask(), ask()])).toEqual(Array(3).fill(from("stale", "old")));
    await settle();
    expect(runs).toHaveLength(1);
    runs[0]?.answer("new");
    await settle();
    expect(await get("newer")).toEqual(from("cache", "new"));
    clock.time += 999;
    expect(await get("newer")).toEqual(from("cache", "new"));
    expect(cache.facts()).toMatchObject({ misses: 1, hits: 2, stale: 3, coalesced: 0, failedRefreshes: 0 });
  });

  test("is replaced even if those who got it are gone", async () => {
    const { ask, runs, get } = await stale();
    const controller = new AbortController();
    await ask({ signal: controller.signal });
    controller.abort("gone");
    await settle();
    expect(runs[0]?.signal.aborted).toBe(false);
    runs[0]?.answer("new");
    await settle();
    expect(await get("newer")).toEqual(from("cache", "new"));
  });

  test("stays when the run fails, until its time is over; the failure is told to nobody but the log", async () => {
    const { ask, get, runs, errors, cache, clock } = await stale();
    await ask();
    await settle();
    const error = new Error("upstream");
    runs[0]?.fail(error);
    await settle();
    expect(errors).toEqual([error]);
    expect(cache.facts().failedRefreshes).toBe(1);
    clock.time += 499;
    expect(await ask()).toEqual(from("stale", "old"));
    await settle();
    runs[1]?.fail(error);
    await settle();
    clock.time += 1;
    expect(await get("new")).toEqual(from("run", "new"));
  });

  test("whose time is over while its replacement is under way: callers wait for that, and cannot end it", async () => {
    const { ask, runs, clock, get } = await stale();
    await ask();
    clock.time += 500;
    const controller = new AbortController();
    const [left, waits] = [thrownBy(ask({ signal: controller.signal })), ask()];
    await settle();
    expect(runs).toHaveLength(1);
    controller.abort("gone");
    expect(await left).toBe("gone");
    runs[0]?.answer("new");
    expect(await waits).toEqual(from("coalesced", "new"));
    expect((await get("newer")).from).toBe("cache");
  });

  test("is not replaced while too many others are", async () => {
    const { ask, get, runs, clock } = setUp({ maxRefreshes: 2 });
    for (const key of ["1", "2", "3"]) await get("old", { key });
    clock.time += 1_000;
    for (const key of ["1", "2", "3"]) expect((await ask({ key })).from).toBe("stale");
    await settle();
    expect(runs).toHaveLength(2);
    runs[0]?.answer("new");
    await settle();
    expect((await ask({ key: "3" })).from).toBe("stale");
    await settle();
    expect(runs).toHaveLength(3);
  });
});

describe.skipIf(noRedis !== "")(`replicas with one Redis${noRedis}`, () => {
  let redis: TestRedis;
  let store: SharedStore;
  beforeAll(async () => {
    redis = await startRedis();
    store = createRedis(redis.url, pino({ level: "silent" }), { answerMs: 2_000 });
    const ping = () => store.ask((client) => client.ping());
    await vi.waitFor(async () => expect(await ping()).toBe("PONG"), { timeout: 10_000 });
  });
  afterAll(async () => {
    store.close();
    await redis[Symbol.asyncDispose]();
  });
  const rule = { ttlMs: 60_000, staleMs: 60_000 };
  const replicas = (namespace: string) =>
    [1, 2].map(() => setUp({ redis: store, namespace, now: () => performance.now() }));
  /** Resolves when Redis has the key, and all that was put there before. */
  const kept = (namespace: string, key: string) =>
    expect
      .poll(() => store.ask((client) => client.exists(`portico:${namespace}:${key}`)), { timeout: 10_000 })
      .toBe(1);

  test("give what another has kept, without a run; equal callers ask Redis once", async () => {
    const [one, other] = replicas("given");
    await one?.get("a", { rule });
    await kept("given", "key");
    const answers = await Promise.all([other?.ask({ rule }), other?.ask({ rule }), other?.ask({ rule })]);
    expect(answers).toEqual([from("shared", "a"), from("coalesced", "a"), from("coalesced", "a")]);
    expect(other?.runs).toHaveLength(0);
    expect(other?.cache.facts()).toMatchObject({ shared: 1, coalesced: 2, misses: 0, hits: 0, entries: 1 });
    expect(await other?.get("b", { rule })).toEqual(from("cache", "a"));
    const { freshMs = 0 } = answers[0] ?? {};
    expect(freshMs).toBeGreaterThan(10_000);
    expect(freshMs).toBeLessThan(60_000);
  });

  test("share nothing that is not whole, and no failure", async () => {
    const [one, other] = replicas("withheld");
    await one?.ask({ rule, key: "1", run: async () => ({ ...whole(crate("a")), partial: noParts }) });
    await one?.ask({ rule, key: "2", run: () => Promise.reject(new Error("no")) }).catch(() => {});
    await one?.get("whole", { rule, key: "3" });
    await kept("withheld", "3");
    expect(await other?.get("b", { rule, key: "1" })).toEqual(from("run", "b"));
    expect(await other?.get("b", { rule, key: "2" })).toEqual(from("run", "b"));
  });

  test("renew a stale answer with the fresh one of another", async () => {
    const [one, other] = replicas("renewed");
    await one?.get("old", { rule: { ttlMs: 0, staleMs: 60_000 } });
    // Longer than what Redis leaves in doubt about the births of the two.
    await new Promise((resolve) => setTimeout(resolve, 200));
    await other?.get("new", { rule });
    await other?.get("marker", { rule, key: "marker" });
    await kept("renewed", "marker");
    expect((await one?.ask({ rule }))?.from).toBe("stale");
    await expect.poll(() => one?.get("never", { rule })).toEqual(from("cache", "new"));
    expect(one?.runs).toHaveLength(0);
  });

  test("run for themselves while Redis is gone", async () => {
    const [one] = replicas("gone");
    await redis.stop();
    expect(await one?.get("a", { rule })).toEqual(from("run", "a"));
    expect(await one?.get("b", { rule })).toEqual(from("cache", "a"));
  });
});

describe("100 callers with equal requests", () => {
  /** A number from 0 up to `below`, the same ones in every run of the test. */
  function dice(seed: number): (below: number) => number {
    let state = seed;
    return (below) => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return Math.floor((state / 2 ** 32) * below);
    };
  }

  interface Caller {
    readonly principal: Authenticated;
    readonly rights: { readonly key: string };
  }

  /** Some with the same subject at different issuers or in different tenants, all with one of four sets of rights. */
  const callers: readonly Caller[] = Array.from({ length: 100 }, (_, index) => {
    const [subject, issuer] = [`subject ${index % 40}`, `issuer ${index % 3}`];
    const role = `role ${index % 4}`;
    const tenant = index % 7 === 0 ? undefined : `tenant ${index % 5}`;
    const id = principalId("token", issuer, subject);
    return {
      principal: { kind: "token", id, subject, issuer, tenant, roles: [role] },
      rights: { key: role },
    };
  });

  /** What an answer may carry of the caller, by its scope: what it was made for. */
  function canaryOf(scope: CacheRule["scope"], { principal, rights }: Caller): string {
    const { id, tenant, issuer } = principal;
    const who = { public: [], tenant: [issuer, tenant], principal: [id, tenant] }[scope];
    return JSON.stringify([scope, rights.key, ...who]);
  }

  type KeyOf = (
    scope: CacheRule["scope"],
    method: string,
    request: Uint8Array,
    caller: Caller,
  ) => string | undefined;
  const realKey: KeyOf = (scope, method, request, { principal, rights }) =>
    cacheKey({ scope }, method, request, principal, rights);

  /** Makes calls in random order, that end, fail, are left and time out in random order; counts what came of them. */
  async function storm(calls: number, keyOf: KeyOf) {
    const pick = dice(20_261_104);
    const clock = { time: 0 };
    const now = () => clock.time;
    const kept = createKeptBytes({ maxBytes: 256 * 1024, namespace: "test", now });
    const cache = createAnswerCache({ kept, now });
    const seen = { foreign: 0, answered: 0, refused: 0, left: 0, alien: 0 };
    const running: (() => void)[] = [];
    const leaving: (() => void)[] = [];
    const work: Promise<void>[] = [];

    async function call(caller: Caller, scope: CacheRule["scope"]): Promise<void> {
      const tags = pick(2) === 0 ? { a: "1", b: "2" } : { b: "2", a: "1" };
      const request = create(pub.ListCratesRequestSchema, { tags, aisle: `aisle ${pick(2)}` });
      const bytes = canonicalBytes(pub.ListCratesRequestSchema, request);
      const canary = `${request.aisle} ${canaryOf(scope, caller)}`;
      const key = keyOf(scope, `S/${scope}`, bytes, caller);
      const controller = new AbortController();
      const own = Symbol("own");
      if (pick(3) === 0) leaving.push(() => controller.abort(own));
      const run = (signal: AbortSignal) =>
        new Promise<Answered>((resolve, reject) => {
          signal.addEventListener("abort", () => reject(signal.reason));
          const fails = pick(10) === 0;
          running.push(() =>
            fails ? reject(new PublicError("SERVICE_BUSY")) : resolve(whole(crate(canary))),
          );
        });
      if (key === undefined) return;
      try {
        const options = { key, rule: { ttlMs: 10, staleMs: 10 }, output, timeoutMs: 3_600_000 };
        const { message } = await cache.answer({ ...options, signal: controller.signal, run });
        seen.answered += 1;
        if ("code" in message && message.code !== canary) seen.foreign += 1;
      } catch (error) {
        if (error === own) seen.left += 1;
        else if (error instanceof PublicError && error.reason === "SERVICE_BUSY") seen.refused += 1;
        else seen.alien += 1;
      }
    }
    /** Takes some out, whichever. */
    const some = (list: (() => void)[], count: number) => {
      for (let index = 0; index < count && list.length > 0; index += 1)
        list.splice(pick(list.length), 1)[0]?.();
    };
    for (let index = 0; index < calls; index += 1) {
      const caller = callers[pick(callers.length)];
      const scope = (["public", "tenant", "principal"] as const)[pick(3)];
      if (caller !== undefined && scope !== undefined) work.push(call(caller, scope));
      if (pick(40) === 0) some(running, pick(100));
      if (pick(2) === 0) some(leaving, 2);
      if (pick(3) === 0) await Promise.resolve();
      if (pick(60) === 0) clock.time += 1;
      if (pick(200) === 0) await settle();
    }
    // Those that were asked for last have yet to begin.
    for (await settle(); running.length > 0; await settle()) some(running, running.length);
    await Promise.all(work);
    return { ...seen, ...cache.facts() };
  }

  test("get no answer that is another's, in 100,000 calls", async () => {
    const seen = await storm(100_000, realKey);
    expect(seen).toMatchObject({ foreign: 0, alien: 0 });
    // All of it has happened, often.
    const { answered, refused, left, hits, misses, coalesced, stale, failedRefreshes } = seen;
    for (const count of [refused, left, hits, misses, coalesced, stale]) expect(count).toBeGreaterThan(1_000);
    expect(failedRefreshes).toBeGreaterThan(100);
    expect(answered).toBeGreaterThan(50_000);
  }, 60_000);

  test.each<[string, KeyOf]>([
    [
      "rights",
      (scope, method, request, { principal }) =>
        cacheKey({ scope }, method, request, { ...principal, roles: [] }, { key: "" }),
    ],
    [
      "tenant",
      (scope, method, request, { principal, rights }) =>
        cacheKey({ scope }, method, request, { ...principal, tenant: "one" }, rights),
    ],
    [
      "request",
      (scope, method, _, { principal, rights }) =>
        cacheKey({ scope }, method, Buffer.from(""), principal, rights),
    ],
    [
      "subject",
      (scope, method, request, { principal, rights }) =>
        cacheKey({ scope }, method, request, { ...principal, id: "" }, rights),
    ],
  ])("would, if keys left out the %s", async (_, keyOf) => {
    expect((await storm(3_000, keyOf)).foreign).toBeGreaterThan(10);
  });
});
