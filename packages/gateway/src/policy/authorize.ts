import { PublicError } from "../errors.ts";
import { unauthenticated } from "./identity/unauthenticated.ts";
import type { MethodEntry } from "./method-table.ts";
import type { Principal } from "./principal.ts";
import { audiences, type Rights } from "./rights.ts";

/** Throws `unimplemented` for a method that is made for an audience that the caller is not in, as if there were none. */
export function refuseOutsiders(entry: MethodEntry, rights: Rights): void {
  if (audiences.indexOf(rights.audience) < audiences.indexOf(entry.audience))
    throw unknownMethod(`/${entry.name}`, `the method is for the audience ${entry.audience}`);
}

/**
 * Throws unless the principal may call the method, by all that is known before its request is.
 *
 * Errors: `unauthenticated` for a caller without credentials who would need some; `permission_denied` for one who has
 * them but not the permission.
 */
export function authorize(entry: MethodEntry, principal: Principal, rights: Rights): void {
  const { access } = entry;
  if (access.kind === "anonymous" && entry.guards.refused.length === 0) return;
  const asked = [...(access.kind === "permission" ? access.permissions : []), ...entry.guards.refused];
  const missing = asked.find((permission) => !rights.has(permission));
  if (principal.kind === "anonymous" && (access.kind === "authenticated" || missing !== undefined))
    throw unauthenticated("CREDENTIALS_MISSING", undefined, missing && lacks(missing));
  if (missing !== undefined)
    throw new PublicError("PERMISSION_MISSING", undefined, { cause: new Error(lacks(missing)) });
}

function lacks(permission: string): string {
  return `the caller does not have the permission ${permission}`;
}

/** The error for a path that leads nowhere, or nowhere for this caller. */
export function unknownMethod(path: string, why?: string): PublicError {
  const cause = why === undefined ? undefined : new Error(why);
  return new PublicError("METHOD_UNKNOWN", `There is no method ${path.slice(0, 256)}.`, { cause });
}
