import { once } from "node:events";
import { connect as connectH2 } from "node:http2";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { UsersService } from "../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { floodsOf } from "./attack/floods.ts";
import {
  data,
  type Fields,
  flags,
  frameTypes,
  headers,
  openFrames,
  ping,
  windowUpdate,
} from "./harness/frames.ts";
import { rawCall } from "./raw-call.ts";
import { type System, startSystem } from "./system.ts";

// What HTTP/2 forbids is no request, and who floods a connection loses it. Others notice neither.

let system: System;
let token: string;
beforeAll(async () => {
  system = await startSystem();
  token = await system.token("admin");
});
afterAll(() => system.close());

const path = `/${UsersService.typeName}/GetUser`;
const body = Buffer.from('{"id":"user-1"}');
/** Enough for a machine that is busy. */
const waiting = { timeout: 20_000 };

function fields(changes: Readonly<Record<string, string | undefined>> = {}): [string, string][] {
  const all = {
    ":method": "POST",
    ":scheme": "http",
    ":path": path,
    ":authority": "localhost",
    "content-type": "application/json",
    authorization: `Bearer ${token}`,
    ...changes,
  };
  return Object.entries(all).filter((field): field is [string, string] => field[1] !== undefined);
}

/** Whether a request with these header lines succeeds, is answered by something else, or ends its stream or connection. */
async function outcomeOf(lines: Fields): Promise<"success" | "failure" | "no answer"> {
  await using client = await openFrames(system.url);
  await client.send(headers(1, lines, flags.endHeaders), data(1, body, flags.endStream));
  const end = await client.next(
    ({ type, streamId }) =>
      type === frameTypes.goaway ||
      (streamId === 1 && (type === frameTypes.reset || type === frameTypes.headers)),
  );
  if (end?.type !== frameTypes.headers) return "no answer";
  // Entry 8 of HPACK's static table.
  return end.payload[0] === (0x80 | 8) ? "success" : "failure";
}

test("a request that keeps the rules is answered", async () => {
  expect(await outcomeOf(fields())).toBe("success");
});

describe("no request is one", () => {
  const twice = (name: string, value: string): [string, string][] => [...fields(), [name, value]];
  const cases: [name: string, lines: () => Fields][] = [
    ["with capitals in the name of a header", () => [...fields(), ["X-Y", "z"]]],
    ["with connection", () => twice("connection", "close")],
    ["with keep-alive", () => twice("keep-alive", "timeout=5")],
    ["with proxy-connection", () => twice("proxy-connection", "close")],
    ["with transfer-encoding", () => twice("transfer-encoding", "chunked")],
    ["with upgrade", () => twice("upgrade", "websocket")],
    ["with te for something else", () => twice("te", "gzip")],
    ["without a method", () => fields({ ":method": undefined })],
    ["without a path", () => fields({ ":path": undefined })],
    ["without a scheme", () => fields({ ":scheme": undefined })],
    ["without a host", () => fields({ ":authority": undefined })],
    ["with two methods", () => [[":method", "GET"], ...fields()]],
    ["with two paths", () => [[":path", "/healthz"], ...fields()]],
    ["with two authorities", () => [[":authority", "other"], ...fields()]],
    ["with a host that differs from the authority", () => twice("host", "other")],
    ["with two hosts", () => [...twice("host", "localhost"), ["host", "localhost"]]],
    ["with an authority that is none", () => fields({ ":authority": "a b" })],
    ["with somebody in the authority", () => fields({ ":authority": "somebody@localhost" })],
    ["with an empty path", () => fields({ ":path": "" })],
    ["with a path without a slash", () => fields({ ":path": path.slice(1) })],
    ["with a whole URL for a path", () => fields({ ":path": `http://localhost${path}` })],
    ["with a space in the path", () => fields({ ":path": `${path} HTTP/1.1` })],
    ["with a line break in the path", () => fields({ ":path": `${path}\r\nx: y` })],
    ["with a pseudo-header that there is not", () => [[":x", "y"], ...fields()]],
    ["with a pseudo-header after the others", () => [...fields({ ":path": undefined }), [":path", path]]],
    ["with the status of an answer", () => [[":status", "200"], ...fields()]],
    ["with a method of another protocol", () => fields({ ":method": "CONNECT", ":path": undefined })],
    ["with the length of another body", () => twice("content-length", "3")],
    ["with two lengths", () => [...twice("content-length", "15"), ["content-length", "16"]]],
    ["with 120 header lines", () => [...fields(), ...many(120)]],
    ["with 300 header lines", () => [...fields(), ...many(300)]],
  ];
  test.each(cases)("%s", async (_name, lines) => {
    expect(await outcomeOf(lines())).not.toBe("success");
  });

  function many(count: number): [string, string][] {
    return Array.from({ length: count }, (_, index) => [`x-${index}`, "y"]);
  }
});

test("a connection that is told to go is served until its client has heard of it", async () => {
  await using aging = await startSystem({ env: { CONNECTION_AGE_MS: "1" } });
  await using client = await openFrames(aging.url);
  const authorization = `Bearer ${await aging.token("admin")}`;
  const begin = (streamId: number) => headers(streamId, fields({ authorization }), flags.endHeaders);
  await client.send(begin(1));
  const first = await client.next(({ type }) => type === frameTypes.goaway);
  expect([first?.payload.readUInt32BE(0), first?.payload.readUInt32BE(4)]).toEqual([2 ** 31 - 1, 0]);
  // The client does not answer the ping that came with it: it has half a second.
  await client.send(begin(3), data(3, body, flags.endStream));
  expect(
    await client.next(({ type, streamId }) => type === frameTypes.headers && streamId === 3),
  ).toBeDefined();
  await client.send(data(1, body, flags.endStream));
  expect(
    await client.next(({ type, streamId }) => type === frameTypes.headers && streamId === 1),
  ).toBeDefined();
  expect(await client.ended).toMatchObject({ goaway: { code: 0, lastStreamId: 3 } });
});

test("another scheme changes nothing", async () => {
  expect(await outcomeOf(fields({ ":scheme": "https" }))).toBe("success");
});

test.each(["\r\n", "\0", "\n"])("a header with %j in it is not there", async (bad) => {
  expect(await outcomeOf(fields({ authorization: `Bearer ${token}${bad}x` }))).toBe("failure");
  expect(await outcomeOf([...fields(), ["x", `y${bad}`]])).toBe("success");
});

describe("20,000 frames that ask for nothing", () => {
  const get = () => fields({ ":method": "GET", ":path": "/healthz" });
  const names = floodsOf({ count: 0, post: [], get: [] }).map(([name]) => name);
  test.each(names)("%s: end the connection, and nobody else's", async (name) => {
    const floods = new Map(floodsOf({ count: 20_000, post: fields(), get: get() }));
    const flood = floods.get(name)?.() ?? Buffer.alloc(0);
    const other = connectH2(system.url).on("error", () => {});
    await using client = await openFrames(system.url);
    // In parts, so that what is refused early is not sent.
    for (let at = 0; at < flood.length && client.isOpen(); at += 65_536)
      await client.send(flood.subarray(at, at + 65_536));
    await client.ended;
    const healthy = other.request({ ":path": "/healthz" });
    const [answer] = await Promise.all([once(healthy, "response"), healthy.resume()]);
    expect(answer[0]).toMatchObject({ ":status": 200 });
    other.close();
    expect((await rawCall(system.url, UsersService.method.getUser, { id: "user-1" }, { token })).code).toBe(
      "ok",
    );
    await expect.poll(() => system.inFlight(), waiting).toBe(0);
  });
});

test("a client that pings now and then, and opens windows for what it gets, is no flood", async () => {
  await using client = await openFrames(system.url);
  for (let index = 0; index < 200; index++) {
    const streamId = 2 * index + 1;
    await client.send(
      headers(streamId, fields(), flags.endHeaders),
      ...Array.from(body, (byte) => data(streamId, Buffer.of(byte))),
      data(streamId, Buffer.alloc(0), flags.endStream),
      ping(),
      windowUpdate(0, 100),
      windowUpdate(streamId, 100),
    );
    await client.next(({ type, streamId: of }) => type === frameTypes.data && of === streamId);
  }
  expect(client.isOpen()).toBe(true);
});
