import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { Code } from "@connectrpc/connect";
import { pino } from "pino";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { serveHttp } from "../testing/http.ts";
import { startCollector } from "../testing/otlp.ts";
import { createCallRecord } from "./call-record.ts";
import type { Span } from "./span.ts";
import { createTracing, type TracingConfig } from "./tracing.ts";

const whole = { status: 200, complete: true };
const rpc = "acme.api.warehouse.v1.WarehouseService/GetCrate";
const traceId = "0af7651916cd43dd8448eb211c80319c";
const traceparent = `00-${traceId}-b7ad6b7169203331-01`;

async function startTracing(endpoint: string, config: Partial<TracingConfig> = {}) {
  const lines: Record<string, unknown>[] = [];
  const log = pino({ base: null }, { write: (line) => void lines.push(JSON.parse(line)) });
  const tracing = await createTracing({ endpoint, serviceName: "portico", sampleRatio: 1, ...config }, log);
  if (tracing === undefined) throw new Error("tracing is off");
  onTestFinished(tracing.close);
  return { tracing, lines };
}

function recordOf(span: Span) {
  const request = { requestId: "request-1", httpMethod: "POST", path: "/", address: "127.0.0.1" };
  const watch = { span, observer: { upstreamCall() {}, batch() {} } };
  return { ...createCallRecord(request, watch), rpc, outcome: "ok" } as const;
}

describe("a request", () => {
  test("is a part of its caller's trace, and what is called for it is a part of the request", async () => {
    const { endpoint, spans } = await startCollector();
    const { tracing } = await startTracing(endpoint);
    const request = tracing.start({ traceparent, tracestate: "acme=1" });
    const batch = request.child("loader warehouse.batchGetKeepers", "internal", { "portico.keys": 3 });
    const call = batch.child("acme.WarehouseService/BatchGetKeepers", "client");
    expect(call.headers["traceparent"]).toMatch(new RegExp(`^00-${traceId}-[0-9a-f]{16}-01$`));
    expect(call.headers["tracestate"]).toBe("acme=1");
    call.end(Code.Unavailable, new Error("secret"));
    batch.end("ok");
    tracing.ended(recordOf(request), whole);
    await tracing.close();
    expect(spans.map(({ name, kind, failed, events }) => ({ name, kind, failed, events }))).toEqual([
      { name: "acme.WarehouseService/BatchGetKeepers", kind: "client", failed: true, events: 0 },
      { name: "loader warehouse.batchGetKeepers", kind: "internal", failed: false, events: 0 },
      { name: rpc, kind: "server", failed: false, events: 0 },
    ]);
    const [inner, middle, outer] = spans;
    expect(new Set(spans.map((span) => span.traceId))).toEqual(new Set([traceId]));
    expect([inner?.parentSpanId, middle?.parentSpanId, outer?.parentSpanId]).toEqual([
      middle?.spanId,
      outer?.spanId,
      "b7ad6b7169203331",
    ]);
    expect(call.headers["traceparent"]).toContain(inner?.spanId);
    expect(middle?.attributes).toEqual({ "portico.keys": 3 });
    expect(tracing.facts()).toEqual({ exported: 3, failed: 0 });
  });

  test("begins a trace of its own without one", async () => {
    const { tracing } = await startTracing((await startCollector()).endpoint);
    const ids = [{}, { traceparent: "nonsense" }].map((headers) => tracing.start(headers).traceId);
    expect(ids[0]).toMatch(/^[0-9a-f]{32}$/);
    expect(new Set(ids).size).toBe(2);
  });

  test("that is not recorded still hands its trace on, so that nobody else records it", async () => {
    const { endpoint, spans } = await startCollector();
    const { tracing } = await startTracing(endpoint, { sampleRatio: 0 });
    const request = tracing.start({ traceparent, tracestate: "acme=1" });
    const { headers } = request.child("part", "internal").child("call", "client");
    expect(headers["traceparent"]).toMatch(new RegExp(`^00-${traceId}-[0-9a-f]{16}-00$`));
    expect(headers["tracestate"]).toBe("acme=1");
    tracing.ended(recordOf(request), whole);
    await tracing.close();
    expect(spans).toEqual([]);
  });

  test("that called no method is shown only if it failed", async () => {
    const { endpoint, spans } = await startCollector();
    const { tracing } = await startTracing(endpoint);
    const probe = ({ rpc: _, outcome: __, ...rest }: ReturnType<typeof recordOf>) => rest;
    tracing.ended(probe(recordOf(tracing.start({}))), { status: 404, complete: true });
    tracing.ended(probe(recordOf(tracing.start({}))), { status: 500, complete: true });
    await tracing.close();
    expect(spans.map(({ name, failed }) => [name, failed])).toEqual([["POST", true]]);
  });

  test("shows its first hundred parts, as a stream can have them without end", async () => {
    const { endpoint, spans } = await startCollector();
    const { tracing } = await startTracing(endpoint);
    const request = tracing.start({});
    for (let index = 0; index < 1_000; index++) {
      const part = request.child(`part ${index}`, "client");
      expect(part.headers["traceparent"]).toContain(request.traceId);
      part.end("ok");
    }
    expect(request.child("beyond", "internal").child("within", "client").headers["traceparent"]).toContain(
      request.traceId,
    );
    tracing.ended(recordOf(request), whole);
    await tracing.close();
    expect(spans.filter(({ name }) => name.startsWith("part")).length).toBe(100);
  });
});

describe("a collector", () => {
  test("that is gone is reported once, and nothing else happens", async () => {
    const { tracing, lines } = await startTracing("http://127.0.0.1:1");
    for (let round = 0; round < 2; round++) {
      for (let index = 0; index < 600; index++) tracing.ended(recordOf(tracing.start({})), whole);
      await vi.waitFor(
        () => expect(tracing.facts().failed).toBeGreaterThanOrEqual(512 * (round + 1)),
        15_000,
      );
    }
    expect(lines.map((line) => line["msg"])).toEqual(["spans of traces cannot be sent"]);
  });

  test("that is silent does not keep the gateway from ending", async () => {
    const { tracing } = await startTracing(await serveHttp(() => {}));
    tracing.ended(recordOf(tracing.start({})), whole);
    await tracing.close();
  });

  test("that is silent does not make spans pile up", async () => {
    const { tracing } = await startTracing(await serveHttp(() => {}));
    for (let index = 0; index < 20_000; index++) tracing.ended(recordOf(tracing.start({})), whole);
    // What waits was bounded: far fewer than were made can ever be sent.
    await tracing.close();
    const { exported, failed } = tracing.facts();
    expect(exported + failed).toBeLessThan(6_000);
  });
});

test("without a configuration there is none, and the SDK is not loaded", () => {
  const module = fileURLToPath(new URL("tracing.ts", import.meta.url));
  const script = `
    import { registerHooks } from "node:module";
    const loaded = [];
    registerHooks({ resolve: (name, context, next) => { loaded.push(name); return next(name, context); } });
    const { createTracing } = await import(${JSON.stringify(module)});
    const before = await createTracing(undefined);
    console.log(JSON.stringify({ off: before === undefined, loaded: loaded.filter((name) => name.startsWith("@opentelemetry")) }));
  `;
  const output = execFileSync(process.execPath, ["--input-type=module", "--eval", script], {
    encoding: "utf8",
  });
  expect(JSON.parse(output)).toEqual({ off: true, loaded: [] });
});
