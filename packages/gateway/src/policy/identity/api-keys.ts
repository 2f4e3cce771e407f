import { hash, randomBytes, randomInt, timingSafeEqual } from "node:crypto";
import * as z from "zod";
import { type PublicError, StartError } from "../../errors.ts";
import { readJsonFile } from "../../json-file.ts";
import { parseLimits } from "../limits/limits.ts";
import { type Authenticated, principalId } from "../principal.ts";
import { unauthenticated } from "./unauthenticated.ts";

/**
 * How every API key begins: `ptk_<id>_<secret>`. It is there for secret scanners, which find a key that was committed
 * by `ptk_[a-z0-9]{12}_[A-Za-z0-9_-]{43}`.
 */
export const apiKeyPrefix = "ptk_";

/** What {@link parseApiKeys} found in a file. */
export interface ApiKeys {
  /** As they stand in the file. */
  readonly entries: readonly ApiKeyEntry[];
  readonly byId: ReadonlyMap<string, ApiKey>;
}

/** One entry of a file of API keys. */
export type ApiKeyEntry = z.infer<typeof apiKeyEntry>;

/** An entry, made ready to be compared with what callers send. */
interface ApiKey {
  readonly digest: Buffer;
  readonly principal: Authenticated;
  /** In milliseconds since 1970; `Infinity` for never. */
  readonly expiresAt: number;
  readonly isRevoked: boolean;
}

const idForm = /^[a-z0-9]{12}$/;
const keyForm = /^ptk_([a-z0-9]{12})_[A-Za-z0-9_-]{43}$/;
/** What a name, role or tenant may be: it is shown in terminals and logs. */
const label = z
  .string()
  .regex(
    /^[^\p{C}\p{Z}]([^\p{C}]*[^\p{C}\p{Z}])?$/u,
    "must be a text without control characters or outer spaces",
  )
  .max(256, "must have at most 256 characters");
const time = z.iso.datetime({ offset: true, error: "must be a time such as 2027-01-31T00:00:00Z" });

/** The form of an entry. */
export const apiKeyEntry = z.strictObject({
  /** Not secret: it names the key in logs and commands. */
  id: z.string().regex(idForm, "must be 12 characters of a-z and 0-9"),
  /** Whose key it is, for people. */
  name: label,
  /** Of the whole key, prefix and id included. */
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/, "must be the SHA-256 of the key, as 64 characters of 0-9 and a-f"),
  roles: z.array(label).max(100, "must be at most 100 roles"),
  tenant: label.optional(),
  createdAt: time,
  /** From then on the key is refused. */
  expiresAt: time.optional(),
  /** If it is there, whatever the time, the key is refused. */
  revokedAt: time.optional(),
  /** The key's own limits, in place of the common ones; `["off"]` for none. */
  limits: z
    .array(z.string())
    .min(1, { error: 'must be limits such as ["600/1m"]; leave it out for the common ones', abort: true })
    .superRefine((limits, context) => {
      const message = limitsProblem(limits);
      if (message !== undefined) context.addIssue({ code: "custom", message });
    })
    .optional(),
});
const fileForm = z.strictObject({ keys: z.array(apiKeyEntry) });

/**
 * Reads the text of a file of API keys: `{ "keys": [...] }`, each an {@link ApiKeyEntry}.
 *
 * The file holds hashes alone, and SHA-256 without salt or rounds is right for them: those are for passwords that can
 * be guessed, and a secret of 256 random bits cannot.
 *
 * Throws a {@link StartError} that lists every problem with its place.
 *
 * @param file how messages name the file
 * @example parseApiKeys(readFileSync(path, "utf8"), `API_KEYS_FILE (${path})`)
 */
export function parseApiKeys(text: string, file: string): ApiKeys {
  const { keys: entries } = readJsonFile(fileForm, text, file);
  const problems = sameIds(entries);
  if (problems.length > 0) throw new StartError(problems.map((problem) => `${file}: ${problem}`));
  return { entries, byId: new Map(entries.map((entry) => [entry.id, readyToCompare(entry)])) };
}

/**
 * Verifies API keys. It gives the same object for the same entry, until the file is read anew.
 *
 * A key that is malformed, unknown, wrong or revoked has one answer, so that nothing about a key can be tried out; that
 * it expired is said to who has the secret. Hashes are compared in constant time, and an unknown id is compared too.
 *
 * Errors: `CREDENTIALS_INVALID`, `CREDENTIALS_EXPIRED`. Their causes name the id of the key, never its secret.
 *
 * @param current gives the keys as they are now
 * @param options.now milliseconds since 1970; the system's clock by default
 * @example
 * const file = createWatchedFile({ path, name: "API_KEYS_FILE", parse: (text) => parseApiKeys(text, path), log });
 * const verify = createApiKeyVerifier(file.current);
 */
export function createApiKeyVerifier(
  current: () => ApiKeys,
  { now = Date.now }: { readonly now?: () => number } = {},
): (key: string) => Authenticated {
  return (key) => {
    // Of one length only, so anything longer ends here.
    const id = keyForm.exec(key)?.[1];
    if (id === undefined) throw invalid("the API key is malformed");
    const found = current().byId.get(id);
    const isRight = timingSafeEqual(digestOf(key), found?.digest ?? decoy);
    if (found === undefined) throw invalid(`there is no API key ${id}`);
    if (!isRight) throw invalid(`the secret is not that of API key ${id}`);
    if (found.isRevoked) throw invalid(`the API key ${id} was revoked`);
    if (now() >= found.expiresAt)
      throw unauthenticated(
        "CREDENTIALS_EXPIRED",
        "The API key has expired.",
        `the API key ${id} has expired`,
      );
    return found.principal;
  };
}

/** Makes up a new key. The secret is in `key` alone: show it once and forget it. */
export function generateApiKey(): { readonly id: string; readonly key: string; readonly sha256: string } {
  const id = Array.from({ length: 12 }, () => randomInt(36).toString(36)).join("");
  const key = `${apiKeyPrefix}${id}_${randomBytes(32).toString("base64url")}`;
  return { id, key, sha256: digestOf(key).toString("hex") };
}

/** Compared with in place of a key that there is not; nothing has this hash. */
const decoy = randomBytes(32);

function digestOf(key: string): Buffer {
  return hash("sha256", key, "buffer");
}

function invalid(why: string): PublicError {
  return unauthenticated("CREDENTIALS_INVALID", "The API key is not valid.", why);
}

function readyToCompare({ id, sha256, roles, tenant, expiresAt, revokedAt, limits }: ApiKeyEntry): ApiKey {
  const issuer = "api-keys";
  return {
    digest: Buffer.from(sha256, "hex"),
    expiresAt: expiresAt === undefined ? Number.POSITIVE_INFINITY : Date.parse(expiresAt),
    isRevoked: revokedAt !== undefined,
    principal: Object.freeze<Authenticated>({
      kind: "api_key",
      id: principalId("api_key", issuer, id),
      subject: id,
      issuer,
      tenant,
      roles: Object.freeze([...new Set(roles)]),
      ...(limits && { limits: parseLimits(limits.join(", ")) }),
    }),
  };
}

function limitsProblem(limits: readonly string[]): string | undefined {
  try {
    parseLimits(limits.join(", "));
    return undefined;
  } catch (error) {
    if (error instanceof TypeError) return error.message;
    throw error;
  }
}

function sameIds(entries: readonly ApiKeyEntry[]): string[] {
  const places = new Map<string, number>();
  return entries.flatMap(({ id }, index) => {
    const first = places.get(id);
    if (first === undefined) places.set(id, index);
    return first === undefined
      ? []
      : [`keys[${index}].id: is the id of keys[${first}] too: remove one of them`];
  });
}
