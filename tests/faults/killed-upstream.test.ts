import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { figure } from "../harness/figures.ts";
import { startGateway } from "../harness/gateway-process.ts";
import { type LoadResult, now, startLoad, summarize } from "../harness/load.ts";
import { scaled } from "../harness/settings.ts";
import { startUpstreams } from "../harness/upstream-process.ts";
import { causes, deadlineMs, ms, orderCall, steady, unhurried, userCall, writeCalls } from "./calls.ts";

test("B1 an upstream that is killed and comes back, again and again", async () => {
  const rounds = scaled(20, 2);
  // Small, so that it is back soon; the other services live in another process.
  await using users = await startUpstreams({ users: 20, orders: 0, items: 0 });
  await using others = await startUpstreams({ users: 0, orders: 100, items: 0 });
  await using gateway = await startGateway({ ...others.urls, users: users.urls.users }, unhurried);
  const token = await gateway.token();
  const { url } = gateway;
  // Sent once; the others may be sent again.
  const writes = await writeCalls("h1-json", gateway);
  const loads = [writes, [userCall("h1-json", token)], [userCall("grpc", token)]].map((requests) =>
    startLoad({ url, requests, ...steady, pace: { callers: 8, pauseMs: 50 } }),
  );
  const bystander = startLoad({ url, requests: [orderCall("grpc", token)], ...steady });
  const kills: Kill[] = [];
  for (let round = 0; round < rounds; round++) {
    // Takes a while, so that there are calls in flight when the service dies.
    await users.fault("users", { latencyMs: 40 });
    await delay(400);
    const at = now();
    await users.kill();
    await users.start();
    kills.push({ at, backAt: now() });
    await delay(deadlineMs + 300);
  }
  const seen = (await Promise.all(loads.map((load) => load.stop()))).map((result) => outcomes(result, kills));
  const away = summarize(await bystander.stop());
  const writesMs = seen[0]?.inFlightMs ?? [];
  const readsMs = seen.slice(1).flatMap(({ inFlightMs }) => inFlightMs);
  const late = seen.reduce((sum, { lateFailures }) => sum + lateFailures, 0);
  const slowest = Math.max(...writesMs);
  figure({
    id: "B1",
    test: `upstream SIGKILLed and restarted x ${rounds}, under load over HTTP/1.1 and gRPC`,
    expected: "in flight: unavailable within 50 ms; all succeed <= 1 s after the restart; no crash",
    measured:
      `${writesMs.length} in flight that are sent once: unavailable within ${ms(slowest)}; ${readsMs.length} that may be ` +
      `sent again: within ${ms(Math.max(...readsMs))}; the last failure ` +
      `${ms(Math.max(...seen.map(({ recoveryMs }) => recoveryMs)))} after a restart, ${late} after 1 s`,
    reached: slowest <= 50 && late === 0,
  });
  expect(Math.min(writesMs.length, readsMs.length)).toBeGreaterThan(0);
  for (const { codes } of seen) expect([...codes].filter((code) => !expected.includes(code))).toEqual([]);
  expect(late, JSON.stringify(causes(gateway))).toBe(0);
  expect(away.codes, JSON.stringify(causes(gateway))).toEqual({ ok: away.count });
  expect(gateway.crashes()).toEqual([]);
});

/** That somebody exists already is an answer of the service. Time runs out for who waits for a slow machine. */
const answered = ["ok", "already_exists"];
const expected = [...answered, "unavailable", "deadline_exceeded"];

interface Kill {
  readonly at: number;
  /** When the service listened again. */
  readonly backAt: number;
}

/** How the calls of a load ended, seen from the kills. */
function outcomes(result: LoadResult, kills: readonly Kill[]) {
  const inFlightMs: number[] = [];
  const codes = new Set<string>();
  let lateFailures = 0;
  let recoveryMs = 0;
  result.startedAt.forEach((at, index) => {
    const code = result.codes[result.code[index] ?? 0] ?? "ok";
    const end = at + (result.durationMs[index] ?? 0);
    codes.add(code);
    if (answered.includes(code)) return;
    const kill = kills.findLast((it) => it.at <= end);
    if (kill === undefined || at > kill.backAt + deadlineMs) lateFailures++;
    else if (at < kill.at) inFlightMs.push(end - kill.at);
    else if (at > kill.backAt) recoveryMs = Math.max(recoveryMs, at - kill.backAt);
  });
  return { inFlightMs, codes, lateFailures, recoveryMs };
}
