import { create, type DescField, type DescMessage, type Message } from "@bufbuild/protobuf";
import type { Wanted, WantedFields } from "./wanted.ts";

/** Makes a copy with some of the fields. */
export type Copy = (message: Message) => Message;

/** A message, by the local names of its fields. */
type Properties = Record<string, unknown>;

/** Takes one property of a message over into its copy, or leaves it blank. */
type Take = (message: Properties, copy: Properties) => void;

/**
 * Prepares to copy messages with the fields alone that are wanted. What is wanted whole is not copied but shared; what
 * the runtime keeps of fields that it does not know is left out.
 *
 * A copy goes no deeper than the paths of a mask, whatever the depth of the message.
 */
export function createCopy(desc: DescMessage, wanted: WantedFields): Copy {
  const takes = desc.members.flatMap((member) =>
    member.kind === "oneof" ? takeCase(member.localName, member.fields, wanted) : takeField(member, wanted),
  );
  return (message) => {
    const copy = create(desc);
    for (const take of takes) take(message as unknown as Properties, copy as unknown as Properties);
    return copy;
  };
}

function takeField(field: DescField, wanted: WantedFields): Take[] {
  const inside = wanted.get(field);
  if (inside === undefined) return [];
  const name = field.localName;
  const change = createChange(field, inside);
  return [
    (message, copy) => {
      // A default of proto2 stands in the prototype, and sets nothing.
      const value = Object.hasOwn(message, name) ? message[name] : undefined;
      if (value !== undefined) copy[name] = change(value);
    },
  ];
}

/** What a oneof can hold. */
interface Chosen {
  readonly case: string | undefined;
  readonly value?: unknown;
}

function takeCase(name: string, fields: readonly DescField[], wanted: WantedFields): Take[] {
  const changes = new Map(
    fields.flatMap((field) => {
      const inside = wanted.get(field);
      return inside === undefined ? [] : [[field.localName, createChange(field, inside)] as const];
    }),
  );
  if (changes.size === 0) return [];
  return [
    (message, copy) => {
      const chosen = message[name] as Chosen | undefined;
      const change = chosen?.case === undefined ? undefined : changes.get(chosen.case);
      if (change !== undefined) copy[name] = { case: chosen?.case, value: change(chosen?.value) };
    },
  ];
}

/** What becomes of the value of a field of which some, or all, is wanted. */
function createChange({ fieldKind, message }: DescField, inside: Wanted): (value: unknown) => unknown {
  if (inside === "all" || message === undefined) return (value) => value;
  const copy = createCopy(message, inside);
  switch (fieldKind) {
    case "list":
      return (value) => (value as readonly Message[]).map(copy);
    case "map":
      // Made so that a key "__proto__" is one like any other.
      return (value) =>
        Object.fromEntries(
          Object.entries(value as Readonly<Record<string, Message>>).map(([key, item]) => [key, copy(item)]),
        );
    default:
      return (value) => copy(value as Message);
  }
}
