import type { Constant } from "@bufbuild/cel-spec/cel/expr/syntax_pb.js";
import {
  type DescEnum,
  type DescEnumValue,
  type DescField,
  type DescMessage,
  getOption,
  hasOption,
  ScalarType,
} from "@bufbuild/protobuf";
import { isWrapperDesc } from "@bufbuild/protobuf/wkt";
import { type FieldRules, field as fieldRules, Ignore } from "../../gen/buf/validate/validate_pb.ts";
import type { Principal } from "../principal.ts";
import type { PrincipalMember } from "./principal-facts.ts";
import { suggest } from "./suggest.ts";

/** What is known about a part of a condition before the first call. */
export interface Type {
  /** As CEL names it: `int`, `list`, `google.protobuf.Timestamp`; `dyn` if it is known only when it runs. */
  readonly name: string;
  /** The scalar inside a wrapper, which is `dyn` because it may also be null. */
  readonly wraps?: string;
  /** Of a message. */
  readonly message?: DescMessage;
  /** Of an enum, which is an `int` for CEL. */
  readonly enum?: DescEnum;
  /** Of the items of a list, or the values of a map. */
  readonly item?: Type;
  /** Of the keys of a map. */
  readonly key?: Type;
  /** Every value that there is, if they are few. */
  readonly values?: readonly string[];
  /** The most items, characters or bytes that it can have. Left out for what no caller can make longer. */
  readonly most?: number;
  /** Whether it comes from the request, and is not the item of a loop. */
  readonly outer?: boolean;
  /** Whether rules of validation inside it are looked at. */
  readonly validated?: boolean;
}

export const dyn: Type = { name: "dyn" };
/** A value of which nothing is known, not even how many items it has. */
export const unknown: Type = { name: "dyn", most: Infinity };
export const bool: Type = { name: "bool" };

/** The type of a field, as CEL sees it, in a message of the given type. */
export function typeOfField(field: DescField, holder: Type): Type {
  const rules = hasOption(field, fieldRules) ? getOption(field, fieldRules) : undefined;
  const validated = holder.validated === true && rules?.ignore !== Ignore.ALWAYS;
  const inside = validated ? rules?.type : undefined;
  const repeated = inside?.case === "repeated" ? inside.value : undefined;
  const map = inside?.case === "map" ? inside.value : undefined;
  const facts = { outer: holder.outer === true, validated };
  switch (field.fieldKind) {
    case "list":
      return {
        ...facts,
        name: "list",
        item: typeOfItem(field, validated, repeated?.items),
        most: limit(repeated?.maxItems),
      };
    case "map": {
      const key = bounded({ name: scalarName(field.mapKey) }, map?.keys);
      return {
        ...facts,
        name: "map",
        key,
        item: typeOfItem(field, validated, map?.values),
        most: limit(map?.maxPairs),
      };
    }
    default:
      return { ...typeOfItem(field, validated, rules), outer: facts.outer };
  }
}

/** The type of a message. */
export function typeOfMessage(message: DescMessage): Type {
  if (isWrapperDesc(message)) return { name: "dyn", wraps: scalarName(message.fields[0]?.scalar) };
  switch (message.typeName) {
    case "google.protobuf.Struct":
      return { name: "map", key: { name: "string" }, item: unknown, most: Infinity };
    case "google.protobuf.ListValue":
      return { name: "list", item: unknown, most: Infinity };
    case "google.protobuf.Value":
      return unknown;
    case "google.protobuf.Any":
      // What it holds is known to the caller alone.
      return { name: message.typeName };
    default:
      return { name: message.typeName, message };
  }
}

/** The type of what stands behind a dot, or what is wrong with it. */
export function typeOfSelect(holder: Type, name: string): Type | string {
  if (holder.message !== undefined) {
    const field = holder.message.fields.find((field) => field.name === name);
    if (field !== undefined) return typeOfField(field, holder);
    const names = holder.message.fields.map((field) => field.name);
    return `${holder.message.typeName} has no field ${name}${suggest(name, names)}`;
  }
  if (holder.name === "map") return { ...(holder.item ?? unknown), outer: holder.outer === true };
  if (isUnknown(holder)) return holder;
  return `a value of type ${describeType(holder)} has no field ${name}`;
}

/** The type of a value that is written out. */
export function typeOfConstant({ constantKind }: Constant): Type {
  if (constantKind.case === "stringValue") return { name: "string", values: [constantKind.value] };
  const name = constantKind.case?.replace(/(64)?Value$/, "") ?? "dyn";
  return { name: name === "null" ? "null_type" : name };
}

/** The type of a fact about the principal. */
export function typeOfMember(member: PrincipalMember): Type {
  if (member === "roles") return { name: "list", item: { name: "string" } };
  return { name: "string", ...(member === "kind" && { values: principalKinds }) };
}

const principalKinds: readonly Principal["kind"][] = ["anonymous", "token", "api_key", "certificate"];

/** Types by their full names. */
export type NamedTypes = ReadonlyMap<string, DescMessage | DescEnum>;

/** What a name stands for in the scope of a message: another message, or a value of an enum. */
export function findType(
  name: string,
  scope: DescMessage,
  types: NamedTypes,
): DescMessage | DescEnumValue | undefined {
  const place = scope.typeName.split(".");
  for (let length = place.length; length >= 0; length--) {
    const full = [...place.slice(0, length), name].join(".");
    const type = types.get(full);
    if (type?.kind === "message") return type;
    const parent = types.get(full.slice(0, full.lastIndexOf(".")));
    const value = parent?.kind === "enum" && parent.values.find((it) => it.name === name.split(".").at(-1));
    if (value) return value;
  }
  return undefined;
}

function typeOfItem(field: DescField, isHolderValidated: boolean, rules: FieldRules | undefined): Type {
  const validated = isHolderValidated && rules?.ignore !== Ignore.ALWAYS;
  return { ...bounded(unboundedType(field), validated ? rules : undefined), validated };
}

function unboundedType({ message, enum: desc, scalar }: DescField): Type {
  if (message !== undefined) return typeOfMessage(message);
  return desc === undefined ? { name: scalarName(scalar) } : { name: "int", enum: desc };
}

/** A type with the most characters or bytes that rules of validation let it have, if it is a text. */
function bounded(type: Type, rules: FieldRules | undefined): Type {
  if (!["string", "bytes"].includes(type.wraps ?? type.name)) return type;
  const text = rules?.type;
  if (text?.case === "string") {
    const { len, maxLen, lenBytes, maxBytes } = text.value;
    return { ...type, most: limit(len, maxLen, lenBytes, maxBytes) };
  }
  return { ...type, most: text?.case === "bytes" ? limit(text.value.len, text.value.maxLen) : Infinity };
}

/** The limit that a rule sets: 0 is a rule that is not there. */
function limit(...rules: readonly (bigint | undefined)[]): number {
  return Number(rules.find((rule) => rule !== undefined && rule > 0n) ?? Infinity);
}

function scalarName(scalar: ScalarType | undefined): string {
  switch (scalar) {
    case ScalarType.STRING:
      return "string";
    case ScalarType.BYTES:
      return "bytes";
    case ScalarType.BOOL:
      return "bool";
    case ScalarType.DOUBLE:
    case ScalarType.FLOAT:
      return "double";
    case ScalarType.UINT32:
    case ScalarType.UINT64:
    case ScalarType.FIXED32:
    case ScalarType.FIXED64:
      return "uint";
    default:
      return "int";
  }
}

/** Whether nothing is known of a value's type. */
export function isUnknown({ name, wraps }: Type): boolean {
  return name === "dyn" && wraps === undefined;
}

/** The name of a type, for people. */
export function describeType({ name, wraps, enum: desc, item }: Type): string {
  if (desc !== undefined) return desc.name;
  if (name === "list" && item !== undefined) return `list of ${describeType(item)}`;
  return wraps ?? name;
}
