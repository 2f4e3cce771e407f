import { Code } from "@connectrpc/connect";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { noRedis, startRedis, startTroubledWay, type TestRedis } from "../../../../../tests/redis.ts";
import { PublicError } from "../../errors.ts";
import { createRedis, type SharedStore } from "../../redis.ts";
import { principalId } from "../principal.ts";
import { addressKey } from "./address-key.ts";
import { parseLimits } from "./limits.ts";
import { type Charge, chargeProblem, createRateLimit, type RateLimit } from "./rate-limit.ts";

const ada = principalId("token", "https://issuer.example.com", "ada");
const bob = principalId("token", "https://issuer.example.com", "bob");

const common = (limits: string, cost = 1): Charge => ({ scope: "common", limits: parseLimits(limits), cost });
const own = (limits: string): Charge => ({ scope: "acme.Vault/Open", limits: parseLimits(limits), cost: 1 });

/** The error that a call is refused with; fails if it is let in. */
async function refusal(call: Promise<unknown>): Promise<PublicError> {
  const error = await call.then(
    () => expect.fail("the call was let in"),
    (error: unknown) => error,
  );
  if (!(error instanceof PublicError)) throw error;
  return error;
}

/** How many of so many calls at once are let in. */
async function letIn(consume: RateLimit, calls: number, key: string, charges: readonly Charge[]) {
  const results = await Promise.allSettled(Array.from({ length: calls }, () => consume(key, charges)));
  return results.filter(({ status }) => status === "fulfilled").length;
}

describe("in memory", () => {
  let time = 0;
  const fresh = () => {
    time = 1_000;
    return createRateLimit({ now: () => time }).consume;
  };

  test("a caller has as many calls as its limit allows, and again when the window is over", async () => {
    const consume = fresh();
    expect(await letIn(consume, 5, ada, [common("3/1m")])).toBe(3);
    time += 59_999;
    expect(await letIn(consume, 1, ada, [common("3/1m")])).toBe(0);
    time += 1;
    expect(await letIn(consume, 5, ada, [common("3/1m")])).toBe(3);
  });

  test("the window begins with the first call", async () => {
    const consume = fresh();
    time += 12_345;
    await consume(ada, [common("1/1m")]);
    time += 59_000;
    expect((await refusal(consume(ada, [common("1/1m")]))).options.retryAfterMs).toBe(1_000);
  });

  test("says in headers what is left, until when", async () => {
    const consume = fresh();
    expect(await consume(ada, [common("600/1m")])).toEqual({
      headers: { "ratelimit-policy": '"common-60";q=600;w=60', ratelimit: '"common-60";r=599;t=60' },
    });
    time += 10_500;
    expect(await consume(ada, [common("600/1m", 20), own("5/1h")])).toEqual({
      headers: {
        "ratelimit-policy": '"common-60";q=600;w=60, "acme.Vault/Open-3600";q=5;w=3600',
        ratelimit: '"common-60";r=579;t=50, "acme.Vault/Open-3600";r=4;t=3600',
      },
    });
  });

  test("says nothing where there is no limit", async () => {
    const consume = fresh();
    expect(await consume(ada, [])).toEqual({ headers: {} });
    expect(await consume(ada, [common("off")])).toEqual({ headers: {} });
  });

  test("a refusal says which limit, what is left, and when the call would be let in", async () => {
    const consume = fresh();
    await consume(ada, [common("10/1m", 8)]);
    time += 17_600;
    const error = await refusal(consume(ada, [common("10/1m", 5)]));
    expect(error).toMatchObject({
      code: Code.ResourceExhausted,
      reason: "RATE_LIMIT_EXCEEDED",
      rawMessage: "Too many calls. Try again later.",
      options: { retryAfterMs: 42_400, metadata: { limit: "10/1m" } },
    });
    expect(Object.fromEntries(error.metadata)).toEqual({
      "ratelimit-policy": '"common-60";q=10;w=60',
      ratelimit: '"common-60";r=2;t=43',
      "retry-after": "43",
    });
    time += 42_400;
    await consume(ada, [common("10/1m", 5)]);
  });

  test("a wait is whole milliseconds, as details need it, however finely time is measured", async () => {
    const consume = fresh();
    await consume(ada, [common("1/1m")]);
    time += 0.123;
    const error = await refusal(consume(ada, [common("1/1m")]));
    expect(error.options.retryAfterMs).toBe(60_000);
  });

  test("a call that is refused takes nothing, of any limit", async () => {
    const consume = fresh();
    await consume(ada, [common("10/1m", 8)]);
    await refusal(consume(ada, [common("10/1m", 5)]));
    expect(await letIn(consume, 5, ada, [common("10/1m")])).toBe(2);
    const both = [common("2/1s, 100/1d")];
    for (let second = 0; second < 50; second++) {
      time += 1_000;
      expect(await letIn(consume, 20, bob, both)).toBe(2);
    }
    time += 1_000;
    expect((await refusal(consume(bob, both))).options.metadata).toEqual({ limit: "100/1d" });
  });

  test("of several limits that refuse, the one that does so for longest is named", async () => {
    const consume = fresh();
    const charges = [common("1/1s, 1/1d"), own("1/1m")];
    await consume(ada, charges);
    time += 500;
    const error = await refusal(consume(ada, charges));
    expect(error.options).toMatchObject({ retryAfterMs: 86_399_500, metadata: { limit: "1/1d" } });
    expect(error.metadata.get("ratelimit")).toBe(
      '"common-1";r=0;t=1, "common-86400";r=0;t=86400, "acme.Vault/Open-60";r=0;t=60',
    );
  });

  test("a refusal does not make the wait longer", async () => {
    const consume = fresh();
    await consume(ada, [common("1/1m")]);
    for (; time < 61_000; time += 100)
      expect((await refusal(consume(ada, [common("1/1m")]))).options.retryAfterMs).toBe(61_000 - time);
    await consume(ada, [common("1/1m")]);
  });

  test("a call that costs more than its limit is refused without a time to come again", async () => {
    const consume = fresh();
    const error = await refusal(consume(ada, [common("3/1m", 4)]));
    expect(error.rawMessage).toBe("The call costs more than its limit allows.");
    expect(error.metadata.has("retry-after")).toBe(false);
    expect(error.options.metadata).toEqual({ limit: "3/1m" });
    expect(await letIn(consume, 5, ada, [common("3/1m")])).toBe(3);
  });

  test("each caller has its own, and each method with a limit of its own", async () => {
    const consume = fresh();
    const callers = Array.from({ length: 10 }, (_, i) =>
      principalId("token", "https://issuer", `caller-${i}`),
    );
    const counts = await Promise.all(callers.map((id) => letIn(consume, 30, id, [common("20/1m")])));
    expect(counts).toEqual(Array(10).fill(20));
    expect(await letIn(consume, 9, ada, [common("20/1m"), own("3/1m")])).toBe(3);
    expect(await letIn(consume, 30, ada, [common("20/1m")])).toBe(17);
    expect(await letIn(consume, 30, ada, [{ ...own("3/1m"), scope: "acme.Vault/Close" }])).toBe(3);
  });

  test("a caller who is given another number of calls keeps what was counted", async () => {
    const consume = fresh();
    await consume(ada, [common("10/1m", 6)]);
    expect((await consume(ada, [common("20/1m")])).headers["ratelimit"]).toBe('"common-60";r=13;t=60');
    const error = await refusal(consume(ada, [common("5/1m")]));
    expect(error.metadata.get("ratelimit")).toBe('"common-60";r=0;t=60');
  });

  test("a window may be longer than a timer", async () => {
    const consume = fresh();
    await consume(ada, [common("1/31d")]);
    time += 31 * 86_400_000 - 1;
    expect(await letIn(consume, 1, ada, [common("1/31d")])).toBe(0);
    time += 1;
    expect(await letIn(consume, 1, ada, [common("1/31d")])).toBe(1);
  });

  test("a flood of addresses takes no more memory than so many, and makes no caller forgotten", async () => {
    const consume = fresh();
    const charges = [common("1/1d")];
    await consume(ada, charges);
    await consume(addressKey("192.0.2.1"), charges);
    for (let i = 0; i < 150_000; i++) await consume(`address:${i}`, charges);
    expect(await letIn(consume, 1, addressKey("192.0.2.1"), charges)).toBe(1);
    expect(await letIn(consume, 1, "address:149999", charges)).toBe(0);
    expect(await letIn(consume, 1, ada, charges)).toBe(0);
  });

  test("callers with long names are told apart", async () => {
    const consume = fresh();
    const named = (name: string) => principalId("token", "https://issuer", "x".repeat(5_000) + name);
    await consume(named("a"), [common("1/1m")]);
    expect(await letIn(consume, 1, named("a"), [common("1/1m")])).toBe(0);
    expect(await letIn(consume, 1, named("b"), [common("1/1m")])).toBe(1);
  });
});

describe.skipIf(noRedis !== "")(`with Redis${noRedis}`, () => {
  const stack = new AsyncDisposableStack();
  let redis: TestRedis;
  beforeAll(async () => {
    redis = stack.use(await startRedis());
  });
  afterAll(() => stack.disposeAsync());

  /** A gateway's part in it. It waits longer than by default, for machines that have much else to do. */
  async function gateway(port = redis.port) {
    const store = createRedis(`redis://127.0.0.1:${port}`, pino({ level: "silent" }), { answerMs: 150 });
    stack.defer(() => store.close());
    await whenBack(store);
    return { store, consume: createRateLimit({ redis: store }).consume };
  }
  const whenBack = (store: SharedStore) =>
    vi.waitFor(async () => expect(await store.ask((client) => client.ping())).toBe("PONG"), {
      timeout: 10_000,
      interval: 20,
    });
  let callers = 0;
  const someone = () => principalId("token", "https://issuer.example.com", `caller-${callers++}`);

  test("gateways count together", async () => {
    const gateways = await Promise.all([gateway(), gateway()]);
    const id = someone();
    const counts = await Promise.all(
      gateways.map(({ consume }) => letIn(consume, 30, id, [common("20/1m")])),
    );
    expect(counts.reduce((a, b) => a + b)).toBe(20);
  });

  test("10 callers at 2 gateways have their limit each", async () => {
    const gateways = await Promise.all([gateway(), gateway()]);
    const counts = await Promise.all(
      Array.from({ length: 10 }, async () => {
        const id = someone();
        const each = gateways.map(({ consume }) => letIn(consume, 10, id, [common("12/1m"), own("500/1h")]));
        return (await Promise.all(each)).reduce((a, b) => a + b);
      }),
    );
    expect(counts).toEqual(Array(10).fill(12));
  });

  test("says the same as in memory", async () => {
    const [shared, alone] = [(await gateway()).consume, createRateLimit({ now: () => 0 }).consume];
    const id = someone();
    for (const charges of [
      [common("10/1m", 8)],
      [common("10/1m"), own("5/1h")],
      [common("10/1m", 5), own("5/1h")],
      [common("10/1m", 11)],
      [own("5/1h"), common("10/1m")],
      [common("10/1m")],
    ]) {
      const told = await Promise.all([shared, alone].map((consume) => whatIsTold(consume(id, charges))));
      // Time passes for one of them only.
      const [ofShared, ofAlone] = told.map((it) => ({
        ...it,
        ratelimit: it["ratelimit"]?.replace(/;t=\d+/g, ""),
      }));
      expect(ofShared).toEqual(ofAlone);
    }
  });

  test("a call that is refused takes nothing", async () => {
    const { consume } = await gateway();
    const id = someone();
    await consume(id, [common("10/1m", 8)]);
    await refusal(consume(id, [common("10/1m", 5)]));
    expect(await letIn(consume, 20, id, [common("10/1m"), own("4/1h")])).toBe(2);
    // What the method's own limit had given for those refused came back.
    await vi.waitFor(async () =>
      expect((await whatIsTold(consume(id, [own("4/1h"), common("10/1m")])))["ratelimit"]).toContain(
        'Open-3600";r=2',
      ),
    );
  });

  test("the window ends, refused calls or not, and is written with its end", async () => {
    const { store, consume } = await gateway();
    const id = someone();
    await consume(id, [common("1/2s")]);
    const error = await refusal(consume(id, [common("1/2s")]));
    expect(error.options.retryAfterMs).toBeGreaterThan(0);
    expect(error.options.retryAfterMs).toBeLessThanOrEqual(2_000);
    await vi.waitFor(() => consume(id, [common("1/2s")]), { timeout: 10_000, interval: 100 });
    const keys = await store.ask((client) => client.keys("portico:limit:common:2:*"));
    expect(keys).toHaveLength(1);
    const left = await store.ask((client) => client.pttl(keys?.[0] ?? ""));
    expect(left).toBeGreaterThan(0);
  });

  test("no subject and no address is to be read there", async () => {
    const { store, consume } = await gateway();
    await consume(principalId("token", "https://issuer.example.com", "canary"), [common("10/3m")]);
    await consume(addressKey("192.0.2.77"), [common("10/3m")]);
    const keys = await store.ask((client) => client.keys("*:180:*"));
    expect(keys).toHaveLength(2);
    for (const key of keys ?? []) expect(key).toMatch(/^portico:limit:common:180:[\w-]{43}$/);
  });

  test("that has lost its scripts, counts go on", async () => {
    const { store, consume } = await gateway();
    const id = someone();
    await consume(id, [common("2/1m")]);
    await store.ask((client) => client.script("FLUSH"));
    expect(await letIn(consume, 5, id, [common("2/1m")])).toBe(1);
  });

  test("that holds something else under a key, the call is counted in memory", async () => {
    const { store, consume } = await gateway();
    const id = someone();
    await consume(id, [common("2/4m")]);
    const [key = ""] = (await store.ask((client) => client.keys("*:240:*"))) ?? [];
    await store.ask((client) => client.multi().del(key).lpush(key, "list").expire(key, 60).exec());
    expect(await letIn(consume, 5, id, [common("2/4m")])).toBe(2);
    await store.ask((client) => client.del(key));
  });

  test("that hangs, each gateway counts in memory, and together again when it goes on", async () => {
    const [one, other] = await Promise.all([gateway(), gateway()]);
    const id = someone();
    expect(await letIn(one.consume, 9, id, [common("3/1h")])).toBe(3);
    redis.pause();
    try {
      const { result, elapsed } = await timed(() => letIn(one.consume, 9, id, [common("3/1h")]));
      expect(result).toBe(3);
      expect(elapsed).toBeLessThan(500);
      expect(await letIn(other.consume, 9, id, [common("3/1h")])).toBe(3);
    } finally {
      redis.resume();
    }
    await Promise.all([whenBack(one.store), whenBack(other.store)]);
    expect(await letIn(one.consume, 9, id, [common("3/1h")])).toBe(0);
    expect(await letIn(other.consume, 9, id, [common("3/1h")])).toBe(0);
  });

  test("that is slow, gateways count in memory", async () => {
    await using way = await startTroubledWay(redis.port);
    const { store, consume } = await gateway(way.port);
    const id = someone();
    way.delay(1_000);
    const { result, elapsed } = await timed(() => letIn(consume, 9, id, [common("3/1h")]));
    expect(result).toBe(3);
    expect(elapsed).toBeLessThan(500);
    way.delay(0);
    await whenBack(store);
    // Counted while nobody waited: 3 of 3 are gone.
    expect(await letIn(consume, 9, id, [common("3/1h")])).toBe(0);
  });

  test("that is down, gateways count in memory, from the start too, and together when it is back", async () => {
    const one = await gateway();
    const id = someone();
    await redis.stop();
    expect(await letIn(one.consume, 9, id, [common("3/1h")])).toBe(3);
    const late = createRedis(redis.url, pino({ level: "silent" }), { answerMs: 150 });
    stack.defer(() => late.close());
    const other = createRateLimit({ redis: late });
    expect(await letIn(other.consume, 9, id, [common("3/1h")])).toBe(3);
    await redis.restart();
    await Promise.all([whenBack(one.store), whenBack(late)]);
    const counts = await Promise.all(
      [one, other].map(({ consume }) => letIn(consume, 9, id, [common("3/1h")])),
    );
    expect(counts.reduce((a, b) => a + b)).toBe(3);
  });
});

describe("an address", () => {
  test.each([
    ["192.0.2.1", "address:192.0.2.1"],
    ["::ffff:192.0.2.1", "address:192.0.2.1"],
    ["::FFFF:c000:0201", "address:192.0.2.1"],
    ["0:0:0:0:0:ffff:255.255.255.255", "address:255.255.255.255"],
    ["2001:db8::1", "address:2001:db8:0:0::/64"],
    ["2001:DB8:0:0:ffff:ffff:ffff:ffff", "address:2001:db8:0:0::/64"],
    ["2001:db8:0:1::1", "address:2001:db8:0:1::/64"],
    ["2001:0db8:00a0::", "address:2001:db8:a0:0::/64"],
    ["::1", "address:0:0:0:0::/64"],
    ["::", "address:0:0:0:0::/64"],
    ["1:2:3:4:5:6:7:8", "address:1:2:3:4::/64"],
    ["1:2:3:4:5:6:7::", "address:1:2:3:4::/64"],
    ["::2:3:4:5:6:7:8", "address:0:2:3:4::/64"],
    ["64:ff9b::192.0.2.1", "address:64:ff9b:0:0::/64"],
    ["fe80::1%eth0", "address:fe80:0:0:0::/64"],
  ])("%s is %s", (ip, key) => {
    expect(addressKey(ip)).toBe(key);
  });

  test.each([
    "",
    "unknown",
    "1.2.3",
    "1.2.3.4:80",
    "[::1]",
    "::1]/",
    "2001:db8::1::2",
    "localhost",
    "1.2.3.4, 5.6.7.8",
  ])("%j is unknown", (ip) => {
    expect(addressKey(ip)).toBe("address:unknown");
  });
});

test("a charge that nobody can ever pay is a problem, which says what would do", () => {
  expect(chargeProblem(common("10/1s, 600/1m", 10))).toBeUndefined();
  expect(chargeProblem(common("off", 1_000))).toBeUndefined();
  expect(chargeProblem(common("600/1m, 10/1s, 20/1h", 50))).toBe(
    "a call costs 50, which is more than the limit 10/1s ever allows: lower the cost to 10 at most, or raise the limit",
  );
});

/** The headers of the answer, or of the refusal. */
async function whatIsTold(call: ReturnType<RateLimit>): Promise<Record<string, string>> {
  return call.then(
    ({ headers }) => ({ ...headers }),
    (error: unknown) => {
      if (!(error instanceof PublicError)) throw error;
      return { ...error.options.headers, message: error.message, ...error.options.metadata };
    },
  );
}

async function timed<T>(work: () => Promise<T>): Promise<{ result: T; elapsed: number }> {
  const before = performance.now();
  const result = await work();
  return { result, elapsed: performance.now() - before };
}
