import type { DescMessage, Message } from "@bufbuild/protobuf";
import { type Any, AnySchema } from "@bufbuild/protobuf/wkt";
import { compilePath, type PathTo } from "./path.ts";
import { shapeOf } from "./shape.ts";
import type { CompiledSource, Derived, Place } from "./source.ts";

/**
 * Passes a `google.protobuf.Any`, or a list or map of them, as far as it holds one of some messages: it could hold any, internal
 * ones too, which must not get out by themselves. What holds another is left out.
 *
 * @example detail: packed("detail", [pub.ShippingDetailSchema, DurationSchema])
 */
export function packed<From>(
  path: PathTo<From, readonly Any[]>,
  messages: readonly DescMessage[],
): Derived<From, Any[]>;
export function packed<From>(
  path: PathTo<From, Readonly<Record<string, Any>>>,
  messages: readonly DescMessage[],
): Derived<From, Record<string, Any>>;
export function packed<From>(
  path: PathTo<From, Any | undefined>,
  messages: readonly DescMessage[],
): Derived<From, Any>;
export function packed(path: string, messages: readonly DescMessage[]): Derived<never, unknown> {
  return { compile: (place) => compilePacked(path, messages, place) };
}

function compilePacked(
  path: string,
  messages: readonly DescMessage[],
  { from, target }: Place,
): CompiledSource | readonly string[] {
  const compiled = compilePath(from, path);
  if (typeof compiled === "string") return [compiled];
  const origin = shapeOf(compiled.end);
  if (origin.count === "oneof" || target.count === "oneof")
    return [`${path}: packed(...) takes a google.protobuf.Any, or a list or map of them`];
  if (origin.message?.typeName !== AnySchema.typeName || origin.text !== target.text)
    return [`${path}: packed(...) makes a google.protobuf.Any of another: ${origin.text}, ${target.text}`];
  if (target.isRequired)
    return [`${path}: the field to be made is required, and what does not pass is left out`];
  const passes = new Set(messages.map(({ typeName }) => typeName));
  const isOpen = (any: Any) => passes.has(any.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1));
  const pass: Record<typeof origin.count, (value: unknown) => unknown> = {
    one: (value) => (isOpen(value as Any) ? value : undefined),
    list: (value) => (value as readonly Any[]).filter(isOpen),
    map: (value) => Object.fromEntries(Object.entries(value as object).filter(([, any]) => isOpen(any))),
  };
  return {
    plan: { kind: "path", reads: [path] },
    value: (message: Message) => {
      const value = compiled.readSet(message);
      return value === undefined ? undefined : pass[origin.count](value);
    },
  };
}
