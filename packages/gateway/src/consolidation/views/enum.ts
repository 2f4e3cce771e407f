import type { DescEnum, EnumShape } from "@bufbuild/protobuf";
import { StartError } from "../../errors.ts";

/**
 * What becomes of a number that has no counterpart: `default`: the zero value; `pass`: the number as it is; `fail`: the
 * call ends, in `invalid_argument` if a request has it, in `internal` if an upstream sent it.
 */
export type EnumFallback = "default" | "pass" | "fail";

/** How enums are mapped whose values do not agree. */
export interface EnumOptions {
  /** For a number that the enum does not name, such as one that a newer service sends. */
  readonly onUnknown: EnumFallback;
  /**
   * For values that the enum names and the other one does not. Absent, there must be none: a value that someone adds
   * later stops the start, and is thought about.
   */
  readonly onUnmapped?: EnumFallback;
  /** The counterparts of values that are named otherwise, by their names in the proto: `{ STATE_SENT: "STATUS_SHIPPED" }`. */
  readonly renamed?: Readonly<Record<string, string>>;
}

/** How the values of one enum become those of another. Made by {@link enumByName}. */
export interface EnumMap<From extends DescEnum = DescEnum, To extends DescEnum = DescEnum> {
  readonly from: From;
  readonly to: To;
  /** The values that have a counterpart, by their names in the proto: to be listed. */
  readonly names: Readonly<Record<string, string>>;
  readonly options: EnumOptions;
  /** The counterpart of a number; `undefined` if the call is to fail. */
  readonly map: (value: EnumShape<From>) => EnumShape<To> | undefined;
}

/**
 * Maps one enum to another by the names of the values, without the prefix that enums have by convention, so that
 * neither side's numbers matter.
 *
 * Throws a {@link StartError} that lists the values of `from` without a counterpart, unless `onUnmapped` says what
 * becomes of them; names in `renamed` that there are not; and `pass` to an enum that is closed (proto2, editions), which
 * cannot hold any number.
 *
 * @example
 * const publicStatus = enumByName(internal.OrderStatusSchema, pub.OrderStatusSchema, { onUnknown: "default" });
 * view(..., { status: mapped(publicStatus, "status") });
 */
export function enumByName<From extends DescEnum, To extends DescEnum>(
  from: From,
  to: To,
  options: EnumOptions,
): EnumMap<From, To> {
  const { onUnknown, onUnmapped, renamed = {} } = options;
  const problems = [...renameProblems(from, to, renamed), ...closedProblems(to, options)];
  const numbers = new Map<number, number>();
  const counterparts = new Map(Object.entries(renamed));
  const names = new Map<string, string>();
  for (const value of from.values) {
    const wanted = counterparts.get(value.name);
    const counterpart = to.values.find(({ name, localName }) =>
      wanted === undefined ? localName === value.localName : name === wanted,
    );
    if (counterpart !== undefined && !numbers.has(value.number))
      numbers.set(value.number, counterpart.number);
  }
  for (const { name, number } of from.values) {
    const counterpart = to.values.find((value) => value.number === numbers.get(number));
    if (counterpart !== undefined) names.set(name, counterpart.name);
  }
  // Of names for the same number, one that has a counterpart will do.
  const unmapped = from.values.filter(({ number }) => !numbers.has(number));
  if (onUnmapped === undefined)
    for (const { name } of unmapped)
      problems.push(
        `${from.typeName}.${name} has no counterpart in ${to.typeName}: add one, name one in renamed, or say in onUnmapped what becomes of it`,
      );
  if (problems.length > 0) throw new StartError(problems);
  const known = new Set(unmapped.map(({ number }) => number));
  const zero = to.values[0]?.number ?? 0;
  const fall = (value: number, fallback: EnumFallback | undefined): number | undefined => {
    if (fallback === "pass") return value;
    return fallback === "fail" ? undefined : zero;
  };
  return {
    from,
    to,
    names: Object.fromEntries(names),
    options,
    // Numbers of `to`, as its type says.
    map: (value) =>
      (numbers.get(value) ?? fall(value, known.has(value) ? onUnmapped : onUnknown)) as
        | EnumShape<To>
        | undefined,
  };
}

function renameProblems(from: DescEnum, to: DescEnum, renamed: Readonly<Record<string, string>>): string[] {
  return Object.entries(renamed).flatMap(([old, name]) => [
    ...(has(from, old)
      ? []
      : [`${from.typeName} has no value ${old}, which renamed names: ${namesOf(from)}`]),
    ...(has(to, name) ? [] : [`${to.typeName} has no value ${name}, which renamed names: ${namesOf(to)}`]),
  ]);
}

function closedProblems(to: DescEnum, { onUnknown, onUnmapped }: EnumOptions): string[] {
  if (to.open || (onUnknown !== "pass" && onUnmapped !== "pass")) return [];
  return [
    `${to.typeName} is a closed enum, which holds no number that it does not name: write "default" or "fail" instead of "pass"`,
  ];
}

function has({ values }: DescEnum, name: string): boolean {
  return values.some((value) => value.name === name);
}

/** The names of all values, to be shown. */
export function namesOf({ values }: DescEnum): string {
  return values.map(({ name }) => name).join(", ");
}
