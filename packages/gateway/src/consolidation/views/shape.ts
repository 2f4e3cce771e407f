import {
  type DescEnum,
  type DescField,
  type DescMessage,
  type DescOneof,
  isFieldSet,
  type Message,
  ScalarType,
} from "@bufbuild/protobuf";
import { AnySchema, FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";
import { messagesIn } from "../../descriptors.ts";

/** What a message has under one local name: a field, or a oneof, whose fields share one property. */
export type Member = FieldMember | OneofMember;

interface FieldMember {
  readonly kind: "field";
  readonly name: string;
  readonly localName: string;
  readonly field: DescField;
}

interface OneofMember {
  readonly kind: "oneof";
  readonly name: string;
  readonly localName: string;
  readonly oneof: DescOneof;
}

/** What can stand in a member, or in one item of it. */
export type Shape = ValueShape | { readonly count: "oneof"; readonly oneof: DescOneof };

/** What can stand in a field, or in one item of it. */
export interface ValueShape {
  readonly count: "one" | "list" | "map";
  /** The type in the words of protobuf: `repeated string`, `map<int32, bytes>`, `smpl.users.v1.Address`. */
  readonly text: string;
  /** The same for a single value of it. */
  readonly itemText: string;
  readonly message: DescMessage | undefined;
  readonly enum: DescEnum | undefined;
  /** Whether it is a number of 64 bits that comes as a text, as `jstype` has it. */
  readonly isNumberText: boolean;
  /** The default that an enum declares. */
  readonly default: number | undefined;
  /** Whether a value that was not set can be told from a zero. */
  readonly hasPresence: boolean;
  /** Whether it must be set, as proto2 has it. */
  readonly isRequired: boolean;
}

/** The members of a message, in the order of the proto. */
export function membersOf(desc: DescMessage): Member[] {
  return desc.members.map((member) =>
    member.kind === "oneof"
      ? { kind: "oneof", name: member.name, localName: member.localName, oneof: member }
      : fieldMember(member),
  );
}

/** A field as a member; one of a oneof as if it stood alone. */
export function fieldMember(field: DescField): Member {
  return { kind: "field", name: field.name, localName: field.localName, field };
}

/** The fields that a member stands for. */
export function fieldsOf(member: Member): readonly DescField[] {
  return member.kind === "oneof" ? member.oneof.fields : [member.field];
}

/** Tells whether a message has something in a member: found out once how, since it is asked for each message. */
export function isSetIn(member: Member): (message: Message) => boolean {
  const name = member.localName;
  if (member.kind === "oneof")
    return (message) => (propertyOf(message, name) as { case?: string }).case !== undefined;
  const { field } = member;
  if (field.fieldKind === "list") return (message) => (propertyOf(message, name) as unknown[]).length > 0;
  if (field.oneof !== undefined || field.presence === FeatureSet_FieldPresence.IMPLICIT)
    return (message) => isFieldSet(message, field);
  // What the prototype has is the default of a field that is not set.
  return (message) => Object.hasOwn(message, name) && propertyOf(message, name) !== undefined;
}

/** What a message has under a local name. */
export function propertyOf(message: Message, name: string): unknown {
  return (message as unknown as Record<string, unknown>)[name];
}

/** What can stand in a member. */
export function shapeOf(member: Member): Shape {
  if (member.kind === "oneof") return { count: "oneof", oneof: member.oneof };
  const { field } = member;
  const itemText = itemTypeName(field);
  return {
    count: field.fieldKind === "list" ? "list" : field.fieldKind === "map" ? "map" : "one",
    text: typeName(field, itemText),
    itemText,
    message: field.message,
    enum: field.enum,
    isNumberText: isNumberText(field),
    default: field.fieldKind === "enum" ? field.getDefaultValue() : undefined,
    hasPresence: field.presence !== FeatureSet_FieldPresence.IMPLICIT,
    isRequired: field.presence === FeatureSet_FieldPresence.LEGACY_REQUIRED,
  };
}

/** What can stand in one item of a list. */
export function itemShape(list: ValueShape): ValueShape {
  return { ...list, count: "one", text: list.itemText };
}

/**
 * Why what stands in one member cannot be copied into another; `undefined` if it can. Only what has the same type in
 * protobuf is copied: what merely looks alike in TypeScript could change its value or its meaning on the way.
 */
export function copyProblem(origin: Shape, target: Shape): string | undefined {
  if (origin.count === "oneof" && target.count === "oneof") return oneofProblem(origin.oneof, target.oneof);
  if (origin.count === "oneof" || target.count === "oneof") return "one is a oneof, the other is not";
  if (origin.text !== target.text)
    return `the internal field is ${origin.text}, the public one ${target.text}`;
  if (canHoldAny(target.message))
    return "a google.protobuf.Any can hold any message, internal ones too: say which ones pass";
  return target.isRequired && origin.hasPresence && !origin.isRequired
    ? "the public field is required, the internal one need not be set"
    : undefined;
}

/** Whether there is a `google.protobuf.Any` anywhere in a message. */
function canHoldAny(message: DescMessage | undefined): boolean {
  const inside = message === undefined ? [] : [...messagesIn([message])];
  return inside.some(({ typeName }) => typeName === AnySchema.typeName);
}

function oneofProblem(origin: DescOneof, target: DescOneof): string | undefined {
  for (const field of origin.fields) {
    const counterpart = target.fields.find(({ localName }) => localName === field.localName);
    if (counterpart === undefined) return `the internal oneof can hold ${field.name}, the public one cannot`;
    const problem = copyProblem(shapeOf(fieldMember(field)), shapeOf(fieldMember(counterpart)));
    if (problem !== undefined) return `${field.name}: ${problem}`;
  }
  return undefined;
}

function typeName(field: DescField, itemText: string): string {
  switch (field.fieldKind) {
    case "list":
      return `repeated ${itemText}`;
    case "map":
      return `map<${scalarName(field.mapKey)}, ${itemText}>`;
    default:
      return itemText;
  }
}

/**
 * `jstype` decides how a 64-bit number looks in TypeScript, and a default what a field that is not set means, so
 * both are part of the type.
 */
function itemTypeName(field: DescField): string {
  const name = field.message?.typeName ?? field.enum?.typeName ?? scalarName(field.scalar);
  const text = isNumberText(field) ? " [jstype = JS_STRING]" : "";
  const value =
    field.fieldKind === "scalar" || field.fieldKind === "enum" ? field.getDefaultValue() : undefined;
  return `${name}${text}${value === undefined ? "" : ` [default = ${value}]`}`;
}

function isNumberText(field: DescField): boolean {
  return "longAsString" in field && field.longAsString;
}

function scalarName(scalar: ScalarType | undefined): string {
  return scalar === undefined ? "unknown" : ScalarType[scalar].toLowerCase();
}
