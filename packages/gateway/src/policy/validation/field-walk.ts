import type { DescField, DescMessage, Message } from "@bufbuild/protobuf";
import { type Path, type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";

/** Looks at one field of a message, and says what is next: the messages that it holds, the next field, or nothing. */
export type Visit = (holder: ReflectMessage, field: DescField, path: Path) => "enter" | "skip" | "stop";

/** Visits fields of a message and of all messages in it, in lists and in maps too, in the order of the proto. */
export type FieldWalk = (message: Message, visit: Visit) => void;

/**
 * Prepares a walk over the fields that matter, and those that lead to them. Reading options takes too long for every
 * call, so that it is done here.
 *
 * @returns nothing if no field matters: there is no walk to make then
 */
export function createFieldWalk(
  root: DescMessage,
  matters: (field: DescField) => boolean,
): FieldWalk | undefined {
  const fields = fieldsToVisit(root, matters);
  if (fields.get(root) === undefined) return undefined;
  const leads = ({ message }: DescField) => message !== undefined && fields.has(message);
  /** False if nothing is next. */
  const walk = (holder: ReflectMessage, path: Path, visit: Visit): boolean => {
    for (const field of fields.get(holder.desc) ?? []) {
      const here = [...path, field];
      const next = visit(holder, field, here);
      if (next === "stop") return false;
      if (next === "skip" || !leads(field) || !holder.isSet(field)) continue;
      for (const [step, inside] of messagesIn(holder, field))
        if (!walk(inside, [...here, ...step], visit)) return false;
    }
    return true;
  };
  return (message, visit) => void walk(reflect(root, message, false), [], visit);
}

/** The messages that a field holds, each with the end of its path: nothing for a single one, else an index or a key. */
function* messagesIn(
  holder: ReflectMessage,
  field: DescField,
): Iterable<readonly [step: Path, inside: ReflectMessage]> {
  // Items of lists and maps are typed by what the field may hold; here that is always a message.
  if (field.fieldKind === "message") yield [[], holder.get(field)];
  if (field.fieldKind === "list") {
    let index = 0;
    for (const item of holder.get(field))
      yield [[{ kind: "list_sub", index: index++ }], item as ReflectMessage];
  }
  if (field.fieldKind === "map") {
    for (const [key, value] of holder.get(field))
      yield [[{ kind: "map_sub", key: key as string | number | bigint | boolean }], value as ReflectMessage];
  }
}

/** The fields of each message that matter or lead to one that does; messages without any are left out. */
function fieldsToVisit(
  root: DescMessage,
  matters: (field: DescField) => boolean,
): ReadonlyMap<DescMessage, readonly DescField[]> {
  const reached = new Set([root]);
  for (const { fields } of reached)
    for (const { message } of fields) if (message !== undefined) reached.add(message);
  const leading = new Set([...reached].filter(({ fields }) => fields.some(matters)));
  const leads = ({ message }: DescField) => message !== undefined && leading.has(message);
  // Messages can hold each other, so that one found late can make earlier ones lead somewhere.
  for (let known = -1; known !== leading.size; ) {
    known = leading.size;
    for (const desc of reached) if (desc.fields.some(leads)) leading.add(desc);
  }
  return new Map(
    [...leading].map((desc) => [desc, desc.fields.filter((field) => matters(field) || leads(field))]),
  );
}
