import {
  type DescField,
  type DescMessage,
  type DescOneof,
  isFieldSet,
  type Message,
  ScalarType,
} from "@bufbuild/protobuf";

/** What a message has under one local name: a field, or a oneof, whose fields share one property. */
export type Member = FieldMember | OneofMember;

interface FieldMember {
  readonly kind: "field";
  readonly name: string;
  readonly localName: string;
  readonly field: DescField;
  readonly isSet: (message: Message) => boolean;
}

interface OneofMember {
  readonly kind: "oneof";
  readonly name: string;
  readonly localName: string;
  readonly oneof: DescOneof;
  readonly isSet: (message: Message) => boolean;
}

/** The members of a message, in the order of the proto. */
export function membersOf(desc: DescMessage): Member[] {
  return desc.members.map((member) =>
    member.kind === "oneof"
      ? {
          kind: "oneof",
          name: member.name,
          localName: member.localName,
          oneof: member,
          isSet: (message) => member.fields.some((field) => isFieldSet(message, field)),
        }
      : {
          kind: "field",
          name: member.name,
          localName: member.localName,
          field: member,
          isSet: (message) => isFieldSet(message, member),
        },
  );
}

/**
 * Why a member cannot be copied to the public one of the same name; `undefined` if it can. Only what has the same
 * type in protobuf is copied: what merely looks alike in TypeScript could change its value or its meaning on the
 * way.
 */
export function copyProblem(origin: Member | undefined, target: Member): string | undefined {
  if (origin === undefined) return "there is no internal field of this name";
  if (origin.kind === "oneof" && target.kind === "oneof") return oneofProblem(origin.oneof, target.oneof);
  if (origin.kind === "oneof" || target.kind === "oneof") return "one is a oneof, the other is not";
  return fieldProblem(origin.field, target.field);
}

function oneofProblem(origin: DescOneof, target: DescOneof): string | undefined {
  for (const field of origin.fields) {
    const counterpart = target.fields.find(({ localName }) => localName === field.localName);
    if (counterpart === undefined) return `the internal oneof can hold ${field.name}, the public one cannot`;
    const problem = fieldProblem(field, counterpart);
    if (problem !== undefined) return `${field.name}: ${problem}`;
  }
  return undefined;
}

function fieldProblem(origin: DescField, target: DescField): string | undefined {
  const [internal, external] = [typeName(origin), typeName(target)];
  return internal === external ? undefined : `the internal field is ${internal}, the public one ${external}`;
}

/** The type of a field in the words of protobuf: `repeated string`, `map<int32, bytes>`, `smpl.users.v1.Address`. */
function typeName(field: DescField): string {
  switch (field.fieldKind) {
    case "list":
      return `repeated ${valueName(field)}`;
    case "map":
      return `map<${scalarName(field.mapKey)}, ${valueName(field)}>`;
    default:
      return valueName(field);
  }
}

/**
 * `jstype` decides how a 64-bit number looks in TypeScript, and a default what a field that is not set means, so
 * both are part of the type.
 */
function valueName(field: DescField): string {
  const name = field.message?.typeName ?? field.enum?.typeName ?? scalarName(field.scalar);
  const text = "longAsString" in field && field.longAsString ? " [jstype = JS_STRING]" : "";
  const value =
    field.fieldKind === "scalar" || field.fieldKind === "enum" ? field.getDefaultValue() : undefined;
  return `${name}${text}${value === undefined ? "" : ` [default = ${value}]`}`;
}

function scalarName(scalar: ScalarType | undefined): string {
  return scalar === undefined ? "unknown" : ScalarType[scalar].toLowerCase();
}
