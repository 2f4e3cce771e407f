import { type Message, ScalarType } from "@bufbuild/protobuf";
import type { Call } from "../../call.ts";
import { StartError } from "../../errors.ts";
import type { RequestMap } from "../requests/request.ts";
import { within } from "../requests/within.ts";
import { absenceProblem, type CompiledPath, compilePath, type PathTo } from "./path.ts";
import { shapeOf, type ValueShape } from "./shape.ts";
import {
  type AnyView,
  type CompiledSource,
  type Derived,
  type FieldPlan,
  isProblems,
  type Place,
} from "./source.ts";
import type { View } from "./view.ts";

/** What makes one message of another: a view in a view, a request map in a request map. */
type Converter<From extends Message, To extends Message> = View<From, To> | RequestMap<From, To>;
type AnyConverter = AnyView | RequestMap<never, Message>;

/**
 * Makes a message, a list of messages or a map of messages through another view, or another request map. What is absent
 * stays absent.
 *
 * A message inside itself needs the very view that is being declared: give a function, and write down the type of the
 * view, which the compiler cannot infer from itself.
 *
 * @example lines: nested(lineView, "lines")
 * @example const partView: View<internal.Part, pub.Part> = view(..., { parts: nested(() => partView, "parts") });
 */
export function nested<From, Inner extends Message, To extends Message>(
  into: Converter<Inner, To> | (() => Converter<Inner, To>),
  path: PathTo<From, readonly Inner[]>,
): Derived<From, To[]>;
export function nested<From, Inner extends Message, To extends Message>(
  into: Converter<Inner, To> | (() => Converter<Inner, To>),
  path: PathTo<From, Readonly<Record<string, Inner>>>,
): Derived<From, Record<string, To>>;
export function nested<From, Inner extends Message, To extends Message>(
  into: Converter<Inner, To> | (() => Converter<Inner, To>),
  path: PathTo<From, Inner | undefined>,
): Derived<From, To>;
export function nested(into: AnyConverter | (() => AnyConverter), path: string): Derived<never, unknown> {
  return {
    compile: (place) => {
      const compiled = compilePath(place.from, path);
      if (typeof compiled === "string") return [compiled];
      const shape = shapeOf(compiled.end);
      if (shape.count === "oneof") return [`${path}: a oneof is no message; use cases(...)`];
      const origin = { ...shape, ...wordsOf(compiled) };
      const absence = absenceProblem(compiled, place.target);
      if (absence !== undefined) return [`${path}: ${absence}`];
      const made = compileNested(into, origin, [path], compiled.readSet, place);
      return isProblems(made) ? made.map((problem) => `${path}: ${problem}`) : made;
    },
  };
}

/**
 * Makes a message of the very message that the view takes from, by another view of it: the user in a user with items. In
 * a request map, by another request map.
 *
 * @example user: itself(userView)
 */
export function itself<From extends Message, To extends Message>(
  into: Converter<From, To>,
): Derived<From, To> {
  return {
    compile: (place) => {
      const { typeName } = place.from;
      const origin = {
        count: "one",
        text: typeName,
        message: place.from,
        name: "",
        keyText: String,
      } as const;
      return compileNested(into as AnyConverter, origin, [], (message) => message, place);
    },
  };
}

/** What the messages are taken from. */
interface Origin extends Pick<ValueShape, "count" | "text" | "message"> {
  /** The path of the field, as in the proto; empty for the message itself. */
  readonly name: string;
  /** Writes a key of a map in a path. */
  readonly keyText: (key: string) => string;
}

function wordsOf({ fields, end }: CompiledPath): Pick<Origin, "name" | "keyText"> {
  const isText =
    end.kind === "field" && end.field.fieldKind === "map" && end.field.mapKey === ScalarType.STRING;
  return { name: fields.map(({ name }) => name).join("."), keyText: isText ? JSON.stringify : String };
}

function compileNested(
  into: AnyConverter | (() => AnyConverter),
  origin: Origin,
  reads: readonly string[],
  read: (message: Message) => unknown,
  { target, of }: Place,
): CompiledSource | readonly string[] {
  if (target.count === "oneof") return ["a oneof is no message; use cases(...)"];
  const problem = isLate(into) ? countProblem(origin, target) : fitProblem(into, origin, target, of);
  if (problem !== undefined) return [problem];
  const resolve = isLate(into) ? resolveLate(into, origin, target, of) : () => into;
  // A getter: what is declared later is not known before it is there.
  const plan: FieldPlan = {
    kind: "nested",
    reads,
    get view() {
      return resolve();
    },
  };
  if (of === "request map")
    return {
      plan,
      value: (message) => mapAll(resolve() as RequestMap<never, Message>, origin, read(message)),
    };
  return {
    plan,
    fill: (messages, call) => through(resolve() as AnyView, origin.count, messages.map(read), call),
  };
}

function isLate(into: AnyConverter | (() => AnyConverter)): into is () => AnyConverter {
  return typeof into === "function" && !("from" in into);
}

/** Finds out once, when it is first needed, what was declared later, and whether it fits. */
function resolveLate(
  into: () => AnyConverter,
  origin: Origin,
  target: ValueShape,
  of: Place["of"],
): () => AnyConverter {
  let found: AnyConverter | undefined;
  return () => {
    if (found !== undefined) return found;
    const problem = fitProblem(into(), origin, target, of);
    if (problem !== undefined) throw new StartError([problem]);
    found = into();
    return found;
  };
}

function fitProblem(
  into: AnyConverter,
  origin: Origin,
  target: ValueShape,
  of: Place["of"],
): string | undefined {
  if (of === "request map" && "all" in into)
    return "a request is made at once: nest a request map in place of the view";
  if (of === "view" && !("all" in into)) return "a view nests views: give one in place of the request map";
  if (origin.message?.typeName !== into.from.typeName)
    return `the ${of} takes ${into.from.typeName}, the field is ${origin.text}`;
  if (target.message?.typeName !== into.to.typeName)
    return `the ${of} makes ${into.to.typeName}, the field to be made is ${target.text}`;
  return countProblem(origin, target);
}

function countProblem(origin: Origin, target: ValueShape): string | undefined {
  return origin.count === target.count
    ? undefined
    : `the field is ${origin.text}, the one to be made ${target.text}`;
}

function mapAll(into: RequestMap<never, Message>, { count, name, keyText }: Origin, value: unknown): unknown {
  const map = into as unknown as (message: unknown) => Message;
  const one = (message: unknown, subscript = "") => within(`${name}${subscript}`, () => map(message));
  if (value === undefined) return undefined;
  if (count === "list")
    return (value as readonly unknown[]).map((message, index) => one(message, `[${index}]`));
  if (count !== "map") return one(value);
  const entries = Object.entries(value as object);
  return Object.fromEntries(entries.map(([key, message]) => [key, one(message, `[${keyText(key)}]`)]));
}

/**
 * Sends the messages of some fields through a view in one go, and puts what becomes of them where they were. What is
 * absent stays so.
 */
export async function through(
  view: AnyView,
  count: ValueShape["count"],
  values: readonly unknown[],
  call: Call,
): Promise<unknown[]> {
  if (count === "one") return singly(view, values, call);
  const flat: unknown[] = [];
  const ends = values.map((value) => {
    if (value !== undefined) for (const item of Object.values(value as object)) flat.push(item);
    return flat.length;
  });
  const made = await view.all(flat as never[], call);
  return values.map((value, index) => {
    if (value === undefined) return undefined;
    const items = made.slice(index === 0 ? 0 : ends[index - 1], ends[index]);
    return count === "list" ? items : zip(Object.keys(value as object), items);
  });
}

async function singly(view: AnyView, values: readonly unknown[], call: Call): Promise<unknown[]> {
  const there = values.filter((value) => value !== undefined);
  const made = await view.all(there as never[], call);
  if (there.length === values.length) return made;
  let taken = 0;
  return values.map((value) => (value === undefined ? undefined : made[taken++]));
}

function zip(keys: readonly string[], values: readonly unknown[]): Record<string, unknown> {
  return Object.fromEntries(keys.map((key, index) => [key, values[index]]));
}
