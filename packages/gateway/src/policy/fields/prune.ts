import type { DescField, Message } from "@bufbuild/protobuf";
import { checkDepth, type FieldPaths, type Fields, fieldsOf, isObject, type Member } from "./field-paths.ts";

/**
 * The message without the targets in `hidden`, wherever they occur in it. A oneof whose field is hidden has none set.
 *
 * Never changes what it is given, which may belong to a cache or to another call: messages with nothing to hide are
 * shared, the others copied, with their prototype.
 *
 * Throws for messages nested more than 100 deep, as decoders do.
 */
export function prune<M extends Message>(message: M, paths: FieldPaths, hidden: ReadonlySet<DescField>): M {
  // What was left out counts as not set, so the result is of the same type.
  return pruned(fieldsOf(message), paths, hidden, 1) as unknown as M;
}

function pruned(message: Fields, paths: FieldPaths, hidden: ReadonlySet<DescField>, depth: number): Fields {
  checkDepth(depth);
  const cleared = paths.targets.filter(({ field, get }) => hidden.has(field) && get(message) !== undefined);
  let copy = cleared.length === 0 ? undefined : copyWithout(message, cleared);
  for (const way of paths.inner) {
    const value = way.get(copy ?? message);
    if (!isObject(value)) continue;
    const kept = way.map(value, (item) => pruned(item, way.paths, hidden, depth + 1));
    if (kept === value) continue;
    copy ??= copyWithout(message, []);
    copy[way.property] = way.field.oneof === undefined ? kept : { case: way.field.localName, value: kept };
  }
  return copy ?? message;
}

/** Copied one by one: a property that is deleted later would make the copy slow to encode. */
function copyWithout(message: Fields, cleared: readonly Member[]): Record<string, unknown> {
  const prototype: object | null = Object.getPrototypeOf(message);
  const copy: Record<string, unknown> = prototype === Object.prototype ? {} : Object.create(prototype);
  for (const property of Object.keys(message)) {
    if (!cleared.some((member) => member.property === property)) copy[property] = message[property];
  }
  for (const { property, blank } of cleared) {
    const value = blank();
    if (value !== undefined) copy[property] = value;
  }
  return copy;
}
