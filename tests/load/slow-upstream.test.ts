import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { figure } from "../harness/figures.ts";
import { type GatewayProcess, startGateway } from "../harness/gateway-process.ts";
import { summarize } from "../harness/load.ts";
import { startLoadProcess } from "../harness/load-process.ts";
import { scaled } from "../harness/settings.ts";
import { startUpstreams } from "../harness/upstream-process.ts";
import { codesInWords, ms, part, percent } from "./words.ts";
import { capacityOf, lookups, names, orderLists } from "./work.ts";

const forMs = scaled(10_000, 2_000);
const latencyMs = 5_000;

test("C5 an upstream that got slow, under more calls than it could take", async () => {
  await using upstreams = await startUpstreams({ users: 100, orders: 200, items: 0 });
  await using gateway = await startGateway(upstreams.urls);
  const slow = await lookups(gateway, names(16));
  const others = await orderLists(gateway, names(16, "other"));
  const { perSecond: capacity } = await capacityOf(gateway, slow, scaled(2_500, 500));
  await capacityOf(gateway, others, scaled(1_000, 200));

  await upstreams.fault("users", { latencyMs });
  const inFlight = watchInFlight(gateway);
  // More than the slow service may have in flight.
  const base = { url: gateway.url, lean: true, connections: 1_000, forMs, patienceMs: 30_000 };
  await using flood = await startLoadProcess({ ...base, requests: slow, pace: { perSecond: 4 * capacity } });
  await using rest = await startLoadProcess({
    ...base,
    requests: others,
    pace: { perSecond: capacity / 10 },
  });
  const [its, theirs] = (await Promise.all([flood.done, rest.done])).map((result) => summarize(result));
  const { most, limit } = await inFlight.stop();
  if (its === undefined || theirs === undefined) throw new Error("a load had no result");
  const success = part(theirs.ok, theirs.count);
  figure({
    id: "C5",
    test: `an upstream that takes ${latencyMs / 1_000} s, under 4 x capacity`,
    expected: "in flight per upstream <= its limit; calls that need another upstream work",
    measured:
      `at most ${most} in flight, limit ${limit}; ${codesInWords(its)}; ` +
      `another upstream's calls: ${percent(success)} of ${theirs.count}, p99 ${ms(theirs.p99)}`,
    reached: most <= limit && success >= 0.95,
  });
  expect(limit).toBeGreaterThan(0);
  expect(most).toBeGreaterThan(0);
  expect(most).toBeLessThanOrEqual(limit);
  expect(["ok", "unavailable", "deadline_exceeded", "resource_exhausted"]).toEqual(
    expect.arrayContaining(Object.keys(its.codes)),
  );
  expect(["ok", "unavailable"]).toEqual(expect.arrayContaining(Object.keys(theirs.codes)));
});

/** Asks the gateway, time and again, how many calls to the slow service it has in flight. */
function watchInFlight(gateway: GatewayProcess) {
  let [most, limit, over] = [0, 0, false];
  const watch = async () => {
    for (; !over; await delay(100)) {
      most = Math.max(most, (await gateway.metric("portico_upstream_in_flight", { upstream: "users" })) ?? 0);
      limit = (await gateway.metric("portico_upstream_limit", { upstream: "users" })) ?? 0;
    }
  };
  const watching = watch();
  return {
    stop: async () => {
      over = true;
      await watching;
      return { most, limit };
    },
  };
}
