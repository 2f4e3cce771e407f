import { once } from "node:events";
import { readFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import {
  createServer as createTlsServer,
  getCACertificates,
  rootCertificates,
  setDefaultCACertificates,
} from "node:tls";
import { Code } from "@connectrpc/connect";
import { afterEach, expect, test } from "vitest";
import { connectTo, endAll, failure, startWarehouse } from "../../testing/upstream-servers.ts";

afterEach(endAll);

const file = (name: string) =>
  readFileSync(new URL(`../../../../../tests/fixtures/tls/${name}`, import.meta.url), "utf8");
const [cert, key] = [file("cert.pem"), file("key.pem")];

test("calls go over TLS to a server with a certificate that is trusted", async () => {
  const server = await startWarehouse({ tls: { cert, key } });
  const { client } = connectTo([server.port], { tls: { ca: cert } }, "https");
  expect((await client.getCrate({ code: "A" })).crate?.code).toBe("A");
  expect(server.authorities()).toEqual([`127.0.0.1:${server.port}`]);
});

test("a certificate that nobody trusts is refused", async () => {
  const server = await startWarehouse({ tls: { cert, key } });
  const { client } = connectTo([server.port], {}, "https");
  expect(await failure(client.getCrate({}))).toMatchObject({
    code: Code.Unavailable,
    rawMessage: expect.stringContaining("self-signed"),
  });
  expect(server.calls()).toBe(0);
});

test("authorities of one's own are trusted besides the public ones", async () => {
  const [another] = rootCertificates;
  const known = getCACertificates();
  setDefaultCACertificates([cert]);
  try {
    const server = await startWarehouse({ tls: { cert, key } });
    const { client } = connectTo([server.port], { tls: { ca: another } }, "https");
    expect((await client.getCrate({ code: "A" })).crate?.code).toBe("A");
  } finally {
    setDefaultCACertificates(known);
  }
});

test("a certificate for another name is refused; the name is asked for, not the address it is found at", async () => {
  const asked: string[] = [];
  const SNICallback = (name: string, answer: (error: null) => void) => {
    asked.push(name);
    answer(null);
  };
  const server = await startWarehouse({ tls: { cert, key, SNICallback } });
  const url = new URL(`https://warehouse.test:${server.port}`);
  const { client } = connectTo([url], { tls: { ca: cert }, resolve: async () => ["127.0.0.1"] });
  expect((await failure(client.getCrate({}))).rawMessage).toContain("does not match certificate's altnames");
  expect(asked).toEqual(["warehouse.test"]);
});

test("a server that asks for a client certificate gets it, and refuses who has none", async () => {
  const tls = { cert, key, ca: cert, requestCert: true, rejectUnauthorized: true };
  const server = await startWarehouse({ tls });
  const known = connectTo([server.port], { tls: { ca: cert, cert, key } }, "https");
  expect((await known.client.getCrate({ code: "A" })).crate?.code).toBe("A");
  const unknown = connectTo([server.port], { tls: { ca: cert } }, "https");
  expect((await failure(unknown.client.getCrate({}))).code).toBe(Code.Unavailable);
  expect(server.calls()).toBe(1);
});

test("a server that does not agree to HTTP/2 is not spoken to", async () => {
  let heard = 0;
  const server = createTlsServer({ cert, key }, (socket) => {
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      heard += bytes.length;
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const { client } = connectTo([port], { tls: { ca: cert } }, "https");
  expect((await failure(client.getCrate({}))).rawMessage).toContain("HTTP/2 (ALPN)");
  server.close();
  await once(server, "close");
  expect(heard).toBeLessThan(200);
});

test("a key that does not belong to the certificate is found at the start", () => {
  const connect = (tls: { ca?: string; cert?: string; key?: string }) => () =>
    connectTo([1], { tls }, "https");
  expect(connect({ cert, key: "nonsense" })).toThrow(/^upstream warehouse: tls must be PEM/);
  expect(connect({ cert: "nonsense", key })).toThrow(/^upstream warehouse: tls must be PEM/);
});
