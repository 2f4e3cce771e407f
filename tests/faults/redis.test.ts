import { once } from "node:events";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { UsersService } from "../../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { figure } from "../harness/figures.ts";
import { startGateway } from "../harness/gateway-process.ts";
import { type LoadResult, now, startLoad, summarize } from "../harness/load.ts";
import { prepare } from "../harness/requests.ts";
import { scaled } from "../harness/settings.ts";
import { startUpstreams } from "../harness/upstream-process.ts";
import { noRedis, startRedis, startTroubledWay } from "../redis.ts";
import { causes, ms, orderCall, steady, unhurried } from "./calls.ts";

test.skipIf(noRedis)(`B7 a Redis in trouble${noRedis}`, async () => {
  await using redis = await startRedis();
  await using way = await startTroubledWay(redis.port);
  await using upstreams = await startUpstreams({ users: 20, orders: 20, items: 20 });
  await using gateway = await startGateway(upstreams.urls, {
    ...unhurried,
    REDIS_URL: `redis://127.0.0.1:${way.port}`,
    RATE_LIMIT_AUTHENTICATED: "1000000/1m",
    RATE_LIMIT_ANONYMOUS: `${anonymousLimit}/1h`,
    TRUSTED_PROXIES: "127.0.0.1",
  });
  const token = await gateway.token();
  const { url } = gateway;
  const troubles: Readonly<Record<string, { begin: () => unknown; end?: () => unknown }>> = {
    hung: { begin: redis.pause, end: redis.resume },
    slow: { begin: () => way.delay(500), end: () => way.delay(0) },
    // Over at once: whoever connects anew is served.
    "half open": { begin: way.freeze },
    down: { begin: redis.stop, end: redis.restart },
  };
  for (const [index, [what, { begin, end }]] of Object.entries(troubles).entries()) {
    const load = startLoad({ url, requests: [orderCall("grpc", token)], ...steady });
    const healthyAt = now();
    await delay(scaled(2_000, 500));
    const troubledAt = now();
    await begin();
    await delay(scaled(2_500, 500));
    // Callers that Redis has never heard of.
    const limited = await countRefusals(url, `10.0.0.${index}`);
    const healedAt = now();
    await end?.();
    const recoveryMs = (await countsAgain(redis.port)) + (end === undefined ? healedAt - troubledAt : 0);
    const result = await load.stop();
    const { before, meanwhile, whole } = windows(result, healthyAt, troubledAt, healedAt);
    const added = meanwhile.p99 - before.p99;
    figure({
      id: "B7",
      test: `Redis ${what}`,
      expected: "<= 20 ms added; local limits take over; recovery <= 5 s",
      measured:
        `p50 ${ms(before.p50)} -> ${ms(meanwhile.p50)}, p99 ${ms(before.p99)} -> ${ms(meanwhile.p99)}; ` +
        `${limited.passed} of ${anonymousLimit} let in, ${limited.refused} refused; recovery after ${ms(recoveryMs)}; ` +
        `${whole.failed} of ${whole.count} calls failed`,
      reached: added <= 20 && recoveryMs <= 5_000 && whole.failed === 0,
    });
    expect(whole.codes, JSON.stringify(causes(gateway))).toEqual({ ok: whole.count });
    expect(limited).toEqual({ passed: anonymousLimit, refused: 5 });
  }
  expect(gateway.crashes()).toEqual([]);
});

const anonymousLimit = 10;

/** Calls without credentials, which are counted by address: how many were refused for being too many. */
async function countRefusals(url: string, address: string) {
  const headers = { "x-forwarded-for": address };
  const request = prepare("h1-json", UsersService.method.listUsers, {}, { headers });
  const calls = anonymousLimit + 5;
  const load = startLoad({ url, requests: [request], calls, pace: { callers: 1 }, connections: 1 });
  const { codes } = summarize(await load.done);
  return { passed: codes["unauthenticated"] ?? 0, refused: codes["resource_exhausted"] ?? 0 };
}

function windows(result: LoadResult, healthyAt: number, troubledAt: number, healedAt: number) {
  return {
    // Without the first calls, which open connections.
    before: summarize(result, { from: healthyAt + 300, to: troubledAt }),
    meanwhile: summarize(result, { from: troubledAt, to: healedAt }),
    whole: summarize(result),
  };
}

/** Resolves to how long it took until Redis counts calls again. */
async function countsAgain(port: number): Promise<number> {
  const startedAt = performance.now();
  const first = await countedBy(port);
  // More than may have waited in a buffer.
  while ((await countedBy(port)) - first < 30 && performance.now() - startedAt < 30_000) await delay(20);
  return performance.now() - startedAt;
}

/** How many scripts Redis has run, which is what counts calls there. */
async function countedBy(port: number): Promise<number> {
  const socket = connect(port, "127.0.0.1");
  socket.write("INFO commandstats\r\nQUIT\r\n");
  let text = "";
  socket.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  await once(socket, "close");
  const counts = [...text.matchAll(/cmdstat_eval(?:sha)?:calls=(\d+)/g)].map(([, count]) => Number(count));
  return counts.reduce((sum, count) => sum + count, 0);
}
