import { createHmac, generateKeyPairSync, type KeyObject, randomUUID, sign as signBytes } from "node:crypto";
import { createServer } from "node:http";

/** An issuer of tokens: a server with a discovery document and keys, and the private key to sign with. */
export interface TestIssuer extends AsyncDisposable {
  /** The `iss` of its tokens. */
  readonly url: string;
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
  /** The paths that the server was asked for so far. */
  readonly asked: () => readonly string[];
  /** A token of this issuer that is valid for an hour, but for what is given. */
  readonly token: (claims?: Claims, header?: object) => string;
  readonly close: () => Promise<void>;
}

export type Claims = Readonly<Record<string, unknown>>;

/** What the gateway of a test takes for the `aud` of its tokens. */
export const audience = "test-api";

/** Starts an issuer with an RS256 key of its own, on a free port. */
export async function startIssuer(): Promise<TestIssuer> {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const kid = randomUUID();
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? "");
    const documents: Record<string, object> = {
      "/.well-known/openid-configuration": { issuer: url, jwks_uri: `${url}/keys` },
      "/keys": { keys: [{ ...publicKey.export({ format: "jwk" }), kid, alg: "RS256", use: "sig" }] },
    };
    const document = documents[request.url ?? ""];
    response.writeHead(document === undefined ? 404 : 200, { "content-type": "application/json" });
    response.end(JSON.stringify(document ?? {}));
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the issuer has no port");
  const url = `http://127.0.0.1:${address.port}`;
  const close = async () => {
    server.closeAllConnections();
    await new Promise((closed) => server.close(closed));
  };
  return {
    url,
    kid,
    privateKey,
    publicKey,
    asked: () => asked,
    token: (claims = {}, header = {}) =>
      writeToken({ alg: "RS256", kid, ...header }, { ...standardClaims(url), ...claims }, rs256(privateKey)),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** The variables that make a gateway take the tokens of an issuer, and no others. */
export function environmentOf(issuer: TestIssuer): Record<string, string> {
  return { PORTICO_MODE: "production", AUTH_ISSUER: issuer.url, AUTH_AUDIENCE: audience };
}

/** The claims of a token that is valid for an hour. */
export function standardClaims(issuer: string): Claims {
  const now = Math.floor(Date.now() / 1_000);
  return { iss: issuer, aud: audience, sub: "ada", iat: now, exp: now + 3_600 };
}

/** Signs the first two parts of a token. */
export type Sign = (text: string) => Buffer;

/** Writes a token by hand, so that it can be as wrong as a test wants it. */
export function writeToken(header: object, claims: object, sign: Sign): string {
  const text = [header, claims].map(encodePart).join(".");
  return `${text}.${sign(text).toString("base64url")}`;
}

export function encodePart(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString("base64url");
}

export function rs256(key: KeyObject): Sign {
  return (text) => signBytes("sha256", Buffer.from(text), key);
}

export function hs256(secret: string): Sign {
  return (text) => createHmac("sha256", secret).update(text).digest();
}
