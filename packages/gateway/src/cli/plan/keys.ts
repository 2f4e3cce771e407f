import type { DescField, DescMessage, ScalarType } from "@bufbuild/protobuf";
import { isReflectMessage, type ReflectMessage, scalarZeroValue } from "@bufbuild/protobuf/reflect";

/** What a request asks for under one name: one key, or one for each item. */
export interface AskedKey {
  readonly name: string;
  readonly type: KeyType;
  /** Whether it stands in a list, so that item `i` of the answer belongs to value `i`. */
  readonly listed: boolean;
  readonly values: readonly unknown[];
}

type KeyType = "string" | "number" | "bigint";

/**
 * How the keys of a request are found again in its answer: `name`, in the field of that name alone, if there is one;
 * `type`, in all fields of the type, whatever they are called.
 */
export type KeyMatch = "name" | "type";

/** The keys in a request: its scalars, those in a list, and those in a list of messages, which are keys of several parts. */
export function keysIn(request: ReflectMessage): AskedKey[] {
  return request.fields.flatMap((field) => {
    if (!request.isSet(field)) return [];
    if (field.fieldKind === "scalar") return keyOf(field, false, [request.get(field)]);
    if (field.fieldKind !== "list") return [];
    const items = [...request.get(field)];
    if (field.listKind === "scalar") return keyOf(field, true, items);
    return field.listKind === "message"
      ? partsOf(
          field.message,
          items.filter((item) => isReflectMessage(item)),
        )
      : [];
  });
}

function partsOf({ fields }: DescMessage, items: readonly ReflectMessage[]): AskedKey[] {
  return fields
    .filter((field) => field.fieldKind === "scalar")
    .flatMap((field) =>
      keyOf(
        field,
        true,
        items.map((item) => item.get(field)),
      ),
    );
}

/** The values of a field as a key; nothing, if they can be none. */
export function keyOf(field: DescField, listed: boolean, values: readonly unknown[]): AskedKey[] {
  const type = keyType(field.scalar);
  return type === undefined || values.length === 0 ? [] : [{ name: field.name, type, listed, values }];
}

/**
 * Which field of an answer, or of an item of its list, has which key.
 *
 * @param holder the answer for keys that are not listed, the message in its list for those that are
 */
export function matchKeys(
  holder: DescMessage,
  keys: readonly AskedKey[],
  match: KeyMatch,
): ReadonlyMap<DescField, AskedKey> {
  const matched = new Map<DescField, AskedKey>();
  const places = scalarsIn(holder);
  const byName = keys.flatMap((key) => {
    const field = fieldNamed(key, places.flat());
    return field === undefined ? [] : [[field, key] as const];
  });
  if (match === "type" || (byName.length === 0 && keys.some(({ listed }) => listed)))
    for (const key of keys)
      for (const field of places.find((fields) => fields.some(isOf(key)))?.filter(isOf(key)) ?? [])
        if (!matched.has(field)) matched.set(field, key);
  for (const [field, key] of byName) matched.set(field, key);
  return matched;
}

/**
 * The same for entities whose key is known.
 *
 * @param parts the fields that the key consists of
 */
export function matchParts(
  parts: readonly DescField[],
  keys: readonly AskedKey[],
): ReadonlyMap<DescField, AskedKey> {
  const matched = new Map<DescField, AskedKey>();
  for (const [index, part] of parts.entries()) {
    const fitting = keys.filter((key) => key.listed && isOf(key)(part));
    const key = fitting.find((key) => fieldNamed(key, [part]) !== undefined) ?? fitting[index] ?? fitting[0];
    if (key !== undefined) matched.set(part, key);
  }
  return matched;
}

/** The field that has a key by its name: `user_ids` is found in `user_ids`, else in `user_id`, else in `id`. */
function fieldNamed(key: AskedKey, fields: readonly DescField[]): DescField | undefined {
  const singular = key.name.replace(/ies$/, "y").replace(/s$/, "");
  const lastWord = singular.slice(singular.lastIndexOf("_") + 1);
  for (const name of [key.name, singular, lastWord]) {
    const field = fields.find((field) => field.name === name && isOf(key)(field));
    if (field !== undefined) return field;
  }
  return undefined;
}

function isOf({ type }: AskedKey) {
  return ({ scalar }: DescField): boolean => keyType(scalar) === type;
}

/** The scalars of a message and of those in it, the outermost first; what is in lists is not there once. */
function scalarsIn(desc: DescMessage): DescField[][] {
  return messagesIn(desc).map((level) =>
    level.flatMap(({ fields }) => fields.filter(({ fieldKind }) => fieldKind === "scalar")),
  );
}

/** A message and those in it, but for lists and maps, by how deep inside they are. */
export function messagesIn(desc: DescMessage): DescMessage[][] {
  const levels: DescMessage[][] = [];
  const seen = new Set([desc]);
  for (let level = [desc]; level.length > 0; ) {
    levels.push(level);
    const inside = level.flatMap(({ fields }) =>
      fields.flatMap(({ fieldKind, message }) => (fieldKind === "message" ? [message] : [])),
    );
    level = [...new Set(inside)].filter((message) => !seen.has(message));
    for (const message of level) seen.add(message);
  }
  return levels;
}

function keyType(scalar: ScalarType | undefined): KeyType | undefined {
  const type = scalar === undefined ? undefined : typeof scalarZeroValue(scalar, false);
  return type === "string" || type === "number" || type === "bigint" ? type : undefined;
}
