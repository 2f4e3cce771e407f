import type { Redis } from "ioredis";
import { pino } from "pino";
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { noRedis, startRedis, type TestRedis } from "../../../tests/redis.ts";
import { StartError } from "./errors.ts";
import { createKeptBytes, type Kept, type KeptBytes, type KeptBytesOptions } from "./kept-bytes.ts";
import { createRedis, type SharedStore } from "./redis.ts";
import { thrownBy } from "./testing/call.ts";

interface Replica extends KeptBytes {
  readonly now: () => number;
}

const text = (kept: Kept | undefined) => kept && Buffer.from(kept.bytes).toString();

/** What is fresh for a second, and stale for half a second more. */
const born = (content: string, bornAt: number): Kept => ({
  bytes: Buffer.from(content),
  bornAt,
  freshUntil: bornAt + 1_000,
  staleUntil: bornAt + 1_500,
});

describe("in memory", () => {
  function setUp(options: Partial<KeptBytesOptions> = {}) {
    const clock = { time: 5_000 };
    const kept = createKeptBytes({ maxBytes: 2 ** 20, namespace: "test", now: () => clock.time, ...options });
    return { clock, kept };
  }

  test("an entry is given until its time is over", async () => {
    const { clock, kept } = setUp();
    const entry = born("a", 5_000);
    kept.set("key", entry);
    clock.time = 6_499;
    expect(kept.local("key")).toEqual(entry);
    expect(await kept.get(["other", "key", "key"])).toEqual([undefined, entry, entry]);
    clock.time = 6_500;
    expect(kept.local("key")).toBeUndefined();
    expect(await kept.get(["key"])).toEqual([undefined]);
    expect(kept.facts().entries).toBe(0);
  });

  test("an entry whose time is over is not put there", () => {
    const { kept } = setUp();
    kept.set("key", born("a", 3_500));
    expect(kept.facts().entries).toBe(0);
  });

  test("of two entries the one that was born last counts, whichever comes last", () => {
    const { kept } = setUp();
    kept.set("key", born("new", 5_000));
    kept.set("key", born("old", 4_900));
    expect(text(kept.local("key"))).toBe("new");
    kept.set("key", born("newer", 5_001));
    expect(text(kept.local("key"))).toBe("newer");
  });

  test("what is forgotten is gone, and what was born before that does not come back", async () => {
    const { clock, kept } = setUp();
    kept.set("key", born("old", 4_900));
    kept.set("other", born("other", 4_900));
    const forgotten = kept.forget(["key"]);
    expect(kept.local("key")).toBeUndefined();
    await forgotten;
    kept.set("key", born("old", 4_950));
    kept.set("key", born("old", 5_000));
    expect(kept.local("key")).toBeUndefined();
    clock.time += 1;
    kept.set("key", born("new", 5_001));
    expect(text(kept.local("key"))).toBe("new");
    expect(text(kept.local("other"))).toBe("other");
  });

  test("ever so many keys may be forgotten: no mark is lost, only made one for all keys", async () => {
    const { clock, kept } = setUp();
    await kept.forget(["first"]);
    clock.time += 1;
    await kept.forget(Array.from({ length: 10_000 }, (_, index) => `key ${index}`));
    kept.set("first", born("old", 5_000));
    kept.set("never forgotten", born("old", 5_000));
    kept.set("key 1", born("old", 5_001));
    expect(kept.facts().entries).toBe(0);
    kept.set("first", born("new", 5_001));
    expect(kept.facts().entries).toBe(1);
  });

  test("bytes are bounded, keys included: what was used least recently goes first", () => {
    const { kept } = setUp({ maxBytes: 64 * 1024 });
    for (let index = 0; index < 200; index += 1) {
      kept.set(`${"k".repeat(1_000)} ${index}`, born("x".repeat(1_000), 5_000));
      kept.set("used", born("used", 5_000));
      expect(kept.facts().bytes).toBeLessThanOrEqual(64 * 1024);
    }
    expect(kept.facts().entries).toBeGreaterThan(15);
    expect(kept.facts().entries).toBeLessThan(26);
    expect(text(kept.local("used"))).toBe("used");
  });

  test("an entry of more than a sixteenth is not kept, nor is the one before it", () => {
    const { kept } = setUp({ maxBytes: 64 * 1024 });
    kept.set("key", born("small", 5_000));
    kept.set("key", born("x".repeat(5_000), 5_001));
    expect(kept.facts()).toEqual({ entries: 0, bytes: 0 });
  });

  test.each([0, -1, 1.5, 20_479, Number.NaN, Number.POSITIVE_INFINITY])(
    "%d bytes are refused",
    async (maxBytes) => {
      const error = await thrownBy(() => createKeptBytes({ maxBytes, namespace: "test" }));
      expect(error).toBeInstanceOf(StartError);
      expect(String(error)).toContain("must be a whole number of at least 20480");
    },
  );
});

describe.skipIf(noRedis !== "")(`in Redis${noRedis}`, () => {
  let redis: TestRedis;
  let store: SharedStore;
  let replicas = 0;
  let namespace = "";

  /** A replica with a memory of its own, whose clock began to count at another time. */
  function replica(options: Partial<KeptBytesOptions> = {}): Replica {
    const shiftMs = 1_000_000 * replicas++;
    const now = () => performance.now() + shiftMs;
    return { ...createKeptBytes({ maxBytes: 2 ** 20, redis: store, namespace, now, ...options }), now };
  }
  /** What was born so long ago, by the clock of a replica, and is fresh for a minute. */
  const minute = (content: string | Uint8Array, { now }: Replica, agoMs = 0): Kept => {
    const bornAt = now() - agoMs;
    return { bytes: Buffer.from(content), bornAt, freshUntil: bornAt + 60_000, staleUntil: bornAt + 90_000 };
  };
  const ask = async <T>(question: (client: Redis) => Promise<T>): Promise<T> => {
    const answer = await store.ask(question);
    if (answer === undefined) throw new Error("Redis did not answer");
    return answer;
  };
  const nameOf = (key: string) => `portico:${namespace}:${key}`;
  const isShared = async (key: string) => (await ask((client) => client.exists(nameOf(key)))) === 1;
  /** Resolves when a replica that has nothing in memory finds it. */
  const whenShared = (key: string, content: string) =>
    eventually(async () => expect(text((await replica().get([key]))[0])).toBe(content));
  /** Resolves when all that was put before is there: commands of one connection keep their order. */
  const settled = async () => {
    const one = replica();
    one.set("marker", minute("marker", one));
    await whenShared("marker", "marker");
  };

  const timesAsked = async () =>
    Number(/cmdstat_mget:calls=(\d+)/.exec(await ask((client) => client.info("commandstats")))?.[1] ?? 0);

  beforeAll(async () => {
    redis = await startRedis();
    store = createRedis(redis.url, pino({ level: "silent" }), { answerMs: 2_000 });
    await eventually(() => ask((client) => client.ping()));
  });
  afterAll(async () => {
    store.close();
    await redis[Symbol.asyncDispose]();
  });
  beforeEach(() => {
    namespace = `test:${replicas}`;
  });

  test("an entry of one replica is given by another, with its age, and kept in its memory", async () => {
    const [one, other] = [replica(), replica()];
    one.set("key", minute("a", one, 10_000));
    await eventually(async () => expect(text((await other.get(["key"]))[0])).toBe("a"));
    const found = other.local("key");
    const age = other.now() - (found?.bornAt ?? 0);
    expect(age).toBeGreaterThanOrEqual(10_000);
    expect(age).toBeLessThan(20_000);
    expect((found?.freshUntil ?? 0) - (found?.bornAt ?? 0)).toBeCloseTo(60_000, 3);
    expect((found?.staleUntil ?? 0) - (found?.bornAt ?? 0)).toBeCloseTo(90_000, 3);
  });

  test("all that are not in memory are asked for at once", async () => {
    const one = replica();
    for (const key of ["a", "b", "c"]) one.set(key, minute(key, one));
    await whenShared("c", "c");
    const other = replica();
    await other.get(["b"]);
    const before = await timesAsked();
    const found = await other.get(["a", "b", "c", "none", "a"]);
    expect(found.map(text)).toEqual(["a", "b", "c", undefined, "a"]);
    expect(await timesAsked()).toBe(before + 1);
  });

  test("a stale entry in memory is no reason not to look for a fresh one", async () => {
    const [one, other] = [replica(), replica()];
    other.set("key", { ...minute("stale", other, 1_000), freshUntil: 0 });
    one.set("key", minute("fresh", one));
    await eventually(async () => expect(text((await other.get(["key"]))[0])).toBe("fresh"));
  });

  test("it goes from Redis when its time is over", async () => {
    const one = replica();
    one.set("key", minute("a", one, 50_000));
    await whenShared("key", "a");
    const leftMs = await ask((client) => client.pttl(nameOf("key")));
    expect(leftMs).toBeGreaterThan(1_000);
    expect(leftMs).toBeLessThanOrEqual(40_000);
  });

  test("an older one does not replace it, whichever replica had it", async () => {
    const [one, other] = [replica(), replica()];
    one.set("key", minute("new", one));
    await whenShared("key", "new");
    other.set("key", minute("old", other, 5_000));
    await settled();
    await whenShared("key", "new");
  });

  test("what one replica forgets is gone for all that do not have it in memory", async () => {
    const [one, other] = [replica(), replica()];
    one.set("key", minute("old", one, 5_000));
    await whenShared("key", "old");
    await other.forget(["key"]);
    expect(await replica().get(["key"])).toEqual([undefined]);
    expect(await isShared("key")).toBe(false);
  });

  test("a fetch that began before that puts nothing back, in this replica or another; one after it does", async () => {
    const [one, other] = [replica(), replica()];
    const late = [minute("old", one), minute("old", other)] as const;
    await one.forget(["key"]);
    one.set("key", late[0]);
    other.set("key", late[1]);
    await settled();
    expect(one.local("key")).toBeUndefined();
    expect(await isShared("key")).toBe(false);
    // The clocks of two processes are known to some milliseconds, and the doubt is against what is put there.
    await eventually(async () => {
      other.set("key", minute("new", other));
      expect(text((await one.get(["key"]))[0])).toBe("new");
    });
  });

  test("what took longer than marks are kept is not shared", async () => {
    const one = replica();
    one.set("old", minute("old", one, 61_000));
    await settled();
    expect(text(one.local("old"))).toBe("old");
    expect(await isShared("old")).toBe(false);
  });

  test("what is larger than 256 KiB is kept in memory alone", async () => {
    const one = replica({ maxBytes: 2 ** 24 });
    one.set("large", minute(new Uint8Array(256 * 1024 + 1), one));
    one.set("largest", minute(new Uint8Array(256 * 1024), one));
    await eventually(async () => expect(await isShared("largest")).toBe(true));
    expect(one.local("large")?.bytes.byteLength).toBe(256 * 1024 + 1);
    expect(await isShared("large")).toBe(false);
  });

  test.each<[string, (record: Buffer) => Buffer]>([
    ["is empty", () => Buffer.alloc(0)],
    ["is cut off in its head", (record) => record.subarray(0, 20)],
    ["is cut off in its bytes", (record) => record.subarray(0, -1)],
    ["has another version", (record) => Buffer.concat([Buffer.from([3]), record.subarray(1)])],
    [
      "has a bit that is wrong",
      (record) => changed(record, (copy) => copy.writeUInt8(copy.readUInt8(30) ^ 1, 30)),
    ],
    ["is from the future", (record) => changed(record, (copy) => copy.writeDoubleBE(8.64e15, 1))],
    [
      "has a time that is no number",
      (record) => changed(record, (copy) => copy.writeDoubleBE(Number.NaN, 9)),
    ],
    ["is over", (record) => changed(record, (copy) => copy.writeDoubleBE(1_000, 1))],
  ])("a record that %s is ignored", async (_, change) => {
    const one = replica();
    one.set("key", minute("good", one));
    await whenShared("key", "good");
    const record = await ask((client) => client.getBuffer(nameOf("key")));
    await ask((client) => client.set(nameOf("key"), change(record ?? Buffer.alloc(0))));
    const other = replica();
    expect(await other.get(["key"])).toEqual([undefined]);
    expect(other.facts().entries).toBe(0);
  });

  test("a record from the future, from before Redis's clock was set back, is replaced", async () => {
    const one = replica();
    one.set("key", minute("before", one));
    await whenShared("key", "before");
    const record = await ask((client) => client.getBuffer(nameOf("key")));
    const fromFuture = changed(record ?? Buffer.alloc(0), (copy) =>
      copy.writeDoubleBE(copy.readDoubleBE(1) + 3_600_000, 1),
    );
    await ask((client) => client.set(nameOf("key"), fromFuture));
    const other = replica();
    other.set("key", minute("after", other));
    await whenShared("key", "after");
  });

  test("a mark is never taken for older than it is, nor for one from the future", async () => {
    const [one, other] = [replica(), replica()];
    const bornAt = one.now();
    one.set("mark", { ...minute("", one), bornAt, freshUntil: bornAt, isMark: true });
    await eventually(async () => expect((await other.get(["mark"]))[0]?.isMark).toBe(true));
    const [mark] = await other.get(["mark"]);
    expect(other.now() - (mark?.bornAt ?? 0)).toBeLessThanOrEqual(one.now() - bornAt);
    const record = await ask((client) => client.getBuffer(nameOf("mark")));
    const doubtful = changed(record ?? Buffer.alloc(0), (copy) =>
      copy.writeDoubleBE(copy.readDoubleBE(1) + 60_000, 1),
    );
    await ask((client) => client.set(nameOf("mark"), doubtful));
    const third = replica();
    const before = third.now();
    const [found] = await third.get(["mark"]);
    expect(found?.bornAt).toBeGreaterThanOrEqual(before);
    expect(found?.bornAt).toBeLessThanOrEqual(third.now());
  });

  test("more than fits into one command is shared all the same, while Redis keeps up", async () => {
    const one = replica({ maxBytes: 2 ** 26 });
    for (let index = 0; index < 1_000; index++) one.set(`many ${index}`, minute("x".repeat(10_000), one));
    await eventually(async () => expect(await isShared("many 999")).toBe(true));
    const found = await replica().get(Array.from({ length: 1_000 }, (_, index) => `many ${index}`));
    expect(found.filter((it) => it !== undefined)).toHaveLength(1_000);
  });

  test("replicas with another namespace share nothing", async () => {
    const one = replica();
    one.set("key", minute("a", one));
    await whenShared("key", "a");
    const other = replica({ namespace: "test:other" });
    expect(await other.get(["key"])).toEqual([undefined]);
  });

  test("without Redis, memory goes on as if there were none; with it again, so does the rest", async () => {
    const one = replica();
    await redis.stop();
    one.set("key", minute("a", one));
    expect(text(one.local("key"))).toBe("a");
    expect((await one.get(["key", "other"])).map(text)).toEqual(["a", undefined]);
    await one.forget(["key"]);
    expect(one.local("key")).toBeUndefined();
    await redis.restart();
    await eventually(async () => {
      one.set("again", minute("b", one));
      expect(await isShared("again")).toBe(true);
    });
  });
});

/** Tries until it does not throw. */
function eventually<T>(check: () => Promise<T>): Promise<T> {
  return vi.waitFor(check, { timeout: 15_000, interval: 20 });
}

function changed(record: Buffer, change: (copy: Buffer) => void): Buffer {
  const copy = Buffer.from(record);
  change(copy);
  return copy;
}
