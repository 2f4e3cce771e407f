/** Who makes a call. */
export type Principal = Anonymous | Tenant | Authenticated;

/** A caller without credentials. */
export interface Anonymous {
  readonly kind: "anonymous";
  /** The same for all of them. */
  readonly id: "anonymous";
  readonly roles: readonly [];
}

/**
 * Any caller of one tenant. An answer that all of them share is made for this one, so that nothing in it can depend on
 * which of them asked.
 */
export interface Tenant {
  readonly kind: "tenant";
  readonly id: string;
  /** Who vouches for the tenant. */
  readonly issuer: string;
  readonly tenant: string;
  readonly roles: readonly [];
}

/** A caller whose credentials were verified. */
export interface Authenticated {
  /** What the caller was recognised by. */
  readonly kind: "token" | "api_key" | "certificate";
  /** Identifies the caller among all callers of the gateway: the key of its limits and of answers kept for it. */
  readonly id: string;
  /** Identifies the caller within its issuer: a token's `sub`, a key's id, a certificate's name. */
  readonly subject: string;
  /** Who vouches for the caller: a token's `iss`; `api-keys` or `certificates` for the others. */
  readonly issuer: string;
  /** The customer that the caller belongs to, if its issuer says. */
  readonly tenant: string | undefined;
  /** The roles that the issuer gave the caller. */
  readonly roles: readonly string[];
  /** The caller's own rate limit, in place of the common one. */
  readonly limits?: readonly Limit[];
}

/** So many calls in so much time. */
export interface Limit {
  readonly calls: number;
  readonly windowSeconds: number;
}

/** The one anonymous principal. */
export const anonymous: Anonymous = { kind: "anonymous", id: "anonymous", roles: [] };

/** All callers of a principal's tenant; everybody, if it has none. */
export function tenantOf(principal: Principal): Tenant | Anonymous {
  if (principal.kind === "anonymous" || principal.tenant === undefined) return anonymous;
  const { issuer, tenant } = principal;
  return { kind: "tenant", id: principalId("tenant", issuer, tenant), issuer, tenant, roles: [] };
}

/** The `id` of a principal. No issuer or subject can be written so that it makes the id of another. */
export function principalId(kind: Principal["kind"], issuer: string, subject: string): string {
  return JSON.stringify([kind, issuer, subject]);
}
