import { connect as connectH2 } from "node:http2";
import { connect } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { hasProc } from "../harness/child.ts";
import { figure } from "../harness/figures.ts";
import { type GatewayProcess, startGateway } from "../harness/gateway-process.ts";
import { summarize } from "../harness/load.ts";
import { startLoadProcess } from "../harness/load-process.ts";
import type { PreparedRequest } from "../harness/requests.ts";
import { scaled } from "../harness/settings.ts";
import { startUpstreams } from "../harness/upstream-process.ts";
import { codesInWords } from "./words.ts";
import { joins, lookups, names, orderLists } from "./work.ts";

/** Calls in a round, and rounds: what a process needs once and keeps is there after the first. */
const roundCalls = scaled(8_000, 500);
const rounds = 4;

test("C7 calls of all kinds, many of them aborted or malformed, leave nothing behind", async () => {
  await using upstreams = await startUpstreams({ users: 100, orders: 200, items: 0 });
  await using gateway = await startGateway(upstreams.urls, { MAX_LOOP_LAG_MS: "10000" });
  const requests = [
    ...(await joins(gateway, names(4))),
    ...(await lookups(gateway, names(16))),
    ...(await orderLists(gateway, names(16))),
  ];
  const counts: Record<string, number> = {};
  // This process keeps the connections by which it asked for tokens.
  const own = (await gateway.metric("portico_connections")) ?? 0;
  const round = async (): Promise<State> => {
    for (const [code, count] of Object.entries(await makeCalls(gateway, requests)))
      counts[code] = (counts[code] ?? 0) + count;
    return stateOf(gateway, own);
  };
  // The first makes it warm, the last is what grew.
  const states: State[] = [];
  for (let i = 0; i < rounds; i++) states.push(await round());
  const [before, after] = [states[0], states.at(-1)];
  if (before === undefined || after === undefined) throw new Error("there was no round");
  const grown = (after.heapBytes - before.heapBytes) / 2 ** 20;
  figure({
    id: "C7",
    test: `${rounds * roundCalls} mixed calls, 30 % aborted, 10 % malformed, then idle`,
    expected: "heap +<= 2 MB; descriptors, timers, sessions at baseline",
    measured:
      `heap ${states.map(({ heapBytes }) => (heapBytes / 2 ** 20).toFixed(1)).join(", ")} MB (${grown >= 0 ? "+" : ""}${grown.toFixed(1)}); ` +
      `descriptors ${before.descriptors} -> ${after.descriptors}, timers ${before.timers} -> ${after.timers}, ` +
      `sessions ${before.sessions} -> ${after.sessions}; ${codesInWords({ codes: counts })}`,
    reached: grown <= 2 && after.descriptors <= before.descriptors && after.timers <= before.timers,
  });
  // V8 keeps a little of its own.
  expect(grown).toBeLessThan(10);
  expect(after.descriptors).toBeLessThanOrEqual(before.descriptors);
  expect(after.timers).toBeLessThanOrEqual(before.timers);
  expect(after.sessions).toBeLessThanOrEqual(before.sessions);
  // A slow machine may be late, and have had too much to do.
  expect(["ok", "invalid_argument", "aborted", "unavailable", "deadline_exceeded"]).toEqual(
    expect.arrayContaining(Object.keys(counts)),
  );
  expect(gateway.crashes()).toEqual([]);
});

interface State {
  readonly heapBytes: number;
  readonly descriptors: number;
  readonly timers: number;
  /** Connections of clients. */
  readonly sessions: number;
}

async function stateOf(gateway: GatewayProcess, ownConnections: number): Promise<State> {
  const waiting = { timeout: 30_000, interval: 100 };
  await expect.poll(async () => (await gateway.readyz()).inFlight, waiting).toBe(0);
  await expect.poll(() => gateway.metric("portico_connections"), waiting).toBeLessThanOrEqual(ownConnections);
  // Half a second is what some wait for a body that nobody needs.
  await delay(1_000);
  const { heapBytes, resources } = await gateway.probe();
  return {
    heapBytes,
    descriptors: hasProc ? gateway.descriptors() : 0,
    timers: resources["Timeout"] ?? 0,
    sessions: (await gateway.metric("portico_connections")) ?? 0,
  };
}

/** One round. Resolves to how its calls ended. */
async function makeCalls(
  gateway: GatewayProcess,
  requests: readonly PreparedRequest[],
): Promise<Readonly<Record<string, number>>> {
  const { url } = gateway;
  const base = { url, lean: true, patienceMs: 60_000 };
  await using good = await startLoadProcess({
    ...{ ...base, requests, connections: 16, calls: Math.round(roundCalls * 0.6) },
    pace: { callers: 16 },
  });
  await using bad = await startLoadProcess({
    ...{ ...base, requests: requests.map(malformed), connections: 4, calls: Math.round(roundCalls * 0.1) },
    pace: { callers: 4 },
  });
  const aborted = Math.round(roundCalls * 0.3);
  const [all, wrong] = await Promise.all([good.done, bad.done, abort(url, requests, aborted)]);
  return { ...summarize(all).codes, ...summarize(wrong).codes, aborted };
}

/** Broken in one of several ways. */
function malformed({ answer: _, ...request }: PreparedRequest, index: number): PreparedRequest {
  const bodies = ["{", '{"pageSize":', '{"unknown":1}', "[]", '{"id":"\u0000'];
  const body = Buffer.from(bodies[index % bodies.length] ?? "");
  return {
    ...request,
    headers: { ...request.headers, "content-length": `${body.length}` },
    body: new Uint8Array(body),
  };
}

/** Leaves many calls at some moment, in turns over both versions of HTTP. */
async function abort(url: string, requests: readonly PreparedRequest[], count: number): Promise<void> {
  let left = 0;
  const leave = async (): Promise<void> => {
    while (left < count) {
      const session = connectH2(url).on("error", () => {});
      // Few of each connection: one that takes back many is taken for an attack.
      for (let turn = 0; turn < 200 && left < count; turn++) {
        const request = requests[left++ % requests.length];
        if (request === undefined) return;
        await (turn % 2 === 0 ? leaveH1(url, request) : leaveH2(session, request));
      }
      session.destroy();
    }
  };
  await Promise.all(Array.from({ length: 16 }, leave));
}

async function leaveH1(url: string, { path, headers, body }: PreparedRequest): Promise<void> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname).on("error", () => {});
  const closed = new Promise((resolve) => socket.once("close", resolve));
  const fields = Object.entries({ host: "localhost", ...headers });
  const head = `POST ${path} HTTP/1.1\r\n${fields.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`;
  socket.resume().write(Buffer.concat([Buffer.from(head), body]));
  await delay(Math.random() * 10);
  socket.destroy();
  await closed;
}

async function leaveH2(
  session: ReturnType<typeof connectH2>,
  { path, headers, body }: PreparedRequest,
): Promise<void> {
  const stream = session.request({ ...headers, ":method": "POST", ":path": path }).on("error", () => {});
  const closed = new Promise((resolve) => stream.once("close", resolve));
  stream.resume().end(body);
  await delay(Math.random() * 10);
  stream.close(8);
  await closed;
}
