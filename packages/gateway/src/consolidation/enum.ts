import type { DescEnum, EnumShape } from "@bufbuild/protobuf";
import { invalid, StartError } from "../errors.ts";

/** What becomes of a number that the enum does not name, such as one that a newer service sends. */
export interface EnumOptions {
  /** `default`: it becomes the zero value. `fail`: the call ends in `invalid_argument`; right for requests. */
  readonly onUnknown: "default" | "fail";
  /** The request field that the error of `fail` names, as in the proto. The name of the enum if absent. */
  readonly field?: string;
}

/**
 * Maps one enum to another by the names of the values, so that neither side's numbers matter.
 *
 * Throws a {@link StartError} that lists the values of `from` that `to` does not have.
 *
 * @example
 * const publicStatus = enumByName(internal.OrderStatusSchema, pub.OrderStatusSchema, { onUnknown: "default" });
 * view(..., { status: (order) => publicStatus(order.status) });
 */
export function enumByName<From extends DescEnum, To extends DescEnum>(
  from: From,
  to: To,
  { onUnknown, field = from.name }: EnumOptions,
): (value: EnumShape<From>) => EnumShape<To> {
  const numbers = new Map<number, number>();
  const problems: string[] = [];
  for (const value of from.values) {
    const counterpart = to.values.find(({ localName }) => localName === value.localName);
    if (counterpart === undefined)
      problems.push(`${from.typeName}.${value.name} has no counterpart in ${to.typeName}: add one`);
    else numbers.set(value.number, counterpart.number);
  }
  if (problems.length > 0) throw new StartError(problems);
  const zero = to.values[0]?.number ?? 0;
  return (value) => {
    const mapped = numbers.get(value);
    if (mapped === undefined && onUnknown === "fail")
      throw invalid({ field, description: `${value} is none of ${names(from)}` });
    // Numbers of `to`, as its type says.
    return (mapped ?? zero) as EnumShape<To>;
  };
}

function names(desc: DescEnum): string {
  return desc.values.map(({ name }) => name).join(", ");
}
