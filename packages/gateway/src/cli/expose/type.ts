import { type DescEnum, type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { Edition, FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";

/** What stands for the type of an internal field in the public proto. */
export interface PublicType {
  /** The type of a value: `string`, `google.protobuf.Timestamp`, `Money`. */
  readonly name: string;
  /** The file to import for it. */
  readonly file: string | undefined;
}

/** A field to be declared. */
export interface NewField {
  readonly name: string;
  readonly number: number;
  readonly type: PublicType;
  /** The permission that a caller needs to read it. */
  readonly permission: string | undefined;
  readonly comment: readonly string[];
}

/** The name of a scalar type in a proto file. */
export function scalarText(scalar: ScalarType): string {
  return ScalarType[scalar].toLowerCase();
}

/** How a type is written in a message: by its own name in the same package, else by its full one. */
export function typeFor(message: DescMessage, type: DescMessage | DescEnum): PublicType {
  const own = packageOf(type);
  return {
    name: own === packageOf(message) ? type.typeName.slice(own === "" ? 0 : own.length + 1) : type.typeName,
    file: type.file === message.file ? undefined : `${type.file.name}.proto`,
  };
}

/** The package that a message or an enum is in; empty for none. */
export function packageOf({ file }: DescMessage | DescEnum): string {
  return file.proto.package;
}

/**
 * The declaration of a public field that takes what an internal one has: as many values, with the same presence.
 *
 * @param message the public message that it is to stand in
 */
export function declarationOf(
  message: DescMessage,
  origin: DescField,
  { name, number, type, permission }: Omit<NewField, "comment">,
): string {
  const presence = presenceOf(message, origin);
  const options = [
    ...presence.options,
    ...("longAsString" in origin && origin.longAsString ? ["jstype = JS_STRING"] : []),
    ...(permission === undefined ? [] : [`(portico.v1.field) = {permission: ${JSON.stringify(permission)}}`]),
  ];
  const ending = options.length === 0 ? "" : ` [${options.join(", ")}]`;
  return `${presence.label}${countedType(origin, type.name)} ${name} = ${number}${ending};\n`;
}

function countedType(origin: DescField, type: string): string {
  if (origin.fieldKind === "list") return `repeated ${type}`;
  return origin.fieldKind === "map" ? `map<${scalarText(origin.mapKey)}, ${type}>` : type;
}

/** What says whether a value that was not set can be told from a zero; each edition says it in its own way. */
function presenceOf(
  { file }: DescMessage,
  { fieldKind, presence }: DescField,
): { readonly label: string; readonly options: readonly string[] } {
  const explicit = presence !== FeatureSet_FieldPresence.IMPLICIT;
  const bare = { label: "", options: [] };
  if (fieldKind === "list" || fieldKind === "map") return bare;
  if (file.edition === Edition.EDITION_PROTO2) return { label: "optional ", options: [] };
  if (fieldKind === "message") return bare;
  if (file.edition === Edition.EDITION_PROTO3) return explicit ? { label: "optional ", options: [] } : bare;
  const given = file.proto.options?.features?.fieldPresence || FeatureSet_FieldPresence.EXPLICIT;
  const wanted = explicit ? FeatureSet_FieldPresence.EXPLICIT : FeatureSet_FieldPresence.IMPLICIT;
  return given === wanted
    ? bare
    : { label: "", options: [`features.field_presence = ${FeatureSet_FieldPresence[wanted]}`] };
}

/** The highest number that a field can have. */
const maxNumber = 536_870_911;

/**
 * The next number that a new field can have: above all others, past what is reserved. `undefined`, if there is none: those
 * below may have been those of fields that are gone.
 */
export function nextNumber({ fields, proto }: DescMessage): number | undefined {
  const taken = [...proto.reservedRange, ...proto.extensionRange, { start: 19_000, end: 20_000 }];
  let number = Math.max(0, ...fields.map((field) => field.number)) + 1;
  for (let range = within(number); range !== undefined; range = within(number)) number = range.end;
  return number > maxNumber ? undefined : number;

  function within(number: number) {
    return taken.find(({ start, end }) => number >= start && number < end);
  }
}
