import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { type DescMethod, fromBinary, type JsonValue, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, createClient } from "@connectrpc/connect";
import { SignJWT } from "jose";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { InventoryService } from "../packages/gateway/src/gen/smpl/api/inventory/v1/api_inventory_service_pb.ts";
import { OrdersService } from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { UsersService } from "../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import {
  UsersService as InternalUsersService,
  type User,
} from "../packages/gateway/src/gen/smpl/users/v1/users_service_pb.ts";
import { type Reason, reasons } from "../packages/gateway/src/reasons.ts";
import { overH1, overTcp } from "./exchange.ts";
import { answer, type FaultyUpstream, startFaultyUpstream } from "./faulty-upstream.ts";
import { newerUser, secret } from "./garbage.ts";
import { internalFields, namesIn } from "./internal-names.ts";
import { detailsIn, openDetails } from "./open-details.ts";
import { codeName, envelope, type RawAnswer, type RawOptions, rawCall, textOf, ways } from "./raw-call.ts";
import { type System, startSystem } from "./system.ts";

// Walks over all that the public can call, and every way that it can fail, and looks for what must not get out.

const accessFile = new URL("../packages/gateway/src/app/access.json", import.meta.url);
const methods = [UsersService, OrdersService, InventoryService].flatMap((service) => service.methods);

/** A request of each method that is answered with as much as there is. */
const requests: Readonly<Record<string, MessageInitShape<DescMethod["input"]>>> = {
  [UsersService.method.createUser.toString()]: { email: "new@example.com" },
  [UsersService.method.getUser.toString()]: { id: "user-1" },
  [UsersService.method.listUsers.toString()]: { pageSize: 500 },
  [OrdersService.method.listOrdersWithUser.toString()]: { pageSize: 500 },
  [OrdersService.method.getOrderWithUser.toString()]: { id: "order-1" },
  [OrdersService.method.createOrder.toString()]: {
    userId: "user-1",
    lineItems: [{ product: "Webcam", quantity: 2 }],
  },
  [OrdersService.method.watchOrdersWithUser.toString()]: { backlog: 5 },
  [InventoryService.method.listItemsGroupedByUsers.toString()]: { pageSize: 500 },
};

/** How the internal values begin that the mocks make, as long as no public field has the name of theirs. */
const secretValues = Object.entries({
  passwordHash: ["argon2id", "SECRET"],
  phone: ["+999555"],
  internalNote: ["INTERNAL NOTE"],
  warehouseLocation: ["HALL-"],
  supplierReference: ["SUPPLIER-"],
}).flatMap(([field, values]) => (internalFields.includes(field) ? values : []));

/** Stands in all that callers send, and so must not stand in the log. */
const marker = "from-a-body";

/** Something that came over the wire, and what it answers. */
interface Seen {
  readonly what: string;
  readonly text: string;
}

let system: System;
let faulty: System;
let upstream: FaultyUpstream;
let seen: Seen[];
let answers: { readonly method: DescMethod; readonly answer: RawAnswer }[];
let tokens: string[];

beforeAll(async () => {
  system = await startSystem();
  upstream = await startFaultyUpstream();
  faulty = await startSystem({ env: { UPSTREAM_USERS: upstream.url } });
  tokens = await Promise.all([system.token("admin"), system.token("support"), system.token("viewer")]);
  answers = [];
  seen = [
    ...(await walkMethods()),
    ...(await walkFaults()),
    ...(await walkBadInput()),
    ...(await walkGarbage()),
  ];
});
afterAll(async () => {
  await system.close();
  await faulty.close();
  await upstream[Symbol.asyncDispose]();
});

async function walk(what: string, method: DescMethod, options: RawOptions, at = system): Promise<Seen> {
  const request = requests[method.toString()] ?? {};
  const unique =
    method === UsersService.method.createUser ? { email: `${randomUUID()}.${marker}@example.com` } : request;
  const got = await rawCall(at.url, method, unique, { timeoutMs: 2_500, ...options });
  answers.push({ method, answer: got });
  return {
    what: `${what}: ${method.toString()} over ${options.way ?? "connect+json"}: ${got.code}`,
    text: textOf(got),
  };
}

/** Every method, every way, by everybody. */
async function walkMethods(): Promise<Seen[]> {
  const found: Seen[] = [];
  const callers = [...tokens, undefined, "not.a.token", `${tokens[0]}x`, await expired()];
  for (const [index, token] of callers.entries()) {
    const calls = methods.flatMap((method) =>
      ways.map((way) => {
        const timeoutMs = method.methodKind === "unary" ? 5_000 : 1_000;
        return walk(`caller ${index}`, method, { way, timeoutMs, ...(token && { token }) });
      }),
    );
    found.push(...(await Promise.all(calls)));
  }
  return found;
}

function expired(): Promise<string> {
  const key = new TextEncoder().encode("a shared secret of some length..");
  return new SignJWT({ sub: marker }).setProtectedHeader({ alg: "HS256" }).setExpirationTime(1).sign(key);
}

/** Every code of every upstream, then upstreams that are slow, and that are down. */
async function walkFaults(): Promise<Seen[]> {
  const token = tokens[0] ?? "";
  const services = [system.mocks.users, system.mocks.orders, system.mocks.inventory];
  const found: Seen[] = [];
  const walkAll = async (what: string, timeoutMs: number) => {
    for (const way of ways)
      found.push(
        ...(await Promise.all(methods.map((method) => walk(what, method, { way, token, timeoutMs })))),
      );
  };
  for (let code = Code.Canceled; code <= Code.Unauthenticated; code++) {
    for (const service of services) service.fault({ code, message: secret });
    await walkAll(`code ${code}`, 2_000);
    for (const service of services) service.clearFaults();
  }
  for (const service of services) service.fault({ hang: true });
  await walkAll("hanging", 200);
  for (const service of services) service.clearFaults();
  for (const service of services) await service.stop();
  await walkAll("down", 2_000);
  for (const service of services) await service.restart();
  // The gateway calls upon a dead upstream once a second at the most.
  await delay(1_000);
  return found;
}

/** Requests that make no sense. */
async function walkBadInput(): Promise<Seen[]> {
  const path = "/smpl.api.orders.v1.OrdersService/ListOrdersWithUser";
  const json = { "content-type": "application/json", authorization: `Bearer ${tokens[0]}` };
  const bodies = [
    `{"${marker}`,
    `{"pageSize":"${marker}"}`,
    `{"${marker}":1}`,
    `{"status":"${marker}"}`,
    `{"pageSize":-1}`,
    `{"pageToken":"${marker}"}`,
    `{"createdFrom":"${marker}"}`,
    `{"pageSize":1e99,"userIds":["${marker}"]}`,
    `["${marker}"]`,
    `"${marker.repeat(30_000)}"`,
  ];
  const taken = JSON.stringify({ email: "new@example.com" });
  const createUser = { path: "/smpl.api.users.v1.UsersService/CreateUser", headers: json, body: taken };
  const requests = [
    createUser,
    createUser,
    ...bodies.map((body) => ({ path, headers: json, body })),
    { path, headers: { ...json, "content-type": "application/proto" }, body: `\xff${marker}` },
    { path, headers: { ...json, "content-type": `text/${marker}` }, body: marker },
    {
      path: `${path}?message=%7B%22${marker}%22%3A1%7D&encoding=json&connect=v1`,
      method: "GET",
      headers: json,
    },
    { path: `${path}?message=${marker}&encoding=proto&base64=1&connect=v1`, method: "GET", headers: json },
    { path, method: "DELETE", headers: json },
    { path: "/smpl.api.orders.v1.OrdersService/Nothing", headers: json },
    { path: "/smpl.orders.v1.OrdersService/ListOrders", headers: json },
    { path: "/portico.v1.Nothing/Nothing", headers: { ...json, "content-type": "application/grpc" } },
    ...["/", "/healthz", "/readyz", "/metrics", "/%zz", "/package.json", "/../package.json"].map((path) => ({
      path,
      method: "GET",
      headers: json,
    })),
  ];
  const found: Seen[] = [];
  for (const request of requests)
    found.push({
      what: JSON.stringify(request).slice(0, 200),
      text: textOf(await overH1(system.url, request)),
    });
  for (const bytes of ["GET / HTTP/1.1\r\nhost: [\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "nonsense\r\n\r\n"])
    found.push({ what: bytes, text: openDetails(await overTcp(system.url, bytes, 300)) });
  return found;
}

/** An upstream that says more than it is asked. */
async function walkGarbage(): Promise<Seen[]> {
  const extra = { "x-internal": secret, "set-cookie": secret, location: "http://10.0.0.7/" };
  const failed = {
    "grpc-status": "13",
    "grpc-message": secret,
    ...extra,
    "grpc-status-details-bin": "CAUSBHRlc3Q",
  };
  const found: Seen[] = [];
  for (const trailers of [{ "grpc-status": "0", ...extra }, failed]) {
    upstream.behave({
      stream: (stream) =>
        answer(stream, [envelope(newerUser)], trailers, {
          ":status": 200,
          "content-type": "application/grpc+proto",
          ...extra,
        }),
    });
    for (const way of ways)
      for (const method of [UsersService.method.getUser, UsersService.method.createUser])
        found.push(await walk("extra metadata", method, { way, token: await faulty.token("admin") }, faulty));
  }
  return found;
}

describe("what the public sees", () => {
  test("is something: every method was answered in every way, and failed in many", () => {
    for (const method of methods) {
      expect(requests).toHaveProperty([method.toString()]);
      for (const code of [
        "ok",
        "unauthenticated",
        "internal",
        "unavailable",
        "resource_exhausted",
        "deadline_exceeded",
      ]) {
        const found = seen.filter(
          ({ what }) => what.includes(`${method.toString()} over`) && what.endsWith(`: ${code}`),
        );
        const isStream = method.methodKind !== "unary";
        if (!(isStream && code === "ok"))
          expect(found.length, `${method} ${code}`).toBeGreaterThanOrEqual(ways.length);
      }
    }
    const watched = answers.filter(
      ({ method, answer }) => method.methodKind !== "unary" && answer.messages.length >= 5,
    );
    expect(watched.length).toBeGreaterThanOrEqual(ways.length * 2);
  });

  test.each([...secretValues, "NEWER FIELD"])("never has the internal value %s", (value) =>
    expectNowhere(value),
  );

  test("never has the name of an internal field or of a value of an internal enum", () => {
    expect(internalFields.length).toBeGreaterThan(0);
    const found = seen.flatMap(({ what, text }) =>
      namesIn(text, internalFields).map((name) => ({ name, what })),
    );
    const names = Map.groupBy(found, ({ name }) => name);
    expect([...names].map(([name, [first]]) => `${name}, first in ${first?.what}`)).toEqual([]);
  });

  test("never has what the internal services know of the users that it shows", async () => {
    const { users } = await createClient(InternalUsersService, system.mocks.users.transport).listUsers({
      pageSize: 500,
    });
    expect(users).toHaveLength(500);
    const binary = answers.map(({ answer }) => answer.body.toString("latin1"));
    const all = [...seen.map(({ text }) => text), ...binary].join("\n");
    for (const { email } of users) expect(all).toContain(email);
    const found = users.flatMap((user) => hiddenValues(user).filter(({ value }) => all.includes(value)));
    expect([...new Set(found.map(({ field }) => field))]).toEqual([]);
  }, 120_000);

  test("has no field that the public contract does not have", () => {
    let messages = 0;
    for (const { method, answer } of answers.filter(
      ({ answer }) => !answer.headers["content-type"]?.includes("json"),
    ))
      for (const message of answer.messages) {
        expect(unknownFields(fromBinary(method.output, message))).toEqual([]);
        messages += 1;
      }
    expect(messages).toBeGreaterThan(methods.length * 3);
  });

  test("never has the host or the port of anything internal", () => {
    const urls = [system, faulty].flatMap(({ adminUrl, mocks }) => [
      adminUrl,
      mocks.users.url,
      mocks.orders.url,
      mocks.inventory.url,
    ]);
    for (const url of [...urls, upstream.url]) expectNowhere(`:${new URL(url).port}`);
    for (const host of ["127.0.0.1", "localhost", "10.0.0.7", "demo.portico.invalid"]) expectNowhere(host);
  });

  test("never has the words of an upstream, or its metadata", () => {
    for (const part of ["db row", "x-internal", "set-cookie", "location:", "-bin:", '"details"'])
      expectNowhere(part);
  });

  test("never has a stack trace, a path of a file or the name of a library", () => {
    for (const part of [
      process.cwd(),
      "node_modules",
      "file:",
      "node:",
      /\bat .*[\w/]+\.[jt]s/,
      /\.[jt]s:\d/,
      /connect-?es/,
    ])
      expectNowhere(part);
    for (const part of [
      "ConnectError",
      "TypeError",
      "ECONN",
      "JWS",
      "jose",
      /fastify/i,
      /x-powered-by/i,
      /\nserver:/i,
    ])
      expectNowhere(part);
  });

  test("has in the details of every error its reason, its request and nothing but facts for programs", () => {
    const failed = answers.filter(({ answer }) => answer.code !== "ok" && !answer.code.startsWith("http "));
    expect(failed.length).toBeGreaterThan(methods.length * ways.length * 15);
    const strange = failed.flatMap(({ method, answer }) => {
      const faults = faultsOfDetails(answer);
      return faults.map((fault) => `${method.toString()} ${answer.code}: ${fault}`);
    });
    expect([...new Set(strange)]).toEqual([]);
  });

  test("never has a policy", () => {
    const { permissions, roles } = JSON.parse(readFileSync(accessFile, "utf8"));
    expect(Object.keys(permissions)).toContain("users.read_email");
    for (const permission of Object.keys(permissions)) expectNowhere(permission);
    // The other roles are words that anybody may use.
    expect(Object.keys(roles)).toContain("viewer");
    for (const part of ["viewer", "principal.", /portico\.v1\.(?!Nothing)/, "buf.validate"])
      expectNowhere(part);
  });
});

describe("the log", () => {
  const lines = () => [...system.log(), ...faulty.log()].map((line) => JSON.stringify(line));

  test("has a line for every call", () => {
    const ids = new Set([...system.log(), ...faulty.log()].map((line) => line["requestId"]));
    expect(answers.filter(({ answer }) => !ids.has(answer.requestId))).toEqual([]);
  });

  test("has no token", () => {
    const parts = [/eyJ[\w-]{8}/, /[Bb]earer /, ...tokens];
    for (const part of parts) expect(lines().filter((line) => line.search(part) >= 0)).toEqual([]);
  });

  test("has nothing of a body", () => {
    expect(lines().filter((line) => line.includes(marker))).toEqual([]);
  });

  test("has no email and none of the internal values", () => {
    for (const part of ["@example.com", "argon2id", "+999555", "INTERNAL NOTE", "HALL-", "SUPPLIER-"])
      expect(lines().filter((line) => line.includes(part))).toEqual([]);
  });
});

/** What is wrong with the details of an error; of what is in them, the other tests search all. */
function faultsOfDetails(answer: RawAnswer): string[] {
  const text = textOf(answer);
  const [status, ...details] = detailsIn(text);
  const [info, request, ...others] = status !== undefined && "code" in status ? details : detailsIn(text);
  const wanted: Record<string, JsonValue>[] = [
    { "@type": "google.rpc.ErrorInfo", reason: info?.["reason"] ?? "", domain: "portico" },
    { "@type": "google.rpc.RequestInfo", requestId: answer.requestId },
  ];
  const { metadata = {}, ...facts } = info ?? {};
  const code = reasons[String(facts["reason"]) as Reason]?.code;
  const known = ["google.rpc.BadRequest", "google.rpc.RetryInfo"];
  return [
    ...(isDeepStrictEqual([facts, request], wanted) ? [] : [`has ${JSON.stringify([facts, request])}`]),
    ...(code !== undefined && codeName(code) === answer.code ? [] : [`has the reason ${facts["reason"]}`]),
    ...(Object.keys(Object(metadata)).every((name) => name === "field") ? [] : [JSON.stringify(metadata)]),
    ...others.filter((detail) => !known.includes(String(detail["@type"]))).map((it) => JSON.stringify(it)),
    ...(status !== undefined && "code" in status && status["message"] !== answer.message
      ? ["other words"]
      : []),
  ];
}

/** Says where it was found, and not in which bytes: the first few places will do. */
function expectNowhere(part: string | RegExp): void {
  const found = seen.filter(({ text }) => (typeof part === "string" ? text.includes(part) : part.test(text)));
  expect(
    found.slice(0, 5).map(({ what }) => what),
    String(part),
  ).toEqual([]);
}

/** Those of a user's own values that no public field has the name of. */
function hiddenValues({ passwordHash, phone, address, riskScore }: User): { field: string; value: string }[] {
  const score = Buffer.alloc(8);
  score.writeDoubleLE(riskScore);
  return [
    { field: "passwordHash", value: passwordHash },
    { field: "phone", value: phone },
    { field: "street", value: address?.street ?? "" },
    { field: "riskScore", value: riskScore === 0 ? "" : score.toString("latin1") },
  ].filter(({ field, value }) => value !== "" && internalFields.includes(field));
}

/** The numbers of fields that a message has and its type does not, at any depth. */
function unknownFields(value: unknown): number[] {
  if (Array.isArray(value)) return value.flatMap(unknownFields);
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, inner]) =>
    name === "$unknown" && Array.isArray(inner) ? inner.map(({ no }) => Number(no)) : unknownFields(inner),
  );
}
