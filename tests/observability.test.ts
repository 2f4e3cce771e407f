import { randomBytes } from "node:crypto";
import { Agent, request as httpRequest } from "node:http";
import { Code, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { OrdersService } from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { UsersService } from "../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { startCollector } from "../packages/gateway/src/testing/otlp.ts";
import { parseMetrics, type ScrapedMetric, valueIn } from "../packages/gateway/src/testing/prometheus.ts";
import { ask } from "./ask.ts";
import { startTalkativeUpstream } from "./canaries/upstream.ts";
import { type System, type SystemOptions, startSystem } from "./system.ts";

// What those who run the gateway see of it: traces, metrics and the log, of a whole system over real sockets.

const list = OrdersService.method.listOrdersWithUser;
const listName = "smpl.api.orders.v1.OrdersService/ListOrdersWithUser";
const callerTrace = "0af7651916cd43dd8448eb211c80319c";
const callerSpan = "b7ad6b7169203331";

/** A system for one test whose traces are collected. */
async function startTraced(env: SystemOptions["env"] = {}) {
  const collector = await startCollector();
  const system = await start({ env: { OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint, ...env } });
  return { collector, system };
}

/** A system for one test. */
async function start(options: SystemOptions = {}): Promise<System> {
  const system = await startSystem(options);
  onTestFinished(system.close);
  return system;
}

async function scrape({ adminUrl }: System): Promise<ReadonlyMap<string, ScrapedMetric>> {
  const response = await fetch(`${adminUrl}/metrics`);
  expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  return parseMetrics(await response.text());
}

async function asAdmin(system: System): Promise<{ readonly authorization: string }> {
  return { authorization: `Bearer ${await system.token("admin")}` };
}

describe("a trace", () => {
  test("goes from the caller through the gateway, its loaders and its upstreams to their services", async () => {
    const { collector, system } = await startTraced();
    const { requestId } = await ask(
      system.url,
      list,
      { pageSize: 5 },
      {
        headers: {
          ...(await asAdmin(system)),
          traceparent: `00-${callerTrace}-${callerSpan}-01`,
          tracestate: "acme=1",
        },
      },
    );
    const inTrace = (name: string) =>
      collector.span((span) => span.name === name && span.traceId === callerTrace);
    const request = await inTrace(listName);
    const orders = await inTrace("smpl.orders.v1.OrdersService/ListOrders");
    const batch = await inTrace("loader users.batchGetUsers");
    const users = await inTrace("smpl.users.v1.UsersService/BatchGetUsers");
    expect(request).toMatchObject({ parentSpanId: callerSpan, kind: "server", failed: false });
    expect(orders).toMatchObject({ parentSpanId: request.spanId, kind: "client", failed: false });
    expect(batch).toMatchObject({ parentSpanId: request.spanId, kind: "internal", failed: false });
    expect(users).toMatchObject({ parentSpanId: batch.spanId, kind: "client", failed: false });
    expect(request.attributes).toMatchObject({
      "rpc.system": "connect_rpc",
      "rpc.service": "smpl.api.orders.v1.OrdersService",
      "rpc.method": "ListOrdersWithUser",
      "portico.request_id": requestId,
      "portico.caller": "known",
    });
    // The services get what makes their own spans part of it.
    const headersOf = (call: { readonly headers: Readonly<Record<string, string>> } | undefined) =>
      call && { traceparent: call.headers["traceparent"], tracestate: call.headers["tracestate"] };
    expect(headersOf(system.mocks.orders.calls.all("listOrders").at(-1))).toEqual({
      traceparent: `00-${callerTrace}-${orders.spanId}-01`,
      tracestate: "acme=1",
    });
    expect(headersOf(system.mocks.users.calls.all("batchGetUsers").at(-1))).toEqual({
      traceparent: `00-${callerTrace}-${users.spanId}-01`,
      tracestate: "acme=1",
    });
    // And the log has its id.
    expect(await system.logOf(requestId)).toMatchObject({
      traceId: callerTrace,
      batches: [{ loader: "users.batchGetUsers", code: "ok" }],
    });
  });

  test("shows an upstream that failed, and the code that gRPC gives it", async () => {
    const { collector, system } = await startTraced();
    system.mocks.orders.fault({ method: "listOrders", code: Code.Unavailable });
    const { requestId } = await ask(system.url, list, {}, { way: "grpc", headers: await asAdmin(system) });
    system.mocks.orders.clearFaults();
    const request = await collector.span(({ attributes }) => attributes["portico.request_id"] === requestId);
    expect(request).toMatchObject({
      failed: true,
      attributes: {
        "rpc.system": "grpc",
        "rpc.grpc.status_code": 14,
        "portico.reason": "SERVICE_UNAVAILABLE",
      },
    });
    const call = await collector.span(({ parentSpanId }) => parentSpanId === request.spanId);
    expect(call).toMatchObject({ kind: "client", failed: true, events: 0 });
  });

  test("of a request without one begins at the gateway", async () => {
    const { collector, system } = await startTraced();
    const { requestId } = await ask(system.url, list, {}, { headers: await asAdmin(system) });
    const request = await collector.span(({ attributes }) => attributes["portico.request_id"] === requestId);
    expect(request.parentSpanId).toBe("");
  });
});

test("what is not sent yet when the gateway stops is sent then", async () => {
  const collector = await startCollector();
  const system = await startSystem({ env: { OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint } });
  await ask(system.url, list, {}, { headers: await asAdmin(system) });
  await system.close();
  expect(collector.spans.map(({ name }) => name)).toContain(listName);
});

test("without tracing, upstreams get nothing of a trace, whatever callers send", async () => {
  const system = await start();
  const trace = { traceparent: `00-${callerTrace}-${callerSpan}-01`, tracestate: "acme=1" };
  const { requestId } = await ask(
    system.url,
    list,
    {},
    { headers: { ...(await asAdmin(system)), ...trace } },
  );
  const [call] = system.mocks.orders.calls.all("listOrders");
  expect(Object.keys(call?.headers ?? {})).not.toContain("traceparent");
  expect(Object.keys(call?.headers ?? {})).not.toContain("tracestate");
  expect(await system.logOf(requestId)).not.toHaveProperty("traceId");
});

test("a collector that is gone changes no answer", async () => {
  const system = await start({ env: { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1" } });
  const headers = await asAdmin(system);
  for (let index = 0; index < 50; index++)
    expect((await ask(system.url, list, {}, { headers })).code).toBe("ok");
});

describe("the metrics", () => {
  test("count what happened, by method, protocol and code, and what was called for it", async () => {
    const system = await start();
    const headers = await asAdmin(system);
    const transport = createGrpcTransport({ baseUrl: system.url });
    await createClient(OrdersService, transport).listOrdersWithUser({ pageSize: 3 }, { headers });
    await ask(system.url, UsersService.method.getUser, { id: "user-1" });
    await vi.waitFor(async () => {
      const metrics = await scrape(system);
      const requests = (labels: Readonly<Record<string, string>>) =>
        valueIn(metrics, "portico_requests_total", labels);
      expect(requests({ rpc: listName, protocol: "grpc", code: "ok" })).toBe(1);
      const refused = { rpc: "smpl.api.users.v1.UsersService/GetUser", code: "unauthenticated" };
      expect(requests(refused)).toBe(1);
      expect(valueIn(metrics, "portico_refusals_total", { reason: "CREDENTIALS_MISSING" })).toBe(1);
      const batch = { upstream: "users", method: "batchGetUsers", code: "ok" };
      expect(valueIn(metrics, "portico_upstream_calls_total", batch)).toBe(1);
      expect(valueIn(metrics, "portico_loader_batches_total", { loader: "users.batchGetUsers" })).toBe(1);
      expect(valueIn(metrics, "portico_request_bytes_sum", { rpc: listName })).toBeGreaterThan(0);
      expect(valueIn(metrics, "portico_response_bytes_sum", { rpc: listName })).toBeGreaterThan(0);
      expect(valueIn(metrics, "portico_requests_in_flight")).toBe(0);
      expect(valueIn(metrics, "portico_upstream_addresses", { upstream: "users", state: "ready" })).toBe(1);
    });
  });

  test("do not grow with what strangers make up", async () => {
    const system = await start({ env: { MAX_CONCURRENT_CALLS: "1000", LOG_LEVEL: "warn" } });
    const agent = new Agent({ keepAlive: true, maxSockets: 20 });
    onTestFinished(() => agent.destroy());
    const get = (path: string) =>
      new Promise<void>((resolve, reject) => {
        httpRequest(`${system.url}${path}`, { agent, method: "POST" }, (response) =>
          response.resume().on("end", resolve),
        )
          .on("error", reject)
          .end();
      });
    await get("/a/b");
    const count = async () =>
      [...(await scrape(system)).values()].reduce((sum, { samples }) => sum + samples.length, 0);
    const before = await count();
    const paths = Array.from(
      { length: 10_000 },
      (_, index) => `/x${index}.Service/M${randomBytes(6).toString("hex")}`,
    );
    for (let index = 0; index < paths.length; index += 100)
      await Promise.all(paths.slice(index, index + 100).map(get));
    expect((await count()) - before).toBeLessThan(50);
    const requests = (await scrape(system)).get("portico_requests_total")?.samples ?? [];
    expect(requests.every(({ labels }) => labels["rpc"] === "")).toBe(true);
  }, 120_000);

  test("are not on the public port", async () => {
    const system = await start();
    expect((await fetch(`${system.url}/metrics`)).status).toBe(404);
  });
});

describe("the log", () => {
  test("can be made to have failures alone", async () => {
    const system = await start({ env: { LOG_SAMPLE_RATIO: "0" } });
    const headers = await asAdmin(system);
    const good = await ask(system.url, UsersService.method.getUser, { id: "user-1" }, { headers });
    const bad = await ask(system.url, UsersService.method.getUser, { id: "nobody" }, { headers });
    expect([good.code, bad.code]).toEqual(["ok", "not_found"]);
    expect(await system.logOf(bad.requestId)).toMatchObject({ code: "not_found" });
    // The good one was over before.
    expect(system.log().map((line) => line["requestId"])).not.toContain(good.requestId);
  });

  test("has the sizes of a request and its answer", async () => {
    const system = await start();
    const headers = await asAdmin(system);
    const { requestId } = await ask(system.url, list, { pageSize: 7 }, { headers });
    const line = await system.logOf(requestId);
    expect(line["requestBytes"]).toBe(JSON.stringify({ pageSize: 7 }).length);
    expect(Number(line["responseBytes"])).toBeGreaterThan(100);
  });
});

test("no secret gets into traces or metrics, whatever goes wrong", async () => {
  const canary = (name: string) => `canary-${name}-${randomBytes(9).toString("hex")}`;
  const upstreamCanaries = {
    email: `${canary("email")}@secret.example.com`,
    field: canary("field"),
    header: canary("header"),
    trailer: canary("trailer"),
    words: canary("words"),
    details: canary("details"),
  };
  const host = `${canary("host")}.invalid`;
  const sent = {
    token: canary("token"),
    key: canary("key"),
    header: canary("sent-header"),
    value: canary("value"),
    path: canary("path"),
  };
  const upstream = await startTalkativeUpstream(upstreamCanaries);
  onTestFinished(() => upstream[Symbol.asyncDispose]());
  const { collector, system } = await startTraced({
    UPSTREAM_USERS: upstream.url,
    UPSTREAM_ORDERS: upstream.url,
    UPSTREAM_INVENTORY: `http://${host}:1`,
  });
  const subject = canary("subject");
  const token = await system.token("admin", subject);
  const headers = { authorization: `Bearer ${token}`, "x-canary": sent.header, cookie: sent.header };
  for (const status of [0, 2, 5, 13, 14, 16]) {
    upstream.failWith(status);
    await ask(system.url, list, { pageSize: 2 }, { headers });
    await ask(system.url, UsersService.method.getUser, { id: sent.value }, { headers, way: "grpc" });
  }
  await ask(
    system.url,
    UsersService.method.getUser,
    { id: sent.value },
    { headers: { authorization: `Bearer ${sent.token}` } },
  );
  await ask(
    system.url,
    UsersService.method.getUser,
    { id: sent.value },
    { headers: { "x-api-key": sent.key } },
  );
  await fetch(`${system.url}/${sent.path}?${sent.path}`, { method: "POST", headers });
  const lost = await fetch(`${system.url}/smpl.api.inventory.v1.InventoryService/ListItemsGroupedByUsers`, {
    method: "POST",
    headers: { ...headers, "content-type": "application/json" },
    body: "{}",
  });
  expect(lost.status).toBeGreaterThanOrEqual(500);
  const metrics = await (await fetch(`${system.adminUrl}/metrics`)).text();
  await collector.span(({ name }) => name.endsWith("/ListItemsGroupedByUsers"));
  const seen = `${metrics}\n${collector.bytes().toString("latin1")}`;
  expect(collector.spans.some(({ failed }) => failed)).toBe(true);
  const canaries = [
    ...Object.values(upstreamCanaries),
    ...Object.values(sent),
    host,
    subject,
    token.slice(-20),
  ];
  expect(canaries.filter((value) => seen.includes(value))).toEqual([]);
});
