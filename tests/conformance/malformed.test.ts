import { once } from "node:events";
import { connect } from "node:net";
import { buffer } from "node:stream/consumers";
import { afterAll, beforeAll, expect, test } from "vitest";
import { UsersService } from "../../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { badCompression, badEnvelopes, badJson, badProto, badValues } from "../bad-requests.ts";
import { figure } from "../harness/figures.ts";
import { type RawAnswer, rawCall } from "../raw-call.ts";
import { type System, startSystem } from "../system.ts";

// Malformed inputs of every kind, over raw sockets: JSON, values, protobuf, envelopes, compression, base64, UTF-8, hosts,
// paths, lengths. Each must be told that it is wrong, and none may get an answer that looks like success.

let system: System;
let token: string;
beforeAll(async () => {
  system = await startSystem();
  token = await system.token("admin");
});
afterAll(() => system.close());

/** The caller's fault, as HTTP says it; gRPC says it in a status, and Connect has 501 for `unimplemented`. */
const callersCodes = ["invalid_argument", "resource_exhausted", "unimplemented", "not_found"];

test("none of them is answered with success, or with a fault of ours", async () => {
  const statuses: number[] = [];
  const cases = [...badJson(), ...badValues(), ...badProto(), ...badEnvelopes(), ...badCompression()];
  for (const { name, method, code, says: _, ...options } of cases) {
    const got = await rawCall(system.url, method, {}, { token, ...options });
    expect(callersCodes, name).toContain(got.code);
    expect(got, name).toMatchObject({ code, messages: [] });
    expect(httpFault(got), name).toBe(true);
    if (got.status === 501) expect(got.code, name).toBe("unimplemented");
    if (got.status >= 400) statuses.push(got.status);
  }
  for (const [name, text] of rawRequests()) {
    const status = await statusOf(text);
    expect(status, name).toMatch(/^4\d\d$/);
    statuses.push(Number(status));
  }
  const count = cases.length + rawRequests().length;
  expect(count).toBeGreaterThanOrEqual(60);
  // Connect prescribes 501 for `unimplemented`, such as an encoding that is not offered. It is no 4xx, and not counted as one.
  const unimplemented = statuses.filter((status) => status === 501).length;
  const ours = statuses.filter((status) => status >= 500).length - unimplemented;
  figure({
    id: "A5",
    test: `${count} malformed inputs (JSON, values, proto, envelopes, compression, base64, UTF-8, host, paths, lengths)`,
    expected: "4xx, or 501 for what the protocol says is unimplemented; never 500, never an empty 200",
    measured: `${count} of ${count} refused: ${statuses.length - unimplemented - ours} with 4xx, ${count - statuses.length} with the code of a stream or of gRPC, ${unimplemented} with 501, ${ours} with another 5xx`,
    reached: ours === 0,
  });
});

function httpFault({ status, headers }: RawAnswer): boolean {
  const isHttp = headers["content-type"] === "application/json";
  return !isHttp || status === 501 || Math.floor(status / 100) === 4;
}

/** Whole requests as bytes, for what no client would send. */
function rawRequests(): [name: string, text: string][] {
  const { getUser } = UsersService.method;
  const path = `/${getUser.parent.typeName}/${getUser.name}`;
  const body = '{"id":"user-1"}';
  const rest = `Authorization: Bearer ${token}\r\nContent-Type: application/json\r\nConnection: close\r\n`;
  const post = (line: string, headers: string, length = `Content-Length: ${body.length}\r\n`) =>
    `POST ${line} HTTP/1.1\r\n${headers}${rest}${length}\r\n${body}`;
  const get = (query: string) => `GET ${path}?${query} HTTP/1.1\r\nHost: a\r\n${rest}\r\n`;
  return [
    ...["[", "a b", "a:99999", "", "a/b", "a@b", "a, b", "\u00e4"].map((host): [string, string] => [
      `the host ${JSON.stringify(host)}`,
      post(path, `Host: ${host}\r\n`),
    ]),
    ["no host", post(path, "")],
    ["two hosts", post(path, "Host: a\r\nHost: b\r\n")],
    ["100 headers too many", post(path, `Host: a\r\n${"X-Pad: 1\r\n".repeat(200)}`)],
    ["headers beyond all limits", post(path, `Host: a\r\nX-Pad: ${"a".repeat(40_000)}\r\n`)],
    ["two lengths", post(path, "Host: a\r\n", "Content-Length: 15\r\nContent-Length: 16\r\n")],
    [
      "a length and chunks",
      post(path, "Host: a\r\n", "Content-Length: 15\r\nTransfer-Encoding: chunked\r\n"),
    ],
    ["a length that is none", post(path, "Host: a\r\n", "Content-Length: many\r\n")],
    ["a negative length", post(path, "Host: a\r\n", "Content-Length: -1\r\n")],
    ["an unknown transfer encoding", post(path, "Host: a\r\n", "Transfer-Encoding: xchunked\r\n")],
    ["a space before a colon", post(path, "Host: a\r\nX-Pad : 1\r\n")],
    ["a folded header", post(path, "Host: a\r\nX-Pad: 1\r\n 2\r\n")],
    ["an encoded method name", post(path.replace("GetUser", "%47etUser"), "Host: a\r\n")],
    ["an encoded slash", post(path.replace("/GetUser", "%2FGetUser"), "Host: a\r\n")],
    ["dots in the path", post(`/x/..${path}`, "Host: a\r\n")],
    ["two slashes", post(`/${path}`, "Host: a\r\n")],
    ["an escape that is none", post(`${path}%zz`, "Host: a\r\n")],
    ["a null byte in the path", post(`${path}%00`, "Host: a\r\n")],
    ["an unknown service", post("/no.Such/Thing", "Host: a\r\n")],
    ["another HTTP method", `PUT ${path} HTTP/1.1\r\nHost: a\r\n${rest}\r\n`],
    ["an HTTP method that is none", `GE/T ${path} HTTP/1.1\r\nHost: a\r\n${rest}\r\n`],
    ["an HTTP version that is none", `GET ${path} HTTP/9.9\r\nHost: a\r\n${rest}\r\n`],
    ["no HTTP at all", "hello\r\n\r\n"],
    ["base64 that is none", get("encoding=proto&base64=1&message=***")],
    ["base64 of no protobuf", get("encoding=proto&base64=1&message=_____w")],
    ["a query that is no UTF-8", get("encoding=json&message=%7B%22id%22%3A%22%ff%22%7D")],
    ["a query without a message", get("encoding=json")],
    ["a query in an unknown encoding", get("encoding=xml&message=%7B%7D")],
  ];
}

/** The status of whatever comes back, once the connection is over. */
async function statusOf(text: string): Promise<string> {
  const { hostname, port } = new URL(system.url);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => {});
  await once(socket, "connect");
  socket.write(text);
  const answer = (await buffer(socket)).toString("latin1");
  socket.destroy();
  return /^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? `no answer: ${JSON.stringify(answer.slice(0, 80))}`;
}
