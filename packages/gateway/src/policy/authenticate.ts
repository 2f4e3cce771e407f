import { Code } from "@connectrpc/connect";
import { createRemoteJWKSet, errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify } from "jose";
import { PublicError } from "../errors.ts";
import { unauthenticated } from "./authorize.ts";
import { anonymous, type Principal } from "./principal.ts";

/**
 * Finds out who calls, from the headers alone.
 *
 * Errors: `unauthenticated` for credentials that are not valid, `unavailable` if the issuer's keys cannot be had.
 */
export type Authenticate = (headers: Headers) => Promise<Principal>;

/** Where tokens come from, and how they are read. */
export interface TokenRules {
  /** The exact `iss` of an acceptable token. */
  readonly issuer: string;
  /** What `aud` must be or contain. */
  readonly audience: string;
  /** The claim that lists the caller's roles: a list of strings, or one string with spaces between. */
  readonly rolesClaim: string;
  /** Finds the key that signed a token. */
  readonly key: JWTVerifyGetKey;
}

/** Asymmetric algorithms only: with a shared secret in the list, a public key could serve as one. */
const algorithms = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
  "Ed25519",
];
const maxTokenBytes = 8 * 1024;
const clockToleranceSeconds = 60;

/**
 * Authenticates callers by a bearer token in the `authorization` header (RFC 6750), a JWT signed by the issuer
 * (RFC 7519, with the advice of RFC 8725). A call without the header is anonymous.
 *
 * The token must have `iss`, `aud`, `exp` and `sub`; clocks may differ by a minute; at most 8 KiB. Keys or key
 * addresses inside the token are ignored.
 */
export function createAuthenticate(rules: TokenRules): Authenticate {
  return async (headers) => {
    const header = headers.get("authorization");
    if (header === null) return anonymous;
    const payload = await verify(bearerToken(header), rules);
    if (typeof payload.sub !== "string" || payload.sub === "") throw invalid("the token has no sub");
    return { kind: "authenticated", subject: payload.sub, roles: rolesIn(payload[rules.rolesClaim]) };
  };
}

/**
 * The keys of an issuer, fetched when first needed: from `jwksUrl`, or from the `jwks_uri` that the issuer's OpenID
 * Connect discovery document names. They are kept for 10 minutes; an unknown key id fetches them anew, at most
 * every 30 seconds.
 */
export function createIssuerKeys(issuer: string, jwksUrl: string | undefined): JWTVerifyGetKey {
  let keys: Promise<JWTVerifyGetKey> | undefined;
  const open = async (): Promise<JWTVerifyGetKey> =>
    createRemoteJWKSet(new URL(jwksUrl ?? (await discoverJwksUrl(issuer))), {
      cacheMaxAge: 600_000,
      cooldownDuration: 30_000,
      timeoutDuration: 3_000,
    });
  return async (header, token) => {
    // A discovery that failed is tried again by the next call.
    keys ??= open().catch((error: unknown) => {
      keys = undefined;
      throw error;
    });
    return (await keys)(header, token);
  };
}

async function discoverJwksUrl(issuer: string): Promise<string> {
  const url = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
  const response = await fetch(url, { signal: AbortSignal.timeout(3_000), redirect: "error" });
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  const document: unknown = await response.json();
  if (typeof document === "object" && document !== null && "jwks_uri" in document && "issuer" in document) {
    if (document.issuer === issuer && typeof document.jwks_uri === "string") return document.jwks_uri;
  }
  throw new Error(`${url} has no jwks_uri, or its issuer is not ${issuer}`);
}

function bearerToken(header: string): string {
  const token = /^bearer +([^\s]+)$/i.exec(header)?.[1];
  if (token === undefined) throw unauthenticated('The authorization header must be "Bearer" and a token.');
  if (token.length > maxTokenBytes)
    throw invalid(`the token has ${token.length} bytes, more than ${maxTokenBytes}`);
  return token;
}

async function verify(token: string, rules: TokenRules): Promise<JWTPayload> {
  try {
    const { payload } = await jwtVerify(token, (header, jws) => findKey(rules, header, jws), {
      issuer: rules.issuer,
      audience: rules.audience,
      algorithms,
      clockTolerance: clockToleranceSeconds,
      requiredClaims: ["iss", "aud", "exp"],
    });
    return payload;
  } catch (error) {
    throw toPublic(error);
  }
}

/** Whatever is wrong with fetching keys is our affair; whatever else is wrong is the token's, and the caller's. */
function toPublic(error: unknown): PublicError {
  if (error instanceof PublicError) return error;
  if (error instanceof errors.JWTExpired) return unauthenticated("The token has expired.", error);
  return invalid(error);
}

/** What goes wrong with the issuer's keys rather than with the token that asks for one. */
const keyFaults = new Set([errors.JWKSTimeout.code, errors.JWKSInvalid.code, errors.JOSEError.code]);

async function findKey({ key }: TokenRules, ...token: Parameters<JWTVerifyGetKey>) {
  try {
    return await key(...token);
  } catch (error) {
    if (error instanceof errors.JOSEError && !keyFaults.has(error.code)) throw error;
    throw new PublicError(
      Code.Unavailable,
      "Credentials cannot be verified at the moment. Try again shortly.",
      { cause: error },
    );
  }
}

function invalid(cause: unknown): PublicError {
  return unauthenticated("The token is not valid.", cause);
}

function rolesIn(claim: unknown): readonly string[] {
  if (typeof claim === "string") return claim.split(" ").filter((role) => role !== "");
  if (Array.isArray(claim)) return claim.filter((role) => typeof role === "string");
  return [];
}
