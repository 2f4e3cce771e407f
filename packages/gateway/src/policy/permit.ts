import type { Message } from "@bufbuild/protobuf";
import type { Call } from "../call.ts";
import { invalid, PublicError } from "../errors.ts";
import type { MethodEntry } from "./method-table.ts";
import type { Validate } from "./validation/validate.ts";

/** Throws unless a request is valid, and one that its caller may make. */
export type Permit = (entry: MethodEntry, request: Message, call: Call) => void;

/**
 * Creates the decision about a call whose request is known: its rules of validation, the fields that only some may set,
 * and the method's conditions, in this order.
 *
 * Errors: `invalid_argument` with every field that breaks a rule; `permission_denied`.
 */
export function createPermit(validate: Validate, now: () => number = Date.now): Permit {
  return ({ method, guards, conditions }, request, { principal, rights }) => {
    const [first, ...others] = validate(method.input, request);
    if (first !== undefined) throw invalid(first, ...others);
    const forbidden = guards.firstForbidden(request, rights.has);
    if (forbidden !== undefined) throw mayNotSet(forbidden);
    for (const condition of conditions) {
      const verdict = condition.holds(request, principal, rights, now());
      if (verdict === true) continue;
      const cause =
        verdict === false ? new Error(`the condition does not hold: ${condition.source}`) : verdict;
      throw new PublicError("CONDITION_NOT_MET", undefined, { cause });
    }
  };
}

function mayNotSet({
  path,
  permission,
}: {
  readonly path: string;
  readonly permission: string;
}): PublicError {
  return new PublicError("FIELD_NOT_ALLOWED", `${path}: your credentials do not allow this field to be set`, {
    metadata: { field: path.slice(0, 200).toWellFormed() },
    cause: new Error(`the caller does not have the permission ${permission} to set ${path}`),
  });
}
