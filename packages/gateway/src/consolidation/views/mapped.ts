import type { DescEnum, EnumShape, Message } from "@bufbuild/protobuf";
import { type EnumMap, namesOf } from "./enum.ts";
import { absenceProblem, compilePath, type PathTo } from "./path.ts";
import { type Shape, shapeOf } from "./shape.ts";
import type { CompiledSource, Derived, Place } from "./source.ts";

/** An enum, a list of it, or a map of it. */
type Many<V> = V | readonly V[] | Readonly<Record<string, V>>;

/**
 * Maps an enum, a list of enums or a map of them, by what `enumByName` made. A field that is not set stays so.
 *
 * @example status: mapped(publicStatus, "status")
 */
export function mapped<From, A extends DescEnum, B extends DescEnum>(
  map: EnumMap<A, B>,
  path: PathTo<From, EnumShape<A> | undefined>,
): Derived<From, EnumShape<B>>;
export function mapped<From, A extends DescEnum, B extends DescEnum>(
  map: EnumMap<A, B>,
  path: PathTo<From, readonly EnumShape<A>[]>,
): Derived<From, EnumShape<B>[]>;
export function mapped<From, A extends DescEnum, B extends DescEnum>(
  map: EnumMap<A, B>,
  path: PathTo<From, Readonly<Record<string, EnumShape<A>>>>,
): Derived<From, Record<string, EnumShape<B>>>;
export function mapped(map: EnumMap, path: string): Derived<never, Many<number>> {
  return { compile: (place) => compileMapped(map, path, place) };
}

function compileMapped(map: EnumMap, path: string, place: Place): CompiledSource | readonly string[] {
  const compiled = compilePath(place.from, path);
  if (typeof compiled === "string") return [compiled];
  const origin = shapeOf(compiled.end);
  const problem = mapProblem(map, origin, place.target) ?? absenceProblem(compiled, place.target);
  if (problem !== undefined) return [`${path}: ${problem}`];
  const name = compiled.fields.map((field) => field.name).join(".");
  const one = (value: unknown): number => {
    const mapped = map.map(value as number);
    if (mapped === undefined)
      throw place.blame(
        place.from,
        name,
        `${String(value)} is none of ${namesOf(map.from)} that can be answered`,
      );
    return mapped;
  };
  return {
    plan: { kind: "mapped", reads: [path], enum: map },
    value: each(origin.count, skipsUnset(map, origin, place) ? compiled.readSet : compiled.read, one),
  };
}

/** A field that is not set stays so, unless it has a default that the other side does not take for granted. */
function skipsUnset({ map }: EnumMap, origin: Shape, { target, setOnly }: Place): boolean {
  if (setOnly || origin.count !== "one" || target.count !== "one") return true;
  const taken = target.default ?? target.enum?.values[0]?.number;
  return origin.hasPresence && (origin.default === undefined || map(origin.default) === taken);
}

function each(
  count: Shape["count"],
  read: (message: Message) => unknown,
  one: (value: unknown) => number,
): (message: Message) => unknown {
  const many = (value: unknown): unknown => {
    if (count === "list") return (value as readonly unknown[]).map(one);
    if (count !== "map") return one(value);
    return Object.fromEntries(Object.entries(value as object).map(([key, value]) => [key, one(value)]));
  };
  return (message) => {
    const value = read(message);
    return value === undefined ? undefined : many(value);
  };
}

function mapProblem({ from, to }: EnumMap, origin: Shape, target: Shape): string | undefined {
  if (origin.count === "oneof" || target.count === "oneof") return "a oneof is no enum";
  if (origin.enum?.typeName !== from.typeName)
    return `the enum map takes ${from.typeName}, the field is ${origin.text}`;
  if (target.enum?.typeName !== to.typeName)
    return `the enum map gives ${to.typeName}, the field to be made is ${target.text}`;
  return origin.count === target.count
    ? undefined
    : `the field is ${origin.text}, the one to be made ${target.text}`;
}
