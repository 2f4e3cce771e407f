import type { CelFunc, CelType } from "@bufbuild/cel";
import { isUnknown, type Type, unknown } from "./types.ts";

// How types go together.

/** The overloads of a function that can be meant. */
export function overloads(
  funcs: Iterable<CelFunc>,
  target: Type | undefined,
  args: readonly Type[],
): CelFunc[] {
  return [...funcs].filter(
    (func) =>
      fits(target, func.target) &&
      func.arguments.length === args.length &&
      func.arguments.every((wanted, index) => fits(args[index], wanted)),
  );
}

function fits(given: Type | undefined, wanted: CelType | undefined): boolean {
  if (given === undefined || wanted === undefined) return given === wanted;
  return wanted.name === "dyn" || namesOf(given).includes(wanted.name) || isUnknown(given);
}

/** Whether `==` can be true of two values of these types. */
export function canBeEqual(left: Type, right: Type): boolean {
  if (isUnknown(left) || isUnknown(right)) return true;
  if (left.enum !== undefined && right.enum !== undefined && left.enum !== right.enum) return false;
  if (left.values !== undefined && right.values !== undefined)
    return left.values.some((value) => right.values?.includes(value));
  const [ours, theirs] = [namesOf(left), namesOf(right)];
  const nullable = (names: readonly string[], other: Type) =>
    names.includes("null_type") && other.message !== undefined;
  return (
    ours.some((name) =>
      theirs.some((other) => name === other || (numeric.includes(name) && numeric.includes(other))),
    ) ||
    nullable(ours, right) ||
    nullable(theirs, left)
  );
}

const numeric = ["int", "uint", "double"];

function namesOf({ name, wraps }: Type): readonly string[] {
  return wraps === undefined ? [name] : [wraps, "null_type"];
}

/** The type of what is one or the other, such as that of `a ? b : c`: what is known of both. */
export function either(left: Type, right: Type): Type {
  const outer = left.outer === true || right.outer === true;
  if (left.name !== right.name || left.wraps !== right.wraps) return { ...unknown, outer };
  const { enum: desc, values, item, key, most: _, ...alike } = left;
  const most = Math.max(left.most ?? 0, right.most ?? 0);
  return {
    ...alike,
    outer,
    validated: left.validated === true && right.validated === true,
    ...(desc !== undefined && desc === right.enum && { enum: desc }),
    ...(values && right.values && { values: [...values, ...right.values] }),
    ...(item && { item: either(item, right.item ?? unknown) }),
    ...(key && { key: either(key, right.key ?? unknown) }),
    ...(most > 0 && { most }),
  };
}

/** Whether a value can be true or false. */
export function isBool(type: Type): boolean {
  return type.name === "bool" || type.wraps === "bool" || isUnknown(type);
}
