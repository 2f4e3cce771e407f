import type { DescField, DescMessage, DescMethod } from "@bufbuild/protobuf";
import { FieldMaskSchema } from "@bufbuild/protobuf/wkt";

/** Where a method takes a read mask (AIP-157), and what it is about: the resource. */
export interface ReadMask {
  /** The mask, in the request. */
  readonly field: DescField;
  /** The message that the paths of the mask begin at. */
  readonly desc: DescMessage;
  /** The field of the answer that holds it; `undefined` if it is the answer itself. */
  readonly holder: DescField | undefined;
}

/**
 * Finds the read mask of a method.
 *
 * @param holderName the field of the answer that holds it, from the method's policy
 * @returns `undefined` for a method without a mask; a text that says what is wrong, and what would do
 */
export function readMaskOf(
  { name, parent, input, output }: DescMethod,
  holderName: string | undefined,
): ReadMask | string | undefined {
  const mask = input.fields.find(({ name }) => name === "read_mask");
  const method = `${parent.typeName}.${name}`;
  if (mask === undefined)
    return holderName === undefined
      ? undefined
      : `${method}: (portico.v1.method).read_mask_field is for a method whose request has a read_mask, and ${input.typeName} has none: add google.protobuf.FieldMask read_mask, or leave the option out`;
  if (!isReadMask(mask))
    return `${input.typeName}.read_mask must be a single google.protobuf.FieldMask in no oneof (AIP-157): make it one, or name it otherwise`;
  const holders = output.fields.filter(({ message }) => message !== undefined && !isWellKnown(message));
  const named = holders.find(({ name }) => name === holderName);
  if (holderName !== undefined && named === undefined)
    return `${method}: (portico.v1.method).read_mask_field names ${JSON.stringify(holderName)}, which is no field of ${output.typeName} that holds messages: ${choice(holders)}`;
  if (named === undefined && !output.name.endsWith("Response"))
    return { field: mask, desc: output, holder: undefined };
  const [only, ...others] = holders;
  const holder = named ?? (others.length === 0 ? only : undefined);
  if (holder?.message === undefined)
    return `${method} has a read_mask, but ${output.typeName} does not tell what it is about: ${choice(holders)}`;
  return { field: mask, desc: holder.message, holder };
}

/** Whether a message is of those that have no fields in JSON, such as a timestamp: it is read whole, or not. */
export function isWellKnown({ typeName }: DescMessage): boolean {
  return typeName.startsWith("google.protobuf.");
}

/** One that stands in a oneof has no property of its own. */
function isReadMask({ fieldKind, message, oneof }: DescField): boolean {
  return fieldKind === "message" && message.typeName === FieldMaskSchema.typeName && oneof === undefined;
}

function choice(holders: readonly DescField[]): string {
  if (holders.length === 0)
    return "no field of it holds messages. Remove the read_mask, or put what it is about into a message";
  const options = holders.map(({ name }) => `{read_mask_field: "${name}"}`);
  return `write ${options.join(" or ")} into its (portico.v1.method)`;
}
