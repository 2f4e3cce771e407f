import { expect, test } from "vitest";
import { pollMs, startBalancer } from "../harness/balancer.ts";
import { figure } from "../harness/figures.ts";
import { startGateway } from "../harness/gateway-process.ts";
import { summarize } from "../harness/load.ts";
import { startLoadProcess } from "../harness/load-process.ts";
import { scaled } from "../harness/settings.ts";
import { startUpstreams } from "../harness/upstream-process.ts";
import { causes, inWords, unhurried, userCall } from "./calls.ts";
import { environmentOf, startTroubledIssuer } from "./troubled-issuer.ts";

test("B10 replicas that are restarted one after the other, under load", async () => {
  const restarts = scaled(20, 2);
  const wanted = scaled(20_000, 1_000);
  await using upstreams = await startUpstreams({ users: 20, orders: 20, items: 20 });
  await using issuer = await startTroubledIssuer();
  const quiet = { LOG_LEVEL: "info", LOG_SAMPLE_RATIO: "0" };
  // Longer than the balancer needs to notice, on a machine that has much to do.
  const env = { ...unhurried, ...environmentOf(issuer), ...quiet, DRAIN_DELAY_MS: `${20 * pollMs}` };
  await using first = await startGateway(upstreams.urls, env);
  await using second = await startGateway(upstreams.urls, env);
  const replicas = [first, second];
  await using balancer = await startBalancer(replicas);
  await balancer.ready(2);
  const token = issuer.token();
  const { url } = balancer;
  // Nobody is in a hurry: what fails is what a restart fails, not what a full machine does.
  const patient = { url, patienceMs: 30_000 };
  await using h1 = await startLoadProcess({
    ...patient,
    requests: [userCall("h1-json", token, 20_000)],
    connections: 20,
    pace: { callers: 20 },
  });
  await using h2 = await startLoadProcess({
    ...patient,
    requests: [userCall("grpc", token, 20_000)],
    connections: 4,
    pace: { callers: 8, pauseMs: 5 },
    retryRefused: 5,
  });
  const ends: { readonly code: number | null; readonly durationMs: number }[] = [];
  for (let round = 0; round < restarts; round++) {
    const replica = replicas[round % 2] ?? first;
    ends.push(await replica.stop());
    await replica.restart();
    await balancer.ready(2);
  }
  await expect.poll(h1.count, { timeout: 240_000, interval: 500 }).toBeGreaterThanOrEqual(wanted);
  const results = [await h1.stop(), await h2.stop()];
  const [overH1, overH2] = results.map((result) => summarize(result));
  if (overH1 === undefined || overH2 === undefined) throw new Error("a load had no result");
  const slowest = Math.max(...ends.map(({ durationMs }) => durationMs));
  const stopped = replicas.flatMap((it) => it.log()).filter(({ msg }) => msg === "stopped");
  const cutOff = stopped.reduce((sum, it) => sum + Number(it["cutOff"]), 0);
  figure({
    id: "B10",
    test: `SIGTERM under load, ${restarts} rolling restarts of 2 replicas behind a balancer`,
    expected: `HTTP/1.1: 0 of >= ${wanted} failed; HTTP/2: 0 with a retry of refused streams; exit <= 15 s`,
    measured:
      `HTTP/1.1: ${inWords(overH1)}; HTTP/2: ${inWords(overH2)}, ${results[1]?.retried} retried; ` +
      `${balancer.refused()} that no replica took; exit after ${(slowest / 1_000).toFixed(1)} s at most, ${cutOff} cut off`,
    reached: overH1.failed === 0 && overH2.failed === 0 && slowest <= 15_000,
  });
  expect(
    results.flatMap(({ failures }) => failures.slice(0, 5)),
    JSON.stringify(replicas.map(causes)),
  ).toEqual([]);
  expect(new Set(ends.map(({ code }) => code))).toEqual(new Set([0]));
  expect(stopped.length).toBeGreaterThan(0);
  expect(cutOff).toBe(0);
  expect(overH1.count).toBeGreaterThanOrEqual(wanted);
});
