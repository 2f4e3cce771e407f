import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect as connectH2 } from "node:http2";
import { request as h1Request } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { json } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import {
  create,
  type DescMessage,
  type DescMethod,
  type MessageInitShape,
  toJsonString,
} from "@bufbuild/protobuf";
import { ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { OrdersService } from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { UsersService } from "../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { type System, startSystem } from "./system.ts";

// Callers who are known by the certificate of their connection (mTLS), against a whole gateway.

const folder = mkdtempSync(join(tmpdir(), "portico-certificates-"));
const accessFile = join(folder, "access.json");
const demoAccess = fileURLToPath(new URL("../packages/gateway/src/app/access.json", import.meta.url));
const writeAccess = (certificates: object) =>
  writeFileSync(
    accessFile,
    JSON.stringify({ ...JSON.parse(readFileSync(demoAccess, "utf8")), certificates }),
  );

const billing = "spiffe://acme/billing";
const certificates = {
  [billing]: ["support"],
  "shop.acme.example": ["viewer"],
  "by common name": ["customer"],
};

let system: System;
beforeAll(async () => {
  await makeCa("ca");
  await makeCa("other-ca");
  await makeCertificate("billing", "ca", `subjectAltName=URI:${billing}`);
  await makeCertificate("shop", "ca", "subjectAltName=DNS:shop.acme.example");
  await makeCertificate("by common name", "ca", "extendedKeyUsage=clientAuth");
  await makeCertificate("unlisted", "ca", "subjectAltName=URI:spiffe://acme/unlisted");
  await makeCertificate("constructor", "ca", "extendedKeyUsage=clientAuth");
  await makeCertificate("for servers", "ca", `extendedKeyUsage=serverAuth\nsubjectAltName=URI:${billing}`);
  await makeCertificate("two names", "ca", `subjectAltName=URI:spiffe://acme/other,URI:${billing}`);
  await makeCertificate("of another", "other-ca", `subjectAltName=URI:${billing}`);
  await makeCertificate("expired", "ca", `subjectAltName=URI:${billing}`, past);
  await makeCertificate("expired, of another", "other-ca", `subjectAltName=URI:${billing}`, past);
  writeAccess(certificates);
  system = await startSystem({
    tls: true,
    env: { TLS_CLIENT_CA_FILE: join(folder, "ca.pem"), ACCESS_FILE: accessFile },
  });
});
afterAll(async () => {
  await system.close();
  rmSync(folder, { recursive: true });
});
afterEach(() => {
  system.mocks.users.calls.clear();
  system.mocks.orders.calls.clear();
});

const { listOrdersWithUser, createOrder } = OrdersService.method;
const { listUsers } = UsersService.method;
const upstreamCalls = () => system.mocks.users.calls.count() + system.mocks.orders.calls.count();

/** Other credentials that a call has besides. */
interface More {
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

describe.each(["HTTP/1.1", "HTTP/2"] as const)("over %s", (version) => {
  const call = <M extends DescMethod>(
    name: string | undefined,
    method: M,
    request: MessageInitShape<M["input"]>,
    more: More = {},
  ) => (version === "HTTP/1.1" ? overH1 : overH2)(identityOf(name), method, request, more);

  test("a certificate that the access file names has its roles", async () => {
    const answer = await call("billing", listUsers, { pageSize: 1 });
    expect(answer).toMatchObject({ status: 200, body: { users: [{ email: expect.stringContaining("@") }] } });
    const [seen] = system.mocks.users.calls.all("listUsers");
    expect(seen?.headers).toMatchObject({
      "x-portico-kind": "certificate",
      "x-portico-subject": billing,
      "x-portico-roles": "support",
    });
    const shop = await call("shop", listOrdersWithUser, { pageSize: 1 });
    expect(shop).toMatchObject({ status: 200, body: { orders: [{ id: expect.any(String) }] } });
    expect(shop.body).not.toHaveProperty("orders.0.userEmail");
  });

  test("and no others", async () => {
    expect(await call("shop", listUsers, {})).toMatchObject({
      status: 403,
      body: { code: "permission_denied", message: "Your credentials do not allow this method." },
    });
    expect(upstreamCalls()).toBe(0);
  });

  test("is the subject of conditions", async () => {
    const lineItems = [{ product: "Webcam", quantity: 1 }];
    const forOthers = await call("by common name", createOrder, { userId: "user-1", lineItems });
    expect(forOthers).toMatchObject({ status: 403, body: { code: "permission_denied" } });
    expect(upstreamCalls()).toBe(0);
    // It is let in for itself, and there is no such user.
    const forItself = await call("by common name", createOrder, { userId: "by common name", lineItems });
    expect(forItself).toMatchObject({
      status: 400,
      body: { message: "user_id: there is no user with this id" },
    });
  });

  test.each(["unlisted", "constructor"])("one that it does not name has no role: %s", async (name) => {
    expect(await call(name, listUsers, {})).toMatchObject({
      status: 403,
      body: { code: "permission_denied" },
    });
    expect(upstreamCalls()).toBe(0);
  });

  test.each([
    ["of another", "The client certificate is not valid."],
    ["for servers", "The client certificate is not valid."],
    ["two names", "The client certificate is not valid."],
    ["expired", "The client certificate has expired."],
  ])("one that is not valid is no credential, whatever it says: %s", async (name, message) => {
    const answer = await call(name, listUsers, {});
    expect(answer).toMatchObject({ status: 401, body: { code: "unauthenticated", message } });
    expect(upstreamCalls()).toBe(0);
  });

  test("one that is expired and of another CA is refused as well", async () => {
    const answer = await call("expired, of another", listUsers, {});
    expect(answer).toMatchObject({ status: 401, body: { code: "unauthenticated" } });
    expect(upstreamCalls()).toBe(0);
  });

  test("a caller without one is anonymous", async () => {
    expect(await call(undefined, listUsers, {})).toMatchObject({
      status: 401,
      body: { code: "unauthenticated", message: "This method needs credentials." },
    });
    expect(upstreamCalls()).toBe(0);
  });

  test("a token counts for more than the certificate of its connection", async () => {
    const token = await system.token("viewer");
    expect(await call("billing", listUsers, {}, { token })).toMatchObject({ status: 403 });
    expect(upstreamCalls()).toBe(0);
    expect(await call("billing", listOrdersWithUser, { pageSize: 1 }, { token })).toMatchObject({
      status: 200,
    });
    expect(system.mocks.orders.calls.all("listOrders")[0]?.headers["x-portico-kind"]).toBe("token");
    // Not even a token that is not valid is made up for.
    expect(await call("billing", listUsers, {}, { token: "not.a.token" })).toMatchObject({ status: 401 });
    // A browser's own certificate must not get in the way of its token.
    expect(await call("of another", listOrdersWithUser, { pageSize: 1 }, { token })).toMatchObject({
      status: 200,
    });
  });

  test.each(["x-forwarded-client-cert", "x-client-cert", "x-ssl-client-cert", "ssl-client-s-dn"])(
    "a header is no certificate: %s",
    async (header) => {
      const value = `URI=${billing};CN=billing`;
      expect(await call(undefined, listUsers, {}, { headers: { [header]: value } })).toMatchObject({
        status: 401,
      });
      expect(upstreamCalls()).toBe(0);
    },
  );
});

test("gRPC clients are known by their certificate, and each of its calls is refused or let in by itself", async () => {
  const client = (name: string | undefined) => {
    const nodeOptions = { ca: system.ca, ...identityOf(name) };
    return createClient(UsersService, createGrpcTransport({ baseUrl: system.url, nodeOptions }));
  };
  const known = client("billing");
  expect((await known.listUsers({ pageSize: 2 })).users).toHaveLength(2);
  const fail = (call: Promise<unknown>) =>
    call.then(
      () => "ok",
      (error: unknown) => ConnectError.from(error).message,
    );
  expect(await fail(known.createUser({ email: "new@example.com" }))).toMatch(/^\[permission_denied\]/);
  expect(await fail(client("of another").listUsers({}))).toMatch(/^\[unauthenticated\]/);
  expect(await fail(client(undefined).listUsers({}))).toMatch(/^\[unauthenticated\]/);
});

test("each refusal of a certificate is in the audit log, with the reason why", async () => {
  const headers = { "x-request-id": "certificate-audit" };
  await overH1(identityOf("of another"), listUsers, {}, { headers });
  await system.logOf("certificate-audit");
  const [record, ...others] = system
    .log()
    .filter((line) => line["msg"] === "audit" && line["requestId"] === "certificate-audit");
  expect(others).toEqual([]);
  expect(record).toMatchObject({ audit: "refused", reason: "CREDENTIALS_INVALID" });
  expect(record?.["why"]).toMatch(/^the client certificate was refused: [A-Z_]+$/);
});

test("the roles of a certificate follow the access file while its connection stays", async () => {
  const session = connectH2(system.url, { ca: system.ca, ...identityOf("shop") });
  session.on("error", () => {});
  const ask = async () => {
    const body = toJsonString(listUsers.input, create(listUsers.input, { pageSize: 1 }));
    const path = `/${UsersService.typeName}/ListUsers`;
    const stream = session.request({ ":method": "POST", ":path": path, "content-type": "application/json" });
    stream.end(body);
    const { promise, resolve } = Promise.withResolvers<number>();
    stream.on("response", (headers) => resolve(Number(headers[":status"])));
    stream.resume();
    return promise;
  };
  try {
    expect(await ask()).toBe(403);
    writeAccess({ ...certificates, "shop.acme.example": ["support"] });
    await vi.waitFor(async () => expect(await ask()).toBe(200), { timeout: 3_000, interval: 50 });
  } finally {
    session.destroy();
    writeAccess(certificates);
  }
});

test("a gateway that was given no CA asks for no certificate, and makes nobody of one", async () => {
  await using other = await startSystem({ tls: true, env: { ACCESS_FILE: accessFile } });
  expect(await overH1(identityOf("billing"), listUsers, {}, {}, other)).toMatchObject({
    status: 401,
    body: { message: "This method needs credentials." },
  });
});

describe("a gateway does not start", () => {
  test("with a CA file that has none", async () => {
    const start = startSystem({ tls: true, env: { TLS_CLIENT_CA_FILE: join(folder, "billing.pem") } });
    await expect(start).rejects.toThrow(
      /TLS_CLIENT_CA_FILE must be the certificates of one or more CAs in PEM/,
    );
  });

  test("with a CA, but without TLS", async () => {
    const start = startSystem({ env: { TLS_CLIENT_CA_FILE: join(folder, "ca.pem") } });
    await expect(start).rejects.toThrow(/TLS_CLIENT_CA_FILE needs TLS/);
  });

  test("with roles for a certificate that there are not", async () => {
    writeFileSync(
      join(folder, "odd.json"),
      readFileSync(demoAccess, "utf8").replace("{", '{ "certificates": { "a": ["root"] },'),
    );
    const start = startSystem({ env: { ACCESS_FILE: join(folder, "odd.json") } });
    await expect(start).rejects.toThrow(/certificates\.a: there is no role "root"/);
  });
});

interface Reply {
  readonly status: number;
  readonly body: unknown;
}

type Identity = { readonly cert?: string; readonly key?: string };

function identityOf(name: string | undefined): Identity {
  if (name === undefined) return {};
  const [cert, key] = ["pem", "key"].map((kind) => readFileSync(join(folder, `${name}.${kind}`), "utf8"));
  return { ...(cert !== undefined && { cert }), ...(key !== undefined && { key }) };
}

/** One call in JSON over HTTP/1.1, on a connection of its own. */
async function overH1(
  identity: Identity,
  method: DescMethod,
  request: MessageInitShape<DescMessage>,
  more: More,
  at = system,
): Promise<Reply> {
  const { hostname, port } = new URL(at.url);
  const outgoing = { method: "POST", path: pathOf(method), headers: headersOf(more), agent: false as const };
  const { promise, resolve, reject } = Promise.withResolvers<Reply>();
  h1Request({ hostname, port, ca: at.ca, ...identity, ...outgoing }, async (response) => {
    resolve({ status: response.statusCode ?? 0, body: await json(response) });
  })
    .on("error", reject)
    .end(toJsonString(method.input, create(method.input, request)));
  return promise;
}

/** The same over HTTP/2. */
async function overH2(
  identity: Identity,
  method: DescMethod,
  request: MessageInitShape<DescMessage>,
  more: More,
): Promise<Reply> {
  const session = connectH2(system.url, { ca: system.ca, ...identity });
  const { promise, resolve, reject } = Promise.withResolvers<Reply>();
  session.on("error", reject);
  const stream = session.request({ ":method": "POST", ":path": pathOf(method), ...headersOf(more) });
  stream.on("error", reject);
  stream.on("response", async (headers) =>
    resolve({ status: Number(headers[":status"]), body: await json(stream) }),
  );
  stream.end(toJsonString(method.input, create(method.input, request)));
  return promise.finally(() => session.destroy());
}

function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}

function headersOf({ token, headers }: More): Record<string, string> {
  return {
    "content-type": "application/json",
    ...(token !== undefined && { authorization: `Bearer ${token}` }),
    ...headers,
  };
}

async function makeCa(name: string): Promise<void> {
  await makeRequest(name);
  await sign(name, "basicConstraints=critical,CA:TRUE", present, ["-selfsign", "-keyfile", `${name}.key`]);
}

async function makeCertificate(name: string, ca: string, extensions: string, span = present): Promise<void> {
  await makeRequest(name);
  await sign(name, extensions, span, ["-cert", `${ca}.pem`, "-keyfile", `${ca}.key`]);
}

/** With `openssl ca`: the shorter `openssl x509` cannot choose dates in the versions that are around. */
async function sign(name: string, extensions: string, [from, to]: Span, by: string[]): Promise<void> {
  write("issued", "");
  write("issued.attr", "unique_subject=no");
  write("serial", randomBytes(8).toString("hex"));
  const ca = "database=issued\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=any";
  write("sign.conf", `[ca]\ndefault_ca=it\n[it]\n${ca}\n[any]\nCN=supplied\n[as]\n${extensions}`);
  const what = ["-in", `${name}.csr`, "-out", `${name}.pem`, "-startdate", from, "-enddate", to];
  await openssl("ca", "-batch", "-notext", "-config", "sign.conf", "-extensions", "as", ...what, ...by);
}

type Span = readonly [from: string, to: string];
const present = spanOf(-1, 30);
const past = spanOf(-30, -1);

function spanOf(fromDays: number, toDays: number): Span {
  const at = (days: number) =>
    `${new Date(Date.now() + days * 86_400_000)
      .toISOString()
      .replace(/[-:T]|\..*/g, "")
      .slice(2)}Z`;
  return [at(fromDays), at(toDays)];
}

async function makeRequest(name: string): Promise<void> {
  const key = [
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-nodes",
    "-keyout",
    `${name}.key`,
  ];
  await openssl("req", "-new", ...key, "-subj", `/CN=${name}`, "-out", `${name}.csr`);
}

function write(name: string, content: string): void {
  writeFileSync(join(folder, name), content);
}

async function openssl(...args: string[]): Promise<void> {
  await promisify(execFile)("openssl", args, { cwd: folder });
}
