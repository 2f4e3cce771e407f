import { createPublicKey } from "node:crypto";
import type { JSONWebKeySet, JWK } from "jose";
import * as z from "zod";
import { StartError } from "../../errors.ts";
import type { IssuerKeysOptions } from "./issuer-keys.ts";

/** The key set of an issuer, as it was fetched. */
export interface Loaded {
  readonly keys: JWK[];
  /** How many keys of the set can verify nothing, or should never have been in it. */
  readonly dropped: number;
}

/**
 * Creates what fetches the keys of an issuer. An issuer whose discovery fails is asked for its keys where they last were.
 *
 * Errors: {@link StartError} if an address is none. The returned function rejects if the keys cannot be had.
 */
export function createLoadKeys({ issuer, jwksUrl, fetch = globalThis.fetch, log }: IssuerKeysOptions) {
  if (!isHttpUrl(jwksUrl ?? issuer))
    throw new StartError([
      `${jwksUrl === undefined ? "issuer" : "jwksUrl"} is "${jwksUrl ?? issuer}": it must be a URL that begins with https:// or http://`,
    ]);
  let discovered: string | undefined;
  const locate = async (): Promise<string> => {
    try {
      discovered = await discover(issuer, fetch);
      return discovered;
    } catch (err) {
      if (discovered === undefined) throw err;
      log?.warn({ issuer, err }, "the discovery of the issuer fails: its keys are read where they last were");
      return discovered;
    }
  };
  return async () => readKeys(jwksUrl ?? (await locate()), fetch);
}

const requestTimeoutMs = 3_000;
const maxDocumentBytes = 2 ** 20;
const maxKeys = 100;

/** OpenID Connect Discovery 1.0, section 4. */
async function discover(issuer: string, fetch: typeof globalThis.fetch): Promise<string> {
  const url = `${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`;
  const scheme = new URL(issuer).protocol === "http:" ? /^https?$/ : /^https$/;
  const document = z.object({ issuer: z.literal(issuer), jwks_uri: z.url({ protocol: scheme }) });
  const read = document.safeParse(await readJson(url, fetch));
  if (!read.success)
    throw new Error(`${url} has no jwks_uri that begins with https://, or its issuer is not ${issuer}`);
  return read.data.jwks_uri;
}

async function readKeys(url: string, fetch: typeof globalThis.fetch): Promise<Loaded> {
  const read = z.object({ keys: z.array(z.unknown()).max(maxKeys) }).safeParse(await readJson(url, fetch));
  if (!read.success) throw new Error(`${url} has no list "keys", or one of more than ${maxKeys}`);
  const keys: JSONWebKeySet["keys"] = read.data.keys.filter(isPublicKey);
  // To take over an empty set would refuse every token; an issuer that means it is obeyed when the old keys expire.
  if (keys.length === 0) throw new Error(`none of the ${read.data.keys.length} keys at ${url} can be used`);
  return { keys, dropped: read.data.keys.length - keys.length };
}

/** Members of private and symmetric keys (RFC 7518, section 6). */
const secretMembers = ["d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"];

/** One bad key must not take the place of a good one of the same id, nor a secret serve as a public key. */
function isPublicKey(value: unknown): value is JWK {
  const key = z.looseObject({ kty: z.string() }).safeParse(value);
  if (!key.success || secretMembers.some((name) => Object.hasOwn(key.data, name))) return false;
  try {
    const { asymmetricKeyDetails } = createPublicKey({ key: key.data, format: "jwk" });
    return (asymmetricKeyDetails?.modulusLength ?? 2_048) >= 2_048;
  } catch {
    return false;
  }
}

async function readJson(url: string, fetch: typeof globalThis.fetch): Promise<unknown> {
  let text = "";
  try {
    const signal = AbortSignal.timeout(requestTimeoutMs);
    const response = await fetch(url, { redirect: "error", signal, headers: { accept: "application/json" } });
    text = await readText(response);
  } catch (cause) {
    throw new Error(`${url} cannot be read`, { cause });
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new Error(`${url} does not answer with JSON`);
  }
}

async function readText(response: Response): Promise<string> {
  if (!response.ok) {
    await response.body?.cancel();
    throw new Error(`the answer is ${response.status}`);
  }
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength;
    if (bytes > maxDocumentBytes) throw new Error(`the answer has more than ${maxDocumentBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

function isHttpUrl(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}
