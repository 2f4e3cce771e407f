import type { Call } from "../call.ts";
import type { IdentityFact } from "./upstream.ts";

/**
 * The metadata that tells an upstream who calls. What the caller does not have is left out; an anonymous caller has a
 * kind alone.
 *
 * @example identityHeaders(["subject", "roles"], principal) // { "x-portico-subject": "ada", "x-portico-roles": "admin" }
 */
export function identityHeaders(
  facts: readonly IdentityFact[],
  principal: Call["principal"],
): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const fact of facts) {
    const value = factOf(fact, principal);
    if (value !== undefined) headers[`x-portico-${fact}`] = value;
  }
  return headers;
}

function factOf(fact: IdentityFact, principal: Call["principal"]): string | undefined {
  if (fact === "kind") return principal.kind;
  if (principal.kind === "anonymous") return undefined;
  if (fact === "roles")
    return principal.roles.length === 0 ? undefined : principal.roles.map(encode).join(",");
  if (fact === "subject") return "subject" in principal ? encode(principal.subject) : undefined;
  const value = principal[fact];
  return value === undefined ? undefined : encode(value);
}

/** Header values are printable ASCII, without spaces at the ends; a comma inside a role must not look like two roles. */
function encode(value: string): string {
  return value.toWellFormed().replace(/[^!-$&-+\--~]/gu, encodeURIComponent);
}
