import { randomBytes } from "node:crypto";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { OrdersService } from "../../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { UsersService } from "../../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { type BadRequest, badCompression, badEnvelopes } from "../bad-requests.ts";
import { type Exchange, overH1, overTcp } from "../exchange.ts";
import { patientMs, unhurried, userCall } from "../faults/calls.ts";
import { hasProc } from "../harness/child.ts";
import { figure } from "../harness/figures.ts";
import { type GatewayProcess, startGateway } from "../harness/gateway-process.ts";
import { startLoad } from "../harness/load.ts";
import { scaled } from "../harness/settings.ts";
import { startUpstreams } from "../harness/upstream-process.ts";
import { envelope, rawCall, ways } from "../raw-call.ts";

const { getUser } = UsersService.method;
const { listOrdersWithUser } = OrdersService.method;
const path = `/${UsersService.typeName}/GetUser`;
const rounds = scaled(5);
const atOnce = 8;
const large = "resource_exhausted";

/** Bodies of several times what a request may have, which their senders mean to send whole. */
function tooLarge(): BadRequest[] {
  const bytes = randomBytes(2 ** 20);
  return ways.flatMap((way) => {
    const body = way === "connect+json" ? `{"id":"${bytes.toString("base64")}"}` : bytes;
    const isEnveloped = way.startsWith("grpc");
    return {
      name: `1 MiB over ${way}`,
      method: getUser,
      way,
      body: isEnveloped ? envelope(body) : body,
      code: large,
    };
  });
}

/** 200 KB that would be 200 MB, in every protocol that can be compressed. */
function bombs(): BadRequest[] {
  const bomb = gzipSync(Buffer.alloc(200 * 2 ** 20, 0x20));
  return ways.map((way) => {
    const isEnveloped = way.startsWith("grpc");
    return {
      name: `a bomb over ${way}`,
      method: getUser,
      way,
      headers: { [isEnveloped ? "grpc-encoding" : "content-encoding"]: "gzip" },
      body: isEnveloped ? envelope(bomb, 1) : bomb,
      code: large,
    };
  });
}

/** Requests over HTTP/1.1 whose length is not what they say. */
function lies(token: string): [name: string, bytes: string | Buffer][] {
  const post = (headers: string, type = "application/json") =>
    `POST ${path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${token}\r\ncontent-type: ${type}\r\n${headers}\r\n`;
  const json = '{"id":"user-1"}';
  const proto = (declared: number) =>
    Buffer.concat([Buffer.from(post("content-length: 9\r\n", grpcWeb)), envelope("user", 0, declared)]);
  const grpcWeb = "application/grpc-web+proto";
  return [
    ["a length of 4 GB", `${post("content-length: 4294967296\r\n")}${json}`],
    ["a length beyond numbers", `${post(`content-length: ${"9".repeat(40)}\r\n`)}${json}`],
    ["a length that is too short", `${post("content-length: 4\r\n")}${json}`],
    ["a length that is too long", `${post("content-length: 400\r\n")}${json}`],
    ["a chunk of 4 GB", `${post("transfer-encoding: chunked\r\n")}ffffffff\r\n${json}`],
    ["a chunk beyond numbers", `${post("transfer-encoding: chunked\r\n")}${"f".repeat(40)}\r\n${json}`],
    [
      "chunks that never end",
      `${post("transfer-encoding: chunked\r\n")}${`1000\r\n${" ".repeat(4096)}\r\n`.repeat(200)}`,
    ],
    ["an envelope of 4 GB", proto(0xffff_ffff)],
    ["an envelope of 200 KB", proto(200_000)],
    [
      "an extension of a chunk that never ends",
      `${post("transfer-encoding: chunked\r\n")}1;${"a".repeat(200_000)}`,
    ],
  ];
}

test.skipIf(!hasProc)("D4 bodies that are too large, or lie about it", async () => {
  await using upstreams = await startUpstreams({ users: 200, orders: 2_000, items: 0 });
  await using gateway = await startGateway(upstreams.urls, {
    ...unhurried,
    DEFAULT_TIMEOUT_MS: `${patientMs}`,
    REQUEST_TIMEOUT_MS: "2000",
    HEADERS_TIMEOUT_MS: "2000",
  });
  const token = await gateway.token();
  const requests = [...tooLarge(), ...bombs(), ...badCompression(), ...badEnvelopes()];
  // What a process needs that serves at all, and what code takes that nobody has run before.
  await startLoad({ url: gateway.url, requests: [userCall("h1-json", token)], calls: scaled(3_000) }).done;
  await together(Array(40).fill(() => listLarge(gateway, token, "gzip")));
  await together(badCompression().map((request) => () => refuse(gateway, token, request)));

  const before = gateway.rssBytes();
  const watch = watchRss(gateway);
  const unexpected: string[] = [];
  let sent = 0;
  const attempt = (work: () => Promise<string | undefined>) => async () => {
    sent++;
    const problem = await work();
    if (problem !== undefined) unexpected.push(problem);
  };
  for (let round = 0; round < rounds; round++) {
    await together(requests.map((request) => attempt(() => refuse(gateway, token, request))));
    await together(lies(token).map((lie) => attempt(() => tellLie(gateway, lie))));
    await together(
      ["br", "br;q=1, *;q=0", "br, gzip;q=0.1"].map((encoding) =>
        attempt(() => listLarge(gateway, token, encoding)),
      ),
    );
  }
  const grown = (watch.most() - before) / 2 ** 20;
  const { rssBytes } = await gateway.probe();
  const kept = (rssBytes - before) / 2 ** 20;
  figure({
    id: "D4",
    test: `${sent} requests: 1 MiB, bombs of 200 MB, lying lengths, accept-encoding: br; ${atOnce} at a time`,
    expected: "refused; RSS +<= 50 MB",
    measured: `${sent - unexpected.length} as they should; RSS +${grown.toFixed(0)} MiB at most, ${kept.toFixed(0)} MiB after`,
    reached: unexpected.length === 0 && grown <= 50,
  });
  expect([...new Set(unexpected)]).toEqual([]);
  expect(gateway.crashes()).toEqual([]);
});

/** @returns what was not as expected */
async function refuse(
  { url }: GatewayProcess,
  token: string,
  request: BadRequest,
): Promise<string | undefined> {
  const { name, method, code, says: _, ...options } = request;
  const answer = await rawCall(url, method, {}, { token, ...options });
  return answer.code === code ? undefined : `${name}: ${answer.code} in place of ${code}`;
}

/** One that is not refused gets no answer of success; silence ends with the time that a request has. */
async function tellLie(
  { url }: GatewayProcess,
  [name, bytes]: readonly [string, string | Buffer],
): Promise<string | undefined> {
  const got = await overTcp(url, bytes, 1_000).catch(() => "");
  const answers = got.match(/HTTP\/1\.1 \d+/g) ?? [];
  const isFine = answers.every((line) => /(400|408|413|429|431)$/.test(line));
  const isGrpc = /HTTP\/1\.1 200[\s\S]*grpc-status: ?([38])/.test(got);
  return isFine || isGrpc ? undefined : `${name}: ${got.slice(0, 200)}`;
}

/** Asks for a long answer in an encoding that costs too much. */
async function listLarge(
  { url }: GatewayProcess,
  token: string,
  encoding: string,
): Promise<string | undefined> {
  const answer: Exchange = await overH1(url, {
    path: `/${OrdersService.typeName}/${listOrdersWithUser.name}`,
    headers: {
      "content-type": "application/json",
      authorization: `Bearer ${token}`,
      "accept-encoding": encoding,
    },
    body: '{"pageSize":500}',
  });
  const used = answer.headers["content-encoding"] ?? "identity";
  const isFine =
    answer.status === 200 && (used === "identity" || (used === "gzip" && encoding.includes("gzip")));
  return isFine ? undefined : `accept-encoding ${encoding}: ${answer.status} ${used}`;
}

function watchRss({ rssBytes }: GatewayProcess) {
  let most = 0;
  const look = () => {
    most = Math.max(most, rssBytes());
  };
  const timer = setInterval(look, 20);
  return {
    most: () => {
      look();
      clearInterval(timer);
      return most;
    },
  };
}

/** Does all of it, some at a time. */
async function together(work: readonly (() => Promise<unknown>)[]): Promise<void> {
  const rest = work.values();
  const worker = async () => {
    for (const it of rest) await it();
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}
