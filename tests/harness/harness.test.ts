import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { UsersService } from "../../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { startFaultProxy } from "./fault-proxy.ts";
import { data, flags, frameTypes, headers, openFrames, request } from "./frames.ts";
import { type GatewayProcess, startGateway } from "./gateway-process.ts";
import { startLoad, summarize } from "./load.ts";
import { startLoadProcess } from "./load-process.ts";
import { type LoadWay, prepare } from "./requests.ts";
import { startUpstreams, type UpstreamProcess } from "./upstream-process.ts";

// What the programme stands on: a fault that is not made, or a failure that is not seen, would prove anything.

const { getUser } = UsersService.method;
const ways: readonly LoadWay[] = ["h1-json", "h1-proto", "h2-json", "grpc"];

describe("a gateway and internal services in processes of their own", () => {
  let upstreams: UpstreamProcess;
  let gateway: GatewayProcess;
  let token: string;
  beforeAll(async () => {
    upstreams = await startUpstreams({ users: 20, orders: 20, items: 20 });
    gateway = await startGateway(upstreams.urls);
    token = await gateway.token();
  });
  afterAll(async () => {
    await gateway[Symbol.asyncDispose]();
    await upstreams[Symbol.asyncDispose]();
  });
  const prepared = (way: LoadWay, id = "user-1") =>
    prepare(way, getUser, { id }, { token, timeoutMs: 5_000 });

  test.each(ways)("are called by a load over %s, which counts every code", async (way) => {
    const requests = [prepared(way), prepared(way, "user-999999")];
    await using load = await startLoadProcess({
      url: gateway.url,
      requests,
      calls: 40,
      pace: { callers: 4 },
    });
    const result = await load.done;
    expect(summarize(result)).toMatchObject({
      count: 40,
      ok: 20,
      failed: 20,
      codes: { ok: 20, not_found: 20 },
    });
    expect(result.failures).toHaveLength(20);
  });

  test("are called by an open loop at its own pace", async () => {
    const load = startLoad({
      url: gateway.url,
      requests: [prepared("grpc")],
      pace: { perSecond: 200 },
      calls: 50,
    });
    expect(summarize(await load.done)).toMatchObject({ count: 50, ok: 50, codes: { ok: 50 } });
  });

  test("fail on demand, and tell what they were asked", async () => {
    await upstreams.forget("users");
    await upstreams.fault("users", { code: Code.Unavailable, method: "getUser" });
    const load = startLoad({ url: gateway.url, requests: [prepared("h1-json")], calls: 1 });
    expect(summarize(await load.done).codes).toEqual({ unavailable: 1 });
    expect((await upstreams.calls("users", "getUser")).count).toBeGreaterThanOrEqual(1);
    await upstreams.clearFaults("users");
  });

  test("say how they are", async () => {
    expect(await gateway.readyz()).toMatchObject({ httpStatus: 200, status: "ready" });
    const probe = await gateway.probe();
    expect(probe.heapBytes).toBeGreaterThan(1_000_000);
    expect(probe.resources).toMatchObject({ TCPServerWrap: 2 });
    expect(gateway.crashes()).toEqual([]);
  });

  test("are killed and come back on the same ports", async () => {
    await upstreams.kill();
    await upstreams.start();
    const { url } = gateway;
    await gateway.restart();
    expect(gateway.url).toBe(url);
    token = await gateway.token();
    const load = startLoad({ url, requests: [prepared("grpc")], calls: 1 });
    expect(summarize(await load.done).codes).toEqual({ ok: 1 });
  });

  test("a client of frames is answered, and sees how the connection ends", async () => {
    await using client = await openFrames(gateway.url);
    await client.send(headers(1, request("/healthz", [], "GET"), flags.endStream));
    const body = await client.next(({ type, streamId }) => type === frameTypes.data && streamId === 1);
    expect(body?.payload.toString()).toContain("ok");
    await client.send(data(0, Buffer.from("data on no stream")));
    expect((await client.ended).goaway?.code).toBe(1);
    expect(client.isOpen()).toBe(false);
  });

  test("a proxy loses, delays, pauses and resets", async () => {
    await using proxy = await startFaultProxy(gateway.url);
    const once = async (patienceMs: number) => {
      const load = startLoad({ url: proxy.url, requests: [prepared("h1-json")], calls: 1, patienceMs });
      return summarize(await load.done);
    };
    expect((await once(5_000)).codes).toEqual({ ok: 1 });
    proxy.delay(100);
    expect((await once(5_000)).max).toBeGreaterThanOrEqual(199);
    proxy.delay(0);
    for (const [begin, end] of [
      [() => proxy.behave("drop"), () => proxy.behave("pass")],
      [proxy.pause, proxy.resume],
    ] as const) {
      begin();
      expect((await once(300)).codes).toEqual({ hung: 1 });
      end();
      expect((await once(5_000)).codes).toEqual({ ok: 1 });
    }
    proxy.behave("refuse");
    expect((await once(5_000)).codes).toEqual({ network: 1 });
  });
});

test("an end that nobody asked for is a crash", async () => {
  const nowhere = "http://127.0.0.1:1";
  const gateway = await startGateway({ users: nowhere, orders: nowhere, inventory: nowhere });
  process.kill(gateway.pid(), "SIGKILL");
  await expect.poll(gateway.crashes, { timeout: 10_000 }).toEqual(["ended with SIGKILL"]);
  await expect(gateway[Symbol.asyncDispose]()).rejects.toThrow("the gateway crashed");
});
