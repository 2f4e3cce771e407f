import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";

/**
 * Writes a request so that two of the same type are written alike if, and only if, they mean the same: maps in any
 * order, without unknown fields. What is inside a `google.protobuf.Any` counts byte by byte.
 *
 * Not the binary format: that writes all halves of surrogate pairs alike, which a `google.protobuf.Struct` can hold,
 * and cannot write a request that lacks a `required` field of proto2.
 *
 * @example cacheKey(rule, name, canonicalBytes(method.input, request), call.principal, call.rights)
 */
export function canonicalBytes(desc: DescMessage, message: Message): Uint8Array {
  return Buffer.from(JSON.stringify(canonicalMessage(reflect(desc, message))));
}

/** A value that JSON writes in one way only. */
type Canonical = string | number | boolean | readonly Canonical[];

/** Numbers of fields, each followed by its value. */
function canonicalMessage(message: ReflectMessage): Canonical {
  const parts: Canonical[] = [];
  for (const field of message.fields) {
    if (message.isSet(field)) parts.push(field.number, canonicalField(message, field));
  }
  return parts;
}

function canonicalField(message: ReflectMessage, field: DescField): Canonical {
  switch (field.fieldKind) {
    case "list":
      return Array.from(message.get(field), canonicalValue);
    case "map":
      return Array.from(message.get(field), ([key, value]): [string, Canonical] => [
        String(key),
        canonicalValue(value),
      ])
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .flat(1);
    default:
      return canonicalValue(message.get(field));
  }
}

/** The type of the field says which of these it can be, so that no two kinds of value are mixed up. */
function canonicalValue(value: unknown): Canonical {
  switch (typeof value) {
    case "object":
      if (value instanceof Uint8Array) return Buffer.from(value).toString("base64url");
      return canonicalMessage(value as ReflectMessage);
    case "number":
      // JSON has neither NaN nor infinities, and no zero below zero.
      if (Object.is(value, -0)) return "-0";
      return Number.isFinite(value) ? value : String(value);
    case "boolean":
      return value;
    default:
      return String(value);
  }
}
