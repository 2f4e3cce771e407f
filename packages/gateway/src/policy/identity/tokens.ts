import { hash } from "node:crypto";
import { errors, type JWTVerifyGetKey, type JWTVerifyOptions, jwtVerify } from "jose";
import { LRUCache } from "lru-cache";
import { PublicError, StartError } from "../../errors.ts";
import type { Authenticated } from "../principal.ts";
import type { IssuerKeys } from "./issuer-keys.ts";
import { isObject, type Json, leewaySeconds, principalOf } from "./token-claims.ts";
import { invalidToken, tokenError } from "./token-errors.ts";

/** Someone whose tokens are accepted, and how they are read. */
export interface Issuer {
  /** The exact `iss` of its tokens. */
  readonly issuer: string;
  /** What `aud` must be or contain; of several, one is enough. */
  readonly audience: string | readonly string[];
  /** The names of claims; `realm_access.roles` is a claim within a claim, unless there is one of that very name. */
  readonly claims: {
    /** Identifies the caller, mostly `sub`. */
    readonly subject: string;
    /** A list of strings, or one string with spaces between. */
    readonly roles: string;
    /** A string. */
    readonly tenant?: string;
  };
  /** The roles that its tokens may give; others are left out. Absent, all of them. */
  readonly roles?: readonly string[];
  /** The only keys that verify its tokens. */
  readonly keys: IssuerKeys;
}

/** Finds out who sent a token. Resolves with the same object for the same token, as long as it is remembered. */
export type VerifyToken = (token: string) => Promise<Authenticated>;

export interface TokenVerifierOptions {
  /** The time in milliseconds since 1970: `Date.now`. */
  readonly now?: () => number;
  /** How many verified tokens are remembered: 10,000. */
  readonly cacheSize?: number;
}

/**
 * Verifies bearer tokens: JWTs signed by one of the issuers (RFC 7519, RFC 9068, with the advice of RFC 8725).
 *
 * A token must have `iss`, `aud`, `exp` and `sub`; clocks may differ by a minute; it has at most 8 KiB, and no name
 * twice. Keys, or addresses of keys, that it brings along are ignored. Verified tokens are remembered by their SHA-256
 * until they expire or the keys of their issuer change.
 *
 * Errors: CREDENTIALS_INVALID, CREDENTIALS_EXPIRED; CREDENTIALS_UNVERIFIABLE if the keys of the issuer cannot be had.
 * {@link StartError} for issuers that contradict each other.
 *
 * @example
 * const claims = { subject: "sub", roles: "realm_access.roles" };
 * const verify = createTokenVerifier([{ issuer, audience: "https://api.example.com", claims, keys }]);
 * const principal = await verify(token);
 */
export function createTokenVerifier(
  issuers: readonly Issuer[],
  { now = Date.now, cacheSize = 10_000 }: TokenVerifierOptions = {},
): VerifyToken {
  const problems = issuers.flatMap((issuer, index) => problemsOf(issuer, issuers.slice(0, index)));
  if (problems.length > 0) throw new StartError(problems);
  const byName = new Map(issuers.map((issuer) => [issuer.issuer, issuer]));
  const remembered = new LRUCache<string, Verified>({ max: cacheSize });
  const recall = (key: string) => {
    const entry = remembered.get(key);
    if (entry === undefined) return undefined;
    if (now() < entry.expiresAt && entry.epoch === entry.keys.epoch()) return entry.principal;
    remembered.delete(key);
    return undefined;
  };
  return async (token) => {
    if (token.length > maxTokenBytes)
      throw invalidToken(`the token has ${token.length} bytes, more than ${maxTokenBytes}`);
    const key = hash("sha256", token, "base64");
    const known = recall(key);
    if (known !== undefined) return known;
    const verified = await verify(token, byName, now);
    // Another call may have verified the same token meanwhile: facts hang on the object that it got.
    const raced = recall(key);
    if (raced === undefined) remembered.set(key, verified);
    return raced ?? verified.principal;
  };
}

/** Asymmetric algorithms only: with a shared secret in the list, a public key could serve as one. */
const algorithms = [
  ...["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
  ...["ES256", "ES384", "ES512", "EdDSA", "Ed25519"],
];
/** Other kinds of tokens, such as `logout+jwt`, are signed by the same keys and mean something else (RFC 8725, 3.11). */
const types = new Set(["jwt", "at+jwt", "application/at+jwt"]);
const maxTokenBytes = 8 * 1024;
interface Verified {
  readonly principal: Authenticated;
  /** In milliseconds; the leeway is in it. */
  readonly expiresAt: number;
  readonly keys: IssuerKeys;
  /** Of the keys that verified it. */
  readonly epoch: number;
}

function problemsOf({ issuer, audience }: Issuer, earlier: readonly Issuer[]): string[] {
  const problems: string[] = [];
  if (issuer === "") problems.push("issuers: one has no name: write the iss of its tokens");
  if (earlier.some((other) => other.issuer === issuer))
    problems.push(`issuers: "${issuer}" is listed twice: list it once, with all its audiences`);
  if (audience.length === 0 || [audience].flat().includes(""))
    problems.push(`issuers: "${issuer}" has no audience: write what the aud of tokens for this API is`);
  return problems;
}

async function verify(
  token: string,
  issuers: ReadonlyMap<string, Issuer>,
  now: () => number,
): Promise<Verified> {
  const issuer = issuerOf(token, issuers);
  let epoch = 0;
  const findKey: JWTVerifyGetKey = async (header, jws) => {
    const found = await keyAndEpoch(issuer.keys, header, jws);
    epoch = found.epoch;
    return found.key;
  };
  const time = now();
  try {
    const { payload } = await jwtVerify(token, findKey, verifyOptions(issuer, time));
    const expiresAt = ((payload.exp ?? 0) + leewaySeconds) * 1_000;
    return { principal: principalOf(payload, issuer, time), expiresAt, keys: issuer.keys, epoch };
  } catch (error) {
    throw tokenError(error);
  }
}

function verifyOptions({ issuer, audience }: Issuer, time: number): JWTVerifyOptions {
  return {
    issuer,
    audience: [audience].flat(),
    algorithms,
    clockTolerance: leewaySeconds,
    requiredClaims: ["iss", "aud", "exp", "sub"],
    currentDate: new Date(time),
  };
}

/** The issuer that a token says it is from; nothing is verified yet. What no issuer would write is refused here. */
function issuerOf(token: string, issuers: ReadonlyMap<string, Issuer>): Issuer {
  const [, head = "", body = ""] = /^([\w-]+)\.([\w-]+)\.[\w-]+$/.exec(token) ?? [];
  const [header, payload] = [parse(head), parse(body)];
  if (header === undefined || payload === undefined)
    throw invalidToken("the token is no JWT, or has a name twice in an object");
  // jose knows one extension, which changes what is signed. Tokens need none.
  if (Object.hasOwn(header, "crit")) throw invalidToken("the token has critical extensions");
  const { typ, kid } = header;
  if (typ !== undefined && !(typeof typ === "string" && types.has(typ.toLowerCase())))
    throw invalidToken("the typ of the token is not that of a JWT or an access token");
  if (kid !== undefined && typeof kid !== "string") throw invalidToken("the kid of the token is no string");
  const issuer = typeof payload["iss"] === "string" ? issuers.get(payload["iss"]) : undefined;
  if (issuer === undefined) throw invalidToken("the iss of the token is not one of the issuers");
  return issuer;
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

function parse(part: string): Json | undefined {
  try {
    const text = utf8.decode(Buffer.from(part, "base64url"));
    const value: unknown = JSON.parse(text);
    return isObject(value) && !hasNameTwice(text) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** Whether an object in valid JSON has a name twice: which one counts would depend on who reads it (RFC 7519, 4). */
function hasNameTwice(json: string): boolean {
  const open: Set<unknown>[] = [];
  for (const [text, name] of json.matchAll(/[{}]|("(?:[^"\\]|\\.)*")(?=\s*:)|"(?:[^"\\]|\\.)*"/g)) {
    if (text === "{") open.push(new Set());
    else if (text === "}") open.pop();
    else if (name !== undefined) {
      const names = open.at(-1);
      const read: unknown = JSON.parse(name);
      if (names?.has(read)) return true;
      names?.add(read);
    }
  }
  return false;
}

/** The epoch is never newer than the key, so that a set that changes meanwhile cannot vouch for a key that it lacks. */
async function keyAndEpoch(keys: IssuerKeys, ...token: Parameters<JWTVerifyGetKey>) {
  const epoch = keys.epoch();
  try {
    const key = await keys.find(...token);
    const later = keys.epoch();
    return later === epoch ? { key, epoch } : { key: await keys.find(...token), epoch: later };
  } catch (error) {
    if (error instanceof PublicError || blamesToken(error)) throw error;
    throw new PublicError("CREDENTIALS_UNVERIFIABLE", undefined, { cause: error });
  }
}

/** Whatever else is wrong with finding a key is not the caller's affair. */
function blamesToken(error: unknown): boolean {
  return (
    error instanceof errors.JWKSNoMatchingKey ||
    error instanceof errors.JWKSMultipleMatchingKeys ||
    error instanceof errors.JOSENotSupported
  );
}
