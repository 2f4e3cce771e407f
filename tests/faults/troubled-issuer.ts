import { generateKeyPairSync, type KeyObject, randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { audience, type Claims, rs256, standardClaims, writeToken } from "../issuer.ts";

/** How the issuer answers when it is asked for its keys. */
export type IssuerMood = "well" | "down" | "slow" | "malformed";

/** An issuer whose server is in trouble, and whose key changes. */
export interface TroubledIssuer extends AsyncDisposable {
  readonly url: string;
  readonly behave: (mood: IssuerMood) => void;
  /** How often it was asked for its keys, in any mood. */
  readonly fetches: () => number;
  /** A token that the present key signs. */
  readonly token: (claims?: Claims, header?: object) => string;
  /** From now on there is another key, and the old one is gone. */
  readonly rotate: () => void;
}

/** Starts an issuer on a free port. */
export async function startTroubledIssuer(): Promise<TroubledIssuer> {
  let mood: IssuerMood = "well";
  let key = createKey();
  let fetches = 0;
  const server = createServer((request, response) => {
    fetches++;
    if (mood === "down") {
      request.socket.destroy();
      return;
    }
    const body = mood === "malformed" ? '{"keys": [{"kty": 5}, "' : JSON.stringify({ keys: [key.jwk] });
    const answer = () => response.writeHead(200, { "content-type": "application/json" }).end(body);
    if (mood === "slow") setTimeout(answer, 20_000).unref();
    else answer();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  // A TCP server's address is never the text that a Unix socket's is.
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    behave: (next) => {
      mood = next;
    },
    fetches: () => fetches,
    token: (claims = {}, header = {}) =>
      writeToken(
        { alg: "RS256", kid: key.kid, ...header },
        { ...standardClaims(url), roles: ["admin"], ...claims },
        rs256(key.privateKey),
      ),
    rotate: () => {
      key = createKey();
    },
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

/** The variables of a gateway that takes the tokens of an issuer. */
export function environmentOf({ url }: Pick<TroubledIssuer, "url">): Record<string, string> {
  return {
    PORTICO_MODE: "production",
    AUTH_ISSUER: url,
    AUTH_AUDIENCE: audience,
    AUTH_JWKS_URL: `${url}/keys`,
  };
}

function createKey(): { readonly kid: string; readonly privateKey: KeyObject; readonly jwk: object } {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const kid = randomUUID();
  return { kid, privateKey, jwk: { ...publicKey.export({ format: "jwk" }), kid, alg: "RS256", use: "sig" } };
}
