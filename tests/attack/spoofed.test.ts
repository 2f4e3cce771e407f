import type { DescMessage, DescMethod, MessageInitShape } from "@bufbuild/protobuf";
import { startMocks } from "@portico/internal-mocks";
import { expect, test } from "vitest";
import { services } from "../../packages/gateway/src/app/app.ts";
import { startCollector } from "../../packages/gateway/src/testing/otlp.ts";
import { unhurried } from "../faults/calls.ts";
import { figure } from "../harness/figures.ts";
import { startGateway } from "../harness/gateway-process.ts";
import { requestsOf } from "../policy-matrix/requests.ts";
import { rawCall, ways } from "../raw-call.ts";

/** What the gateway sets, and what HTTP/2 and gRPC need. A header that is not here is a leak. */
const allowed = [
  ...["x-request-id", "x-portico-kind", "x-portico-issuer", "x-portico-subject", "x-portico-roles"],
  ...["content-type", "te", "user-agent", "grpc-timeout", "grpc-accept-encoding"],
];

/** In every value that a caller makes up. */
const mark = "spoofed";

const prefixes = [
  "x-portico",
  "X-Portico",
  "x-user",
  "x-forwarded",
  "x-auth",
  "x-envoy",
  "x-b3",
  "x-amzn",
  "grpc",
  "cf",
];
const names = [
  "id",
  "kind",
  "subject",
  "roles",
  "tenant",
  "issuer",
  "for",
  "user",
  "email",
  "trace",
  "tags-bin",
  "token",
];

/** More than a proxy adds, in as many lines as a request may have. */
const spoofed: Readonly<Record<string, string>> = {
  // A few at a time: more than 100 lines are refused.
  ...Object.fromEntries(
    prefixes.flatMap((prefix, row) =>
      names.filter((_, column) => (row + column) % 2 === 0).map((name) => [`${prefix}-${name}`, mark]),
    ),
  ),
  "x-real-ip": mark,
  forwarded: `for=${mark}`,
  "grpc-previous-rpc-attempts": mark,
  "grpc-retry-pushback-ms": mark,
  baggage: `role=${mark}`,
  cookie: `session=${mark}`,
  referer: `https://${mark}.example.com`,
  origin: `https://${mark}.example.com`,
  via: mark,
};

/** Traces of callers, good, long and broken. */
const traces: readonly Readonly<Record<string, string>>[] = [
  { traceparent: "00-".padEnd(4_000, "a"), tracestate: `${mark}=`.padEnd(4_000, "b") },
  { traceparent: `00-${"0".repeat(32)}-${"0".repeat(16)}-01`, tracestate: mark },
  { traceparent: `ff-${"a".repeat(32)}-${"b".repeat(16)}-01`, tracestate: `a=${mark},`.repeat(40) },
  { traceparent: mark, tracestate: mark, "grpc-trace-bin": Buffer.from(mark).toString("base64") },
];

test("D11 internal services see nothing of what callers make up", async () => {
  const mocks = await startMocks({ users: 200, orders: 200, items: 200 });
  try {
    const urls = { users: mocks.users.url, orders: mocks.orders.url, inventory: mocks.inventory.url };
    const collector = await startCollector();
    const env = { ...unhurried, DEFAULT_TIMEOUT_MS: "10000" };
    await using plain = await startGateway(urls, env);
    await using traced = await startGateway(urls, {
      ...env,
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint,
    });
    const leaked = new Set<string>();
    const failed: string[] = [];
    let calls = 0;
    let seen = 0;
    for (const gateway of [plain, traced]) {
      const may = new Set(gateway === traced ? [...allowed, "traceparent"] : allowed);
      const token = await gateway.token("admin", "user-1");
      for (const trace of traces)
        for (const method of services.flatMap(({ desc }) => desc.methods))
          for (const way of ways) {
            const name = `${method.parent.typeName}/${method.name}`;
            const request: MessageInitShape<DescMessage> = requestsOf[name]?.met("user-1") ?? {};
            const headers = { ...spoofed, ...trace };
            const isStream = method.methodKind !== "unary";
            const options = { way, token, headers, ...(isStream && { timeoutMs: 500 }) };
            const { code } = await rawCall<DescMethod>(gateway.url, method, request, options);
            calls++;
            if (code !== "ok" && !isStream) failed.push(`${name} over ${way}: ${code}`);
          }
      for (const service of [mocks.users, mocks.orders, mocks.inventory]) {
        for (const { headers } of service.calls.all()) {
          seen++;
          for (const [name, value] of Object.entries(headers))
            if (!may.has(name) || value.includes(mark) || value.length > 200)
              leaked.add(`${name}: ${value.slice(0, 80)}`);
          expect(headers).toMatchObject({ "x-portico-kind": expect.stringMatching(/^(token|anonymous)$/) });
          if (headers["x-portico-kind"] === "token")
            expect(headers).toMatchObject({ "x-portico-subject": "user-1", "x-portico-roles": "admin" });
        }
        service.calls.clear();
      }
    }
    figure({
      id: "D11",
      test: `${calls} calls, every method and protocol, with ${Object.keys(spoofed).length} made-up headers and ${traces.length} kinds of traces, with tracing and without`,
      expected: "upstreams see only allow-listed and gateway-set headers",
      measured: `${leaked.size} others in ${seen} internal calls; ${failed.length} calls failed`,
      reached: leaked.size === 0 && failed.length === 0,
    });
    expect([...leaked]).toEqual([]);
    expect(failed).toEqual([]);
    expect(seen).toBeGreaterThan(calls / 2);
  } finally {
    await mocks.close();
  }
});
