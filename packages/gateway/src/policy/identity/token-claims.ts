import type { JWTPayload } from "jose";
import { type Authenticated, principalId } from "../principal.ts";
import { invalidToken } from "./token-errors.ts";
import type { Issuer } from "./tokens.ts";

/** How far the clocks of an issuer and of the gateway may differ. */
export const leewaySeconds = 60;

const maxNameLength = 256;
const maxRoles = 100;

/** An object of JSON. */
export type Json = Readonly<Record<string, unknown>>;

/**
 * Makes a caller of the claims of a verified token.
 *
 * Errors: CREDENTIALS_INVALID for claims that no issuer would write.
 *
 * @param time in milliseconds since 1970
 */
export function principalOf(
  payload: JWTPayload,
  { issuer, claims, roles }: Issuer,
  time: number,
): Authenticated {
  const { sub, iat = 0, exp } = payload;
  const subject = claimOf(payload, claims.subject);
  if (!isName(sub) || !isName(subject)) throw invalidToken("the subject of the token is no proper name");
  if (iat > time / 1_000 + leewaySeconds) throw invalidToken("the iat of the token is in the future");
  if (!Number.isFinite(exp)) throw invalidToken("the exp of the token is no time");
  return Object.freeze<Authenticated>({
    kind: "token",
    id: principalId("token", issuer, subject),
    subject,
    issuer,
    tenant: claims.tenant === undefined ? undefined : tenantIn(claimOf(payload, claims.tenant)),
    roles: Object.freeze(
      rolesIn(claimOf(payload, claims.roles)).filter((role) => roles?.includes(role) ?? true),
    ),
  });
}

/** A claim by its name, else by its path. Nothing that every object has counts, nor does an item of a list. */
function claimOf(payload: Json, name: string): unknown {
  return own(payload, name) ?? name.split(".").reduce<unknown>(own, payload);
}

function own(value: unknown, name: string): unknown {
  return isObject(value) && Object.hasOwn(value, name) && !(name in Object.prototype)
    ? value[name]
    : undefined;
}

function rolesIn(claim: unknown): string[] {
  const roles: readonly unknown[] = typeof claim === "string" ? claim.split(" ") : [claim].flat();
  return roles.filter((role) => typeof role === "string" && role !== "").slice(0, maxRoles) as string[];
}

/** A tenant that cannot be read is not the same as none: the caller would get what those without one get. */
function tenantIn(claim: unknown): string | undefined {
  if (claim === undefined || claim === null || claim === "") return undefined;
  if (!isName(claim)) throw invalidToken("the tenant of the token is no proper name");
  return claim;
}

/** Control characters and halves of characters are never part of a name, and would be trouble in logs and headers. */
function isName(value: unknown): value is string {
  return (
    typeof value === "string" &&
    value !== "" &&
    value.length <= maxNameLength &&
    !/[\p{Cc}\p{Cs}]/u.test(value)
  );
}

/** Tells an object of JSON from everything else that JSON can be. */
export function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
