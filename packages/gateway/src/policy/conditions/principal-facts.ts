import { type CelError, celError } from "@bufbuild/cel";
import type { Principal } from "../principal.ts";

// What a condition knows of the principal: each fact is a variable of its own, whose value is an error if the caller
// does not have it. CEL lets an error make a comparison fail, whatever it is compared with.

/** What a condition can read of the principal. */
export const principalMembers = ["kind", "subject", "issuer", "tenant", "roles"] as const;
export type PrincipalMember = (typeof principalMembers)[number];

/** The variable that is a fact about the caller. */
export function factVariable(member: PrincipalMember): string {
  return `principal.${member}`;
}

/** The variable that says whether the caller has a fact, such as a subject. */
export function presenceVariable(member: PrincipalMember): string {
  return `has(principal.${member})`;
}

/** The variable that says whether the caller has a permission. */
export function permissionVariable(permission: string): string {
  return `principal.has(${JSON.stringify(permission)})`;
}

/** The variable that has the roles as the keys of a map: looked up, they take the same time however many they are. */
export const roleSet = "principal.roles[]";

/** The values of variables, by their names. */
export type Facts = Readonly<
  Record<string, string | boolean | readonly string[] | ReadonlyMap<string, boolean> | CelError>
>;

/** The facts about a principal, which are the same for all of its calls. An object without a prototype. */
export function factsOf(principal: Principal): Facts {
  const known = factsByPrincipal.get(principal);
  if (known !== undefined) return known;
  const facts = findFacts(principal);
  factsByPrincipal.set(principal, facts);
  return facts;
}

const factsByPrincipal = new WeakMap<Principal, Facts>();

function findFacts(principal: Principal): Facts {
  const { kind, subject, issuer, tenant, roles } = { ...nobody, ...principal };
  const values = { kind, subject, issuer, tenant, roles };
  const facts: Record<string, Facts[string]> = Object.create(null);
  for (const member of principalMembers) {
    const value = values[member];
    // Empty is as good as absent: it must not equal a field that the caller left empty.
    const present = value !== undefined && value !== "";
    facts[presenceVariable(member)] = present;
    facts[factVariable(member)] = present ? value : celError(`the caller has no ${member}`);
  }
  facts[roleSet] = new Map(roles.map((role) => [role, true]));
  return facts;
}

const nobody = { subject: undefined, issuer: undefined, tenant: undefined };
