import { celError, isCelError, parse, plan } from "@bufbuild/cel";
import type { DescMessage } from "@bufbuild/protobuf";
import type { Principal } from "../principal.ts";
import type { Rights } from "../rights.ts";
import { checkCondition } from "./check.ts";
import {
  type Facts,
  factsOf,
  factVariable,
  permissionVariable,
  presenceVariable,
} from "./principal-facts.ts";

/**
 * What a condition says of every call of a kind of caller: of all who have these roles and rights, whoever they are and
 * whatever they ask for. `undefined` if that depends on who they are or what they ask for.
 *
 * What is not known goes into the same program that decides calls as an error, which CEL lets through only where it
 * cannot matter: `request.id == principal.subject || principal.has("all.read")` is `true` for who has that permission.
 *
 * @param source of a condition that compiles
 * @param input the type of the requests
 */
export function conditionVerdict(
  source: string,
  input: DescMessage,
  principal: Principal,
  rights: Pick<Rights, "has">,
): boolean | undefined {
  const { env, expr, permissions, variables } = checkCondition(parse(source), input);
  const known: Record<string, Facts[string]> = Object.create(null);
  for (const name of variables) known[name] = celError(`${name} is not known`);
  Object.assign(known, factsOf(principal));
  if (principal.kind !== "anonymous") forget(known);
  for (const permission of permissions) known[permissionVariable(permission)] = rights.has(permission);
  // The library takes errors for values, but its types do not say so.
  const result = (plan(env, expr) as (values: typeof known) => unknown)(known);
  if (isCelError(result) || typeof result !== "boolean") return undefined;
  return result;
}

/** Callers of one role have different names, issuers and tenants, and came by different ways. */
function forget(facts: Record<string, Facts[string]>): void {
  for (const member of ["kind", "subject", "issuer", "tenant"] as const)
    facts[factVariable(member)] = celError(`the ${member} of the caller is not known`);
  facts[presenceVariable("tenant")] = celError("whether the caller has a tenant is not known");
}
