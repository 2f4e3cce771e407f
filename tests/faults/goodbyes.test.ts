import { once } from "node:events";
import { constants, createServer, type Http2Session } from "node:http2";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { answer } from "../faulty-upstream.ts";
import { healthy } from "../garbage.ts";
import { figure } from "../harness/figures.ts";
import { startGateway } from "../harness/gateway-process.ts";
import { startLoad, summarize } from "../harness/load.ts";
import { scaled } from "../harness/settings.ts";
import { startUpstreams } from "../harness/upstream-process.ts";
import { causes, inWords, steady, unhurried, userCall } from "./calls.ts";

test("B2 an upstream that says goodbye all the time", async () => {
  await using others = await startUpstreams({ users: 0, orders: 20, items: 0 });
  for (const [what, load, rhythm] of [
    ["busy", steady, "life"],
    // A call now and then, so that most goodbyes come while nothing runs.
    ["idle", { pace: { callers: 1, pauseMs: 70 }, connections: 1 }, "life"],
    ["busy", steady, "tick"],
  ] as const) {
    await using upstream = await startLeaving(rhythm);
    await using gateway = await startGateway({ ...others.urls, users: upstream.url }, unhurried);
    const token = await gateway.token();
    const wanted = scaled(300, 20);
    const loads = (["h1-json", "grpc"] as const).map((way) =>
      startLoad({ url: gateway.url, requests: [userCall(way, token)], ...load }),
    );
    const timeout = scaled(120_000, 30_000);
    await expect.poll(upstream.goodbyes, { timeout, interval: 20 }).toBeGreaterThanOrEqual(wanted);
    const results = await Promise.all(loads.map((it) => it.stop()));
    const seen = results.map((result) => summarize(result));
    const failed = seen.reduce((sum, it) => sum + it.failed, 0);
    figure({
      id: "B2",
      test: `${upstream.goodbyes()} GOAWAYs, ${rhythms[rhythm]}, ${what}`,
      expected: "no client fails where a retry is safe; no crash",
      measured: seen.map(inWords).join("; "),
      reached: failed === 0,
    });
    expect(gateway.crashes()).toEqual([]);
    // Where a connection takes longer to be made than it lasts, there is no way to be served.
    if (rhythm === "tick") continue;
    expect(
      seen.map(({ failed }) => failed),
      JSON.stringify(causes(gateway)),
    ).toEqual([0, 0]);
  }
});

const everyMs = 50;

/** When a connection is told goodbye: so long after its first call, or with all others, however new it is. */
const rhythms = {
  life: `${everyMs} ms after the first call of each connection`,
  tick: `to all connections at once every ${everyMs} ms`,
};

/**
 * A service whose connections do not last. It answers every call that it takes, and says goodbye in turns: it waits for
 * what runs and refuses what comes, or hangs up a moment after, and has not looked at what came in between.
 */
async function startLeaving(rhythm: keyof typeof rhythms) {
  const sessions = new Set<Http2Session>();
  const served = new WeakSet<Http2Session>();
  let goodbyes = 0;
  const leave = (session: Http2Session) => {
    if (session.destroyed) return;
    if (goodbyes++ % 2 === 0) {
      session.close();
      return;
    }
    session.goaway(constants.NGHTTP2_NO_ERROR);
    setTimeout(() => session.destroy(), 20);
  };
  const server = createServer();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("error", () => {}).on("close", () => sessions.delete(session));
  });
  server.on("stream", (stream) => {
    stream.on("error", () => {});
    answer(stream, [healthy]);
    const { session } = stream;
    if (rhythm === "tick" || session === undefined || served.has(session)) return;
    served.add(session);
    // Not before what has arrived meanwhile, however late this process is.
    setTimeout(() => setImmediate(leave, session), everyMs);
  });
  const ticks = setInterval(() => rhythm === "tick" && sessions.forEach(leave), everyMs);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    // A TCP server's address is never the text that a Unix socket's is.
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    goodbyes: () => goodbyes,
    [Symbol.asyncDispose]: async () => {
      clearInterval(ticks);
      const closed = once(server, "close");
      server.close();
      for (const session of sessions) session.destroy();
      await closed;
    },
  };
}
