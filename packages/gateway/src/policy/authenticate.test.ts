import type { RequestListener } from "node:http";
import { Code } from "@connectrpc/connect";
import {
  exportJWK,
  exportSPKI,
  generateKeyPair,
  type JWTHeaderParameters,
  type JWTPayload,
  SignJWT,
  UnsecuredJWT,
} from "jose";
import { describe, expect, test } from "vitest";
import { PublicError } from "../errors.ts";
import { thrownBy } from "../testing/call.ts";
import { serveHttp } from "../testing/http.ts";
import { createAuthenticate, createIssuerKeys, type TokenRules } from "./authenticate.ts";

const issuer = "https://identity.acme.example";
const audience = "warehouse-api";
const keys = await generateKeyPair("RS256", { extractable: true });
const others = await generateKeyPair("RS256", { extractable: true });
const rules: TokenRules = { issuer, audience, rolesClaim: "roles", key: async () => keys.publicKey };
const authenticate = createAuthenticate(rules);
const now = () => Math.floor(Date.now() / 1_000);

const notValid = { code: Code.Unauthenticated, rawMessage: "The token is not valid." };
const notNow = {
  code: Code.Unavailable,
  rawMessage: "Credentials cannot be verified at the moment. Try again shortly.",
};

describe("lets in", () => {
  test("a valid token, with its subject and roles", async () => {
    expect(await authenticate(bearer(await sign({ roles: ["reader", "admin"] })))).toEqual({
      kind: "authenticated",
      subject: "ada",
      roles: ["reader", "admin"],
    });
  });

  test("a call without credentials, as anonymous", async () => {
    expect(await authenticate(new Headers())).toEqual({ kind: "anonymous" });
  });

  test.each<[string, unknown, string[]]>([
    ["one string", "reader admin ", ["reader", "admin"]],
    ["an empty string", "", []],
    ["a list with strangers in it", ["reader", 1, null, { a: 1 }], ["reader"]],
    ["an object", { admin: true }, []],
    ["nothing", undefined, []],
  ])("roles from %s", async (_, roles, expected) => {
    expect(await authenticate(bearer(await sign({ roles })))).toMatchObject({ roles: expected });
  });

  test("roles from another claim", async () => {
    const elsewhere = createAuthenticate({ ...rules, rolesClaim: "https://acme.example/groups" });
    const token = await sign({ roles: ["admin"], "https://acme.example/groups": ["reader"] });
    expect(await elsewhere(bearer(token))).toMatchObject({ roles: ["reader"] });
  });

  test("an audience among several", async () => {
    expect(await authenticate(bearer(await sign({ aud: ["other", audience] })))).toMatchObject({
      subject: "ada",
    });
  });

  test("the scheme in any case", async () => {
    const headers = new Headers({ authorization: `bEARER  ${await sign({})}` });
    expect(await authenticate(headers)).toMatchObject({ subject: "ada" });
  });

  test("a clock that is half a minute off", async () => {
    expect(await authenticate(bearer(await sign({ exp: now() - 30, nbf: now() + 30 })))).toMatchObject({
      subject: "ada",
    });
  });

  test.each(["RS512", "PS256", "ES256", "ES384", "EdDSA"])("%s", async (alg) => {
    const pair = await generateKeyPair(alg);
    const token = await new SignJWT(claims()).setProtectedHeader({ alg }).sign(pair.privateKey);
    const others = createAuthenticate({ ...rules, key: async () => pair.publicKey });
    expect(await others(bearer(token))).toMatchObject({ subject: "ada" });
  });
});

describe("keeps out", () => {
  test("a token that has expired, and says so", async () => {
    expect(await thrownBy(authenticate(bearer(await sign({ exp: now() - 120 }))))).toMatchObject({
      code: Code.Unauthenticated,
      rawMessage: "The token has expired.",
    });
  });

  test.each<[string, Record<string, unknown>]>([
    ["another audience", { aud: "another" }],
    ["no audience", { aud: undefined }],
    ["another issuer", { iss: "https://evil.example" }],
    ["an issuer with a slash more", { iss: `${issuer}/` }],
    ["no issuer", { iss: undefined }],
    ["no expiry", { exp: undefined }],
    ["a start in the future", { nbf: now() + 600 }],
    ["no subject", { sub: undefined }],
    ["an empty subject", { sub: "" }],
    ["a subject that is no string", { sub: 5 }],
  ])("%s", async (_, change) => {
    expect(await thrownBy(authenticate(bearer(await sign(change))))).toMatchObject(notValid);
  });

  test("another key", async () => {
    expect(await thrownBy(authenticate(bearer(await sign({}, others.privateKey))))).toMatchObject(notValid);
  });

  test("a payload that was changed", async () => {
    const [header, , signature] = (await sign({})).split(".");
    const payload = Buffer.from(JSON.stringify({ ...claims(), sub: "eve" })).toString("base64url");
    expect(await thrownBy(authenticate(bearer(`${header}.${payload}.${signature}`)))).toMatchObject(notValid);
  });

  test("alg none", async () => {
    expect(await thrownBy(authenticate(bearer(new UnsecuredJWT(claims()).encode())))).toMatchObject(notValid);
  });

  test("a shared secret that is the public key", async () => {
    for (const secret of [
      await exportSPKI(keys.publicKey),
      JSON.stringify(await exportJWK(keys.publicKey)),
    ]) {
      const token = await new SignJWT(claims())
        .setProtectedHeader({ alg: "HS256" })
        .sign(Buffer.from(secret));
      expect(await thrownBy(authenticate(bearer(token)))).toMatchObject(notValid);
    }
  });

  test("a shared secret, even if the issuer's keys had one", async () => {
    const secret = Buffer.from("a secret that is long enough for HS256");
    const token = await new SignJWT(claims()).setProtectedHeader({ alg: "HS256" }).sign(secret);
    const shared = createAuthenticate({ ...rules, key: async () => secret });
    expect(await thrownBy(shared(bearer(token)))).toMatchObject(notValid);
  });

  test("an algorithm that is not the key's", async () => {
    const pair = await generateKeyPair("ES256");
    const token = await new SignJWT(claims()).setProtectedHeader({ alg: "ES256" }).sign(pair.privateKey);
    expect(await thrownBy(authenticate(bearer(token)))).toMatchObject(notValid);
  });

  test("a key that the token brings along, or the address of one", async () => {
    const jwk = await exportJWK(others.publicKey);
    let fetched = 0;
    const url = await serveHttp((_request, response) => {
      fetched += 1;
      response.end(JSON.stringify({ keys: [{ ...jwk, kid: "evil" }] }));
    });
    const headers: JWTHeaderParameters[] = [
      { alg: "RS256", jwk },
      { alg: "RS256", jku: url, kid: "evil" },
      { alg: "RS256", x5u: url },
    ];
    for (const header of headers) {
      const token = await new SignJWT(claims()).setProtectedHeader(header).sign(others.privateKey);
      expect(await thrownBy(authenticate(bearer(token)))).toMatchObject(notValid);
    }
    expect(fetched).toBe(0);
  });

  test("a header extension that is critical and unknown", async () => {
    const token = await new SignJWT(claims())
      .setProtectedHeader({ alg: "RS256", crit: ["acme"], acme: true })
      .sign(keys.privateKey, { crit: { acme: true } });
    expect(await thrownBy(authenticate(bearer(token)))).toMatchObject(notValid);
  });

  test("more than 8 KiB, before any key is looked for", async () => {
    const strict = createAuthenticate({
      ...rules,
      key: () => {
        throw new Error("was looked for");
      },
    });
    const token = await sign({ padding: "x".repeat(8 * 1024) });
    expect(await thrownBy(strict(bearer(token)))).toMatchObject({
      ...notValid,
      cause: `the token has ${token.length} bytes, more than 8192`,
    });
  });

  test.each(["a", "a.b", "a.b.c", "....", "💥", `${"e30."}e30.`])("%j as a token", async (token) => {
    expect(
      await thrownBy(authenticate(new Headers({ authorization: `Bearer ${encodeURI(token)}` }))),
    ).toMatchObject(notValid);
  });

  test.each(["", "Bearer", "Bearer ", "Basic YWRhOmFkYQ==", "Bearer a b", "token"])(
    "%j as a header",
    async (value) => {
      expect(await thrownBy(authenticate(new Headers({ authorization: value })))).toMatchObject({
        code: Code.Unauthenticated,
        rawMessage: 'The authorization header must be "Bearer" and a token.',
      });
    },
  );

  test("with words of the gateway alone, and the header that RFC 6750 asks for", async () => {
    const error = await thrownBy(authenticate(bearer(await sign({ aud: "another" }))));
    expect(error).toBeInstanceOf(PublicError);
    expect((error as PublicError).metadata.get("www-authenticate")).toBe("Bearer");
    expect((error as PublicError).cause).toMatchObject({ message: expect.stringContaining("aud") });
  });
});

describe("the keys of an issuer", () => {
  const jwks = async () =>
    JSON.stringify({ keys: [{ ...(await exportJWK(keys.publicKey)), kid: "1", alg: "RS256" }] });
  const at = (jwksUrl: string) => createAuthenticate({ ...rules, key: createIssuerKeys(issuer, jwksUrl) });

  test("are fetched once, however many calls need them", async () => {
    let fetched = 0;
    const body = await jwks();
    const authenticate = at(
      await serveHttp((_request, response) => {
        fetched += 1;
        response.end(body);
      }),
    );
    const token = await sign({}, keys.privateKey, { kid: "1" });
    const principals = await Promise.all([1, 2, 3].map(() => authenticate(bearer(token))));
    expect(principals.map(({ kind }) => kind)).toEqual(Array(3).fill("authenticated"));
    await authenticate(bearer(token));
    expect(fetched).toBe(1);
  });

  test("a key id that the issuer does not know is the caller's fault", async () => {
    const body = await jwks();
    const authenticate = at(await serveHttp((_request, response) => response.end(body)));
    const token = await sign({}, keys.privateKey, { kid: "2" });
    expect(await thrownBy(authenticate(bearer(token)))).toMatchObject(notValid);
  });

  test.each<[string, RequestListener]>([
    ["a failing issuer", (_request, response) => response.writeHead(500).end()],
    ["one that has moved", (_request, response) => response.writeHead(302, { location: "/elsewhere" }).end()],
    ["one that answers something else", (_request, response) => response.end("<html>")],
    ["one that answers other JSON", (_request, response) => response.end('{"keys":"none"}')],
    ["one that hangs up", (_request, response) => response.destroy()],
  ])("%s is not the caller's fault", async (_, listener) => {
    const authenticate = at(await serveHttp(listener));
    const error = await thrownBy(authenticate(bearer(await sign({}, keys.privateKey, { kid: "1" }))));
    expect(error).toMatchObject(notNow);
    expect((error as PublicError).cause).toBeInstanceOf(Error);
  });

  test("nor is one that cannot be reached", async () => {
    const url = await serveHttp(() => {});
    // Port 1 is privileged, and nothing listens there.
    const closed = url.replace(/:\d+$/, ":1");
    expect(await thrownBy(at(closed)(bearer(await sign({}))))).toMatchObject(notNow);
  });

  test("one that came back is asked again", async () => {
    const body = await jwks();
    let up = false;
    const authenticate = at(
      await serveHttp((_request, response) => (up ? response.end(body) : response.writeHead(503).end())),
    );
    const token = await sign({}, keys.privateKey, { kid: "1" });
    expect(await thrownBy(authenticate(bearer(token)))).toMatchObject(notNow);
    up = true;
    expect(await authenticate(bearer(token))).toMatchObject({ subject: "ada" });
  });
});

describe("discovery", () => {
  /** An issuer with a discovery document and keys. */
  async function serveIssuer(document: (url: string) => unknown) {
    const paths: string[] = [];
    const body = JSON.stringify({ keys: [await exportJWK(keys.publicKey)] });
    const url: string = await serveHttp((request, response) => {
      paths.push(request.url ?? "");
      response.end(request.url === "/keys" ? body : JSON.stringify(document(url)));
    });
    return { url, paths };
  }
  const through = (url: string) =>
    createAuthenticate({ ...rules, issuer: url, key: createIssuerKeys(url, undefined) });

  test("finds the keys where the issuer says, once", async () => {
    const { url, paths } = await serveIssuer((url) => ({ issuer: url, jwks_uri: `${url}/keys` }));
    const authenticate = through(url);
    const token = bearer(await sign({ iss: url }));
    await Promise.all([authenticate(token), authenticate(token)]);
    expect(await authenticate(token)).toMatchObject({ subject: "ada" });
    expect(paths).toEqual(["/.well-known/openid-configuration", "/keys"]);
  });

  test.each<[string, (url: string) => unknown]>([
    ["of another issuer", (url) => ({ issuer: "https://evil.example", jwks_uri: `${url}/keys` })],
    ["without keys", (url) => ({ issuer: url })],
    ["that is no object", () => "document"],
    ["that is null", () => null],
  ])("a document %s is not followed", async (_, document) => {
    const { url, paths } = await serveIssuer(document);
    const error = await thrownBy(through(url)(bearer(await sign({ iss: url }))));
    expect(error).toMatchObject({
      ...notNow,
      cause: { message: expect.stringContaining("has no jwks_uri, or its issuer is not") },
    });
    expect(paths).not.toContain("/keys");
  });

  test("is tried again after it failed", async () => {
    let up = false;
    const { url } = await serveIssuer((url) => (up ? { issuer: url, jwks_uri: `${url}/keys` } : {}));
    const authenticate = through(url);
    const token = bearer(await sign({ iss: url }));
    expect(await thrownBy(authenticate(token))).toMatchObject(notNow);
    up = true;
    expect(await authenticate(token)).toMatchObject({ subject: "ada" });
  });

  test("does not follow redirects", async () => {
    const elsewhere = await serveIssuer(() => ({ issuer: url, jwks_uri: `${elsewhere.url}/keys` }));
    const url: string = await serveHttp((_request, response) =>
      response.writeHead(302, { location: elsewhere.url }).end(),
    );
    expect(await thrownBy(through(url)(bearer(await sign({ iss: url }))))).toMatchObject(notNow);
    expect(elsewhere.paths).toEqual([]);
  });
});

function claims(): JWTPayload {
  return { iss: issuer, aud: audience, sub: "ada", exp: now() + 600 };
}

function sign(
  change: JWTPayload,
  key = keys.privateKey,
  header: Partial<JWTHeaderParameters> = {},
): Promise<string> {
  return new SignJWT({ ...claims(), ...change }).setProtectedHeader({ alg: "RS256", ...header }).sign(key);
}

function bearer(token: string): Headers {
  return new Headers({ authorization: `Bearer ${token}` });
}
