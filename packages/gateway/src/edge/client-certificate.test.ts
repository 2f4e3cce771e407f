import { execFile } from "node:child_process";
import { randomBytes, X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect as h2Connect } from "node:http2";
import { Agent, request as h1Request } from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { json, text } from "node:stream/consumers";
import { type ConnectionOptions, type SecureVersion, type TLSSocket, connect as tlsConnect } from "node:tls";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { createCertificateVerifier } from "../policy/identity/certificates.ts";
import { clientCaProblem, clientCertificateOf } from "./client-certificate.ts";
import { createListener, defaultListenerLimits, type ListenerHandler } from "./listener.ts";

const folder = mkdtempSync(join(tmpdir(), "portico-certificates-"));
afterAll(() => rmSync(folder, { recursive: true }));
const pem = (name: string): string => readFileSync(join(folder, `${name}.pem`), "utf8");
const identity = (name: string) => ({
  cert: name === "below leaf" ? pem(name) + pem("spiffe") : pem(name),
  key: readFileSync(join(folder, `${name}.key`), "utf8"),
});

beforeAll(async () => {
  for (const name of ["ca", "other ca", "server"]) await makeRoot(name);
  await makeRoot("ca again", "ca");
  await makeCertificate("middle ca", "ca", "basicConstraints=critical,CA:TRUE");
  await makeCertificate("no SAN", "ca", "extendedKeyUsage=clientAuth");
  await makeCertificate("spiffe", "ca", "subjectAltName=DNS:billing.acme.example,URI:spiffe://acme/billing");
  await makeCertificate("dns", "ca", "subjectAltName=DNS:billing.acme.example");
  await makeCertificate(
    "odd",
    "ca",
    "subjectAltName=@names\n[names]\nURI.1=spiffe://acme/x, URI:spiffe://acme/billing",
  );
  await makeCertificate("for servers", "ca", "extendedKeyUsage=serverAuth");
  await makeCertificate("expired", "ca", "subjectAltName=URI:spiffe://acme/billing", past);
  await makeCertificate("not yet", "ca", "subjectAltName=URI:spiffe://acme/billing", future);
  await makeCertificate("of another", "other ca", "subjectAltName=URI:spiffe://acme/billing");
  await makeCertificate("expired, of another", "other ca", "subjectAltName=URI:spiffe://acme/billing", past);
  await makeCertificate("below middle", "middle ca", "subjectAltName=URI:spiffe://acme/billing");
  await makeCertificate("below leaf", "spiffe", "subjectAltName=URI:spiffe://acme/admin");
  await makeRoot("alone", "alone", "CA:FALSE\nkeyUsage=digitalSignature");
  await makeRoot("unclear", "unclear", "CA:FALSE");
  await makeCertificate("below alone", "alone", "subjectAltName=URI:spiffe://acme/admin");
});

describe.each(["HTTP/1.1", "HTTP/2"] as const)("over %s", (protocol) => {
  test.each<[string, object]>([
    ["spiffe", { authorized: true, alternativeNames: "DNS:billing.acme.example, URI:spiffe://acme/billing" }],
    ["no SAN", { authorized: true, commonName: "no SAN" }],
    ["of another", { authorized: false, problem: "UNABLE_TO_VERIFY_LEAF_SIGNATURE" }],
    ["expired", { authorized: false, problem: "CERT_HAS_EXPIRED" }],
    ["not yet", { authorized: false, problem: "CERT_NOT_YET_VALID" }],
    ["for servers", { authorized: false, problem: "INVALID_PURPOSE" }],
    ["expired, of another", { authorized: false }],
    ["below leaf", { authorized: false }],
  ])("a request has the certificate of its connection: %s", async (name, seen) => {
    const port = await start();
    expect(await ask(port, protocol, identity(name))).toMatchObject(seen);
  });

  test("a client without a certificate is served, and has none", async () => {
    expect(await ask(await start(), protocol, {})).toBeNull();
  });

  test("no certificate is asked for, and none seen, if no CA is configured", async () => {
    const port = await start(report, {});
    expect(await ask(port, protocol, identity("spiffe"))).toBeNull();
  });

  test("it says when the certificate expires", async () => {
    const port = await start();
    const certificate = await ask(port, protocol, identity("spiffe"));
    const expected = Date.parse(new X509Certificate(pem("spiffe")).validTo);
    expect(certificate).toMatchObject({ expiresAt: expected });
  });

  test("it is the same object for every request of a connection, and another for another", async () => {
    const seen: unknown[] = [];
    const port = await start((request, response) => {
      seen.push(clientCertificateOf(request), clientCertificateOf(request));
      response.end("{}");
    });
    await ask(port, protocol, identity("spiffe"), 2);
    expect(new Set(seen).size).toBe(1);
    await ask(port, protocol, identity("spiffe"));
    expect(seen[4]).toEqual(seen[0]);
    expect(seen[4]).not.toBe(seen[0]);
  });

  test("a connection that closed before its certificate was read does not pass for one without", async () => {
    const { promise, resolve } = Promise.withResolvers<unknown>();
    const port = await start((request) => {
      request.on("close", () => setImmediate(() => resolve(clientCertificateOf(request))));
      ("stream" in request
        ? (request.stream as { session: { destroy(): void } }).session
        : request.socket
      ).destroy();
    });
    await ask(port, protocol, identity("spiffe")).catch(() => {});
    expect(await promise).toMatchObject({ authorized: false, problem: "the connection is gone" });
  });

  test.each<[string, object]>([
    ["spiffe", { subject: "spiffe://acme/billing", roles: ["biller"] }],
    ["dns", { subject: "billing.acme.example", roles: [] }],
    ["no SAN", { subject: "no SAN", roles: [] }],
    ["odd", { reason: "CREDENTIALS_INVALID" }],
    ["for servers", { reason: "CREDENTIALS_INVALID" }],
    ["of another", { reason: "CREDENTIALS_INVALID" }],
    ["below leaf", { reason: "CREDENTIALS_INVALID" }],
    ["not yet", { reason: "CREDENTIALS_INVALID" }],
    ["expired", { reason: "CREDENTIALS_EXPIRED" }],
  ])("the policy decides on it: %s", async (name, outcome) => {
    const verify = createCertificateVerifier(() => ({ "spiffe://acme/billing": ["biller"] }));
    const port = await start((request, response) => {
      const certificate = clientCertificateOf(request);
      try {
        response.end(JSON.stringify(certificate && verify(certificate)));
      } catch (error) {
        response.end(JSON.stringify(error));
      }
    });
    expect(await ask(port, protocol, identity(name))).toMatchObject(outcome);
  });
});

describe.each<SecureVersion>(["TLSv1.2", "TLSv1.3"])("over %s", (version) => {
  const only = { minVersion: version, maxVersion: version, ALPNProtocols: ["http/1.1"] } as const;

  test("a session is not resumed, so that each connection shows its certificate itself", async () => {
    const port = await start();
    const first = await speak(port, { ...only, ...identity("spiffe") });
    expect(first.reply).toMatchObject({ authorized: true });
    expect(first.sessions.length, "the client has something to try with").toBeGreaterThan(0);
    for (const session of first.sessions) {
      const second = await speak(port, { ...only, session });
      expect(second.reused).toBe(false);
      expect(second.reply).toBeNull();
    }
  });

  test("a session that began without a certificate does not make one count that is shown later", async () => {
    const port = await start();
    const { sessions } = await speak(port, only);
    for (const session of sessions) {
      const second = await speak(port, { ...only, ...identity("of another"), session });
      expect(second.reply).toMatchObject({ authorized: false });
    }
  });

  test("without a CA, sessions are resumed as before", async () => {
    const port = await start(report, {});
    const { sessions } = await speak(port, only);
    const second = await speak(port, { ...only, session: sessions.at(-1) });
    expect(second).toMatchObject({ reused: true, reply: null });
  });
});

test.each([true, false])("a connection cannot be renegotiated, with a CA or without: %s", async (withCa) => {
  const port = await start(report, withCa ? { clientCa: pem("ca") } : {});
  const socket = await open(port, {
    maxVersion: "TLSv1.2",
    ALPNProtocols: ["http/1.1"],
    ...identity("spiffe"),
  });
  const error = await new Promise<Error | null>((resolve) => {
    socket.on("error", resolve);
    socket.renegotiate({}, resolve);
  });
  expect(error).toMatchObject({ code: "ERR_SSL_NO_RENEGOTIATION" });
});

test("a CA below the root counts, for clients that show nothing above themselves", async () => {
  const port = await start(report, { clientCa: pem("middle ca") + pem("ca") });
  for (const name of ["below middle", "spiffe"])
    expect(await ask(port, "HTTP/1.1", identity(name))).toMatchObject({ authorized: true });
});

test.each(["HTTP/1.1", "HTTP/2"] as const)(
  "a client that signed its own certificate, and is no CA, counts itself alone: over %s",
  async (protocol) => {
    expect(clientCaProblem(pem("alone"))).toBeUndefined();
    const port = await start(report, { clientCa: pem("alone") });
    expect(await ask(port, protocol, identity("alone"))).toMatchObject({ authorized: true });
    for (const name of ["below alone", "spiffe"])
      expect(await ask(port, protocol, identity(name)), name).toMatchObject({ authorized: false });
  },
);

test("several CAs count", async () => {
  const port = await start(report, { clientCa: `# ours\n${pem("ca")}\n# theirs\n${pem("other ca")}` });
  for (const name of ["spiffe", "of another"])
    expect(await ask(port, "HTTP/2", identity(name))).toMatchObject({ authorized: true });
});

test("a certificate whose key the client does not have makes no connection", async () => {
  const port = await start();
  const stolen = { cert: pem("spiffe"), key: identity("of another").key };
  await expect(ask(port, "HTTP/1.1", stolen)).rejects.toThrow(/key values mismatch/);
});

describe("clientCaProblem", () => {
  const wanted =
    "must be the certificates of one or more CAs in PEM, each with those above it up to the root";

  test("finds nothing wrong with CAs, and words between them", () => {
    expect(clientCaProblem(pem("ca"))).toBeUndefined();
    expect(
      clientCaProblem(`# ours\n${pem("ca").replaceAll("\n", "\r\n")}\nof 2026\n${pem("middle ca")}`),
    ).toBeUndefined();
  });

  test.each<[string, () => string, string]>([
    ["nothing", () => "", "it has none"],
    ["other text", () => "certificate", "it has none"],
    ["a key", () => identity("ca").key, "number 1 is no whole certificate"],
    ["a CA and its key", () => pem("ca") + identity("ca").key, "number 2 is no whole certificate"],
    ["a client", () => pem("ca") + pem("spiffe"), "number 2 is not that of a CA"],
    ["a client that signed itself and may sign others", () => pem("unclear"), "number 1 is not that of a CA"],
    ["one cut short", () => pem("ca").slice(0, 200), "number 1 is no whole certificate"],
    [
      "one that is damaged",
      () => pem("ca").replace(/\n.{20}/, "\nAAAAAAAAAAAAAAAAAAAA"),
      "number 1 cannot be read",
    ],
  ])("says what is wrong with %s", (_, text, problem) => {
    expect(clientCaProblem(text())).toBe(`${wanted}: ${problem}`);
  });

  test.each(["", "certificate"])("a listener does not begin with %j, which Node would take", (clientCa) => {
    const options = { limits: defaultListenerLimits, tls: { ...identity("server"), clientCa } };
    expect(() => createListener(report, options)).toThrow(new TypeError(`clientCa ${wanted}: it has none`));
  });
});

const report: ListenerHandler = (request, response) => {
  response.end(JSON.stringify(clientCertificateOf(request) ?? null));
};

/** Starts a listener that asks for certificates of the CA, unless `tls` says otherwise, and gives its port. */
async function start(
  handler: ListenerHandler = report,
  tls: { readonly clientCa?: string } = { clientCa: pem("ca") },
): Promise<number> {
  const options = { limits: defaultListenerLimits, tls: { ...identity("server"), ...tls } };
  const { server, drain } = createListener(handler, options);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(async () => {
    await drain(0);
  });
  return (server.address() as AddressInfo).port;
}

/** What the listener answers to the last of several requests on one connection. */
async function ask(port: number, protocol: "HTTP/1.1" | "HTTP/2", tls: ConnectionOptions, times = 1) {
  const session =
    protocol === "HTTP/2" ? h2Connect(`https://127.0.0.1:${port}`, { ...trusting, ...tls }) : undefined;
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  onTestFinished(() => {
    session?.destroy();
    agent.destroy();
  });
  session?.on("error", () => {});
  let answer: unknown;
  for (let time = 0; time < times; time++) {
    if (session === undefined) {
      const request = h1Request({ port, host: "127.0.0.1", agent, ...trusting, ...tls }).end();
      const [response] = await once(request, "response");
      answer = await json(response);
    } else {
      const failed = once(session, "error").then(([error]) => Promise.reject(error));
      answer = await Promise.race([json(session.request({ ":path": "/" })), failed]);
    }
  }
  return answer;
}

const trusting = { rejectUnauthorized: false };

async function open(port: number, tls: ConnectionOptions): Promise<TLSSocket> {
  const socket = tlsConnect({ port, host: "127.0.0.1", ...trusting, ...tls });
  onTestFinished(() => void socket.destroy());
  await once(socket, "secureConnect");
  return socket;
}

/** One request by hand: what was answered, and the sessions that the server gave to resume. */
async function speak(port: number, tls: ConnectionOptions) {
  const sessions: Buffer[] = [];
  const opening = tlsConnect({ port, host: "127.0.0.1", ...trusting, ...tls });
  opening.on("session", (session: Buffer) => sessions.push(session));
  onTestFinished(() => void opening.destroy());
  await once(opening, "secureConnect");
  const reused = opening.isSessionReused();
  opening.write("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
  const answer = await text(opening);
  const body = /\r\n\r\n(?:[0-9a-f]+\r\n)?(.*)/.exec(answer)?.[1] ?? "";
  return { reply: JSON.parse(body) as unknown, reused, sessions };
}

type Span = readonly [from: string, to: string];
function spanOf(fromDays: number, toDays: number): Span {
  const at = (days: number) =>
    `${new Date(Date.now() + days * 86_400_000)
      .toISOString()
      .replace(/[-:T]|\..*/g, "")
      .slice(2)}Z`;
  return [at(fromDays), at(toDays)];
}
const [present, past, future] = [spanOf(-1, 30), spanOf(-30, -1), spanOf(1, 30)];

/** Makes a key, and a certificate that is signed by itself. */
async function makeRoot(name: string, commonName = name, constraint = "CA:TRUE"): Promise<void> {
  await makeRequest(name, commonName);
  await sign(name, name, `basicConstraints=critical,${constraint}`, present, ["-selfsign"]);
}

async function makeCertificate(
  name: string,
  issuer: string,
  extensions: string,
  span = present,
): Promise<void> {
  await makeRequest(name);
  await sign(name, issuer, extensions, span);
}

async function makeRequest(name: string, commonName = name): Promise<void> {
  write("request.conf", `[req]\nprompt=no\ndistinguished_name=dn\n[dn]\nCN=${commonName}`);
  const key = [
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:prime256v1",
    "-nodes",
    "-keyout",
    `${name}.key`,
  ];
  await openssl("req", "-new", ...key, "-config", "request.conf", "-out", `${name}.csr`);
}

async function sign(name: string, issuer: string, extensions: string, [from, to]: Span, more: string[] = []) {
  write("issued", "");
  write("serial", `00${randomBytes(8).toString("hex")}`);
  write("issued.attr", "unique_subject=no");
  write(
    "sign.conf",
    `[ca]\ndefault_ca=it\n[it]\ndatabase=issued\nserial=serial\nnew_certs_dir=.\ndefault_md=sha256\npolicy=any\n[any]\nCN=supplied\n[as]\n${extensions}`,
  );
  const dates = ["-startdate", from, "-enddate", to];
  const by = more.length > 0 ? more : ["-cert", `${issuer}.pem`];
  await openssl(
    ...["ca", "-batch", "-notext", "-config", "sign.conf", "-extensions", "as", ...dates],
    ...["-keyfile", `${issuer}.key`, "-in", `${name}.csr`, "-out", `${name}.pem`, ...by],
  );
}

function write(name: string, content: string): void {
  writeFileSync(join(folder, name), content);
}

async function openssl(...args: string[]): Promise<void> {
  await promisify(execFile)("openssl", args, { cwd: folder });
}
