import type { Call } from "./call.ts";
import { anonymous, type Principal, tenantOf } from "./policy/principal.ts";

/** Who shares what was made once: everyone, one tenant, or one caller. Always among callers with the same rights. */
export type SharingScope = "public" | "tenant" | "principal";

/**
 * Those who share: two callers have the same text only if they are, by the scope: anyone; of the same tenant of the same
 * issuer; the same caller, with the same roles and tenant.
 *
 * The roles count besides the rights, because a handler can read those that the access file does not know.
 *
 * @returns `undefined` if the caller shares with nobody: it has no tenant
 */
export function sharersOf(scope: SharingScope, principal: Principal): string | undefined {
  const { id, roles } = principal;
  const tenant = principal.kind === "anonymous" ? undefined : principal.tenant;
  if (scope === "public") return "[]";
  if (scope === "principal") return JSON.stringify([id, tenant, roles]);
  return principal.kind === "anonymous" || !tenant ? undefined : JSON.stringify([principal.issuer, tenant]);
}

/**
 * The call as it is made for all who share its outcome: whoever works for it, the upstreams included, is told no more
 * of the caller than what all of them have in common.
 */
export function asSharers(scope: SharingScope, call: Call): Call {
  if (scope === "principal") return call;
  const principal = sharer(scope, call.principal);
  // What is called for all of them is still written into the log of the one.
  return { ...call, principal, record: { ...call.record, caller: principal.kind, address: "" } };
}

function sharer(scope: Exclude<SharingScope, "principal">, principal: Principal): Principal {
  return scope === "public" ? anonymous : tenantOf(principal);
}
