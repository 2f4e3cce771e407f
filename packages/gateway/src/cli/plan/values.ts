import {
  create,
  type DescEnum,
  type DescField,
  type DescMessage,
  type Message,
  ScalarType,
} from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import {
  AnySchema,
  DurationSchema,
  FieldMaskSchema,
  StructSchema,
  TimestampSchema,
  ValueSchema,
} from "@bufbuild/protobuf/wkt";
import type { Mint } from "./mint.ts";

/** How a message is made up. */
export interface Making {
  readonly mint: Pick<Mint<unknown>, "value">;
  /** How many items a list or map has that is in no other. */
  readonly sizeOf: (field: DescField) => number;
  /** The value of a field, in place of one that is made up; `undefined` for most. In a list, that of one of its items. */
  readonly given: (field: DescField, item: number | undefined) => unknown;
  /** Hears of every value of a scalar. */
  readonly note?: (field: DescField, value: unknown) => void;
  /** The fields that stay empty. */
  readonly isEmpty: (field: DescField, inList: boolean) => boolean;
}

/** Where in the message something is made. */
interface Place {
  /** The index in the outermost list. */
  readonly item: number | undefined;
  /** How many lists it is in. */
  readonly lists: number;
  /** The messages that it is in. */
  readonly inside: readonly DescMessage[];
}

/** How often a message may be in one of its own kind. */
const maxRecursion = 3;

/** How many items of a list have messages of their own kind inside: what is in all of them has no end. */
const maxRecursiveItems = 2;

/** How deep messages may be in each other. */
const maxDepth = 12;

/**
 * Makes up a message: every field is filled, of a oneof the first; lists in lists have two items, those deeper inside
 * one; recursion goes three deep, in a list for the first two items.
 */
export function makeUp(desc: DescMessage, making: Making): Message {
  return fill(desc, making, { item: undefined, lists: 0, inside: [] }).message;
}

function fill(desc: DescMessage, making: Making, place: Place): ReflectMessage {
  const wellKnown = makeWellKnown(desc, making);
  if (wellKnown !== undefined) return reflect(desc, wellKnown, false);
  const target = reflect(desc, create(desc), false);
  const inner = { ...place, inside: [...place.inside, desc] };
  for (const member of desc.members) {
    const field = member.kind === "oneof" ? member.fields[0] : member;
    if (field === undefined || making.isEmpty(field, place.lists > 0) || isTooDeep(field, inner)) continue;
    fillField(target, field, making, inner);
  }
  return target;
}

function fillField(target: ReflectMessage, field: DescField, making: Making, place: Place): void {
  if (field.fieldKind === "list") {
    const list = target.get(field);
    for (let item = 0; item < sizeOf(field, making, place); item++) {
      const value = makeValue(field, making, enter(place, item));
      if (value !== undefined) list.add(value);
    }
  } else if (field.fieldKind === "map") {
    const map = target.get(field);
    for (let item = 0; item < sizeOf(field, making, place); item++) {
      const value = makeValue(field, making, enter(place, item));
      if (value !== undefined) map.set(making.mint.value(field.mapKey, field.name), value);
    }
  } else target.set(field, makeValue(field, making, place));
}

/** A value of a field, or one item of it. */
function makeValue(field: DescField, making: Making, place: Place): unknown {
  if (field.message !== undefined) return fill(field.message, making, place);
  if (field.enum !== undefined) return nonZero(field.enum);
  // What is inside of a list's items is asked for by nobody.
  const given = place.lists > 1 ? undefined : making.given(field, place.item);
  const value = given ?? (field.scalar && making.mint.value(field.scalar, field.name));
  making.note?.(field, value);
  return value;
}

function nonZero({ values }: DescEnum): number | undefined {
  return (values.find(({ number }) => number !== 0) ?? values[0])?.number;
}

function sizeOf(field: DescField, making: Making, { lists }: Place): number {
  if (lists === 0) return making.sizeOf(field);
  return lists === 1 ? 2 : 1;
}

function enter({ item, lists, inside }: Place, index: number): Place {
  return { item: item ?? index, lists: lists + 1, inside };
}

function isTooDeep({ message }: DescField, { item = 0, inside }: Place): boolean {
  if (message === undefined) return false;
  const times = inside.filter((desc) => desc === message).length;
  return inside.length >= maxDepth || times >= maxRecursion || (times > 0 && item >= maxRecursiveItems);
}

/** Messages that do not mean what their fields say one by one. */
function makeWellKnown({ typeName }: DescMessage, { mint }: Making): Message | undefined {
  switch (typeName) {
    case "google.protobuf.Timestamp":
      return create(TimestampSchema, { seconds: mint.value(ScalarType.INT64, "seconds") as bigint });
    case "google.protobuf.Duration":
      return create(DurationSchema, { seconds: 1n });
    case "google.protobuf.FieldMask":
      return create(FieldMaskSchema, { paths: ["*"] });
    case "google.protobuf.Any":
      return create(AnySchema);
    case "google.protobuf.Struct":
      return create(StructSchema);
    case "google.protobuf.Value":
      return create(ValueSchema, { kind: { case: "boolValue", value: true } });
    default:
      return undefined;
  }
}
