import type { Message } from "@bufbuild/protobuf";
import type { Key } from "../loaders/loader.ts";
import { type CompiledPath, compilePath } from "./path.ts";
import { shapeOf } from "./shape.ts";
import { type Derived, isProblems, type Place } from "./source.ts";

/** The key of a relation, whatever its types. */
export type AnyKey = string | readonly string[] | Derived<never, unknown>;

/** The key of a relation, ready to be read. */
export interface CompiledKey {
  /** The paths that are read. */
  readonly reads: readonly string[];
  /** `undefined`, if any part of the key is empty. */
  readonly of: (message: Message) => Key | undefined;
}

/** Prepares the key of a relation. Gives what is wrong with it, as texts, if it is none. */
export function compileKey(key: AnyKey, place: Place): CompiledKey | readonly string[] {
  if (typeof key === "object" && "compile" in key) {
    const made = key.compile(place);
    if (isProblems(made)) return made;
    if ("fill" in made) return ["must be there at once: a path, several, or computed(...)"];
    return { reads: made.plan.reads, of: (message) => whole(made.value(message)) };
  }
  const paths = typeof key === "string" ? [key] : key;
  const compiled = paths.map((path) => compilePath(place.from, path));
  const problems = compiled.filter((it) => typeof it === "string");
  if (problems.length > 0) return problems;
  const reads = compiled.flatMap((it) => (typeof it === "string" ? [] : [readPart(it)]));
  const [only] = reads;
  return {
    reads: paths,
    of:
      typeof key === "string" && only !== undefined
        ? (message) => whole(only(message))
        : (message) => whole(reads.map((read) => read(message))),
  };
}

/** A number that comes as a text, as `jstype` has it, is as empty at zero as others are. */
function readPart({ end, read }: CompiledPath): (message: Message) => unknown {
  const shape = shapeOf(end);
  if (shape.count === "oneof" || !shape.isNumberText) return read;
  return (message) => {
    const value = read(message);
    return value === "0" ? undefined : value;
  };
}

function whole(key: unknown): Key | undefined {
  const parts: readonly unknown[] = Array.isArray(key) ? key : [key];
  return parts.every(Boolean) ? (key as Key) : undefined;
}
