import {
  clone,
  create,
  type DescField,
  type DescMessage,
  type MessageShape,
  ScalarType,
} from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";

/** What stands in every secret of the bazaar. */
export const canary = "canary-that-nobody-may-see";

/** Whether the public must not see a field: all of them, and only they, are named for it. */
export function isSecret({ name }: Pick<DescField, "name">): boolean {
  return name.startsWith("secret");
}

/**
 * A copy with the canary in every secret that can hold a text, at every depth, and in a field that the type does not
 * know, as from a newer service.
 */
export function withCanaries<D extends DescMessage>(desc: D, message: MessageShape<D>): MessageShape<D> {
  const copy = clone(desc, message);
  plant(reflect(desc, copy));
  return copy;
}

function plant(message: ReflectMessage): void {
  if (message.desc.typeName.startsWith("google.protobuf.")) return;
  message.setUnknown([unknownField()]);
  for (const field of message.fields) {
    if (isSecret(field) && field.oneof === undefined) plantField(message, field);
    else if (message.isSet(field)) for (const inner of messagesIn(message, field)) plant(inner);
  }
}

function plantField(message: ReflectMessage, field: DescField): void {
  switch (field.fieldKind) {
    case "scalar":
      if (field.scalar === ScalarType.STRING) message.set(field, canary);
      if (field.scalar === ScalarType.BYTES) message.set(field, new TextEncoder().encode(canary));
      break;
    case "list":
      if (field.message !== undefined) message.get(field).add(filled(field.message));
      else if (field.scalar === ScalarType.STRING) message.get(field).add(canary);
      break;
    case "map":
      message.get(field).set(canary, canary);
      break;
    case "message":
      message.set(field, filled(field.message));
      break;
  }
}

function filled(desc: DescMessage): ReflectMessage {
  const message = reflect(desc, create(desc));
  plant(message);
  return message;
}

/** A field of a number that no proto of the bazaar has. */
export function unknownField() {
  const data = new TextEncoder().encode(canary);
  return { no: 9_999, wireType: 2, data: new Uint8Array([data.length, ...data]) };
}

/** The messages that a field holds. */
export function messagesIn(message: ReflectMessage, field: DescField): readonly ReflectMessage[] {
  // The kind of the field says what it holds.
  if (field.fieldKind === "message") return [message.get(field)];
  if (field.fieldKind === "list" && field.message !== undefined)
    return [...message.get(field)] as ReflectMessage[];
  if (field.fieldKind === "map" && field.message !== undefined)
    return [...message.get(field).values()] as ReflectMessage[];
  return [];
}

/** A copy without any secret, and without fields that its type does not know. */
export function withoutSecrets<D extends DescMessage>(desc: D, message: MessageShape<D>): MessageShape<D> {
  return without(desc, message, isSecret);
}

/** A copy without some fields, at any depth, and without those that its type does not know. */
export function without<D extends DescMessage>(
  desc: D,
  message: MessageShape<D>,
  isUnwanted: (field: DescField) => boolean,
): MessageShape<D> {
  const copy = clone(desc, message);
  clear(reflect(desc, copy), isUnwanted);
  return copy;
}

function clear(message: ReflectMessage, isUnwanted: (field: DescField) => boolean): void {
  if (message.desc.typeName.startsWith("google.protobuf.")) return;
  message.setUnknown([]);
  for (const field of message.fields) {
    if (isUnwanted(field)) message.clear(field);
    else if (message.isSet(field)) for (const inner of messagesIn(message, field)) clear(inner, isUnwanted);
  }
}
