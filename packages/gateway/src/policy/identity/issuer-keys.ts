import { createLocalJWKSet, errors, type JWTVerifyGetKey, type LocalJWKSet } from "jose";
import type { Logger } from "pino";
import { PublicError } from "../../errors.ts";
import { createLoadKeys, type Loaded } from "./key-set.ts";

/** The public keys that an issuer signs its tokens with. */
export interface IssuerKeys {
  /**
   * Finds the key for the header of a token.
   *
   * Errors: one of jose's if the issuer has no such key, or not exactly one; CREDENTIALS_UNVERIFIABLE if the keys
   * cannot be had.
   */
  readonly find: JWTVerifyGetKey;
  /** Differs whenever the set of keys does; 0 while none are usable. To ask for it keeps the keys fresh. */
  readonly epoch: () => number;
  /** Fetches the keys now, as before the first call. What goes wrong is in the log: it never rejects. */
  readonly warm: () => Promise<void>;
}

/** Where the keys of an issuer are. */
export interface IssuerKeysOptions {
  /** The exact `iss` of its tokens. */
  readonly issuer: string;
  /** The address of its key set. Without it, the `jwks_uri` of its OpenID Connect discovery document. */
  readonly jwksUrl?: string | undefined;
  /** A steady clock in milliseconds. */
  readonly now?: () => number;
  readonly fetch?: typeof globalThis.fetch;
  readonly log?: Pick<Logger, "info" | "warn">;
}

/**
 * The keys of an issuer, fetched from its key set (RFC 7517).
 *
 * They are fresh for 10 minutes, and usable for an hour: meanwhile they are fetched anew in the background, and no call
 * waits. A key that they lack is looked for in a new fetch, at most one every 30 seconds; in between, it is refused at
 * once. Without usable keys, attempts come after 1, 2, 4 ... 30 seconds. There is never more than one at a time.
 * jose's own `createRemoteJWKSet` makes calls wait for a refresh, and fails them if the refresh does.
 *
 * Errors: {@link StartError} if an address is none.
 *
 * @example const keys = createIssuerKeys({ issuer: "https://id.example.com", log });
 */
export function createIssuerKeys(options: IssuerKeysOptions): IssuerKeys {
  const { usable, attempt, fetchNow } = keepKeys(options);
  return {
    find: async (header, token) => {
      if (usable() === undefined) await attempt();
      const known = usable()?.find;
      if (known === undefined) throw unverifiable(options.issuer);
      try {
        return await known(header, token);
      } catch (error) {
        if (!(error instanceof errors.JWKSNoMatchingKey)) throw error;
        if ((await attempt()) === false) throw unverifiable(options.issuer);
        return (usable()?.find ?? known)(header, token);
      }
    },
    epoch: () => usable()?.epoch ?? 0,
    warm: async () => {
      await fetchNow();
    },
  };
}

const freshMs = 10 * 60_000;
const usableMs = 60 * 60_000;
const coolDownMs = 30_000;
const firstRetryMs = 1_000;
interface KeySet {
  readonly find: LocalJWKSet;
  readonly epoch: number;
}

/** Holds the last keys that were fetched, and decides when to fetch again. */
function keepKeys(options: IssuerKeysOptions) {
  const { issuer, now = () => performance.now(), log } = options;
  const load = createLoadKeys(options);
  let kept: (KeySet & { readonly text: string }) | undefined;
  let [fetchedAt, triedAt, failures] = [-Infinity, -Infinity, 0];
  /** Resolves with whether it succeeded. */
  let flight: Promise<boolean> | undefined;

  const unexpired = () => (now() - fetchedAt < usableMs ? kept : undefined);
  const pauseMs = () => {
    if (unexpired() !== undefined) return coolDownMs;
    return failures === 0 ? 0 : Math.min(coolDownMs, firstRetryMs * 2 ** (failures - 1));
  };
  const adopt = ({ keys, dropped }: Loaded): true => {
    [fetchedAt, failures] = [now(), 0];
    // The order says nothing: some issuers shuffle their keys.
    const text = JSON.stringify(keys.map((key) => JSON.stringify(key)).sort());
    if (text === kept?.text) return true;
    kept = { find: createLocalJWKSet({ keys }), epoch: (kept?.epoch ?? 0) + 1, text };
    log?.info({ issuer, keys: keys.length, dropped }, "the keys of the issuer were read");
    return true;
  };
  const fail = (err: unknown): false => {
    failures += 1;
    const effect = unexpired() ? "the last ones are still used" : "its tokens are refused until they can";
    log?.warn({ issuer, failures, err }, `the keys of the issuer cannot be read: ${effect}`);
    return false;
  };
  /** Joins the fetch in flight, or begins one. Never rejects. */
  const fetchNow = () => {
    if (flight !== undefined) return flight;
    triedAt = now();
    flight = load()
      .then(adopt)
      .catch(fail)
      .finally(() => {
        flight = undefined;
      });
    return flight;
  };
  /** Joins the fetch in flight, or begins one if it is time for one. */
  const attempt = () => (flight !== undefined || now() - triedAt >= pauseMs() ? fetchNow() : undefined);
  /** The keys, unless they are too old; those that are not fresh are fetched anew behind the caller's back. */
  const usable = (): KeySet | undefined => {
    if (kept !== undefined && now() - fetchedAt >= freshMs) void attempt();
    return unexpired();
  };
  return { usable, attempt, fetchNow };
}

function unverifiable(issuer: string): PublicError {
  return new PublicError("CREDENTIALS_UNVERIFIABLE", undefined, {
    cause: new Error(`the keys of ${issuer} cannot be had: the log says why`),
  });
}
