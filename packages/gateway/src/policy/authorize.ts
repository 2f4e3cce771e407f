import { Code } from "@connectrpc/connect";
import { PublicError } from "../errors.ts";
import type { Grants } from "./access.ts";
import type { MethodEntry } from "./method-table.ts";
import type { Principal } from "./principal.ts";

/** Throws unless the principal may call the method. */
export type Authorize = (entry: MethodEntry, principal: Principal) => void;

/**
 * Creates the rule that decides each call from the method's policy and the caller's permissions.
 *
 * Errors: `unauthenticated` for a caller without credentials who would need some, `permission_denied` for one who has
 * them but not the permission.
 */
export function createAuthorize(grants: Grants): Authorize {
  return ({ access }, principal) => {
    switch (access.kind) {
      case "anonymous":
        return;
      case "authenticated":
        if (principal.kind === "anonymous") throw unauthenticated("This method needs credentials.");
        return;
      case "permission":
        if (grants(principal, access.permission)) return;
        if (principal.kind === "anonymous") throw unauthenticated("This method needs credentials.");
        throw new PublicError(Code.PermissionDenied, "Your credentials do not allow this method.");
    }
  };
}

/** The error for missing or bad credentials, with the header that RFC 6750 asks for. */
export function unauthenticated(message: string, cause?: unknown): PublicError {
  return new PublicError(Code.Unauthenticated, message, { cause, headers: { "www-authenticate": "Bearer" } });
}
