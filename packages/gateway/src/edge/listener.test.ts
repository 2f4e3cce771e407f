import { once } from "node:events";
import { readFileSync } from "node:fs";
import { Agent, type IncomingMessage, request, type ServerResponse } from "node:http";
import {
  type ClientHttp2Session,
  constants,
  connect as h2Connect,
  type IncomingHttpHeaders,
  type SecureClientSessionOptions,
} from "node:http2";
import { request as tlsRequest } from "node:https";
import { type AddressInfo, connect as tcpConnect } from "node:net";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { connect as tlsConnect } from "node:tls";
import Fastify from "fastify";
import { afterEach, describe, expect, test } from "vitest";
import { type ByteBudget, createByteBudget } from "./byte-budget.ts";
import { createListener, defaultListenerLimits, type Listener, type ListenerHandler } from "./listener.ts";

const fixtures = new URL("../../../../tests/fixtures/tls/", import.meta.url);
const tls = {
  cert: readFileSync(new URL("cert.pem", fixtures)),
  key: readFileSync(new URL("key.pem", fixtures)),
};
const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

describe("inside Fastify", () => {
  async function startFastify(options: { tls?: typeof tls } = {}) {
    const app = Fastify({
      serverFactory: (handler) =>
        createListener(handler, { limits: defaultListenerLimits, ...options }).server,
    });
    app.get("/hello", (req) => ({ http: req.raw.httpVersion }));
    app.post("/echo", (req) => req.body);
    await app.listen({ port: 0, host: "127.0.0.1" });
    closers.push(() => app.close());
    return { app, port: (app.server.address() as AddressInfo).port };
  }

  test.each([
    { over: "cleartext", options: {} },
    { over: "TLS", options: { tls } },
  ])("HTTP/1.1 and HTTP/2 share a port over $over", async ({ options }) => {
    const { port } = await startFastify(options);
    const secure = "tls" in options;
    const session = h2Session(port, secure);
    const [first, second, posted, h2Got, h2Posted] = await Promise.all([
      h1(port, { secure, path: "/hello" }),
      h1(port, { secure, path: "/hello" }),
      h1(port, { secure, path: "/echo", body: '{"a":1}' }),
      h2(session, { path: "/hello" }),
      h2(session, { path: "/echo", body: '{"b":2}' }),
    ]);
    expect([first.body, second.body]).toEqual(['{"http":"1.1"}', '{"http":"1.1"}']);
    expect(posted.body).toBe('{"a":1}');
    expect(h2Got.body).toBe('{"http":"2.0"}');
    expect(h2Posted.body).toBe('{"b":2}');
  });

  test("close() does not wait for idle connections of either protocol", async () => {
    const { app, port } = await startFastify();
    const agent = new Agent({ keepAlive: true });
    closers.push(() => agent.destroy());
    await h1(port, { path: "/hello", agent });
    const session = h2Session(port);
    await h2(session, { path: "/hello" });
    const silent = tcpConnect(port, "127.0.0.1").on("error", ignore);
    await once(silent, "connect");
    const before = performance.now();
    await app.close();
    expect(performance.now() - before).toBeLessThan(3_000);
  });

  test("a port in use is an error of listen()", async () => {
    const { port } = await startFastify();
    const second = Fastify({
      serverFactory: (handler) => createListener(handler, { limits: defaultListenerLimits }).server,
    });
    await expect(second.listen({ port, host: "127.0.0.1" })).rejects.toThrow("EADDRINUSE");
  });
});

describe("telling the protocols apart", () => {
  test("the HTTP/2 preface may come byte by byte", async () => {
    const { port } = await start(answer);
    const socket = tcpConnect(port, "127.0.0.1").setNoDelay();
    closers.push(() => socket.destroy());
    const bytes = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", "latin1");
    for (const byte of bytes) {
      socket.write(Buffer.of(byte));
      await sleep(1);
    }
    const [reply]: Buffer[] = await once(socket, "data");
    expect(reply?.[3], "the type of the first frame: SETTINGS").toBe(4);
  });

  test("an HTTP/1 request may come byte by byte, even one that begins like the preface", async () => {
    const { port } = await start(answer);
    const reply = await raw(port, "PROPFIND / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", 1);
    expect(reply).toMatch(/^HTTP\/1\.1 200 OK\r\n/);
  });

  test.each([
    [
      "noise",
      "\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
      /^HTTP\/1\.1 400 Bad Request\r\nconnection: close\r\n\r\n$/i,
    ],
    ["a broken request line", "GET\r\n\r\n", /^HTTP\/1\.1 400 /],
    ["no Host header", "GET / HTTP/1.1\r\n\r\n", /^HTTP\/1\.1 400 /],
    [
      "a header of 20 KB",
      `GET / HTTP/1.1\r\nhost: a\r\nx: ${"x".repeat(20_000)}\r\n\r\n`,
      /^HTTP\/1\.1 431 /,
    ],
    ["almost the preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\n\n", /^HTTP\/1\.1 400 /],
  ])("answers %s and closes", async (_name, bytes, reply) => {
    const { port } = await start(answer);
    expect(await raw(port, bytes)).toMatch(reply);
    expect((await h1(port)).status, "the next client").toBe(200);
  });

  test("a preface followed by noise ends that connection only", async () => {
    const { port } = await start(answer);
    await raw(port, `PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n${"\xff".repeat(200)}`);
    expect((await h2(h2Session(port))).status).toBe(200);
  });

  test("TLS noise, a plain request to a TLS port and TLS 1.1 are refused without harm", async () => {
    const { port } = await start(answer, { tls });
    await raw(port, "GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    await raw(port, "\x16\x03\x01\0\x05abcde");
    await expect(h1(port, { secure: true, maxVersion: "TLSv1.1" })).rejects.toThrow();
    expect((await h1(port, { secure: true })).status).toBe(200);
  });

  test("all header lines reach the handler, up to what is then refused", async () => {
    const { port } = await start((req, res) => res.end(String(req.rawHeaders.length / 2)));
    const lines = Array.from({ length: 200 }, (_, i) => [`x-${i}`, "v"]);
    const headers = Object.fromEntries(lines);
    expect(Number((await h1(port, { headers })).body)).toBeGreaterThanOrEqual(200);
    expect(Number((await h2(h2Session(port), { headers })).body)).toBeGreaterThanOrEqual(200);
    const wide = Object.fromEntries(Array.from({ length: 400 }, (_, i) => [`x-${i}`, "v"]));
    await expect(h2(h2Session(port), { headers: wide })).rejects.toThrow("ENHANCE_YOUR_CALM");
  });

  test("a long header is refused on HTTP/2, before the settings are acknowledged and after", async () => {
    const { port, listener } = await start(answer);
    const headers = { x: "x".repeat(20_000) };
    const session = h2Session(port);
    await expect(h2(session, { headers })).rejects.toThrow("ENHANCE_YOUR_CALM");
    await h2(session);
    await expect(h2(session, { headers })).rejects.toThrow("ENHANCE_YOUR_CALM");
    expect(listener.inFlight()).toBe(0);
  });
});

describe("limits", () => {
  test("a connection that stays silent, and one that sends half a header, are cut", async () => {
    const { port } = await start(answer, { limits: { headersTimeoutMs: 200 } });
    expect(await raw(port, "")).toBe("");
    expect(await raw(port, "PRI * HT")).toBe("");
    expect(await raw(port, "GET / HTTP/1.1\r\nhost:")).toMatch(/^HTTP\/1\.1 408 /);
  });

  test("a body that does not come is cut on both protocols", async () => {
    const { port, listener } = await start(readAll, {
      limits: { headersTimeoutMs: 200, requestTimeoutMs: 400 },
    });
    const head = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc";
    expect(await raw(port, head)).toMatch(/^HTTP\/1\.1 408 /);
    const stream = h2Session(port).request({ ":method": "POST" }, { endStream: false });
    stream.write("abc");
    await once(stream, "close");
    await eventually(() => listener.inFlight() === 0);
  });

  test("a slow answer is not a slow request", async () => {
    const { port } = await start(
      (_req, res) => {
        setTimeout(() => res.end("late"), 600);
      },
      { limits: { headersTimeoutMs: 100, requestTimeoutMs: 200, keepAliveTimeoutMs: 200 } },
    );
    expect((await h1(port)).body).toBe("late");
    const session = h2Session(port);
    expect((await h2(session)).body).toBe("late");
    expect((await h2(h2Session(port), { body: "x" })).body).toBe("late");
  });

  test("idle HTTP/2 connections are told to go, even if they ping", async () => {
    const { port } = await start(answer, { limits: { keepAliveTimeoutMs: 200 } });
    const session = h2Session(port);
    await h2(session);
    const pings = setInterval(() => session.ping(ignore), 20);
    closers.push(() => clearInterval(pings));
    const [code] = await once(session, "goaway");
    expect(code).toBe(0);
  });

  test("a request that goes on while it is answered is not late", async () => {
    const { port } = await start(
      (req, res) => {
        req.pipe(res);
      },
      { limits: { headersTimeoutMs: 100, requestTimeoutMs: 200, keepAliveTimeoutMs: 200 } },
    );
    const stream = h2Session(port).request({ ":method": "POST" }, { endStream: false });
    stream.write("early");
    expect(String((await once(stream, "data"))[0])).toBe("early");
    await sleep(600);
    stream.end("late");
    expect(String((await once(stream, "data"))[0])).toBe("late");
    await once(stream.resume(), "close");
    expect(stream.rstCode).toBe(0);
  });

  test("connections above the limit are closed, and room is used again", async () => {
    const { port, listener } = await start(answer, { limits: { maxConnections: 5 } });
    const flood = Array.from({ length: 20 }, () => tcpConnect(port, "127.0.0.1").on("error", ignore));
    closers.push(() => flood.map((socket) => socket.destroy()));
    await eventually(() => flood.filter((socket) => socket.closed).length === 15);
    expect(await connections(listener)).toBe(5);
    for (const socket of flood) socket.destroy();
    await eventually(async () => (await connections(listener)) === 0);
    expect((await h1(port)).status).toBe(200);
  });

  test("a connection with more pipelined requests than the limit is destroyed, and another is not", async () => {
    const release = Promise.withResolvers<void>();
    let handled = 0;
    const handler: ListenerHandler = async (_req, res) => {
      handled++;
      await release.promise;
      res.end("ok");
    };
    const { port, listener } = await start(handler, { limits: { maxPipelined: 3 } });
    const one = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    expect(await raw(port, one.repeat(50))).toBe("");
    expect(handled, "the fourth is never handed over, nor is what comes behind").toBe(3);
    await eventually(() => listener.inFlight() === 0);
    const last = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    const allowed = raw(port, one.repeat(2) + last);
    await eventually(() => listener.inFlight() === 3);
    release.resolve();
    expect((await allowed).match(/200 OK/g)).toHaveLength(3);
  });

  test("requests that are answered do not count as pipelined", async () => {
    const { port } = await start(answer, { limits: { maxPipelined: 1 } });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    closers.push(() => agent.destroy());
    for (let count = 0; count < 20; count++) expect((await h1(port, { agent })).status).toBe(200);
  });

  test("HTTP/2 settings say what is allowed", async () => {
    const { port } = await start(answer);
    const session = h2Session(port);
    const [settings] = await once(session, "remoteSettings");
    expect(settings).toMatchObject({
      maxConcurrentStreams: 100,
      initialWindowSize: 65_536,
      maxHeaderListSize: 16_384,
    });
    await h2(session);
    expect(session.state.remoteWindowSize).toBeGreaterThan(900_000);
  });

  test("limits that make no sense are named", () => {
    const limits = {
      ...defaultListenerLimits,
      maxConnections: 0,
      maxHeaderBytes: 1.5,
      streamWindowBytes: 10,
    };
    expect(() => createListener(answer, { limits })).toThrow(
      /maxHeaderBytes .* got 1.5; maxConnections .* got 0; streamWindowBytes .* from 65535 .* got 10/,
    );
    expect(() =>
      createListener(answer, { limits: { ...defaultListenerLimits, headersTimeoutMs: 40_000 } }),
    ).toThrow("headersTimeoutMs (40000) must not exceed requestTimeoutMs (30000)");
  });
});

describe("a connection of some age", () => {
  test("ends after its next answer on HTTP/1", async () => {
    const { port, listener } = await start(answer, { limits: { connectionAgeMs: 100 } });
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    closers.push(() => agent.destroy());
    expect((await h1(port, { agent })).headers["connection"]).toBe("keep-alive");
    await sleep(150);
    expect((await h1(port, { agent })).headers["connection"]).toBe("close");
    expect((await h1(port, { agent })).headers["connection"]).toBe("keep-alive");
    expect(listener.facts().aged).toBe(1);
  });

  test("is never ended when no age is set", async () => {
    const { port, listener } = await start(answer, { limits: { connectionAgeMs: 0 } });
    const session = h2Session(port);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    closers.push(() => agent.destroy());
    for (let times = 0; times < 3; times++) {
      expect((await h1(port, { agent })).headers["connection"]).toBe("keep-alive");
      expect((await h2(session)).status).toBe(200);
      await sleep(20);
    }
    expect(listener.facts()).toMatchObject({ aged: 0, connections: { h1: 1, h2: 1 } });
  });

  test.each([
    ["cleartext", {}],
    ["TLS", { tls }],
  ])("is told to go on HTTP/2, and no request fails: %s", async (_name, options) => {
    const { port, listener } = await start(answer, { ...options, limits: { connectionAgeMs: 100 } });
    const secure = "tls" in options;
    let session = h2Session(port, secure);
    let renewed = 0;
    while (renewed < 5) {
      if (session.closed) {
        renewed++;
        session = h2Session(port, secure);
      }
      const answers = await Promise.allSettled(Array.from({ length: 10 }, () => h2(session)));
      for (const answer of answers) {
        // Node's client says so of its own accord: what it had not sent when it heard of the end.
        if (answer.status === "rejected") expect(String(answer.reason)).toMatch(/REFUSED_STREAM/);
        else expect(answer.value.status).toBe(200);
      }
    }
    expect(listener.facts().aged).toBeGreaterThanOrEqual(5);
  });

  test("answers what was in flight when it was told", async () => {
    const gate = Promise.withResolvers<void>();
    const { port, listener } = await start(
      async (_req, res) => {
        await gate.promise;
        res.end("late");
      },
      { limits: { connectionAgeMs: 500 } },
    );
    const session = h2Session(port);
    const late = h2(session);
    await once(session, "goaway");
    expect(listener.inFlight()).toBe(1);
    gate.resolve();
    expect((await late).body).toBe("late");
    await eventually(async () => (await connections(listener)) === 0);
  });
});

describe("an answer that its client does not take", () => {
  const long: ListenerHandler = (_req, res) => {
    res.on("error", ignore);
    res.end(Buffer.alloc(32 * 2 ** 20));
  };
  const limits = { stallTimeoutMs: 300 };

  test("is cut off on HTTP/1", async () => {
    const { port, listener } = await start(long, { limits });
    const socket = tcpConnect(port, "127.0.0.1").on("error", ignore);
    closers.push(() => socket.destroy());
    socket.write("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    socket.pause();
    await eventually(() => listener.inFlight() === 1);
    await eventually(() => listener.inFlight() === 0);
    await eventually(async () => (await connections(listener)) === 0);
  });

  test("is cut off on HTTP/2, and the connection goes on", async () => {
    const { port, listener } = await start(
      // Less than what Node holds for a connection, or it would take no other request.
      (req, res) => void res.end(req.url === "/long" ? Buffer.alloc(2 ** 20) : "ok"),
      { limits },
    );
    const session = h2Session(port);
    const stream = session.request({ ":path": "/long" }).on("error", ignore);
    const closed = once(stream, "close");
    await eventually(() => listener.inFlight() === 1);
    await eventually(() => listener.inFlight() === 0);
    await closed;
    expect(stream.rstCode).toBe(constants.NGHTTP2_CANCEL);
    expect((await h2(session)).status).toBe(200);
  });

  test.each(["a whole request", "a request without an end"])(
    "is cut off on HTTP/2 however small it is, after %s",
    async (what) => {
      const { port, listener } = await start((_req, res) => void res.end("ok"), {
        limits: { stallTimeoutMs: 900 },
      });
      const session = h2Session(port, false, { settings: { initialWindowSize: 0 } });
      const endStream = what === "a whole request";
      const stream = session.request({ ":path": "/", ":method": "POST" }, { endStream }).on("error", ignore);
      await once(stream, "response");
      expect(listener.inFlight()).toBe(1);
      await eventually(() => listener.inFlight() === 0);
    },
  );

  test("is cut off much sooner when such answers take too much memory", async () => {
    const { port, listener } = await start((_req, res) => void res.end("ok"), {
      limits: { stallTimeoutMs: 600_000, maxUntakenBytes: 100_000 },
    });
    const session = h2Session(port, false, { settings: { initialWindowSize: 0 } });
    const ask = () => session.request({ ":path": "/" }).on("error", ignore);
    const streams = Array.from({ length: 10 }, ask);
    await Promise.all(streams.slice(0, 7).map((stream) => once(stream, "close")));
    // The last of them take no more than they may.
    await eventually(() => listener.inFlight() === 3);
  });

  test("is not cut off while its client takes some of it now and then", async () => {
    const pieces = Array.from({ length: 512 }, () => Buffer.alloc(65_536));
    const { port } = await start((_req, res) => void Readable.from(pieces).pipe(res), { limits });
    const req = request({ port, host: "127.0.0.1" }).end();
    const [res]: IncomingMessage[] = await once(req, "response");
    let bytes = 0;
    for await (const chunk of res ?? []) {
      bytes += chunk.length;
      // Three times as long as it may lie, in all.
      if (bytes % 2 ** 20 < chunk.length) await sleep(30);
    }
    expect(bytes).toBe(32 * 2 ** 20);
  });
});

test("what goes on at a port can be told", async () => {
  const gate = Promise.withResolvers<void>();
  const inFlightBytes = createByteBudget(1_000);
  const { port, listener } = await start(
    async (_req, res) => {
      await gate.promise;
      res.end("done");
    },
    { limits: { maxConnections: 3 }, inFlightBytes },
  );
  inFlightBytes.take("ada", 123, false);
  const silent = tcpConnect(port, "127.0.0.1").on("error", ignore);
  closers.push(() => silent.destroy());
  const answers = [h1(port), h2(h2Session(port))];
  await eventually(() => listener.inFlight() === 2);
  const one = tcpConnect(port, "127.0.0.1").on("error", ignore);
  await once(one, "close");
  expect(listener.facts()).toEqual({
    connections: { h1: 1, h2: 1, undecided: 1 },
    inFlight: 2,
    inFlightBytes: 123,
    refusedConnections: 1,
    aged: 0,
  });
  gate.resolve();
  await Promise.all(answers);
});

describe("bodies that nobody reads", () => {
  const refuse: ListenerHandler = (_req, res) => void res.writeHead(401).end("no");

  test("HTTP/1: a small one leaves the connection usable", async () => {
    const { port } = await start(refuse);
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    closers.push(() => agent.destroy());
    expect((await h1(port, { agent, body: "x".repeat(1_000) })).status).toBe(401);
    expect((await h1(port, { agent, body: "x" })).status).toBe(401);
  });

  test.each([
    ["not at all", refuse],
    [
      "in part",
      (req: IncomingMessage, res: ServerResponse) => {
        req.once("data", () => {
          req.pause();
          res.writeHead(401).end("no");
        });
      },
    ],
  ])("a long one, read %s, is cut off soon after the answer on both protocols", async (_name, handler) => {
    const { port, listener } = await start(handler);
    const reply = await raw(port, "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999\r\n\r\nabc");
    expect(reply).toMatch(/^HTTP\/1\.1 401 /);

    const session = h2Session(port);
    const stream = session.request({ ":method": "POST" }, { endStream: false });
    stream.write("abc");
    const [headers]: IncomingHttpHeaders[] = await once(stream, "response");
    expect(headers).toMatchObject({ ":status": 401 });
    await eventually(() => listener.inFlight() === 0);
    expect((await h2(session, { body: "x" })).status, "the connection goes on").toBe(401);
  });
});

describe("clients that leave", () => {
  test.each([
    ["cleartext", {}],
    ["TLS", { tls }],
  ])("by a reset, at any moment, over %s", async (_name, options) => {
    const { port, listener } = await start((_req, res) => void res.write("begin"), options);
    const secure = "tls" in options;
    const beginnings = [
      "",
      "P",
      "GET / HTTP/1.1\r\nhost",
      "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ];
    for (const bytes of beginnings) {
      const tcp = tcpConnect(port, "127.0.0.1").on("error", ignore);
      await once(tcp, "connect");
      if (secure) {
        const inner = tlsConnect({ socket: tcp, ca: tls.cert, servername: "localhost" }).on("error", ignore);
        await once(inner, "secureConnect");
        inner.write(bytes);
      } else tcp.write(bytes);
      await sleep(20);
      tcp.resetAndDestroy();
    }
    await eventually(async () => (await connections(listener)) === 0);
    expect(listener.inFlight()).toBe(0);
  });

  test("writing to a response whose client is gone harms nobody", async () => {
    const left = Promise.withResolvers<void>();
    const { port, listener } = await start((_req, res) => {
      res.write("begin");
      res.once("close", () => {
        res.write("more");
        res.end("end");
        left.resolve();
      });
    });
    const req = request({ port, host: "127.0.0.1" }).on("error", ignore).end();
    await once(req, "response");
    expect(listener.inFlight()).toBe(1);
    req.destroy();
    await left.promise;
    const session = h2Session(port);
    const stream = session.request({ ":path": "/" });
    await once(stream, "response");
    session.destroy();
    await eventually(() => listener.inFlight() === 0);
  });
});

describe("Expect: 100-continue", () => {
  const head = "POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 3\r\n";

  test("is granted when the body is read, and not before", async () => {
    const gate = Promise.withResolvers<void>();
    const { port } = await start(async (req, res) => {
      await gate.promise;
      res.end(await buffer(req));
    });
    const socket = tcpConnect(port, "127.0.0.1").on("error", ignore);
    closers.push(() => socket.destroy());
    let text = "";
    socket.on("data", (chunk) => {
      text += String(chunk);
    });
    socket.write(`${head}connection: close\r\n\r\n`);
    await sleep(50);
    expect(text).toBe("");
    gate.resolve();
    await eventually(() => text === "HTTP/1.1 100 Continue\r\n\r\n");
    socket.write("abc");
    await once(socket, "close");
    expect(text).toMatch(/200 OK[\s\S]*abc$/);
  });

  test("is not granted to who is refused, even when the body is read after", async () => {
    const { port } = await start((req, res) => {
      res.writeHead(401).end("no");
      req.on("data", ignore);
    });
    expect(await raw(port, `${head}\r\n`)).toMatch(/^HTTP\/1\.1 401 [\s\S]*connection: close/i);
  });

  test("another expectation is refused", async () => {
    const { port } = await start(answer);
    const bytes = `${head.replace("100-continue", "more")}connection: close\r\n\r\nabc`;
    expect(await raw(port, bytes)).toMatch(/^HTTP\/1\.1 417 /);
    expect((await h1(port)).status).toBe(200);
  });
});

test("an error of a request or response whose listeners are gone harms nobody", async () => {
  const { port, listener } = await start((req, res) => {
    const forget = () => {};
    req.once("error", forget);
    // What the router does: it stops to listen when the response closes, which is before the error of the request.
    res.once("close", () => req.off("error", forget));
  });
  const one = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
  for (const count of [1, 8, 16]) {
    const socket = tcpConnect(port, "127.0.0.1").on("error", ignore);
    socket.write(one.repeat(count));
    await eventually(() => listener.inFlight() === count);
    socket.destroy();
    await eventually(() => listener.inFlight() === 0);
  }
  const session = h2Session(port);
  const stream = session.request({ ":path": "/" }).on("error", ignore);
  await eventually(() => listener.inFlight() === 1);
  stream.close(8);
  await eventually(() => listener.inFlight() === 0);
  expect((await h1(port, { path: "/", headers: { expect: "more" } })).status).toBe(417);
});

describe("drain", () => {
  test("answers what is in flight, and tells clients of both protocols to go", async () => {
    const gate = Promise.withResolvers<void>();
    const { port, listener } = await start(async (_req, res) => {
      await gate.promise;
      res.end("done");
    });
    const agent = new Agent({ keepAlive: true });
    closers.push(() => agent.destroy());
    const session = h2Session(port);
    const goaway = once(session, "goaway");
    const answers = [h1(port, { agent }), h2(session), h2(session)];
    await eventually(() => listener.inFlight() === 3);

    const drained = listener.drain(5_000);
    await goaway;
    await expect(h1(port), "new connections").rejects.toThrow("ECONNREFUSED");
    gate.resolve();
    const [one, two, three] = await Promise.all(answers);
    expect([one?.body, two?.body, three?.body]).toEqual(["done", "done", "done"]);
    expect(one?.headers["connection"]).toBe("close");
    expect(await drained).toBe(0);
    expect(listener.inFlight()).toBe(0);
    expect(await connections(listener)).toBe(0);
  });

  test("an HTTP/1 answer that has begun ends its connection, too", async () => {
    const gate = Promise.withResolvers<void>();
    const { port, listener } = await start(async (_req, res) => {
      res.write("a");
      await gate.promise;
      res.end("b");
    });
    const agent = new Agent({ keepAlive: true });
    closers.push(() => agent.destroy());
    const answered = h1(port, { agent });
    await eventually(() => listener.inFlight() === 1);
    const closed = once(listener.server, "close");
    // Without the deadline of a drain: the kept-alive connection would hold it for 72 s.
    listener.server.close();
    gate.resolve();
    expect((await answered).body).toBe("ab");
    await closed;
  });

  test("streams that cross the GOAWAY are served or refused, never left alone", async () => {
    const { port, listener } = await start(answer);
    const session = h2Session(port);
    await h2(session);
    const drained = listener.drain(5_000);
    const raced = await Promise.allSettled(Array.from({ length: 20 }, () => h2(session)));
    for (const outcome of raced) {
      if (outcome.status === "fulfilled") expect(outcome.value.status).toBe(200);
      else expect(String(outcome.reason)).toMatch(/REFUSED_STREAM/);
    }
    expect(await drained).toBe(0);
  });

  test("closes idle connections at once", async () => {
    const { port, listener } = await start(answer);
    const agent = new Agent({ keepAlive: true });
    closers.push(() => agent.destroy());
    await h1(port, { agent });
    const session = h2Session(port);
    await h2(session);
    const silent = tcpConnect(port, "127.0.0.1").on("error", ignore);
    await once(silent, "connect");
    const before = performance.now();
    expect(await listener.drain(20_000)).toBe(0);
    expect(performance.now() - before).toBeLessThan(3_000);
    expect(await connections(listener)).toBe(0);
  });

  test("cuts off what does not end, and says how many", async () => {
    const { port, listener } = await start(ignore);
    const session = h2Session(port);
    const cut = [h1(port), h2(session), h2(session)].map((call) => expect(call).rejects.toThrow());
    await eventually(() => listener.inFlight() === 3);
    const drained = listener.drain(300);
    expect(listener.drain(60_000), "the first call decides").toBe(drained);
    expect(await drained).toBe(3);
    await Promise.all(cut);
    await eventually(() => listener.inFlight() === 0);
  });

  test("works over TLS, and on a listener that never listened", async () => {
    const { port, listener } = await start(answer, { tls });
    const session = h2Session(port, true);
    await h2(session);
    expect(await listener.drain(5_000)).toBe(0);
    expect(await createListener(answer, { limits: defaultListenerLimits }).drain(100)).toBe(0);
  });
});

const answer: ListenerHandler = (_req, res) => void res.end("ok");

const readAll: ListenerHandler = (req, res) => {
  req.resume().on("end", () => res.end("read"));
};

interface StartOptions {
  inFlightBytes?: ByteBudget;
  tls?: { cert: Buffer; key: Buffer };
  limits?: Partial<typeof defaultListenerLimits>;
}

async function start(handler: ListenerHandler, options: StartOptions = {}) {
  const limits = { ...defaultListenerLimits, ...options.limits };
  const listener = createListener(handler, { ...options, limits });
  listener.server.listen(0, "127.0.0.1");
  await once(listener.server, "listening");
  closers.push(() => listener.drain(0));
  // A TCP server's address is never a string.
  return { listener, port: (listener.server.address() as AddressInfo).port };
}

interface H1Call {
  secure?: boolean;
  path?: string;
  body?: string;
  headers?: Record<string, string>;
  agent?: Agent;
  maxVersion?: "TLSv1.1";
}

async function h1(port: number, { secure = false, body, headers = {}, ...rest }: H1Call = {}) {
  const method = body === undefined ? "GET" : "POST";
  const type = body === undefined ? {} : { "content-type": "application/json" };
  const options = { port, host: "127.0.0.1", method, headers: { ...type, ...headers }, ...rest };
  const req = secure ? tlsRequest({ ...options, ca: tls.cert, agent: false }) : request(options);
  req.end(body);
  const [res]: IncomingMessage[] = await once(req, "response");
  if (res === undefined) throw new Error("no response");
  return { status: res.statusCode, headers: res.headers, body: String(await buffer(res)) };
}

function h2Session(
  port: number,
  secure = false,
  options: SecureClientSessionOptions = {},
): ClientHttp2Session {
  const url = `${secure ? "https" : "http"}://127.0.0.1:${port}`;
  const session = h2Connect(url, { ca: tls.cert, ...options });
  closers.push(() => session.destroy());
  return session.on("error", ignore);
}

interface H2Call {
  path?: string;
  body?: string;
  headers?: Record<string, string>;
}

async function h2(session: ClientHttp2Session, { path = "/", body, headers = {} }: H2Call = {}) {
  const method = body === undefined ? "GET" : "POST";
  const type = body === undefined ? {} : { "content-type": "application/json" };
  const stream = session.request({ ":method": method, ":path": path, ...type, ...headers });
  stream.end(body);
  // A stream that is closed with CANCEL has no error event.
  const [got]: IncomingHttpHeaders[] = await Promise.race([once(stream, "response"), once(stream, "close")]);
  if (got === undefined) throw new Error("closed without a response");
  return { status: got?.[":status"], headers: got ?? {}, body: String(await buffer(stream)) };
}

/** Sends bytes, then gives what came back until the server closed. With `pauseMs`, one byte at a time. */
async function raw(port: number, bytes: string, pauseMs?: number): Promise<string> {
  const socket = tcpConnect(port, "127.0.0.1").setNoDelay().on("error", ignore);
  closers.push(() => socket.destroy());
  const received: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => received.push(chunk));
  const closed = once(socket, "close");
  const all = Buffer.from(bytes, "latin1");
  if (pauseMs === undefined) socket.write(all);
  else {
    for (const byte of all) {
      socket.write(Buffer.of(byte));
      await sleep(pauseMs);
    }
  }
  await closed;
  return Buffer.concat(received).toString("latin1");
}

function connections({ server }: Listener): Promise<number> {
  return new Promise((resolve, reject) => {
    server.getConnections((error, count) => (error === null ? resolve(count) : reject(error)));
  });
}

async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(10);
}

function ignore(): void {}
