import type { DescMessage, Message } from "@bufbuild/protobuf";
import type { Call } from "../../call.ts";
import type { PublicError } from "../../errors.ts";
import type { AnyLoader } from "../loaders/loader.ts";
import type { EnumMap } from "./enum.ts";
import { type At, absenceProblem, compilePath, type Path, type PathTo } from "./path.ts";
import { copyProblem, type Shape, shapeOf } from "./shape.ts";
import type { View } from "./view.ts";

/**
 * Where the value of a field comes from: the path of another field of the same type, such as `"contact.email"`, or what
 * one of the functions `computed`, `constant`, `mapped`, `nested`, `cases` and `related` makes. Where there is no value,
 * the field stays empty.
 */
export type Source<From, T> = PathTo<From, T | undefined> | Derived<From, T | undefined>;

/** A source that is more than a path. */
export interface Derived<From, T> {
  /** Prepares the source for its place. Gives what is wrong with it there, as texts, if it does not fit. */
  readonly compile: (place: Place) => CompiledSource | readonly string[];
  /** Never there: keeps apart what is made of other messages, or makes something else. */
  readonly types?: (from: From) => T;
}

/** Where a source stands: what it has, and what it is to make. */
export interface Place {
  /** What makes a request makes it at once. */
  readonly of: "view" | "request map";
  /** The message that it takes from. */
  readonly from: DescMessage;
  /** What it makes. */
  readonly target: Shape;
  /** Whether what is not set makes no value: a oneof takes the case that is. */
  readonly setOnly: boolean;
  /** Makes the error for a number that an enum does not know, from the message, the path of the field and a description. */
  readonly blame: (from: DescMessage, field: string, description: string) => Error;
}

/** A source that is ready to be used: at once, or for many messages together. */
export type CompiledSource = {
  readonly plan: FieldPlan;
} & ({ readonly value: (message: Message) => unknown } | { readonly fill: Fill });

/** Makes the values for many messages at once. A value that could not be had, with the call going on, is a {@link Lacking}. */
export type Fill = (messages: readonly Message[], call: Call) => Promise<readonly unknown[]>;

/** Stands for a value that could not be had, or not all of it, where the answer is to come without. */
export class Lacking {
  readonly error: PublicError;
  /** What there is of it. */
  readonly rest: unknown;

  constructor(error: PublicError, rest?: unknown) {
    this.error = error;
    this.rest = rest;
  }
}

/** Where a field comes from, as data: to be listed, checked and drawn. */
export interface FieldPlan {
  readonly kind: "copy" | "path" | "computed" | "constant" | "mapped" | "nested" | "cases" | "related";
  /** The paths that are read, in TypeScript's names: of the key, for a relation. */
  readonly reads: readonly string[];
  /** What makes the messages that are nested; known late, for a message inside itself. */
  readonly view?: Convertible;
  /** How enums are mapped. */
  readonly enum?: EnumMap;
  /** The cases of a oneof. */
  readonly cases?: Readonly<Record<string, FieldPlan>>;
  /** What a relation fetches by. */
  readonly loader?: AnyLoader;
  /** How what was fetched becomes the field: its paths are those of the loader's entity. */
  readonly into?: FieldPlan;
  readonly onMissing?: Fallback;
  readonly onError?: Fallback;
}

/** What becomes of an answer that lacks something: the call fails, the field is empty, or that and the caller is told. */
export type Fallback = "fail" | "empty" | "partial";

/** A view, or a request map: what makes one message of another. */
export interface Convertible {
  readonly from: DescMessage;
  readonly to: DescMessage;
  readonly fields: Readonly<Record<string, FieldPlan>>;
}

/** A view whose types do not matter here. */
export type AnyView = View<never, Message>;

/**
 * Makes a value of the values at some paths. The function gets these values and no message, so that it can take no more
 * than what is declared.
 *
 * @example quantity: computed(["quantity"], (quantity) => BigInt(quantity))
 * @example name: computed(["firstName", "lastName"], (first, last) => `${first} ${last}`)
 */
export function computed<From, const P extends readonly Path<From>[], T>(
  paths: P,
  make: (...values: { [I in keyof P]: At<From, P[I]> }) => T,
): Derived<From, T> {
  return {
    compile: ({ from }) => {
      const reads = readPaths(from, paths);
      if (isProblems(reads)) return reads;
      const call = make as (...values: readonly unknown[]) => T;
      return {
        plan: { kind: "computed", reads: paths },
        value: (message) => call(...reads.map((read) => read(message))),
      };
    },
  };
}

/**
 * The same value in every message. `undefined` leaves the field as it is: the way to say that it is never set.
 *
 * @example source: constant("web")
 */
export function constant<From, const T>(value: T): Derived<From, T> {
  return { compile: () => ({ plan: { kind: "constant", reads: [] }, value: () => copyOf(value) }) };
}

/** A copy for each message: what one call does to a list of its answer must not be there in the next. */
function copyOf(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Uint8Array) return value.slice();
  if (Array.isArray(value)) return value.map(copyOf);
  const copy = Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, copyOf(inner)]));
  // That of a message of proto2 has the defaults.
  return Object.setPrototypeOf(copy, Object.getPrototypeOf(value));
}

/** Prepares a source for its place. Gives what is wrong with it, as texts, if it does not fit. */
export function compileSource(
  source: string | Derived<never, unknown>,
  place: Place,
): CompiledSource | readonly string[] {
  return typeof source === "string" ? compileField(source, place) : source.compile(place);
}

function compileField(path: string, { from, target, setOnly }: Place): CompiledSource | readonly string[] {
  const compiled = compilePath(from, path);
  if (typeof compiled === "string") return [compiled];
  const origin = shapeOf(compiled.end);
  const problem = copyProblem(origin, target) ?? absenceProblem(compiled, target);
  if (problem !== undefined) return [`${path}: ${problem}`];
  // What cannot be told from a zero is taken as it is, as in a copy: of a list of entities, it would be lost.
  const isZeroTaken = !setOnly && origin.count !== "oneof" && !origin.hasPresence;
  return {
    plan: { kind: "path", reads: [path] },
    value: isZeroTaken ? compiled.read : compiled.readSet,
  };
}

/** Prepares the paths of a computed value. */
export function readPaths(
  from: DescMessage,
  paths: readonly string[],
): readonly ((message: Message) => unknown)[] | readonly string[] {
  const compiled = paths.map((path) => compilePath(from, path));
  const problems = compiled.filter((it) => typeof it === "string");
  if (problems.length > 0) return problems;
  return compiled.flatMap((it) => (typeof it === "string" ? [] : [it.read]));
}

/** Tells problems from what was asked for. */
export function isProblems<T>(result: T | readonly string[]): result is readonly string[] {
  return Array.isArray(result) && typeof result[0] === "string";
}
