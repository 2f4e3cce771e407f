import { setTimeout as delay } from "node:timers/promises";
import { Code } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { figure } from "../harness/figures.ts";
import { startGateway } from "../harness/gateway-process.ts";
import { startLoad, summarize } from "../harness/load.ts";
import { scaled } from "../harness/settings.ts";
import { startUpstreams } from "../harness/upstream-process.ts";
import {
  causes,
  codeOf,
  inWords,
  orderCall,
  steady,
  strange,
  unhurried,
  userCall,
  writeCalls,
} from "./calls.ts";

test("B6 an upstream that fails all the time is not called more often for it", async () => {
  await using upstreams = await startUpstreams({ users: 20, orders: 20, items: 20 });
  await using gateway = await startGateway(upstreams.urls, unhurried);
  const token = await gateway.token();
  const { url } = gateway;
  const failingMs = scaled(20_000, 3_000);
  await upstreams.fault("users", { code: Code.Unavailable, message: "too busy" });
  const reads = startLoad({ url, requests: [userCall("grpc", token)], ...steady });
  const writes = startLoad({
    url,
    requests: await writeCalls("h1-json", gateway),
    connections: 4,
    pace: { callers: 4, pauseMs: 50 },
  });
  const bystander = startLoad({ url, requests: [orderCall("grpc", token)], ...steady });
  await delay(failingMs);
  const [read, write] = (await Promise.all([reads.stop(), writes.stop()])).map((it) => summarize(it));
  if (read === undefined || write === undefined) throw new Error("a load had no result");
  const { count: readsSent } = await upstreams.calls("users", "getUser");
  const { count: writesSent } = await upstreams.calls("users", "createUser");
  await upstreams.clearFaults("users");
  const healedAt = performance.now();
  await expect.poll(() => codeOf(url, userCall("grpc", token)), { timeout: 60_000, interval: 20 }).toBe("ok");
  const recoveryMs = performance.now() - healedAt;
  const others = summarize(await bystander.stop());
  const calls = readsSent + writesSent;
  const ratio = calls / (read.count + write.count);
  figure({
    id: "B6",
    test: `an upstream failing 100 % for ${failingMs / 1_000} s`,
    expected: "upstream calls <= 1.1 x client calls; non-idempotent ones sent once",
    measured:
      `${calls} upstream calls for ${read.count + write.count} (${ratio.toFixed(3)} x); ` +
      `${writesSent} for ${write.count} non-idempotent; works ${Math.round(recoveryMs)} ms after it is well; ` +
      `another upstream: ${inWords(others)}`,
    reached: ratio <= 1.1 && writesSent <= write.count && others.failed === 0,
  });
  expect(
    [...strange(read, "unavailable"), ...strange(write, "unavailable")],
    JSON.stringify(causes(gateway)),
  ).toEqual([]);
  expect(writesSent).toBeLessThanOrEqual(write.count);
  // What a retry budget may have saved up for a start comes on top.
  expect(calls).toBeLessThanOrEqual((read.count + write.count) * 1.1 + 20);
  expect(others.codes).toEqual({ ok: others.count });
});
