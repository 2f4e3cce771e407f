import { Code } from "@connectrpc/connect";
import { describe, expect, onTestFinished, test } from "vitest";
import { parseMetrics, valueIn } from "../testing/prometheus.ts";
import { type CallRecord, createCallRecord } from "./call-record.ts";
import type { MetricFacts } from "./metric-facts.ts";
import { createMetrics } from "./metrics.ts";

const getCrate = "acme.api.warehouse.v1.WarehouseService/GetCrate";

function startMetrics(facts: MetricFacts = {}) {
  const metrics = createMetrics({ methods: new Map([[getCrate, "unary"]]), facts: () => facts });
  onTestFinished(metrics.close);
  const scrape = () => parseMetrics(metrics.text());
  return { metrics, value: (name: string, labels = {}) => valueIn(scrape(), name, labels), scrape };
}

function record(parts: Partial<CallRecord> = {}): CallRecord {
  const request = { requestId: "request-1", httpMethod: "POST", path: "/", address: "127.0.0.1" };
  return { ...createCallRecord(request), rpc: getCrate, protocol: "grpc", outcome: "ok", ...parts };
}

describe("a request", () => {
  test("is in flight until its answer is over", () => {
    const { metrics, value } = startMetrics();
    metrics.began();
    metrics.began();
    metrics.ended(record(), { status: 200, complete: true });
    expect(value("portico_requests_in_flight")).toBe(1);
  });

  test("is counted by its method, protocol and code", () => {
    const { metrics, value } = startMetrics();
    for (const outcome of ["ok", "ok", Code.NotFound] as const)
      metrics.ended(record({ outcome }), { status: 200, complete: true });
    const labels = { rpc: getCrate, protocol: "grpc" };
    expect(value("portico_requests_total", { ...labels, code: "ok" })).toBe(2);
    expect(value("portico_requests_total", { ...labels, code: "not_found" })).toBe(1);
  });

  test("has its duration and its sizes in buckets that add up", () => {
    const { metrics, value } = startMetrics();
    const startedAt = performance.now() - 60_000;
    metrics.ended(record({ startedAt, requestBytes: 256, responseBytes: 5_000 }), {
      status: 200,
      complete: true,
    });
    expect(value("portico_request_duration_seconds_bucket", { kind: "unary", le: "30" })).toBe(0);
    expect(value("portico_request_duration_seconds_bucket", { le: "+Inf" })).toBe(1);
    expect(value("portico_request_duration_seconds_sum")).toBeGreaterThan(59);
    expect(value("portico_request_bytes_bucket", { le: "256" })).toBe(1);
    expect(value("portico_response_bytes_bucket", { le: "4096" })).toBe(0);
    expect(value("portico_response_bytes_bucket", { le: "16384" })).toBe(1);
    expect(value("portico_response_bytes_count")).toBe(1);
  });

  test("that failed is counted by its reason, one that lacked something as well", () => {
    const { metrics, value } = startMetrics();
    const partial = { count: 2, cause: undefined };
    metrics.ended(record({ outcome: Code.ResourceExhausted, reason: "RATE_LIMIT_EXCEEDED" }), {
      status: 429,
      complete: true,
    });
    metrics.ended(record({ partial }), { status: 200, complete: true });
    expect(value("portico_refusals_total", { reason: "RATE_LIMIT_EXCEEDED" })).toBe(1);
    expect(value("portico_partial_answers_total", { rpc: getCrate })).toBe(1);
  });

  test("that calls nothing that there is adds no label, whatever it is", () => {
    const { metrics, scrape } = startMetrics();
    for (let index = 0; index < 10_000; index++) {
      const made = { rpc: `acme.Service${index}/Method`, outcome: Code.Unimplemented };
      metrics.ended(record(made), { status: 404, complete: true });
    }
    const { rpc: _, protocol: __, outcome: ___, ...none } = record();
    metrics.ended(none, { status: 404, complete: true });
    metrics.ended(none, { status: 500, complete: true });
    const samples = scrape().get("portico_requests_total")?.samples ?? [];
    expect(samples.map(({ labels, value }) => [labels["rpc"], labels["code"], value])).toEqual([
      ["", "unimplemented", 10_000],
      ["", "http_4xx", 1],
      ["", "http_5xx", 1],
    ]);
  });
});

test("calls to internal services are counted by upstream, method and code, and with their attempts", () => {
  const { metrics, value } = startMetrics();
  const call = { call: "warehouse.getCrate", durationMs: 30, hedged: false };
  metrics.observer.upstreamCall({ ...call, outcome: "ok", attempts: 3 });
  metrics.observer.upstreamCall({ ...call, outcome: Code.Unavailable, attempts: 0 });
  const labels = { upstream: "warehouse", method: "getCrate" };
  expect(value("portico_upstream_calls_total", { ...labels, code: "ok" })).toBe(1);
  expect(value("portico_upstream_calls_total", { ...labels, code: "unavailable" })).toBe(1);
  expect(value("portico_upstream_attempts_total", { upstream: "warehouse" })).toBe(3);
  expect(value("portico_upstream_call_duration_seconds_sum", labels)).toBeCloseTo(0.06);
});

test("batches are counted by their loader, with how many keys they had", () => {
  const { metrics, value } = startMetrics();
  metrics.observer.batch({ loader: "warehouse.batchGetKeepers", keys: 40, durationMs: 5, outcome: "ok" });
  const loader = "warehouse.batchGetKeepers";
  expect(value("portico_loader_batches_total", { loader, code: "ok" })).toBe(1);
  expect(value("portico_loader_batch_keys_sum", { loader })).toBe(40);
  expect(value("portico_loader_batch_keys_bucket", { loader, le: "20" })).toBe(0);
  expect(value("portico_loader_batch_duration_seconds_count", { loader })).toBe(1);
});

describe("what the stages say of themselves", () => {
  const cache = { entries: 1, bytes: 2, hits: 3, misses: 4, coalesced: 5, stale: 6, failedRefreshes: 7 };
  const facts: MetricFacts = {
    ready: true,
    listener: {
      connections: { h1: 1, h2: 2, undecided: 0 },
      inFlightBytes: 5,
      refusedConnections: 6,
      aged: 7,
    },
    overload: { limit: 64, inFlight: 9, shed: { heap: { anonymous: 3, known: 0 } } },
    upstreams: {
      warehouse: {
        session: {
          addresses: [
            { state: "ready", connections: 2, ejected: false },
            { state: "unreachable", connections: 0, ejected: true },
          ],
          opened: 5,
          lost: 3,
          ejections: 1,
          pingTimeouts: 2,
        },
        inFlight: 4,
        limit: 100,
        refused: 1,
        breaker: "half-open",
        breakerOpened: 2,
        retries: 8,
        retriesDenied: 3,
        hedges: 0,
      },
      inMemory: {
        inFlight: 0,
        limit: 100,
        refused: 0,
        breaker: "open",
        breakerOpened: 1,
        retries: 0,
        retriesDenied: 0,
        hedges: 0,
      },
    },
    answers: { ...cache, shared: 8 },
    entities: { ...cache, negativeHits: 9 },
    tracing: { exported: 10, failed: 2 },
    usage: { node: "24.0.0", cpuSeconds: 1.5, residentBytes: 1_000 },
  };

  test.each<[string, Readonly<Record<string, string>>, number]>([
    ["portico_ready", {}, 1],
    ["portico_connections", { protocol: "h2" }, 2],
    ["portico_connections_refused_total", {}, 6],
    ["portico_connections_aged_total", {}, 7],
    ["portico_in_flight_bytes", {}, 5],
    ["portico_concurrency_limit", {}, 64],
    ["portico_concurrency", {}, 9],
    ["portico_shed_total", { cause: "heap", class: "anonymous" }, 3],
    ["portico_upstream_in_flight", { upstream: "warehouse" }, 4],
    ["portico_upstream_limit", { upstream: "warehouse" }, 100],
    ["portico_upstream_refused_total", { upstream: "warehouse" }, 1],
    ["portico_upstream_breaker_state", { upstream: "warehouse" }, 1],
    ["portico_upstream_breaker_state", { upstream: "inMemory" }, 2],
    ["portico_upstream_breaker_opened_total", { upstream: "warehouse" }, 2],
    ["portico_upstream_retries_total", { upstream: "warehouse" }, 8],
    ["portico_upstream_retries_denied_total", { upstream: "warehouse" }, 3],
    ["portico_upstream_hedges_total", { upstream: "warehouse" }, 0],
    ["portico_upstream_addresses", { upstream: "warehouse", state: "unreachable" }, 1],
    ["portico_upstream_addresses", { upstream: "warehouse", state: "idle" }, 0],
    ["portico_upstream_addresses_ejected", { upstream: "warehouse" }, 1],
    ["portico_upstream_connections", { upstream: "warehouse", state: "ready" }, 2],
    ["portico_upstream_connections_opened_total", { upstream: "warehouse" }, 5],
    ["portico_upstream_connections_lost_total", { upstream: "warehouse" }, 3],
    ["portico_upstream_ejections_total", { upstream: "warehouse" }, 1],
    ["portico_upstream_ping_timeouts_total", { upstream: "warehouse" }, 2],
    ["portico_cache_lookups_total", { cache: "answers", result: "hit" }, 3],
    ["portico_cache_lookups_total", { cache: "answers", result: "shared" }, 8],
    ["portico_cache_lookups_total", { cache: "entities", result: "negative" }, 9],
    ["portico_cache_entries", { cache: "answers" }, 1],
    ["portico_cache_bytes", { cache: "entities" }, 2],
    ["portico_cache_failed_refreshes_total", { cache: "answers" }, 7],
    ["portico_spans_total", { result: "failed" }, 2],
    ["portico_build_info", { node: "24.0.0" }, 1],
    ["portico_process_cpu_seconds_total", {}, 1.5],
    ["portico_process_resident_bytes", {}, 1_000],
  ])("%s %j", (name, labels, expected) => {
    expect(startMetrics(facts).value(name, labels)).toBe(expected);
  });

  test("the runtime's own are there as well", () => {
    const { value } = startMetrics();
    expect(value("portico_event_loop_lag_seconds", { quantile: "0.99" })).toBeGreaterThanOrEqual(0);
    expect(value("portico_heap_used_bytes")).toBeGreaterThan(1_000_000);
    expect(value("portico_heap_limit_bytes")).toBeGreaterThan(value("portico_heap_used_bytes") ?? Infinity);
  });

  test("every name is as the conventions of Prometheus want it", () => {
    for (const [name, { type, help, samples }] of startMetrics(facts).scrape()) {
      expect(name).toMatch(/^portico_[a-z]+(_[a-z]+)*$/);
      expect(help, name).not.toBe("");
      expect(type === "counter", name).toBe(name.endsWith("_total"));
      // Base units, at the end.
      expect(name).not.toMatch(/_(ms|milliseconds|kb|mb|percent|count|sum|bucket)(_|$)/);
      for (const { labels } of samples)
        for (const label of Object.keys(labels)) expect(label).toMatch(/^[a-z]+$/);
    }
  });
});
