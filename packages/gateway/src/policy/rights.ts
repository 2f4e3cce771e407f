import { LRUCache } from "lru-cache";
import { type AccessFile, matcher } from "./access.ts";
import type { Principal } from "./principal.ts";

/** What a caller may do. The same object for all callers of the same roles, until the access file changes. */
export interface Rights {
  /** Whether the caller has a permission. */
  readonly has: (permission: string) => boolean;
  /** Whom the caller counts among. */
  readonly audience: Audience;
  /** Differs wherever the rights may differ, also from before a change of the access file. */
  readonly key: string;
}

/** Finds the rights of a principal. */
export type RightsOf = (principal: Principal) => Rights;

/** Whom a method is made for; each includes those before it. */
export const audiences = ["public", "partner", "internal"] as const;
export type Audience = (typeof audiences)[number];

/**
 * Compiles an access file. A role that the file does not name grants nothing.
 *
 * @param version names the content of the file, so that nothing kept under other rights is taken for these
 */
export function createRightsOf(access: AccessFile, version: string): RightsOf {
  const roles = new Map(Object.entries(access.roles).map(([role, patterns]) => [role, matcher(patterns)]));
  const anonymous = matcher(access.anonymous);
  const authenticated = matcher(access.authenticated);
  const byPrincipal = new WeakMap<Principal, Rights>();
  // Principals come and go; the sets of roles that an issuer gives out are few.
  const byRoles = new LRUCache<string, Rights>({ max: 1_000 });

  function compile(principal: Principal): Rights {
    const names = principal.roles.filter((role) => roles.has(role)).sort();
    const key = JSON.stringify([version, principal.kind === "anonymous", names]);
    const made = byRoles.get(key);
    if (made !== undefined) return made;
    const granted = names.flatMap((name) => roles.get(name) ?? []);
    const sources = principal.kind === "anonymous" ? [anonymous] : [authenticated, ...granted];
    const has = (permission: string): boolean => sources.some((grants) => grants(permission));
    const rights: Rights = { has, audience: audienceOf(names, access), key };
    byRoles.set(key, rights);
    return rights;
  }
  return (principal) => {
    const known = byPrincipal.get(principal);
    if (known !== undefined) return known;
    const rights = compile(principal);
    byPrincipal.set(principal, rights);
    return rights;
  };
}

function audienceOf(roles: readonly string[], { audiences: { partner, internal } }: AccessFile): Audience {
  if (roles.some((role) => internal.includes(role))) return "internal";
  return roles.some((role) => partner.includes(role)) ? "partner" : "public";
}
