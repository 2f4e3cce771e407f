import { expect, test } from "vitest";
import { figure } from "../harness/figures.ts";
import { type GatewayProcess, startGateway } from "../harness/gateway-process.ts";
import { summarize } from "../harness/load.ts";
import { startLoadProcess } from "../harness/load-process.ts";
import type { PreparedRequest } from "../harness/requests.ts";
import { scaled } from "../harness/settings.ts";
import { startRememberingUpstreams } from "./remembering.ts";
import { ms, percent } from "./words.ts";
import { capacityOf, connections, joins, lookups, names } from "./work.ts";

/** How long each rate is kept up. */
const forMs = scaled(4_000, 1_000);

const works = {
  "a page of 20 orders joined with users": joins,
  "one user": lookups,
};

test.each(Object.entries(works))("C1, C2 more than the gateway can do of %s", async (what, requestsOf) => {
  await using upstreams = await startRememberingUpstreams({ users: 100, orders: 200, items: 0 });
  await using gateway = await startGateway(upstreams.urls);
  const requests = await requestsOf(gateway, names(16));
  const { perSecond: peak, summary } = await capacityOf(gateway, requests, forMs);
  expect(summary.codes).toEqual({ ok: summary.count });
  const calm = await offer(gateway, requests, peak / 5);
  for (const times of [2, 4, 8, 10]) {
    const { all, admitted, refused, seconds } = await offer(gateway, requests, peak * times);
    const { loopLagMs } = await gateway.probe();
    const goodput = admitted.count / seconds / peak;
    figure({
      id: "C1",
      test: `${what}: ${times} times the ${Math.round(peak)} a second that are possible`,
      expected:
        "goodput >= 80 % of peak; admitted p99 <= 3 x unloaded; rejections p99 <= 20 ms; loop lag p99 <= 100 ms",
      measured: `goodput ${percent(goodput)} of what is possible, with ${Math.round(all.count / (forMs / 1_000))} asked for a second; admitted p99 ${ms(admitted.p99)}, unloaded ${ms(calm.admitted.p99)}; ${refused.count} rejections, p50 ${ms(refused.p50)}, p99 ${ms(refused.p99)}; loop lag p99 ${ms(loopLagMs.p99)}`,
      reached:
        goodput >= 0.8 && admitted.p99 <= 3 * calm.admitted.p99 && refused.p99 <= 20 && loopLagMs.p99 <= 100,
    });
    // Whatever is not answered is refused as such: nothing breaks, and nobody gets a wrong answer.
    expect(
      Object.keys(all.codes).filter((code) => !["ok", "unavailable", "hung", "network"].includes(code)),
    ).toEqual([]);
    expect(admitted.count).toBeGreaterThan(0);
  }
  const after = await offer(gateway, requests, peak * 0.8, 6_000);
  const settled = after.since(5_000);
  figure({
    id: "C2",
    test: `${what}: back to 0.8 times at once`,
    expected: ">= 99 % success <= 5 s",
    measured: `${percent(settled.ok / settled.count)} of ${settled.count} after 5 s; ${percent(after.all.ok / after.all.count)} from the first moment on`,
    reached: settled.ok / settled.count >= 0.99,
  });
  expect(gateway.crashes()).toEqual([]);
});

async function offer(
  gateway: GatewayProcess,
  requests: readonly PreparedRequest[],
  perSecond: number,
  lastsMs = forMs,
) {
  await gateway.probe();
  await using load = await startLoadProcess({
    url: gateway.url,
    requests,
    pace: { perSecond },
    lean: true,
    connections,
    forMs: lastsMs,
  });
  const result = await load.done;
  const beganAt = Math.min(...result.startedAt);
  // Node accepts one connection each turn of its loop: the first second is theirs.
  const from = beganAt + Math.min(1_000, lastsMs / 4);
  return {
    all: summarize(result),
    seconds: (beganAt + lastsMs - from) / 1_000,
    admitted: summarize(result, { from, code: "ok" }),
    refused: summarize(result, { from, code: "unavailable" }),
    since: (ms: number) => summarize(result, { from: beganAt + ms }),
  };
}
