import { readFileSync } from "node:fs";
import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { noRedis, startRedis, startTroubledWay, type TestRedis } from "../../../tests/redis.ts";
import { createRedis, type RedisSettings, type SharedStore } from "./redis.ts";

/**
 * A store that is closed with the test, and what it logs. It waits longer than it does by default, for machines that have
 * much else to do.
 */
function open(url: string, settings: RedisSettings = {}) {
  const lines: { level: number; msg: string; reason?: string; redis?: string }[] = [];
  const log = pino({ base: null }, { write: (line: string) => void lines.push(JSON.parse(line)) });
  const store = createRedis(url, log, { answerMs: 150, ...settings });
  return {
    ...store,
    lines,
    messages: () => lines.map(({ msg }) => msg),
    [Symbol.dispose]: () => store.close(),
  };
}

const lost = "Redis is lost: the gateway goes on with what it has in memory";
const back = "Redis is back";
const ping = (store: SharedStore) => store.ask((client) => client.ping());
/** Resolves when Redis is asked and answers. */
const whenBack = (store: SharedStore) =>
  vi.waitFor(async () => expect(await ping(store)).toBe("PONG"), { timeout: 10_000, interval: 20 });

describe("a URL", () => {
  test.each([
    ["of something else", "https://gateway:sesame@redis.internal"],
    ["without a host", "redis://"],
    ["with a user but no host", "redis://gateway:sesame@"],
    ["with a query, which would change settings", "redis://:sesame@redis.internal?enableOfflineQueue=true"],
    ["with a database that is no number", "redis://:sesame@redis.internal/main"],
    ["with a percent sign that encodes nothing", "redis://:sesame%@redis.internal"],
    ["with a port that is none", "redis://:sesame@redis.internal:99999"],
    ["that is a path", "/run/redis.sock"],
  ])("%s is refused, and not repeated", (_, url) => {
    expect(() => createRedis(url, pino({ level: "silent" }))).toThrow(TypeError);
    expect(() => createRedis(url, pino({ level: "silent" }))).toThrow(
      "must be a URL such as redis://host:6379",
    );
    expect(() => createRedis(url, pino({ level: "silent" }))).not.toThrow("sesame");
  });
});

test("where nobody listens there is no answer, and one line in the log", async () => {
  const way = await startTroubledWay(1);
  await way[Symbol.asyncDispose]();
  const { port } = way;
  using store = open(`redis://127.0.0.1:${port}`);
  expect(await ping(store)).toBeUndefined();
  await vi.waitFor(() => expect(store.messages()).toEqual([lost]));
  // It tries again and again, in silence.
  await new Promise((resolve) => setTimeout(resolve, 700));
  expect(await ping(store)).toBeUndefined();
  expect(store.lines).toEqual([
    {
      level: 40,
      time: expect.any(Number),
      redis: `127.0.0.1:${port}`,
      reason: expect.any(String),
      msg: lost,
    },
  ]);
});

describe.skipIf(noRedis !== "")(`Redis${noRedis}`, () => {
  let redis: TestRedis;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis[Symbol.asyncDispose]());

  test("is shared by all who ask it, and says nothing in the log while all is well", async () => {
    using one = open(redis.url);
    using other = open(redis.url);
    // Not yet connected.
    expect(await ping(one)).toBeUndefined();
    await Promise.all([whenBack(one), whenBack(other)]);
    await one.ask((client) => client.set("key", "value"));
    expect(await other.ask((client) => client.get("key"))).toBe("value");
    expect(await other.ask((client) => client.get("another"))).toBeNull();
    expect([...one.lines, ...other.lines]).toEqual([]);
  });

  test("keeps databases apart", async () => {
    using first = open(`${redis.url}/0`);
    using second = open(`${redis.url}/2`);
    await Promise.all([whenBack(first), whenBack(second)]);
    await first.ask((client) => client.set("database", "first"));
    expect(await second.ask((client) => client.get("database"))).toBeNull();
  });

  test("that answers with an error is left alone for a second, and then asked by one", async () => {
    let time = 0;
    using store = open(redis.url, { now: () => time });
    await whenBack(store);
    expect(await store.ask((client) => client.call("NONSENSE"))).toBeUndefined();
    expect(store.lines).toMatchObject([{ msg: lost, reason: expect.stringContaining("unknown command") }]);
    const question = vi.fn(async () => "answer");
    time = 999;
    expect(await store.ask(question)).toBeUndefined();
    expect(question).not.toHaveBeenCalled();
    time = 1_000;
    expect(await Promise.all([store.ask(question), store.ask(question)])).toEqual(["answer", undefined]);
    expect(question).toHaveBeenCalledTimes(1);
    expect(await store.ask(question)).toBe("answer");
    expect(store.messages()).toEqual([lost, back]);
  });

  test("that refuses to be written to, for want of memory, does not fill the log", async () => {
    await using full = await startRedis(["--maxmemory", "1", "--maxmemory-policy", "noeviction"]);
    let time = 0;
    using store = open(full.url, { now: () => time });
    await whenBack(store);
    for (let seconds = 0; seconds < 600; seconds++) {
      time += 1_000;
      await store.ask((client) => client.get("key"));
      expect(await store.ask((client) => client.set("key", "value"))).toBeUndefined();
    }
    expect(store.lines[0]).toMatchObject({ msg: lost, reason: expect.stringContaining("OOM") });
    expect(store.lines.length).toBeLessThan(40);
    time += 120_000;
    await store.ask((client) => client.config("SET", "maxmemory", "0"));
    expect(await store.ask((client) => client.set("key", "value"))).toBe("OK");
    expect(store.messages().at(-1)).toBe(back);
  });

  test("that has become a replica is connected to anew: its name may lead to the new primary by now", async () => {
    await using replica = await startRedis();
    using store = open(replica.url);
    await whenBack(store);
    const idOf = () => store.ask((client) => client.client("ID"));
    const before = await idOf();
    await store.ask((client) => client.replicaof("127.0.0.1", 1));
    expect(await store.ask((client) => client.set("key", "value"))).toBeUndefined();
    await vi.waitFor(async () => expect(await idOf()).toBeGreaterThan(before ?? 0), {
      timeout: 10_000,
      interval: 20,
    });
    await store.ask((client) => client.replicaof("NO", "ONE"));
    await vi.waitFor(async () => expect(await store.ask((client) => client.set("key", "value"))).toBe("OK"), {
      timeout: 10_000,
      interval: 20,
    });
  });

  test("that stays a replica does not fill the log either", async () => {
    await using replica = await startRedis(["--replicaof", "127.0.0.1 1"]);
    let time = 0;
    using store = open(replica.url, { now: () => time });
    await whenBack(store);
    for (let turn = 0; turn < 60; turn++) {
      time += 100;
      await store.ask((client) => client.get("key"));
      expect(await store.ask((client) => client.set("key", "value"))).toBeUndefined();
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    expect(store.lines[0]).toMatchObject({ msg: lost, reason: expect.stringContaining("READONLY") });
    expect(store.lines.length).toBeLessThan(12);
  });

  test("is not at fault when a question throws, and nobody is hurt", async () => {
    using store = open(redis.url);
    await whenBack(store);
    const question = () => {
      throw new Error("a mistake");
    };
    expect(await store.ask(question)).toBeUndefined();
    expect(store.lines).toMatchObject([{ reason: "a mistake" }]);
  });

  test("is not taken for slow when this process was", async () => {
    using store = open(redis.url, { answerMs: 50 });
    await whenBack(store);
    const answer = ping(store);
    const until = performance.now() + 300;
    while (performance.now() < until);
    expect(await answer).toBe("PONG");
    expect(store.lines).toEqual([]);
  });

  test("that is slow is waited for once a second, and is back when it is quick again", async () => {
    await using way = await startTroubledWay(redis.port);
    using store = open(`redis://127.0.0.1:${way.port}`);
    await whenBack(store);
    way.delay(1_000);
    expect(await elapsed(() => ping(store))).toBeLessThan(500);
    const many = () => Promise.all(Array.from({ length: 100 }, () => ping(store)));
    expect(await elapsed(many)).toBeLessThan(500);
    expect(store.messages()).toEqual([lost]);
    way.delay(0);
    await whenBack(store);
    expect(store.messages()).toEqual([lost, back]);
  });

  test("that vanishes without a word is connected to anew", async () => {
    await using way = await startTroubledWay(redis.port);
    using store = open(`redis://127.0.0.1:${way.port}`);
    await whenBack(store);
    way.freeze();
    expect(await ping(store)).toBeUndefined();
    await whenBack(store);
    expect(store.messages()).toEqual([lost, back]);
  });

  test("that hangs is waited for once a second, and is back when it goes on", async () => {
    using store = open(redis.url);
    await whenBack(store);
    redis.pause();
    try {
      const answers = () => Promise.all(Array.from({ length: 10 }, () => ping(store)));
      expect(await elapsed(answers)).toBeLessThan(500);
      expect(await answers()).toEqual(Array(10).fill(undefined));
      expect(store.messages()).toEqual([lost]);
    } finally {
      redis.resume();
    }
    await whenBack(store);
    expect(store.messages()).toEqual([lost, back]);
  });

  test("that is killed is back when it is started again, even with nobody asking in between", async () => {
    using store = open(redis.url);
    await whenBack(store);
    await redis.stop();
    await vi.waitFor(() => expect(store.messages()).toEqual([lost]));
    expect(await ping(store)).toBeUndefined();
    await redis.restart();
    await whenBack(store);
    expect(store.messages()).toEqual([lost, back]);
  });

  test("that hangs costs a call little more than it is waited for", async () => {
    using store = open(redis.url, { answerMs: 15 });
    await whenBack(store);
    redis.pause();
    const waited = await elapsed(() => ping(store)).finally(() => redis.resume());
    expect(waited).toBeGreaterThan(14);
    expect(waited).toBeLessThan(250);
  });

  test("is left for good by close", async () => {
    const store = open(redis.url);
    await whenBack(store);
    store.close();
    expect(await ping(store)).toBeUndefined();
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await ping(store)).toBeUndefined();
    expect(store.lines).toEqual([]);
  });
});

describe.skipIf(noRedis !== "")(`the password of Redis${noRedis}`, () => {
  const password = "open/sesame:100%";
  let redis: TestRedis;
  beforeAll(async () => {
    redis = await startRedis(["--requirepass", password]);
  });
  afterAll(() => redis[Symbol.asyncDispose]());

  test.each(["", "default"])("is taken from the URL, with the user %j", async (name) => {
    using store = open(`redis://${name}:${encodeURIComponent(password)}@127.0.0.1:${redis.port}`);
    await whenBack(store);
    expect(store.lines).toEqual([]);
  });

  test("is never logged, not even when it is wrong", async () => {
    using store = open(`redis://default:wrong-sesame@127.0.0.1:${redis.port}`);
    await vi.waitFor(() => expect(store.lines).toHaveLength(1));
    expect(await ping(store)).toBeUndefined();
    expect(store.lines).toMatchObject([
      { redis: `127.0.0.1:${redis.port}`, reason: expect.stringContaining("WRONGPASS"), msg: lost },
    ]);
    expect(JSON.stringify(store.lines)).not.toContain("sesame");
  });
});

describe.skipIf(noRedis !== "")(`Redis over TLS${noRedis}`, () => {
  const read = (name: string) =>
    readFileSync(new URL(`../../../tests/fixtures/tls/${name}`, import.meta.url), "utf8");
  const tls = { cert: read("cert.pem"), key: read("key.pem") };
  const trusted = getCACertificates("default");
  afterAll(() => setDefaultCACertificates(trusted));

  test("is asked if its certificate is trusted, and else not", async () => {
    await using redis = await startRedis();
    const names: (string | undefined)[] = [];
    await using way = await startTroubledWay(redis.port, {
      ...tls,
      SNICallback: (name, done) => {
        names.push(name);
        done(null);
      },
    });
    using stranger = open(`rediss://localhost:${way.port}`);
    await vi.waitFor(() =>
      expect(stranger.lines).toMatchObject([{ reason: expect.stringContaining("self-signed certificate") }]),
    );
    expect(await ping(stranger)).toBeUndefined();
    setDefaultCACertificates([...trusted, tls.cert]);
    using store = open(`rediss://localhost:${way.port}`);
    await whenBack(store);
    expect(store.lines).toEqual([]);
    expect(new Set(names)).toEqual(new Set(["localhost"]));
    using byAddress = open(`rediss://127.0.0.1:${way.port}`);
    await whenBack(byAddress);
  });
});

async function elapsed(work: () => Promise<unknown>): Promise<number> {
  const before = performance.now();
  await work();
  return performance.now() - before;
}
