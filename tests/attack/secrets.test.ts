import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DescMethod } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { services } from "../../packages/gateway/src/app/app.ts";
import { startCollector } from "../../packages/gateway/src/testing/otlp.ts";
import { type AskOptions, ask, readingWays } from "../ask.ts";
import { startTalkativeUpstream } from "../canaries/upstream.ts";
import { type Exchange, overH1 } from "../exchange.ts";
import { unhurried } from "../faults/calls.ts";
import { figure } from "../harness/figures.ts";
import { type GatewayProcess, startGateway } from "../harness/gateway-process.ts";
import { environmentOf, startIssuer } from "../issuer.ts";
import { requestsOf } from "../policy-matrix/requests.ts";

/** Where things come out. */
const surfaces = ["answers", "answers to viewers", "logs", "metrics", "traces"] as const;
type Surface = (typeof surfaces)[number];

/** A secret, and where it may be seen nevertheless. */
interface Canary {
  readonly value: string;
  readonly may?: readonly Surface[];
}

const canary = (name: string, ...may: readonly Surface[]): Canary => ({
  value: `canary-${name}-${randomBytes(9).toString("hex")}`,
  may,
});

/** The log of operators names the cause of a failure and who called; nothing else is excepted. */
const canaries = {
  // Of callers.
  claim: canary("claim"),
  subject: canary("subject", "logs"),
  badToken: canary("token"),
  badKey: canary("key"),
  header: canary("header"),
  value: canary("value"),
  path: canary("path", "answers", "logs"),
  // Of the gateway.
  gatewayToken: canary("gateway"),
  redisPassword: canary("redis"),
  // Of internal services.
  email: canary("email", "answers"),
  words: canary("words", "logs"),
  details: canary("details"),
  innerHeader: canary("inner-header"),
  trailer: canary("trailer"),
  field: canary("field"),
  host: canary("host", "logs"),
} satisfies Record<string, Canary>;

const methods = services.flatMap(({ desc }) => desc.methods);

test("D9 no secret comes out", async () => {
  const folder = mkdtempSync(join(tmpdir(), "portico-secrets-"));
  try {
    writeFileSync(join(folder, "token"), canaries.gatewayToken.value);
    await using issuer = await startIssuer();
    await using upstream = await startTalkativeUpstream({
      email: `${canaries.email.value}@secret.example.com`,
      field: canaries.field.value,
      header: canaries.innerHeader.value,
      trailer: canaries.trailer.value,
      words: canaries.words.value,
      details: canaries.details.value,
    });
    const collector = await startCollector();
    const env = {
      ...unhurried,
      ...environmentOf(issuer),
      DEFAULT_TIMEOUT_MS: "10000",
      LOG_LEVEL: "debug",
      ANSWER_CACHE_BYTES: String(2 ** 20),
      GATEWAY_TOKEN_FILE: join(folder, "token"),
      REDIS_URL: `redis://user:${canaries.redisPassword.value}@127.0.0.1:1`,
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint,
    };
    const { url } = upstream;
    await using gateway = await startGateway({ users: url, orders: url, inventory: url }, env);
    const lostUrl = `http://${canaries.host.value}.invalid:9101`;
    await using lost = await startGateway({ users: lostUrl, orders: lostUrl, inventory: lostUrl }, env);
    const tokenOf = (role: string) =>
      issuer.token({
        sub: canaries.subject.value,
        roles: [role],
        name: canaries.claim.value,
        [canaries.claim.value]: true,
      });
    const admin = { token: tokenOf("admin") };
    const answers: string[] = [];
    const answersToViewers: string[] = [];
    for (let status = 0; status <= 16; status++) {
      upstream.failWith(status);
      answers.push(...(await walk(gateway, admin)));
      answersToViewers.push(...(await walk(gateway, { token: tokenOf("viewer") })));
    }
    upstream.failWith(0);
    answers.push(...(await walk(gateway, { token: canaries.badToken.value })));
    answers.push(...(await walk(gateway, { headers: { "x-api-key": canaries.badKey.value } })));
    answers.push(...(await walk(gateway, { token: admin.token.replace(/.{9}$/, "AAAAAAAAA") })));
    answers.push(...(await walk(lost, admin)));
    answers.push(...(await oddRequests(gateway, admin.token)));
    await collector.span(({ failed }) => failed);
    const metrics = [await gateway.metrics(), await lost.metrics()];
    const ends = [await gateway.stop(), await lost.stop()];
    const log = [gateway, lost].flatMap((it) => it.log().map((line) => JSON.stringify(line)));
    const seen: Readonly<Record<Surface, string>> = {
      answers: answers.join("\n"),
      "answers to viewers": answersToViewers.join("\n"),
      logs: log.join("\n"),
      metrics: metrics.join("\n"),
      traces: collector.bytes().toString("latin1"),
    };
    const leaks = Object.entries(canaries).flatMap(([name, { value, may = [] }]) =>
      surfaces
        .filter(
          (surface) => !may.includes(surface) && formsOf(value).some((form) => seen[surface].includes(form)),
        )
        .map((surface) => `${name} in ${surface}`),
    );
    const sizes = `${answers.length + answersToViewers.length} answers, ${log.length} lines of log, ${collector.spans.length} spans`;
    figure({
      id: "D9",
      test: `${Object.keys(canaries).length} kinds of secrets, looked for in ${sizes} and the metrics`,
      expected: "none in responses, logs, metrics, traces",
      measured: `${leaks.length} leaks; the log alone has what an internal error said, its host, and the subject, for operators`,
      reached: leaks.length === 0,
    });
    expect(leaks).toEqual([]);
    // What may be seen is, so that there was something to find.
    expect(seen.answers).toContain(canaries.email.value);
    expect(seen.logs).toContain(canaries.words.value);
    expect(collector.spans.length).toBeGreaterThan(100);
    expect(ends.map(({ code }) => code)).toEqual([0, 0]);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

/** Every method in every way by one caller. */
async function walk({ url }: GatewayProcess, credentials: AskOptions): Promise<string[]> {
  const header = canaries.header.value;
  const headers = {
    ...{ cookie: header, referer: `https://example.com/${header}`, "user-agent": header, "x-custom": header },
    ...{ traceparent: header, tracestate: `a=${header}`, baggage: `a=${header}` },
    ...credentials.headers,
  };
  const calls = methods.flatMap((method) =>
    readingWays
      .filter((way) => way !== "GET" || (method.methodKind === "unary" && method.idempotency === 1))
      .map(async (way) => {
        const request = requestsOf[`${method.parent.typeName}/${method.name}`]?.met("user-1") ?? {};
        const options = { ...credentials, headers, way, timeoutMs: 3_000 };
        return textOf(await ask<DescMethod>(url, method, request, options));
      }),
  );
  return Promise.all(calls);
}

/** Requests that are wrong, each with a secret where it is wrong. */
async function oddRequests({ url }: GatewayProcess, token: string): Promise<string[]> {
  const value = canaries.value.value;
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  const list = "/smpl.api.orders.v1.OrdersService/ListOrdersWithUser";
  const bodies = [
    `{"${value.slice(0, 3)}`,
    `{"pageSize":"${value}"}`,
    `{"status":"${value}"}`,
    `{"pageToken":"${value}"}`,
    value,
  ];
  const requests = [
    ...bodies.map((body) => ({ path: list, headers, body })),
    ...bodies.map((body) => ({
      method: "GET",
      path: `${list}?connect=v1&encoding=json&message=${encodeURIComponent(body)}`,
      headers,
    })),
    { path: "/smpl.api.users.v1.UsersService/GetUser", headers, body: JSON.stringify({ id: value }) },
    { path: `/a.B/${canaries.path.value}`, headers },
    { method: "GET", path: `/${canaries.path.value}?q=${value}`, headers },
    { path: list, headers: { ...headers, "content-type": `text/${value}` }, body: "{}" },
    { path: list, headers: { ...headers, "x-request-id": `${value} {}` }, body: "{}" },
  ];
  return Promise.all(requests.map(async (request) => textOf(await overH1(url, request))));
}

function textOf({ status, headers, trailers, body }: Exchange): string {
  return `${status} ${JSON.stringify({ ...headers, ...trailers })}\n${body.toString("latin1")}`;
}

/** How a value looks as it is, and within base64, where it can begin at three places. */
function formsOf(value: string): readonly string[] {
  const within = [0, 1, 2].map((shift) => {
    const whole = Buffer.from("x".repeat(shift) + value).toString("base64");
    // What depends on what is before or behind it.
    return whole.slice(shift === 0 ? 0 : 4, Math.floor((value.length + shift) / 3) * 4);
  });
  return [value, ...within];
}
