import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import { FeatureSet_FieldPresence, isWrapperDesc, StructSchema } from "@bufbuild/protobuf/wkt";
import { fieldMember, fieldsOf, isSetIn, type Member, membersOf, propertyOf, type Shape } from "./shape.ts";

// Paths to what a message holds, by the names that the fields have in TypeScript: "email", "address.city". A path goes
// through messages and oneofs ("handling.hazardClass" is the value of that case), not through lists and maps.

/** The fields of a message as generated, without what belongs to the runtime. */
export type Fields<M> = Omit<M, keyof Message>;

/** The paths into a message, three fields deep at the most, and not into a message of a type that they come from. */
export type Path<M, Way extends readonly unknown[] = []> = Way["length"] extends 3
  ? never
  : { [K in keyof Fields<M> & string]: K | Deeper<K, M[K], [...Way, NameOf<M>]> }[keyof Fields<M> & string];

/** The type of a message. */
type NameOf<M> = M extends { readonly $typeName: infer Name } ? Name : never;

type Deeper<K extends string, T, Way extends readonly unknown[]> =
  IsOneof<T> extends true ? Cases<K, T, Way> : Into<K, Inner<T>, Way>;

type Cases<K extends string, O, Way extends readonly unknown[]> = {
  [C in CaseOf<O>]: `${K}.${C}` | Into<`${K}.${C}`, Inner<ValueOf<O, C>>, Way>;
}[CaseOf<O>];

type Into<K extends string, M, Way extends readonly unknown[]> = [M] extends [never]
  ? never
  : NameOf<M> extends Way[number]
    ? never
    : `${K}.${Path<M, Way>}`;

/** What stands at a path: `undefined` as well, if it goes through something that can be absent. */
export type At<M, P extends string> = P extends keyof M
  ? M[P]
  : P extends `${infer K}.${infer Rest}`
    ? K extends keyof M
      ? IsOneof<M[K]> extends true
        ? AtCase<M[K], Rest> | undefined
        : At<Inner<M[K]>, Rest> | (undefined extends M[K] ? undefined : never)
      : never
    : never;

type AtCase<O, P extends string> =
  P extends CaseOf<O>
    ? ValueOf<O, P>
    : P extends `${infer C}.${infer Rest}`
      ? At<Inner<ValueOf<O, C>>, Rest>
      : never;

/** The paths at which a `T` stands. */
export type PathTo<M, T> = { [P in Path<M>]: At<M, P> extends T ? P : never }[Path<M>];

type IsOneof<T> = [T] extends [{ case: string | undefined; value?: unknown }] ? true : false;
type Inner<T> = NonNullable<T> extends Message ? NonNullable<T> : never;

/** The names of the cases of a oneof. */
export type CaseOf<O> = O extends { case: infer C extends string } ? C : never;

/** The value of one case of a oneof. */
export type ValueOf<O, C> = O extends { case: C; value: infer V } ? V : never;

/** A path, ready to be followed. */
export interface CompiledPath {
  /** The fields that it goes through, the last one among them; a oneof that it ends in stands for all of its fields. */
  readonly fields: readonly DescField[];
  /** What stands at its end. */
  readonly end: Member;
  /** What stands there, the default of its type included; `undefined` if it, or something on the way, is absent. */
  readonly read: (message: Message) => unknown;
  /** The same, but `undefined` as well for what is not set. */
  readonly readSet: (message: Message) => unknown;
}

/** Prepares a path. Gives what is wrong with it, as a text, if it leads nowhere. */
export function compilePath(desc: DescMessage, path: string): CompiledPath | string {
  const [name = "", ...rest] = path.split(".");
  const member = membersOf(desc).find(({ localName }) => localName === name);
  if (member === undefined) return `${desc.typeName} has no field ${name}`;
  if (rest.length === 0) return endOf(member);
  if (member.kind === "oneof") return compileCase(member, rest);
  return deeper(endOf(member), rest);
}

/** Goes on from the message at the end of a path. */
function deeper(way: CompiledPath, rest: readonly string[]): CompiledPath | string {
  const field = way.fields.at(-1);
  if (rest.length === 0) return way;
  if (field?.fieldKind !== "message")
    return `${field?.parent.typeName}.${field?.name} is no single message, so that nothing follows it: ${rest.join(".")}`;
  if (isPlain(field.message))
    return `${field.parent.typeName}.${field.name} is a ${field.message.typeName}, which is read whole, so that nothing follows it: ${rest.join(".")}`;
  const inner = compilePath(field.message, rest.join("."));
  if (typeof inner === "string") return inner;
  const step = (read: CompiledPath["read"]) => (message: Message) => {
    const value = way.read(message);
    return value === undefined ? undefined : read(value as Message);
  };
  return {
    fields: [...way.fields, ...inner.fields],
    end: inner.end,
    read: step(inner.read),
    readSet: step(inner.readSet),
  };
}

/** What stands in a field as a plain value, and not as a message. */
function isPlain(message: DescMessage): boolean {
  return isWrapperDesc(message) || message.typeName === StructSchema.typeName;
}

/** Why a path does not lead to what must be there, as proto2 has it; `undefined` if it does, or need not. */
export function absenceProblem({ fields }: CompiledPath, target: Shape): string | undefined {
  if (target.count === "oneof" || !target.isRequired) return undefined;
  return fields.some(({ presence }) => presence === FeatureSet_FieldPresence.EXPLICIT)
    ? "the field to be made is required, the other one need not be set"
    : undefined;
}

function endOf(member: Member): CompiledPath {
  const read = (message: Message) => propertyOf(message, member.localName);
  const isSet = isSetIn(member);
  return {
    fields: fieldsOf(member),
    end: member,
    read,
    readSet: (message) => (isSet(message) ? read(message) : undefined),
  };
}

/** The value of one case of a oneof, or what is in it. */
function compileCase(
  { oneof, localName }: Extract<Member, { kind: "oneof" }>,
  [name = "", ...rest]: readonly string[],
): CompiledPath | string {
  const field = oneof.fields.find((field) => field.localName === name);
  if (field === undefined) return `${oneof.parent.typeName}.${oneof.name} has no case ${name}`;
  const read = (message: Message) => {
    const chosen = propertyOf(message, localName) as { case?: string; value?: unknown };
    return chosen.case === name ? chosen.value : undefined;
  };
  return deeper({ fields: [field], end: fieldMember(field), read, readSet: read }, rest);
}
