import { readFileSync } from "node:fs";
import { constants, createSecureServer, type Http2SecureServer, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import { Code } from "@connectrpc/connect";
import { afterEach, expect, test } from "vitest";
import type { PublicError } from "../packages/gateway/src/errors.ts";
import { drain, testCall, thrownBy } from "../packages/gateway/src/testing/call.ts";
import { internal, pub } from "../packages/gateway/src/testing/protos.ts";
import { createUpstreamClients, type UpstreamClients } from "../packages/gateway/src/upstream/clients.ts";
import { type AnyUpstream, declaration, upstream } from "../packages/gateway/src/upstream/upstream.ts";
import { answer, type FaultyUpstream, startFaultyUpstream } from "./faulty-upstream.ts";
import { envelope } from "./raw-call.ts";

// How calls to upstreams are made, over real sockets: what is sent, and how often.

const { WarehouseService } = internal;
/** A service whose proto says which methods have no side effects. */
const front = upstream("front", pub.WarehouseService, { breaker: false });

const opened: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of opened.splice(0).reverse()) await close();
});

/** What the server does with each call, by how many came before. */
type Script = (stream: ServerHttp2Stream, before: number) => void;

const ok: Script = (stream) => answer(stream, [envelope("")]);
const failing: Script = (stream) => answer(stream, [], { "grpc-status": "14" });
const silent: Script = () => {};
const first =
  (script: Script): Script =>
  (stream, before) =>
    (before === 0 ? script : ok)(stream, before);

test("an upstream that fails every call gets a tenth more calls at the most", async () => {
  const { upstreams, server } = await start(front, failing);
  const call = testCall({ upstreams });
  for (let batch = 0; batch < 20; batch++)
    await Promise.all(Array.from({ length: 10 }, () => thrownBy(front.getStatus({}, call))));
  expect(server.calls()).toBeGreaterThan(200);
  expect(server.calls()).toBeLessThanOrEqual(220);
});

test("with the breaker, it gets next to none", async () => {
  const guarded = upstream("guarded", pub.WarehouseService);
  const { upstreams, server } = await start(guarded, failing);
  const errors: unknown[] = [];
  for (let times = 0; times < 200; times++)
    errors.push(await thrownBy(guarded.getStatus({}, testCall({ upstreams }))));
  expect(errors.every((error) => Reflect.get(Object(error), "reason") === "SERVICE_UNAVAILABLE")).toBe(true);
  expect(server.calls()).toBeLessThan(60);
  expect(upstreams.facts()["guarded"]?.breakerOpened).toBeGreaterThan(0);
});

test("an upstream that fails is left alone for a while, and callers are told for how long", async () => {
  const guarded = upstream("guarded", WarehouseService, { breaker: { minCalls: 5, openMs: 60_000 } });
  const { upstreams, server } = await start(guarded, failing);
  for (let times = 0; times < 5; times++) await thrownBy(guarded.getCrate({}, testCall({ upstreams })));
  const held = testCall({ upstreams });
  const error = await thrownBy(guarded.getCrate({}, held));
  expect(error).toMatchObject({ reason: "SERVICE_UNAVAILABLE" });
  expect(Number((error as PublicError).metadata.get("retry-after"))).toBeGreaterThan(0);
  expect(held.record.upstreamCalls).toMatchObject([{ outcome: Code.Unavailable, attempts: 0 }]);
  expect(server.calls()).toBe(5);
  expect(upstreams.facts()["guarded"]).toMatchObject({ breaker: "open", breakerOpened: 1 });
});

test("and gets calls again when it answers", async () => {
  const guarded = upstream("guarded", WarehouseService, { breaker: { minCalls: 5, openMs: 50 } });
  const { upstreams, server } = await start(guarded, failing);
  const ask = async () => {
    const answered = await guarded.getCrate({}, testCall({ upstreams })).catch(() => undefined);
    return answered !== undefined;
  };
  for (let times = 0; times < 5; times++) expect(await ask()).toBe(false);
  server.behave(ok);
  await expect.poll(ask, waiting).toBe(true);
  expect(upstreams.facts()["guarded"]?.breaker).toBe("closed");
  expect(await ask()).toBe(true);
});

test("a call that may have side effects is sent once, however it fails", async () => {
  const warehouse = upstream("warehouse", WarehouseService);
  const cut: Script = (stream) => stream.session?.destroy();
  for (const script of [failing, cut]) {
    const { upstreams, server } = await start(warehouse, script);
    expect(await thrownBy(warehouse.getCrate({}, testCall({ upstreams })))).toMatchObject({
      reason: "SERVICE_UNAVAILABLE",
    });
    expect(server.calls()).toBe(1);
  }
});

test("unless the upstream refused its stream: then it is sent again", async () => {
  const warehouse = upstream("warehouse", WarehouseService);
  const refusing: Script = (stream) => stream.close(constants.NGHTTP2_REFUSED_STREAM);
  const once = await start(warehouse, first(refusing));
  const call = testCall({ upstreams: once.upstreams });
  await warehouse.getCrate({}, call);
  expect(once.server.calls()).toBe(2);
  expect(call.record.upstreamCalls).toMatchObject([{ outcome: "ok", attempts: 2 }]);
  const always = await start(warehouse, refusing);
  expect(await thrownBy(warehouse.getCrate({}, testCall({ upstreams: always.upstreams })))).toMatchObject({
    reason: "SERVICE_UNAVAILABLE",
  });
  // Once for free, and twice from the budget that a gateway starts with.
  expect(always.server.calls()).toBe(4);
});

test("a stream that was refused is opened once more", async () => {
  const warehouse = upstream("warehouse", WarehouseService);
  const refusing: Script = (stream) => stream.close(constants.NGHTTP2_REFUSED_STREAM);
  const { upstreams, server } = await start(warehouse, first(refusing));
  expect(await drain(warehouse.watchCrates({}, testCall({ upstreams })))).toHaveLength(1);
  expect(server.calls()).toBe(2);
});

test("a call without side effects survives that its connection is cut", async () => {
  const { upstreams } = await start(
    front,
    first((stream) => stream.session?.destroy()),
  );
  const call = testCall({ upstreams });
  await front.getStatus({}, call);
  expect(call.record.upstreamCalls).toMatchObject([{ outcome: "ok", attempts: 2 }]);
});

test("a slow upstream has as many calls as it may have, and the others theirs", async () => {
  const slow = upstream("slow", WarehouseService, { maxConcurrent: 4 });
  const stuck = await startServer(silent);
  const swift = await startServer(ok);
  const upstreams = clientsOf([slow, front], { slow: stuck.url, front: swift.url });
  const leaves = new AbortController();
  const call = testCall({ upstreams, signal: leaves.signal });
  const hanging = Array.from({ length: 20 }, () => thrownBy(slow.getCrate({}, call)));
  await expect.poll(() => stuck.calls(), waiting).toBe(4);
  expect(upstreams.facts()["slow"]).toMatchObject({ inFlight: 4, limit: 4, refused: 16 });
  for (let times = 0; times < 20; times++) await front.getStatus({}, testCall({ upstreams }));
  leaves.abort();
  const reasons = (await Promise.all(hanging)).map((error) => Reflect.get(Object(error), "reason"));
  expect(reasons.filter((reason) => reason === "SERVICE_BUSY")).toHaveLength(16);
  expect(reasons.filter((reason) => reason === "CALLER_LEFT")).toHaveLength(4);
  expect(upstreams.facts()["slow"]).toMatchObject({ inFlight: 0 });
});

test("streams that are open leave room for calls", async () => {
  const small = upstream("small", WarehouseService, { maxConcurrent: 2 });
  const { upstreams } = await start(small, (stream, before) => {
    if (before >= 2) return ok(stream, before);
    stream.respond({ ":status": 200, "content-type": "application/grpc+proto" });
    stream.write(envelope(""));
  });
  const leaves = new AbortController();
  const call = testCall({ upstreams, signal: leaves.signal });
  const open = [small.watchCrates({}, call), small.watchCrates({}, call)].map((it) =>
    it[Symbol.asyncIterator](),
  );
  await Promise.all(open.map((stream) => stream.next()));
  expect(await thrownBy(drain(small.watchCrates({}, call)))).toMatchObject({ reason: "SERVICE_BUSY" });
  await small.getCrate({}, call);
  expect(upstreams.facts()["small"]).toMatchObject({ streams: 2, inFlight: 0, refused: 1 });
  leaves.abort();
  await Promise.all(open.map((stream) => thrownBy(stream.next())));
  expect(upstreams.facts()["small"]).toMatchObject({ streams: 0 });
});

test("a hedged call has the faster answer, and the slower call is cancelled", async () => {
  const hedged = upstream("hedged", pub.WarehouseService, {
    methods: { getStatus: { hedge: { delayMs: 5 } } },
  });
  const cancelled = Promise.withResolvers<number | undefined>();
  const { upstreams } = await start(
    hedged,
    first((stream) => stream.on("close", () => cancelled.resolve(stream.rstCode))),
  );
  const call = testCall({ upstreams });
  await hedged.getStatus({}, call);
  expect(await cancelled.promise).toBe(constants.NGHTTP2_CANCEL);
  expect(call.record.upstreamCalls).toMatchObject([{ outcome: "ok", attempts: 2, hedged: true }]);
  await expect.poll(() => upstreams.facts()["hedged"]?.inFlight, waiting).toBe(0);
});

test.each([
  ["-1", 1],
  ["0", 2],
])("grpc-retry-pushback-ms: %s is heard", async (pushback, sent) => {
  const { upstreams, server } = await start(
    front,
    first((stream) => answer(stream, [], { "grpc-status": "14", "grpc-retry-pushback-ms": pushback })),
  );
  await front.getStatus({}, testCall({ upstreams })).catch(() => {});
  expect(server.calls()).toBe(sent);
});

test.each([
  ["headers", { many: 40, bytes: 4_000 }],
  ["headers that are many", { many: 1_000, bytes: 1 }],
])("an answer with more %s than are taken fails, and the next does not", async (_, { many, bytes }) => {
  const warehouse = upstream("warehouse", WarehouseService);
  const large = Object.fromEntries(
    Array.from({ length: many }, (_, index) => [`x-${index}`, "x".repeat(bytes)]),
  );
  const { upstreams } = await start(
    warehouse,
    first((stream) => answer(stream, [envelope("")], { "grpc-status": "0", ...large })),
  );
  const error = await thrownBy(warehouse.getCrate({}, testCall({ upstreams })));
  expect(["SERVICE_UNAVAILABLE", "INTERNAL"]).toContain(Reflect.get(Object(error), "reason"));
  await warehouse.getCrate({}, testCall({ upstreams }));
});

test("upstreams at https:// know the gateway by its certificate, and it knows them by theirs", async () => {
  const file = (name: string) => readFileSync(new URL(`fixtures/tls/${name}.pem`, import.meta.url), "utf8");
  const [cert, key] = [file("cert"), file("key")];
  const url = await serveTls(createSecureServer({ cert, key, ca: cert, requestCert: true }));
  const warehouse = upstream("warehouse", WarehouseService);
  const reach = (tls: object) => clientsOf([warehouse], { warehouse: url }, tls);
  await warehouse.getCrate({}, testCall({ upstreams: reach({ ca: cert, cert, key }) }));
  for (const tls of [{}, { ca: cert }])
    expect(await thrownBy(warehouse.getCrate({}, testCall({ upstreams: reach(tls) })))).toMatchObject({
      reason: "SERVICE_UNAVAILABLE",
    });
});

/** Machines are slow. */
const waiting = { timeout: 10_000, interval: 10 };

interface Server {
  readonly url: string;
  readonly calls: () => number;
  readonly behave: (script: Script) => void;
}

async function startServer(script: Script): Promise<Server> {
  const server: FaultyUpstream = await startFaultyUpstream();
  opened.push(() => server[Symbol.asyncDispose]());
  let calls = 0;
  let current = script;
  server.behave({ stream: (stream) => current(stream, calls++) });
  return {
    url: server.url,
    calls: () => calls,
    behave: (next) => {
      current = next;
    },
  };
}

async function start(one: AnyUpstream, script: Script) {
  const server = await startServer(script);
  return { server, upstreams: clientsOf([one], { [one[declaration].name]: server.url }) };
}

function clientsOf(
  upstreams: readonly AnyUpstream[],
  urls: Readonly<Record<string, string>>,
  tls: object = {},
): UpstreamClients {
  const addresses = Object.fromEntries(Object.entries(urls).map(([name, url]) => [name, [new URL(url)]]));
  const clients = createUpstreamClients(upstreams, { addresses, maxResponseBytes: 65_536, tls });
  opened.push(clients.close);
  return clients;
}

async function serveTls(server: Http2SecureServer): Promise<string> {
  server.on("stream", (stream: ServerHttp2Stream) => ok(stream, 0));
  server.on("sessionError", () => {});
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  opened.push(() => server.close());
  // A TCP server's address is never the text that a Unix socket's is.
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
