import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test, vi } from "vitest";
import type { Call } from "../../call.ts";
import { PublicError } from "../../errors.ts";
import { createKeptBytes, leastKeptBytes } from "../../kept-bytes.ts";
import { anonymous, type Principal } from "../../policy/principal.ts";
import { inMemory, messageOf, testCall, thrownBy } from "../../testing/call.ts";
import { authenticated } from "../../testing/principals.ts";
import { internal, legacy } from "../../testing/protos.ts";
import { upstream } from "../../upstream/upstream.ts";
import { entityKey } from "../loaders/key.ts";
import { createLoaderScope, groupLoader, loader } from "../loaders/loader.ts";
import type { CacheOptions } from "../loaders/options.ts";
import { type CachedLoader, createEntityCache, type EntityCache } from "./entity-cache.ts";

type Service = typeof internal.WarehouseService;

/** A warehouse whose keepers are called after whoever asks for them, and a loader that keeps them. */
function start(cache: CacheOptions<Service, string>, maxRefreshes?: number, maxBytes = 2 ** 20) {
  const clock = { time: 1_000 };
  const now = () => clock.time;
  const errors: unknown[] = [];
  const entities = createEntityCache({
    kept: createKeptBytes({ maxBytes, namespace: "test", now }),
    now,
    onError: (error) => errors.push(error),
    ...(maxRefreshes !== undefined && { maxRefreshes }),
  });
  const warehouse = upstream("warehouse", internal.WarehouseService, {
    identity: ["kind", "subject", "tenant", "roles"],
  });
  const keepers = loader(warehouse, {
    batch: { method: "batchGetKeepers", request: (ids) => ({ ids }), items: "keepers", key: "id", max: 100 },
    cache,
  });
  const asked: string[][] = [];
  const state = { gate: Promise.resolve(), fail: false, version: 1, signals: [] as AbortSignal[] };
  const upstreams = inMemory([warehouse], (router) => {
    router.rpc(
      internal.WarehouseService.method.batchGetKeepers,
      async ({ ids }, { requestHeader, signal }) => {
        asked.push(ids);
        state.signals.push(signal);
        const { version, fail } = state;
        await state.gate;
        if (fail) throw new ConnectError("db row 5", Code.Unavailable);
        const who = ["kind", "subject", "tenant", "roles"].map((it) => requestHeader.get(`x-portico-${it}`));
        const there = ids.filter((id) => id !== "nobody");
        return { keepers: there.map((id) => ({ id, name: `${id}${version} for ${who.filter(Boolean)}` })) };
      },
    );
    // Stands for a change of what its code names.
    router.rpc(internal.WarehouseService.method.getCrate, ({ code }) => {
      state.version += 1;
      return { crate: { keeperId: code } };
    });
  });
  const callOf = (parts: Partial<Call> = {}): Call =>
    testCall({ upstreams, loaders: createLoaderScope("call", entities), ...parts });
  const names = async (keys: readonly string[], parts: Partial<Call> = {}) =>
    (await keepers.loadAll(keys, callOf(parts))).map((keeper) => keeper?.name);
  const change = (key: string) => warehouse.getCrate({ code: key }, callOf());
  return { keepers, warehouse, entities, asked, state, clock, errors, callOf, names, change };
}

const open = { ttlMs: 1_000, scope: "public" } as const;
const forget: CacheOptions<Service, string>["forget"] = {
  getCrate: (response, request) => [response.crate?.keeperId ?? "", request.code],
};

/** Holds what comes until it is called. */
function hold(state: { gate: Promise<void> }): () => void {
  const { promise, resolve } = Promise.withResolvers<void>();
  state.gate = promise;
  return resolve;
}

/** Waits until so many calls have reached the upstream. */
const reached = (asked: readonly unknown[], calls: number) =>
  vi.waitFor(() => expect(asked).toHaveLength(calls), 10_000);

/** Waits until so many keys are waited for that another call is fetching. */
const joined = ({ facts }: EntityCache, keys: number) =>
  vi.waitFor(() => expect(facts().coalesced).toBe(keys), 10_000);

describe("what is kept", () => {
  test("is given to the next call without a call to the upstream, and fetched anew after its time", async () => {
    const { names, asked, clock, entities } = start(open);
    expect(await names(["a"])).toEqual(["a1 for anonymous"]);
    clock.time += 999;
    expect(await names(["a"])).toEqual(["a1 for anonymous"]);
    expect(asked).toEqual([["a"]]);
    clock.time += 1;
    await names(["a"]);
    expect(asked).toEqual([["a"], ["a"]]);
    expect(entities.facts()).toMatchObject({ hits: 1, misses: 2, entries: 1 });
    expect(entities.facts().bytes).toBeGreaterThan(0);
  });

  test("leaves one fetch for the rest", async () => {
    const { names, asked } = start(open);
    await names(["a", "b"]);
    await names(["c", "a", "d", "b"]);
    expect(asked).toEqual([
      ["a", "b"],
      ["c", "d"],
    ]);
  });

  test("belongs to nobody: who changes a message changes it for itself", async () => {
    const { keepers, callOf } = start(open);
    for (let times = 0; times < 3; times++) {
      const [keeper] = await keepers.loadAll(["a"], callOf());
      expect(keeper?.name).toBe("a1 for anonymous");
      if (keeper !== undefined) keeper.name = "changed";
    }
  });

  test("is no error", async () => {
    const { names, keepers, state, callOf, asked } = start(open);
    state.fail = true;
    expect(await keepers.load(["a"], callOf())).toMatchObject([{ code: Code.Unavailable }]);
    state.fail = false;
    expect(await names(["a"])).toEqual(["a1 for anonymous"]);
    expect(asked).toHaveLength(2);
  });

  test("is that there is nothing, only if the loader says for how long", async () => {
    const unkept = start(open);
    expect(await unkept.names(["nobody"])).toEqual([undefined]);
    await unkept.names(["nobody"]);
    expect(unkept.asked).toHaveLength(2);
    const kept = start({ ...open, missingTtlMs: 100 });
    await kept.names(["nobody"]);
    expect(await kept.names(["nobody"])).toEqual([undefined]);
    expect(kept.asked).toHaveLength(1);
    expect(kept.entities.facts()).toMatchObject({ negativeHits: 1, hits: 0 });
    kept.clock.time += 100;
    await kept.names(["nobody"]);
    expect(kept.asked).toHaveLength(2);
  });

  test("goes by the gateway: without a cache every call fetches", async () => {
    const { names, asked } = start(open);
    await names(["a"], { loaders: createLoaderScope("call") });
    await names(["a"], { loaders: createLoaderScope("call") });
    expect(asked).toHaveLength(2);
  });
});

describe("who shares", () => {
  const ada = { ...authenticated("ada", "admin"), tenant: "acme" };
  const bob = { ...authenticated("bob"), tenant: "acme" };
  const eve = { ...authenticated("eve"), tenant: "other" };
  const as = (principal: Principal) => ({ principal });

  test("by default nobody: not even the same caller with other roles", async () => {
    const { names, asked } = start({ ttlMs: 1_000 });
    const viewer = { ...ada, roles: ["viewer"] };
    for (const principal of [ada, viewer, bob, anonymous, ada, viewer, bob, anonymous])
      expect(await names(["a"], as(principal))).toEqual([
        principal.kind === "anonymous"
          ? "a1 for anonymous"
          : `a1 for ${[principal.kind, "subject" in principal && principal.subject, "acme", ...principal.roles]}`,
      ]);
    expect(asked).toHaveLength(4);
  });

  test("callers of one tenant: the upstream is told no more than that", async () => {
    const { names, asked } = start({ ttlMs: 1_000, scope: "tenant" });
    expect(await names(["a"], as(ada))).toEqual(["a1 for tenant,acme"]);
    expect(await names(["a"], as(bob))).toEqual(["a1 for tenant,acme"]);
    expect(await names(["a"], as(eve))).toEqual(["a1 for tenant,other"]);
    expect(asked).toHaveLength(2);
  });

  test("who has no tenant shares with nobody, and nothing is kept", async () => {
    const { names, asked, entities } = start({ ttlMs: 1_000, scope: "tenant" });
    const alone = { ...ada, tenant: undefined };
    expect(await names(["a"], as(alone))).toEqual(["a1 for token,ada,admin"]);
    expect(await names(["a"], as(anonymous))).toEqual(["a1 for anonymous"]);
    expect(await names(["a"], as(alone))).toEqual(["a1 for token,ada,admin"]);
    expect(asked).toHaveLength(3);
    expect(entities.facts().entries).toBe(0);
  });

  test("everyone, of whom the upstream is told nothing", async () => {
    const { names, asked } = start(open);
    for (const principal of [ada, bob, eve, anonymous])
      expect(await names(["a"], as(principal))).toEqual(["a1 for anonymous"]);
    expect(asked).toHaveLength(1);
  });
});

describe("calls that fetch the same at the same time", () => {
  test("share one fetch, and each gets messages of its own", async () => {
    const { keepers, callOf, asked, entities } = start(open);
    const calls = Array.from({ length: 100 }, () => keepers.loadAll(["a", "b"], callOf()));
    const all = (await Promise.all(calls)).flat();
    expect(asked).toEqual([["a", "b"]]);
    expect(new Set(all).size).toBe(200);
    expect(new Set(all.map((keeper) => keeper?.name))).toEqual(
      new Set(["a1 for anonymous", "b1 for anonymous"]),
    );
    expect(entities.facts()).toMatchObject({ misses: 2, coalesced: 198 });
  });

  test("share it key by key: what is kept, what is being fetched and the rest in one batch", async () => {
    const { names, state, asked } = start(open);
    await names(["kept"]);
    const release = hold(state);
    const first = names(["flying"]);
    await reached(asked, 2);
    const second = names(["rest", "kept", "flying", "more"]);
    await reached(asked, 3);
    release();
    await first;
    expect((await second).map((name) => name?.split("1")[0])).toEqual(["rest", "kept", "flying", "more"]);
    expect(asked).toEqual([["kept"], ["flying"], ["rest", "more"]]);
  });

  test("do not share it across identities", async () => {
    const { names, asked } = start({ ttlMs: 1_000 });
    const [ada, bob] = await Promise.all([
      names(["a"], { principal: authenticated("ada") }),
      names(["a"], { principal: authenticated("bob") }),
    ]);
    expect([ada, bob]).toEqual([["a1 for token,ada"], ["a1 for token,bob"]]);
    expect(asked).toHaveLength(2);
  });

  test("are nothing to each other: the first one may leave", async () => {
    const { names, state, asked, entities } = start(open);
    const release = hold(state);
    const leaving = new AbortController();
    const first = thrownBy(names(["a"], { signal: leaving.signal }));
    await reached(asked, 1);
    const second = names(["a"]);
    await joined(entities, 1);
    leaving.abort(new PublicError("CALLER_LEFT"));
    expect(await first).toMatchObject({ reason: "CALLER_LEFT" });
    release();
    expect(await second).toEqual(["a1 for anonymous"]);
    expect(asked).toHaveLength(1);
  });

  test("end the fetch when all have left, and nobody joins it any more", async () => {
    const { names, state, asked, entities } = start(open);
    const release = hold(state);
    const leaving = new AbortController();
    const left = [1, 2].map(() => thrownBy(names(["a"], { signal: leaving.signal })));
    await joined(entities, 1);
    await reached(asked, 1);
    leaving.abort(new PublicError("CALLER_LEFT"));
    await Promise.all(left);
    const later = names(["a"]);
    await reached(asked, 2);
    expect(state.signals.map((signal) => signal.aborted)).toEqual([true, false]);
    release();
    expect(await later).toEqual(["a1 for anonymous"]);
    expect(asked).toHaveLength(2);
  });

  test("outlast the deadline of the first one", async () => {
    const { names, state, asked, entities } = start(open);
    const release = hold(state);
    const first = names(["a"], { remainingMs: () => 60 });
    await reached(asked, 1);
    const second = names(["a"]);
    await joined(entities, 1);
    await new Promise((resolve) => setTimeout(resolve, 150));
    release();
    expect(await first).toEqual(["a1 for anonymous"]);
    expect(await second).toEqual(["a1 for anonymous"]);
  });

  test("outlast it even if what they wait for takes many calls, one after the other", async () => {
    const { entities, callOf } = start(open);
    const warehouse = upstream("warehouse", internal.WarehouseService, { timeoutMs: 1_000 });
    const crates = loader(warehouse, {
      single: { method: "getCrate", request: (code: string) => ({ code }), item: "crate", concurrency: 1 },
      cache: open,
    });
    const upstreams = inMemory([warehouse], (router) =>
      router.rpc(internal.WarehouseService.method.getCrate, async ({ code }) => {
        await new Promise((resolve) => setTimeout(resolve, 300));
        return { crate: { code } };
      }),
    );
    const codes = ["a", "b", "c", "d", "e", "f"];
    const first = crates.load(codes, callOf({ upstreams, remainingMs: () => 300 }));
    const second = crates.load(codes, callOf({ upstreams }));
    await joined(entities, codes.length);
    expect(await second).toMatchObject(codes.map((code) => ({ code })));
    await first;
  });

  test("all get the error, each a copy of its own", async () => {
    const { keepers, callOf, state } = start(open);
    state.fail = true;
    const [[first], [second]] = await Promise.all([
      keepers.load(["a"], callOf()),
      keepers.load(["a"], callOf()),
    ]);
    expect(first).toMatchObject({ code: Code.Unavailable });
    expect(second).toMatchObject({ code: Code.Unavailable });
    expect(first).not.toBe(second);
    expect(await messageOf(keepers.loadAll(["a"], callOf()))).not.toContain("db row");
  });
});

describe("what is stale", () => {
  const stale = { ...open, staleMs: 500 };

  test("is given at once, and fetched anew in the background", async () => {
    const { names, state, clock, asked, entities } = start(stale);
    await names(["a", "b"]);
    clock.time += 1_200;
    state.version = 2;
    const release = hold(state);
    expect(await names(["a", "b"])).toEqual(["a1 for anonymous", "b1 for anonymous"]);
    expect(await names(["a"])).toEqual(["a1 for anonymous"]);
    release();
    await vi.waitFor(
      async () => expect(await names(["a", "b"])).toEqual(["a2 for anonymous", "b2 for anonymous"]),
      10_000,
    );
    expect(asked).toEqual([
      ["a", "b"],
      ["a", "b"],
    ]);
    expect(entities.facts()).toMatchObject({ hits: 2, misses: 2 });
    expect(entities.facts().stale).toBeGreaterThanOrEqual(3);
  });

  test("stays if that fails, and the log is told", async () => {
    const { names, state, clock, entities, errors } = start(stale);
    await names(["a"]);
    clock.time += 1_200;
    state.fail = true;
    for (const failures of [1, 2]) {
      expect(await names(["a"])).toEqual(["a1 for anonymous"]);
      await vi.waitFor(() => expect(errors).toHaveLength(failures), 10_000);
    }
    expect(errors).toMatchObject([{ code: Code.Unavailable }, { code: Code.Unavailable }]);
    expect(entities.facts()).toMatchObject({ failedRefreshes: 2 });
  });

  test("is given no longer than for its time, and not if it is gone", async () => {
    const { keepers, names, state, clock, callOf, asked } = start(stale);
    await names(["a"]);
    clock.time += 1_500;
    state.fail = true;
    expect(await keepers.load(["a"], callOf())).toMatchObject([{ code: Code.Unavailable }]);
    expect(asked).toHaveLength(2);
  });

  test("goes if the upstream says that there is nothing any more", async () => {
    const { keepers, entities, clock, callOf, warehouse } = start(stale);
    await keepers.load(["a"], callOf());
    clock.time += 1_200;
    const empty = inMemory([warehouse], (router) =>
      router.rpc(internal.WarehouseService.method.batchGetKeepers, () => ({})),
    );
    expect(await keepers.load(["a"], callOf({ upstreams: empty }))).toMatchObject([{ id: "a" }]);
    await vi.waitFor(() => expect(entities.facts().entries).toBe(0), 10_000);
    expect(await keepers.load(["a"], callOf({ upstreams: empty }))).toEqual([undefined]);
  });

  test("is renewed by so many fetches at the most", async () => {
    const { names, clock, state, asked } = start(stale, 1);
    await names(["a"]);
    await names(["b"]);
    clock.time += 1_200;
    const release = hold(state);
    await names(["a"]);
    await names(["b"]);
    await reached(asked, 3);
    release();
    expect(asked).toEqual([["a"], ["b"], ["a"]]);
  });
});

describe("a change through the gateway", () => {
  test("makes its keys be fetched anew, by everyone for whom they were kept, and leaves the others", async () => {
    const { names, change, asked } = start({ ttlMs: 1_000, forget });
    const [ada, bob] = ["ada", "bob"].map((subject) => ({ principal: authenticated(subject) }));
    for (const who of [ada, bob]) await names(["a", "b"], who);
    await change("a");
    expect(await names(["a", "b"], ada)).toEqual(["a2 for token,ada", "b1 for token,ada"]);
    expect(await names(["a", "b"], bob)).toEqual(["a2 for token,bob", "b1 for token,bob"]);
    expect(asked.slice(2)).toEqual([["a"], ["a"]]);
  });

  test("does so for what was known to be missing", async () => {
    const { names, change, asked } = start({ ...open, missingTtlMs: 1_000, forget });
    await names(["nobody"]);
    await change("nobody");
    await names(["nobody"]);
    expect(asked).toHaveLength(2);
  });

  test("is seen by the same call, which has the old one already", async () => {
    const { keepers, warehouse, callOf } = start({ ...open, forget });
    const call = callOf();
    expect(await keepers.load(["a"], call)).toMatchObject([{ name: "a1 for anonymous" }]);
    await warehouse.getCrate({ code: "a" }, call);
    expect(await keepers.load(["a"], call)).toMatchObject([{ name: "a2 for anonymous" }]);
  });

  test("is not undone by a fetch that began before it, and nobody joins that", async () => {
    const { names, change, state, clock, asked } = start({ ...open, forget });
    const release = hold(state);
    const before = names(["a"]);
    await reached(asked, 1);
    clock.time += 1;
    await change("a");
    clock.time += 1;
    const after = names(["a"]);
    await reached(asked, 2);
    release();
    expect([await before, await after]).toEqual([["a1 for anonymous"], ["a2 for anonymous"]]);
    expect(await names(["a"])).toEqual(["a2 for anonymous"]);
    expect(asked).toHaveLength(2);
  });

  test("is not undone by such a fetch, even if memory has no room for what happened in between", async () => {
    const { names, change, state, clock, asked } = start({ ...open, forget }, undefined, leastKeptBytes);
    const release = hold(state);
    const before = names(["a"]);
    await reached(asked, 1);
    clock.time += 1;
    await change("a");
    clock.time += 1;
    state.gate = Promise.resolve();
    await names(Array.from({ length: 100 }, (_, index) => `other ${index}`));
    release();
    expect(await before).toEqual(["a1 for anonymous"]);
    expect(await names(["a"])).toEqual(["a2 for anonymous"]);
  });

  test("that fails changes nothing", async () => {
    const { names, warehouse, callOf, asked } = start({ ...open, forget });
    await names(["a"]);
    const failing = inMemory([warehouse], (router) =>
      router.rpc(internal.WarehouseService.method.getCrate, () => {
        throw new ConnectError("no", Code.FailedPrecondition);
      }),
    );
    await thrownBy(warehouse.getCrate({ code: "a" }, callOf({ upstreams: failing })));
    await names(["a"]);
    expect(asked).toHaveLength(1);
  });

  test("succeeds even if its keys cannot be told, which the log is told", async () => {
    const broken = () => {
      throw new Error("broken");
    };
    const { change, errors } = start({ ...open, forget: { getCrate: broken } });
    expect(await change("a")).toMatchObject({ crate: { keeperId: "a" } });
    expect(errors).toMatchObject([{ message: "broken" }]);
  });
});

test("lists are kept as well, empty ones like any other", async () => {
  const { entities, callOf } = start(open);
  const warehouse = upstream("warehouse", internal.WarehouseService);
  const scans = groupLoader(warehouse, {
    batch: {
      method: "listScans",
      request: (serials) => ({ serials }),
      items: "scans",
      key: "serial",
      max: 10,
    },
    cache: open,
  });
  let asked = 0;
  const upstreams = inMemory([warehouse], (router) =>
    router.rpc(internal.WarehouseService.method.listScans, () => {
      asked += 1;
      return {
        scans: [
          { serial: 1n, gate: "in" },
          { serial: 1n, gate: "out" },
        ],
      };
    }),
  );
  for (let times = 0; times < 2; times++) {
    const groups = await scans.loadAll([1n, 2n], callOf({ upstreams }));
    expect(groups.map((scans) => scans.map(({ gate }) => gate))).toEqual([["in", "out"], []]);
  }
  expect(asked).toBe(1);
  expect(entities.facts()).toMatchObject({ entries: 2 });
});

test("of a whole list everything is kept, not only what was asked for", async () => {
  const { callOf } = start(open);
  const warehouse = upstream("warehouse", internal.WarehouseService);
  const crates = loader(warehouse, {
    all: { method: "listCrates", items: "crates", key: "code" },
    cache: open,
  });
  let asked = 0;
  const upstreams = inMemory([warehouse], (router) =>
    router.rpc(internal.WarehouseService.method.listCrates, () => {
      asked += 1;
      return { crates: [{ code: "a" }, { code: "b" }] };
    }),
  );
  await crates.loadAll(["a"], callOf({ upstreams }));
  expect(await crates.loadAll(["b"], callOf({ upstreams }))).toMatchObject([{ code: "b" }]);
  expect(asked).toBe(1);
});

test("an entity that lacks a required field is given as without a cache, to each its own, and not kept", async () => {
  const entities = createEntityCache({ kept: createKeptBytes({ maxBytes: 2 ** 20, namespace: "test" }) });
  const gate = Promise.withResolvers<void>();
  let fetches = 0;
  const ledger: CachedLoader = {
    name: "ledger.listEntries",
    entity: legacy.EntrySchema,
    rule: { ttlMs: 60_000, staleMs: 0, missingTtlMs: undefined, scope: "public", forget: undefined },
    timeoutMs: 60_000,
    fetch: async (keys) => {
      fetches += 1;
      await gate.promise;
      return { found: keys.map(() => [create(legacy.EntrySchema, { currency: "EUR", marks: [1] })]) };
    },
  };
  const find = () => entities.find(ledger, [entityKey("e")], testCall());
  const both = Promise.all([find(), find()]);
  gate.resolve();
  const [[one], [other]] = await both;
  for (const found of [one, other])
    expect(found).toEqual([create(legacy.EntrySchema, { currency: "EUR", marks: [1] })]);
  expect(Array.isArray(one) && one[0]).not.toBe(Array.isArray(other) && other[0]);
  await find();
  expect(fetches).toBe(2);
});
