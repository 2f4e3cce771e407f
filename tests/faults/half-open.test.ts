import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { startFaultProxy } from "../harness/fault-proxy.ts";
import { figure } from "../harness/figures.ts";
import { startGateway } from "../harness/gateway-process.ts";
import { now, startLoad, summarize } from "../harness/load.ts";
import { startUpstreams } from "../harness/upstream-process.ts";
import { causes, codeOf, inWords, ms, orderCall, steady, unhurried, userCall } from "./calls.ts";

test("B3 a connection whose other end is gone without a word", async () => {
  await using upstreams = await startUpstreams({ users: 20, orders: 20, items: 20 });
  await using proxy = await startFaultProxy(upstreams.urls.users);
  await using gateway = await startGateway({ ...upstreams.urls, users: proxy.url }, unhurried);
  const token = await gateway.token();
  const load = startLoad({ url: gateway.url, requests: [userCall("grpc", token)], ...steady });
  const bystander = startLoad({ url: gateway.url, requests: [orderCall("grpc", token)], ...steady });
  await delay(500);
  const frozenAt = now();
  proxy.freeze();
  // Not the calls of before, which are answered by what was on the way.
  await expect.poll(() => codeOf(gateway.url, userCall("grpc", token)), { timeout: 3_000 }).not.toBe("ok");
  await expect
    .poll(() => codeOf(gateway.url, userCall("grpc", token)), { timeout: 60_000, interval: 100 })
    .toBe("ok");
  const recoveredAt = now();
  await delay(1_500);
  const result = await load.stop();
  const others = summarize(await bystander.stop());
  const recoveryMs = recoveredAt - frozenAt;
  const after = summarize(result, { from: recoveredAt + 1_000 });
  figure({
    id: "B3",
    test: "a half-open connection to an upstream, default pings",
    expected: "recovery <= 13 s",
    measured: `recovery after ${ms(recoveryMs)}; then ${inWords(after)}; another upstream: ${inWords(others)}`,
    reached: recoveryMs <= 13_000 && after.failed === 0,
  });
  expect(after.codes).toEqual({ ok: after.count });
  expect(others.codes, JSON.stringify(causes(gateway))).toEqual({ ok: others.count });
});
