import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import { type FieldMask, FieldMaskSchema } from "@bufbuild/protobuf/wkt";
import { type FieldGuard, guardOf } from "./field-guard.ts";
import { createFindPaths, type FieldPaths, findField } from "./field-paths.ts";

/** A field that a caller may not set. */
export interface Forbidden {
  /** Where it is set. Map keys in it are the caller's own words. */
  readonly path: string;
  readonly field: DescField;
  /** What the caller lacks. */
  readonly permission: string;
}

/** The ways through a request to the fields that need a permission to set, and to the masks that can name them. */
export const findSetPaths = createFindPaths((field) => guardOf(field)?.set !== undefined || isMask(field));

/** A `read_mask` (AIP-157) names what is read of the answer, and sets nothing. */
function isMask({ name, message, fieldKind }: DescField): boolean {
  const reads = name === "read_mask" && fieldKind === "message";
  return message?.typeName === FieldMaskSchema.typeName && !reads;
}

/** The first of the guarded fields that a request sets, or names in a mask. */
export function firstForbidden(
  request: Message,
  paths: FieldPaths,
  guards: readonly FieldGuard[],
): Forbidden | undefined {
  const forbidden = new Map(guards.map((guard) => [guard.field, guard]));
  const first = findField(request, paths, (field, value) => {
    return forbidden.get(field) ?? (isMask(field) ? firstMasked(field, value, forbidden) : undefined);
  });
  const { field, set } = first?.found ?? {};
  return first && field && set && { path: first.path, field, permission: set.permission };
}

type Guards = ReadonlyMap<DescField, FieldGuard>;

/** The first guarded field that a mask, or one of several, names in the messages beside it. */
function firstMasked(field: DescField, value: unknown, guards: Guards): FieldGuard | undefined {
  const masks = (field.fieldKind === "message" ? [value] : Object.values(value as object)) as FieldMask[];
  const beside = field.parent.fields.flatMap(({ fieldKind, message }) =>
    fieldKind === "message" && findSetPaths(message) !== undefined ? [message] : [],
  );
  for (const path of new Set(masks.flatMap(({ paths }) => paths))) {
    // Against AIP-134, some masks begin at the request; but "*" is never about what is not in a message beside it.
    for (const desc of path === "*" ? beside : [...beside, field.parent]) {
      const guard = firstNamed(desc, path, guards);
      if (guard !== undefined) return guard;
    }
  }
  return undefined;
}

/** The guarded field that a path goes through or, since it names all of a message, one in that message. */
function firstNamed(root: DescMessage, path: string, guards: Guards): FieldGuard | undefined {
  let desc = root;
  for (const name of path.split(".")) {
    const field = namesIn(desc).get(name);
    if (field === undefined && name !== "*") return undefined;
    const guard = field && guards.get(field);
    if (guard !== undefined) return guard;
    if (field === undefined) return firstInside(desc, guards);
    if (field.fieldKind !== "message") return firstInside(field.message, guards);
    desc = field.message;
  }
  return firstInside(desc, guards);
}

/** The fields of a message by their names in the proto and in JSON: a mask may have thousands of them. */
function namesIn(desc: DescMessage): ReadonlyMap<string, DescField> {
  const before = names.get(desc);
  if (before !== undefined) return before;
  const index = new Map(
    desc.fields.flatMap((field) => [[field.jsonName, field] as const, [field.name, field]]),
  );
  names.set(desc, index);
  return index;
}

const names = new WeakMap<DescMessage, ReadonlyMap<string, DescField>>();

function firstInside(desc: DescMessage | undefined, guards: Guards): FieldGuard | undefined {
  const all = (desc && findSetPaths(desc)?.all) ?? [];
  return all.flatMap((field) => guards.get(field) ?? [])[0];
}
