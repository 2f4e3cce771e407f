import { expect, test } from "vitest";
import { UsersService } from "../../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { inWords, ms, patientMs, steady, unhurried, userCall } from "../faults/calls.ts";
import { figure } from "../harness/figures.ts";
import { openFrames, request } from "../harness/frames.ts";
import { startGateway } from "../harness/gateway-process.ts";
import { summarize } from "../harness/load.ts";
import { startLoadProcess } from "../harness/load-process.ts";
import { scaled } from "../harness/settings.ts";
import { startUpstreams } from "../harness/upstream-process.ts";
import { floodsOf } from "./floods.ts";

const count = scaled(20_000, 20_000);

test("D2 floods of HTTP/2 frames end their connections, and nobody else's", async () => {
  await using upstreams = await startUpstreams({ users: 20, orders: 0, items: 0 });
  await using gateway = await startGateway(upstreams.urls, unhurried);
  const token = await gateway.token();
  const authorization = ["authorization", `Bearer ${token}`] as const;
  const post = request(`/${UsersService.typeName}/GetUser`, [
    ["content-type", "application/json"],
    authorization,
  ]);
  const floods = floodsOf({ count, post, get: request("/healthz", [], "GET") });
  const others = { url: gateway.url, ...steady, patienceMs: 30_000 };
  await using overH1 = await startLoadProcess({
    ...others,
    requests: [userCall("h1-json", token, patientMs)],
  });
  await using overH2 = await startLoadProcess({ ...others, requests: [userCall("grpc", token, patientMs)] });
  await gateway.probe();
  const ends: (readonly [name: string, tookMs: number])[] = [];
  for (const [name, bytes] of floods) ends.push([name, await flood(gateway.url, bytes())]);
  const { loopLagMs } = await gateway.probe();
  const h1 = summarize(await overH1.stop());
  const h2 = summarize(await overH2.stop());
  const [slowest, took] = ends.reduce((worst, it) => (it[1] > worst[1] ? it : worst));
  const part = Math.min(h1.ok / h1.count, h2.ok / h2.count);
  figure({
    id: "D2",
    test: `${floods.length} kinds of floods of HTTP/2 frames, ${count} frames each, beside calls over HTTP/1.1 and HTTP/2`,
    expected: "connection closed; others >= 99 %",
    measured:
      `${floods.length} connections closed, after ${ms(took)} at most (${slowest}); longest stall ${ms(loopLagMs.max)}; ` +
      `others over HTTP/1.1: ${inWords(h1)}; over HTTP/2: ${inWords(h2)}`,
    reached: part >= 0.99,
  });
  expect(part).toBeGreaterThanOrEqual(0.99);
  expect(gateway.crashes()).toEqual([]);
  await expect.poll(async () => (await gateway.readyz()).inFlight, { timeout: 30_000 }).toBe(0);
});

/**
 * Sends a flood, in parts, so that what is refused early is not sent. Resolves when the other side has ended the connection,
 * to the milliseconds that it took.
 */
async function flood(url: string, bytes: Buffer): Promise<number> {
  await using client = await openFrames(url);
  const startedAt = performance.now();
  for (let at = 0; at < bytes.length && client.isOpen(); at += 65_536)
    await client.send(bytes.subarray(at, at + 65_536));
  await client.ended;
  return performance.now() - startedAt;
}
