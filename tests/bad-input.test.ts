import { once } from "node:events";
import { connect as connectH2, constants, type IncomingHttpHeaders } from "node:http2";
import { connect } from "node:net";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { OrdersService } from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { UsersService } from "../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import {
  type BadRequest,
  badCompression,
  badEnvelopes,
  badJson,
  badProto,
  badValues,
} from "./bad-requests.ts";
import { type Outgoing, overH1, overH2, overTcp } from "./exchange.ts";
import { type RawAnswer, rawCall, textOf } from "./raw-call.ts";
import { type System, startSystem } from "./system.ts";

// Requests that are wrong in form or content, over real sockets. None may do more than get an answer that says so.

let system: System;
let token: string;
beforeAll(async () => {
  system = await startSystem();
  token = await system.token("admin");
});
afterAll(() => system.close());
afterEach(async () => {
  const healthy = await rawCall(system.url, UsersService.method.getUser, { id: "user-1" }, { token });
  expect(healthy.code).toBe("ok");
  await expect.poll(() => inFlight(system)).toBe(0);
});

/** It is the caller's fault, and it looks like nothing else. */
function expectRefusal(got: RawAnswer): void {
  expect(got.message).not.toBe("");
  expect(["internal", "unknown", "ok"]).not.toContain(got.code);
  const isHttp = got.headers["content-type"] === "application/json";
  // Connect has 501 for `unimplemented`.
  if (isHttp)
    expect(got.status === 501 || Math.floor(got.status / 100) === 4, `HTTP ${got.status}`).toBe(true);
  expect(textOf(got)).not.toMatch(/node_modules|\bat .*:\d|readMaxBytes/);
}

async function inFlight({ adminUrl }: System): Promise<number> {
  const answer: { inFlight: number } = JSON.parse(await (await fetch(`${adminUrl}/readyz`)).text());
  return answer.inFlight;
}

describe.each([
  ["JSON", badJson()],
  ["values", badValues()],
  ["protobuf", badProto()],
  ["envelopes", badEnvelopes()],
  ["compression", badCompression()],
] satisfies [string, BadRequest[]][])("wrong %s", (_kind, cases) => {
  test.each(cases)("$name", async ({ name: _, method, code, says = /\w{3}/, ...options }) => {
    const got = await rawCall(system.url, method, {}, { token, ...options });
    expect(got).toMatchObject({ code });
    expect(got.message).toMatch(says);
    expectRefusal(got);
  });
});

const path = "/smpl.api.users.v1.UsersService/GetUser";
const body = '{"id":"user-1"}';

interface BadHttp extends Partial<Outgoing> {
  readonly name: string;
  readonly status: number;
  readonly says?: RegExp;
}

/** Requests that HTTP allows and this API does not. */
const overHttp: BadHttp[] = [
  ...[
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/xml",
    "*/*",
  ].map((type) => ({
    name: `content-type ${type}`,
    headers: { "content-type": type },
    status: 415,
    says: /application\/json/,
  })),
  ...[
    "application/grpc+thrift",
    "application/connect+json",
    "application/grpc-web-text",
    "application/json; charset=latin1",
  ].map((type) => ({
    name: `content-type ${type}`,
    headers: { "content-type": type },
    status: 415,
    says: /content-type/,
  })),
  { name: "no content type", headers: { "content-type": [] }, status: 415, says: /application\/json/ },
  ...["PUT", "DELETE", "PATCH", "OPTIONS"].map((method) => ({
    name: method,
    method,
    body: "",
    status: 405,
    says: /GET or POST|POST or GET/,
  })),
  {
    name: "GET of a method that changes something",
    method: "GET",
    path: path.replace("Get", "Create"),
    body: "",
    status: 405,
    says: /POST/,
  },
  ...[
    ["without a message", "?encoding=json&connect=v1"],
    ["without an encoding", "?message=%7B%22id%22%3A%22user-1%22%7D&connect=v1"],
    ["with an unknown encoding", "?message=%7B%22id%22%3A%22user-1%22%7D&encoding=xml&connect=v1"],
    ["with a message that is not JSON", "?message=%7B&encoding=json&connect=v1"],
    ["with a message that is not base64", "?message=***&encoding=proto&base64=1&connect=v1"],
    ["with base64 of no protobuf", "?message=_____w&encoding=proto&base64=1&connect=v1"],
    ["with a message that cannot be decoded", "?message=%zz&encoding=json&connect=v1"],
    [
      "with an unknown compression",
      "?message=%7B%22id%22%3A%22user-1%22%7D&encoding=json&compression=zstd&connect=v1",
    ],
    ["without a query", ""],
  ].map(([name, query]) => ({
    name: `GET ${name}`,
    method: "GET",
    path: `${path}${query}`,
    status: 0,
    body: "",
  })),
  ...["-1", "abc", "1.5", "0x10", "99999999999", "1e3", "1 s"].map((timeout) => ({
    name: `connect-timeout-ms ${timeout}`,
    headers: { "connect-timeout-ms": timeout },
    status: 400,
    says: /connect-timeout-ms|timeout/i,
  })),
  ...["/nothing", "/", `${path}/`, `${path}%20`, `${path};a=b`, "/smpl.api.users.v1.UsersService"].map(
    (path) => ({ name: `POST ${path}`, path, status: 404, says: /There is no method/ }),
  ),
  ...[
    "//",
    `/${path}`,
    path.replace("/Get", "//Get"),
    `/.${path}`,
    `/a/..${path}`,
    `${path}/.`,
    `${path}/..`,
    path.replace("/Get", "%2fGet"),
    path.replace("/Get", "%5CGet"),
    `${path}%00`,
    `${path}%0d%0a`,
    `${path}%7f`,
    "/%2e%2e/etc/passwd",
    "/%2E%2E%2Fetc/passwd",
    path.replace("GetUser", "%47et%55ser"),
    path.replace("smpl.", "smpl%2e"),
    path.replace("/Get", "\\Get"),
    `${path}{}`,
    `${path}|`,
  ].map((path) => ({ name: `POST ${path}`, path, status: 400, says: /^The path / })),
  ...["/%zz", `${path}%`, `${path}%5`].map((path) => ({ name: `POST ${path}`, path, status: 400 })),
  { name: "a path of 3 KB", path: `/${"a".repeat(3_000)}`, status: 414, says: /2048 bytes/ },
  { name: "a method of an internal service", path: "/smpl.users.v1.UsersService/GetUser", status: 404 },
  { name: "a name of another case", path: path.toLowerCase(), status: 404 },
  { name: "120 header lines", headers: many(120), status: 431, says: /100 header lines/ },
  { name: "two authorizations that disagree", headers: { authorization: "Bearer a, Bearer b" }, status: 401 },
];

describe("over HTTP/1.1 and HTTP/2", () => {
  const versions = { "HTTP/1.1": overH1, "HTTP/2": overH2 };
  for (const [version, exchange] of Object.entries(versions))
    test.each(overHttp)(
      `$name, over ${version}`,
      async ({ name: _, status, says = /\w{3}/, ...outgoing }) => {
        const headers = {
          "content-type": "application/json",
          authorization: `Bearer ${token}`,
          ...outgoing.headers,
        };
        if (headers["content-type"].length === 0) Reflect.deleteProperty(headers, "content-type");
        const got = await exchange(system.url, { path, body, ...outgoing, headers });
        if (status === 0) expect([400, 415, 501]).toContain(got.status);
        else expect(got.status).toBe(status);
        const { code, message } = JSON.parse(got.body.toString());
        expectRefusal({ ...got, code, message, messages: [], requestId: "" });
        expect(message).toMatch(says);
        expect(got.headers["x-request-id"]).toMatch(/^[\w.-]{1,64}$/);
      },
    );
});

describe("time-outs that make no sense over gRPC", () => {
  test.each(["-1S", "abc", "1", "S", "1x", "123456789S", "1.5S", "1 S", ""])("%j", async (timeout) => {
    for (const way of ["grpc", "grpc-web"] as const) {
      const headers = { "grpc-timeout": timeout };
      const got = await rawCall(
        system.url,
        UsersService.method.getUser,
        { id: "user-1" },
        { way, token, headers },
      );
      expect(got.code).toBe("invalid_argument");
      expectRefusal(got);
    }
  });

  test.each(["99999999H", "99999999S"])("%s is as long as there is", async (timeout) => {
    const headers = { "grpc-timeout": timeout };
    const got = await rawCall(
      system.url,
      UsersService.method.getUser,
      { id: "user-1" },
      { way: "grpc", token, headers },
    );
    expect(got.code).toBe("ok");
  });
});

describe("over TCP", () => {
  const post = (host: string, version = "1.1"): string =>
    `POST ${path} HTTP/${version}\r\n${host}content-type: application/json\r\ncontent-length: ${body.length}\r\n` +
    `authorization: Bearer ${token}\r\nconnection: close\r\n\r\n${body}`;
  const hosts = ["[", "a b", "a:99999", "", "a:b", "user@a", "a/b", "a,b", "[::1", "%00", "a?b", "ä"];

  const requests: [name: string, bytes: () => string][] = [
    ...hosts.map(
      (host) =>
        [`host ${JSON.stringify(host)}`, () => post(`host: ${host}\r\n`)] satisfies [string, () => string],
    ),
    ["two hosts", () => post("host: a\r\nhost: b\r\n")],
    ["the same host twice", () => post("host: a\r\nhost: a\r\n")],
    ["no host in HTTP/1.1", () => post("")],
    ["no host in HTTP/1.0", () => post("", "1.0")],
    ["HTTP/9.9", () => post("host: a\r\n", "9.9")],
    ["two authorizations", () => post(`host: a\r\nauthorization: Bearer ${token}\r\n`)],
    ["two types", () => post("host: a\r\ncontent-type: text/plain\r\n")],
    ["a header of 20 KB", () => post(`host: a\r\nx: ${"x".repeat(20_000)}\r\n`)],
    ["200 header lines", () => post(`host: a\r\n${"x: y\r\n".repeat(200)}`)],
    ["a header without a name", () => post("host: a\r\n: x\r\n")],
    ["a header with a space in its name", () => post("host: a\r\nx y: z\r\n")],
    ["a NUL in a header", () => post("host: a\r\nx: \0\r\n")],
    ["two lengths", () => post("host: a\r\ncontent-length: 3\r\n")],
    ["a length and chunks", () => post("host: a\r\ntransfer-encoding: chunked\r\n")],
    ["a length that is negative", () => post("host: a\r\n").replace(/length: \d+/, "length: -1")],
    ["a length that is no number", () => post("host: a\r\n").replace(/length: \d+/, "length: many")],
    [
      "a chunk that is no number",
      () => post("host: a\r\ntransfer-encoding: chunked\r\n").replace(/content-length.*\r\n/, ""),
    ],
    ["a request line without a path", () => "POST HTTP/1.1\r\nhost: a\r\n\r\n"],
    ["a method that does not exist", () => post("host: a\r\n").replace("POST", "FETCH")],
    [
      "a backslash in place of the first slash",
      () => post("host: a\r\n").replace(path, path.replace("/", "\\")),
    ],
    ["a whole URL in place of a path", () => post("host: a\r\n").replace(path, `http://a${path}`)],
    ["a URL of another host", () => post("host: a\r\n").replace(path, `http://b${path}`)],
    ["an asterisk in place of a path", () => post("host: a\r\n").replace(`POST ${path}`, "OPTIONS *")],
    ["bytes beyond ASCII in the path", () => post("host: a\r\n").replace(path, `${path}\xe9`)],
    ["a control character in the path", () => post("host: a\r\n").replace(path, `${path}\x01`)],
    ["two lengths in one line", () => post("host: a\r\n").replace(/length: (\d+)/, "length: $1, $1")],
    ["two lengths that agree", () => post(`host: a\r\ncontent-length: ${body.length}\r\n`)],
    ["a length with a sign", () => post("host: a\r\n").replace("length: ", "length: +")],
    ["a length in hexadecimal", () => post("host: a\r\n").replace(/length: \d+/, "length: 0xf")],
    ...[
      "xchunked",
      "chunked, identity",
      "identity, chunked",
      "x\r\ntransfer-encoding: chunked",
      "identity",
      "gzip, x",
      "chunked\x0b",
      "x\r\ntransfer-encoding: y",
    ].map((coding): [string, () => string] => [
      `transfer-encoding ${JSON.stringify(coding)}`,
      () =>
        post(`host: a\r\ntransfer-encoding: ${coding}\r\n`)
          .replace(/content-length.*\r\n/, "")
          .replace(body, `f\r\n${body}\r\n0\r\n\r\n`),
    ]),
    ["a folded header", () => post("host: a\r\nx: y\r\n z\r\n")],
    ["a space before a colon", () => post("host: a\r\nx : y\r\n")],
    ["a line that ends without a carriage return", () => post("host: a\r\nx: y\n")],
    ["a carriage return within a line", () => post("host: a\r\nx: y\rz: a\r\n")],
    ["no carriage return at all", () => post("host: a\r\n").replaceAll("\r\n", "\n")],
    ["a space before the first header", () => post(" host: a\r\nhost: a\r\n")],
    ["the preface of HTTP/2 with another version", () => "PRI * HTTP/2.1\r\n\r\nSM\r\n\r\n"],
    ["text", () => "hello\r\n\r\n"],
    ["TLS", () => "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
  ];
  test.each(requests)("%s", async (_name, bytes) => {
    const got = await overTcp(system.url, Buffer.from(bytes(), "latin1"));
    expect(got).toMatch(/^HTTP\/1\.1 4\d\d /);
    expect(got).not.toMatch(/user-1|node_modules/);
  });

  test.each([
    [
      "an upgrade to HTTP/2",
      "upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n",
      "upgrade, http2-settings",
    ],
    ["an upgrade to a WebSocket", "upgrade: websocket\r\nsec-websocket-version: 13\r\n", "upgrade"],
    ["a method in another header", "x-http-method-override: DELETE\r\n", "close"],
    ["a URL in another header", "x-original-url: /healthz\r\nx-rewrite-url: /healthz\r\n", "close"],
    ["a host in another header", "x-forwarded-host: b\r\nforwarded: host=b\r\n", "close"],
  ])("%s changes nothing: the policy is the same", async (_name, lines, connection) => {
    const request = post(`host: a\r\n${lines}`).replace("connection: close", `connection: ${connection}`);
    expect(await overTcp(system.url, request, 500)).toMatch(/^HTTP\/1\.1 200 [\s\S]*"id":"user-1"/);
    const stranger = request.replace(/authorization.*\r\n/, "");
    expect(await overTcp(system.url, stranger, 500)).toMatch(/^HTTP\/1\.1 401 /);
  });

  test.each(["CONNECT a:80", "CONNECT /", "TRACE /", "PROPFIND /"])("%s gives nothing", async (line) => {
    const got = await overTcp(system.url, `${line} HTTP/1.1\r\nhost: a:80\r\nconnection: close\r\n\r\n`);
    expect(got).toMatch(/^($|HTTP\/1\.1 (4|5)\d\d )/);
  });

  test("a length that is less than what comes: the rest is no request", async () => {
    const got = await overTcp(
      system.url,
      post("host: a\r\n")
        .replace(/length: \d+/, "length: 4")
        .replace("close", "keep-alive"),
    );
    const statuses = got.match(/HTTP\/1\.1 \d+/g) ?? [];
    expect(statuses.length).toBeGreaterThan(0);
    expect(statuses.filter((status) => status !== "HTTP/1.1 400")).toEqual([]);
  });

  test("a length that is more than what comes is waited for, and forgotten when the caller leaves", async () => {
    const got = await overTcp(system.url, post("host: a\r\n").replace(/length: \d+/, "length: 400"), 300);
    expect(got).not.toMatch(/ 200 /);
  });
});

function many(lines: number): Record<string, string> {
  return Object.fromEntries(Array.from({ length: lines }, (_, index) => [`x-${index}`, "y"]));
}

describe("a page token", () => {
  const { listUsers } = UsersService.method;
  const { listOrdersWithUser } = OrdersService.method;
  const tokenOf = async (filter: object = {}): Promise<string> => {
    const { body } = await rawCall(system.url, listOrdersWithUser, { pageSize: 2, ...filter }, { token });
    const { nextPageToken }: { nextPageToken: string } = JSON.parse(body.toString());
    expect(nextPageToken).not.toBe("");
    return nextPageToken;
  };
  const expectNoToken = (got: RawAnswer) => {
    expectRefusal(got);
    expect(got).toMatchObject({ code: "invalid_argument", status: 400 });
    expect(got.message).toMatch(/^page_token: is not a next_page_token of this listing with these filters$/);
  };

  test("is good with the same filters and any page size", async () => {
    const pageToken = await tokenOf({ userIds: ["user-1", "user-2"] });
    const request = { pageToken, pageSize: 3, userIds: ["user-1", "user-2"] };
    expect((await rawCall(system.url, listOrdersWithUser, request, { token })).code).toBe("ok");
  });

  const filters: MessageInitShape<typeof listOrdersWithUser.input>[] = [
    { status: 2 },
    { userIds: ["user-1"] },
    { createdFrom: { seconds: 1n } },
    { createdBefore: { seconds: 1_900_000_000n } },
  ];
  test.each(filters)("is not good with other filters: %o", async (filter) => {
    expectNoToken(
      await rawCall(system.url, listOrdersWithUser, { pageToken: await tokenOf(), ...filter }, { token }),
    );
  });

  test("is not good for another listing", async () => {
    expectNoToken(await rawCall(system.url, listUsers, { pageToken: await tokenOf() }, { token }));
  });

  test("is not good when it was changed, cut or lengthened", async () => {
    const good = await tokenOf();
    const first = good.startsWith("A") ? "B" : "A";
    for (const pageToken of [
      `${first}${good.slice(1)}`,
      good.slice(0, -1),
      `${good}A`,
      ` ${good}`,
      `${good}=`,
      good.repeat(2),
    ])
      expectNoToken(await rawCall(system.url, listOrdersWithUser, { pageToken }, { token }));
  });

  test("that is wrong never reaches an upstream", async () => {
    system.mocks.orders.calls.clear();
    expectNoToken(await rawCall(system.url, listOrdersWithUser, { pageToken: "b3JkZXJzOjE" }, { token }));
    expect(system.mocks.orders.calls.count()).toBe(0);
  });
});

describe("a path in other letters", () => {
  const encoded = path.replace("GetUser", "%47et%55ser");
  test.each(["", "Bearer nobody"])("gives no way around the policy: %j", async (authorization) => {
    const headers = { "content-type": "application/json", ...(authorization && { authorization }) };
    for (const exchange of [overH1, overH2]) {
      const got = await exchange(system.url, { path: encoded, headers, body });
      expect(got.status).toBe(400);
      expect(got.body.toString()).not.toContain("email");
    }
  });
});

describe("an upload of 200 MB without credentials", () => {
  const headers = `host: a\r\ncontent-type: application/json\r\ncontent-length: 200000000\r\n\r\n`;

  test("is answered when its headers are there, with none of its body sent", async () => {
    expect(await overTcp(system.url, `POST ${path} HTTP/1.1\r\n${headers}`)).toMatch(
      /^HTTP\/1\.1 401 [\s\S]*needs credentials/,
    );
    const answers = await Promise.all([
      beginOverH2("application/json"),
      beginOverH2("application/grpc+proto"),
    ]);
    expect(answers.map((answer) => [answer[":status"], answer["grpc-status"]])).toEqual([
      [401, undefined],
      [200, "16"],
    ]);
  });

  test("is cut off when the caller goes on sending", async () => {
    const socket = connect(Number(new URL(system.url).port), "127.0.0.1");
    socket.on("error", () => {});
    socket.write(`POST ${path} HTTP/1.1\r\n${headers}`);
    let text = "";
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
    });
    // The whole body would take 15 seconds at this pace.
    const timer = setInterval(() => socket.write(Buffer.alloc(65_536, 0x20)), 5);
    await new Promise((resolve) => socket.once("close", resolve));
    clearInterval(timer);
    expect(text).toMatch(/^HTTP\/1\.1 401/);
    expect(socket.bytesWritten).toBeLessThan(100_000_000);
  });

  /** Sends the headers alone, and resolves to those of the answer, and its trailers. */
  async function beginOverH2(type: string): Promise<IncomingHttpHeaders> {
    const session = connectH2(system.url);
    const sent = {
      ":method": "POST",
      ":path": path,
      "content-type": type,
      te: "trailers",
      "content-length": "200000000",
    };
    const stream = session.request(sent, { endStream: false });
    const [first] = await once(stream, "response");
    stream.close();
    session.destroy();
    return first;
  }
});

test("a body of another length than HTTP/2 was told is no call", async () => {
  for (const length of ["3", "400"]) {
    const headers = {
      "content-type": "application/json",
      authorization: `Bearer ${token}`,
      "content-length": length,
    };
    const got = await overH2(system.url, { path, headers, body });
    expect(got.status === 0 || got.status === 400, `${got.status}`).toBe(true);
    expect(got.body.toString()).not.toContain("email");
  }
});

test("a header of 20 KB resets the HTTP/2 stream", async () => {
  const got = await overH2(system.url, { path, headers: { x: "x".repeat(20_000) }, body });
  expect(got).toMatchObject({ status: 0, reset: constants.NGHTTP2_ENHANCE_YOUR_CALM });
});
