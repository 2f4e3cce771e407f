import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { type Behaviour, grpcHeaders, startFaultyUpstream } from "../faulty-upstream.ts";
import { figure } from "../harness/figures.ts";
import { type GatewayProcess, startGateway } from "../harness/gateway-process.ts";
import { startLoad, summarize } from "../harness/load.ts";
import { scaled } from "../harness/settings.ts";
import { startUpstreams } from "../harness/upstream-process.ts";
import { deadlineMs, inWords, ms, orderCall, steady, unhurried, userCall } from "./calls.ts";

const silence: Readonly<Record<string, Behaviour>> = {
  "accepts and says nothing": { socket: () => {} },
  "takes calls and says nothing": { stream: () => {} },
  "stalls after the headers": { stream: (stream) => stream.respond(grpcHeaders) },
};

test("B4 an upstream that keeps callers waiting", async () => {
  await using others = await startUpstreams({ users: 0, orders: 20, items: 0 });
  await using upstream = await startFaultyUpstream();
  await using gateway = await startGateway({ ...others.urls, users: upstream.url }, unhurried);
  const token = await gateway.token();
  // Once, so that what is compared is warm.
  await measureOthers(gateway, token);
  for (const [what, behaviour] of Object.entries(silence)) {
    const before = await measureOthers(gateway, token);
    upstream.behave(behaviour);
    const stuck = startLoad({
      url: gateway.url,
      requests: [userCall("grpc", token)],
      pace: { callers: 8 },
      patienceMs: 5_000,
    });
    await delay(200);
    const meanwhile = await measureOthers(gateway, token);
    const waited = summarize(await stuck.stop());
    const late = Math.max(waited.max - deadlineMs, 0);
    const change = (meanwhile.p99 / before.p99 - 1) * 100;
    figure({
      id: "B4",
      test: `an upstream that ${what}`,
      expected: "ends at the deadline +-50 ms; p99 of other upstreams +<= 10 %",
      measured:
        `${inWords(waited)}, at most ${ms(late)} after the deadline; others: p50 ${ms(before.p50)} -> ${ms(meanwhile.p50)}, ` +
        `p99 ${ms(before.p99)} -> ${ms(meanwhile.p99)} (${change.toFixed(0)} %)`,
      reached: late <= 50 && change <= 10,
    });
    expect(
      Object.keys(waited.codes).filter((code) => !["deadline_exceeded", "unavailable"].includes(code)),
    ).toEqual([]);
    expect(meanwhile.codes).toEqual({ ok: meanwhile.count });
  }
});

async function measureOthers(gateway: GatewayProcess, token: string) {
  const load = startLoad({
    url: gateway.url,
    requests: [orderCall("grpc", token)],
    ...steady,
    forMs: scaled(3_000, 1_000),
  });
  return summarize(await load.done);
}
