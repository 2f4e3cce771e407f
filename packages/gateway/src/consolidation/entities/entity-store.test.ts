import { create, type Message } from "@bufbuild/protobuf";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import {
  noRedis,
  startRedis,
  startTroubledWay,
  type TestRedis,
  type TroubledWay,
} from "../../../../../tests/redis.ts";
import { createKeptBytes } from "../../kept-bytes.ts";
import { createRedis, type SharedStore } from "../../redis.ts";
import { internal } from "../../testing/protos.ts";
import { entityKey } from "../loaders/key.ts";
import { writeEntities } from "./entity-bytes.ts";
import type { CachedLoader } from "./entity-cache.ts";
import { placeOf } from "./entity-place.ts";
import { createEntityStore } from "./entity-store.ts";

const loader: CachedLoader = {
  name: "warehouse.batchGetKeepers",
  entity: internal.KeeperSchema,
  rule: { ttlMs: 60_000, staleMs: 0, missingTtlMs: undefined, scope: "public", forget: ["updateKeeper"] },
  timeoutMs: 1_000,
  fetch: async () => ({ found: [] }),
};

describe.skipIf(noRedis !== "")(`of three replicas, one is far away from Redis${noRedis}`, () => {
  const log = pino({ level: "silent" });
  let redis: TestRedis;
  let way: TroubledWay;
  let near: SharedStore;
  let far: SharedStore;
  beforeAll(async () => {
    redis = await startRedis();
    way = await startTroubledWay(redis.port);
    near = createRedis(redis.url, log, { answerMs: 5_000 });
    far = createRedis(`redis://127.0.0.1:${way.port}`, log, { answerMs: 5_000 });
    for (const store of [near, far])
      await vi.waitFor(async () => expect(await store.ask((client) => client.ping())).toBe("PONG"), 10_000);
    way.delay(1_000);
  });
  afterAll(async () => {
    for (const store of [near, far]) store?.close();
    await way[Symbol.asyncDispose]();
    await redis[Symbol.asyncDispose]();
  });

  /** A replica, whose clock began to count at another time. */
  function replica(redis: SharedStore, shiftMs: number) {
    const now = () => performance.now() + shiftMs;
    const kept = createKeptBytes({ maxBytes: 2 ** 20, redis, namespace: "test", now });
    const store = createEntityStore(kept, now);
    return {
      write: (id: string, name: string, bornAt = now()) => {
        const bytes = writeEntities(loader.entity, [create(internal.KeeperSchema, { id, name })]);
        store.write(loader, at(id), { bytes, isEmpty: false, bornAt });
      },
      forget: (id: string) => store.forget(loader, entityKey(id)),
      local: (id: string) => nameIn(store.local(loader, at(id))),
      find: async (id: string) => nameIn((await store.all(loader, [at(id)]))[0]),
    };
  }
  const at = (id: string) => placeOf(loader, "[]", entityKey(id));
  const nameIn = (entry: { readonly items: readonly Message[] } | undefined) => {
    const [keeper] = entry?.items ?? [];
    return keeper && "name" in keeper ? keeper.name : undefined;
  };
  const eventually = <T>(check: () => T | Promise<T>) => vi.waitFor(check, { timeout: 15_000, interval: 20 });

  test("what it forgets is forgotten by all, even if it was fetched a moment before", async () => {
    const [one, other] = [replica(near, 0), replica(far, 1_000_000)];
    one.write("a", "old");
    await eventually(async () => expect(await replica(near, 0).find("a")).toBe("old"));
    other.forget("a");
    await eventually(async () => expect(await replica(near, 0).find("a")).toBeUndefined());
  });

  test("what it fetches right after that is kept, although Redis leaves the time of its mark in doubt", async () => {
    const one = replica(far, 1_000_000);
    one.write("b", "old");
    one.forget("b");
    expect(one.local("b")).toBeUndefined();
    await eventually(() => {
      one.write("b", "new");
      expect(one.local("b")).toBe("new");
    });
    const mark = `portico:test:${at("b").mark}`;
    await eventually(async () => expect(await near.ask((client) => client.exists(mark))).toBe(1));
    // Here its own mark comes back to it.
    expect(await one.find("b")).toBe("new");
    expect(one.local("b")).toBe("new");
  });
});
