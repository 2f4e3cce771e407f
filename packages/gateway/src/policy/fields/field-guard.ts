import { type DescField, getOption, hasOption } from "@bufbuild/protobuf";
import { FieldPolicy_Denial, field as fieldOption } from "../../gen/portico/v1/policy_pb.ts";

/** Who may read a field, and who may set it: the compiled form of `portico.v1.FieldPolicy`. */
export interface FieldGuard {
  readonly field: DescField;
  /** `undefined` if everyone may read it. */
  readonly read: { readonly permission: string; readonly denial: "clear" | "refuse" } | undefined;
  /** `undefined` if everyone may set it. */
  readonly set: { readonly permission: string } | undefined;
}

/** Reading an option takes too long to do it twice for a field. */
const known = new WeakMap<DescField, FieldGuard>();

/** The guard of a field, if it has one. */
export function guardOf(field: DescField): FieldGuard | undefined {
  if (!hasOption(field, fieldOption)) return undefined;
  const before = known.get(field);
  if (before !== undefined) return before;
  const { permission, denial, setPermission } = getOption(field, fieldOption);
  const refuse = denial === FieldPolicy_Denial.REFUSE;
  const guard: FieldGuard = {
    field,
    read: permission === "" ? undefined : { permission, denial: refuse ? "refuse" : "clear" },
    set: setPermission === "" ? undefined : { permission: setPermission },
  };
  known.set(field, guard);
  return guard;
}

/** The guards of those fields that have one. */
export function guardsOf(fields: readonly DescField[]): FieldGuard[] {
  return fields.flatMap((field) => guardOf(field) ?? []);
}
