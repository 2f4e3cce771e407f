import { type Authenticated, anonymous, type Principal } from "../principal.ts";
import type { ClientCertificate } from "./certificates.ts";
import type { VerifyToken } from "./tokens.ts";
import { unauthenticated } from "./unauthenticated.ts";

/** What a caller can be recognised by. */
export interface Credentials {
  readonly headers: Headers;
  /** The certificate that the caller's connection was made with. */
  readonly certificate: ClientCertificate | undefined;
}

/**
 * Finds out who calls.
 *
 * Errors: `unauthenticated` for credentials that are not valid, `unavailable` if the issuer's keys cannot be had.
 */
export type Authenticate = (credentials: Credentials) => Promise<Principal>;

/** The ways to recognise a caller. One that is absent is not offered: such credentials are refused. */
export interface Sources {
  readonly token: VerifyToken;
  readonly apiKey?: ((key: string) => Authenticated) | undefined;
  readonly certificate?: ((certificate: ClientCertificate) => Authenticated) | undefined;
}

/**
 * Recognises callers by a bearer token in `authorization` (RFC 6750), an API key in `x-api-key`, or the client
 * certificate of their connection, where there is neither. A call with none of them is anonymous; one with a token and a
 * key is refused, since one of them would be ignored.
 */
export function createAuthenticate({ token, apiKey, certificate: verifyCertificate }: Sources): Authenticate {
  return async ({ headers, certificate }) => {
    const bearer = headers.get("authorization");
    const key = headers.get("x-api-key");
    if (bearer !== null && key !== null)
      throw unauthenticated("CREDENTIALS_INVALID", "Send either a token or an API key, not both.");
    if (bearer !== null) return token(bearerToken(bearer));
    if (key !== null) return verifyKey(key, apiKey);
    if (certificate !== undefined && verifyCertificate !== undefined) return verifyCertificate(certificate);
    return anonymous;
  };
}

function verifyKey(key: string, verify: Sources["apiKey"]): Authenticated {
  if (verify === undefined) throw unauthenticated("CREDENTIALS_INVALID", "This API takes no API keys.");
  return verify(key);
}

function bearerToken(header: string): string {
  const token = /^bearer +([^\s]+)$/i.exec(header)?.[1];
  if (token !== undefined) return token;
  throw unauthenticated("CREDENTIALS_INVALID", 'The authorization header must be "Bearer" and a token.');
}
