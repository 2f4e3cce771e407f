import { create, type DescField, type DescMessage, type Message, ScalarType } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect, type ScalarValue } from "@bufbuild/protobuf/reflect";

/**
 * A message for a trial run at the start, with something in each field: one item in each list and map, one field of
 * each oneof, and messages in messages to the given depth.
 */
export function sampleOf(desc: DescMessage, depth = 3): Message {
  const message = create(desc);
  const reflected = reflect(desc, message);
  for (const field of desc.fields) {
    const isTaken = field.oneof?.fields.some((other) => other !== field && reflected.isSet(other)) ?? false;
    if (!isTaken) fill(reflected, field, depth);
  }
  return message;
}

/** Puts something into a field; nothing where that would need a deeper message. */
export function fill(message: ReflectMessage, field: DescField, depth = 3): void {
  if (field.message !== undefined && depth === 0) return;
  const item =
    field.message !== undefined
      ? reflect(field.message, sampleOf(field.message, depth - 1))
      : field.enum !== undefined
        ? (field.enum.values.at(-1)?.number ?? 0)
        : scalarSample(field.scalar);
  if (field.fieldKind === "list") message.get(field).add(item);
  else if (field.fieldKind === "map") message.get(field).set(mapKeySample(field.mapKey), item);
  else message.set(field, item);
}

function scalarSample(scalar: ScalarType | undefined): ScalarValue {
  switch (scalar) {
    case ScalarType.STRING:
      return "a";
    case ScalarType.BOOL:
      return true;
    case ScalarType.BYTES:
      return new Uint8Array([1]);
    case ScalarType.INT64:
    case ScalarType.SINT64:
    case ScalarType.SFIXED64:
    case ScalarType.UINT64:
    case ScalarType.FIXED64:
      return 1n;
    default:
      return 1;
  }
}

function mapKeySample(scalar: ScalarType): string | number | bigint | boolean {
  const sample = scalarSample(scalar);
  return sample instanceof Uint8Array ? "a" : sample;
}
