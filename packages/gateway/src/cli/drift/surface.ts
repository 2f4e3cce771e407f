import type { DescEnum, DescField, DescMessage } from "@bufbuild/protobuf";
import { type AnyUpstream, declaration } from "../../upstream/upstream.ts";

/** An internal field, or a value of an internal enum: what is decided on. */
export interface Element {
  /** `acme.v1.Parcel.weight`, or `acme.v1.ParcelState.PARCEL_STATE_LOST`. */
  readonly name: string;
  readonly parent: DescMessage | DescEnum;
  /** Absent for a value of an enum. */
  readonly field: DescField | undefined;
  /** Whether an answer can have it; else requests alone do. */
  readonly answered: boolean;
}

/**
 * What the internal services know: every field and value of what the methods of some upstreams take and answer, by its
 * name. What everyone knows, such as `google.protobuf.Timestamp`, has no inside.
 */
export function surfaceOf(upstreams: readonly AnyUpstream[]): ReadonlyMap<string, Element> {
  const methods = upstreams.flatMap((upstream) => upstream[declaration].service.methods);
  const answered = reachable(methods.map(({ output }) => output));
  const asked = reachable(methods.map(({ input }) => input));
  const elements = [...new Set([...answered, ...asked])].flatMap((parent) =>
    elementsOf(parent, answered.has(parent)),
  );
  return new Map(elements.map((element) => [element.name, element]));
}

/** The name of a field among elements. */
export function nameOf({ parent, name }: DescField): string {
  return `${parent.typeName}.${name}`;
}

/** What a field holds that has an inside of its own: a message, or an enum. */
export function insideOf({ message, enum: values }: DescField): DescMessage | DescEnum | undefined {
  const inside = message ?? values;
  return inside === undefined || isCommon(inside) ? undefined : inside;
}

/** Whether a type belongs to everyone: it is copied as it is. */
export function isCommon({ typeName }: DescMessage | DescEnum): boolean {
  return /^google\.(protobuf|type|rpc)\./.test(typeName);
}

/** Some messages, and all that stands in them. */
export function reachable(roots: readonly DescMessage[]): ReadonlySet<DescMessage | DescEnum> {
  const found = new Set<DescMessage | DescEnum>(roots.filter((root) => !isCommon(root)));
  // A set gives what is added to it on the way as well.
  for (const desc of found)
    for (const inside of desc.kind === "message" ? desc.fields.map(insideOf) : [])
      if (inside !== undefined) found.add(inside);
  return found;
}

function elementsOf(parent: DescMessage | DescEnum, answered: boolean): Element[] {
  if (parent.kind === "enum")
    return parent.values.map(({ name }) => ({
      name: `${parent.typeName}.${name}`,
      parent,
      field: undefined,
      answered,
    }));
  return parent.fields.map((field) => ({ name: nameOf(field), parent, field, answered }));
}
