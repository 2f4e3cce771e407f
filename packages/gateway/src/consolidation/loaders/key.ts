import { type DescMessage, type Message, ScalarType } from "@bufbuild/protobuf";
import { type CompiledPath, compilePath } from "../views/path.ts";
import { membersOf } from "../views/shape.ts";
import type { Key } from "./options.ts";

/** A key, and the text that two keys of one loader have in common if, and only if, they are equal. */
export interface EntityKey {
  readonly value: Key;
  readonly text: string;
}

/** Names a key: by its value, that of each part for a key of several. */
export function entityKey(value: Key): EntityKey {
  return { value, text: isList(value) ? JSON.stringify(value.map(String)) : String(value) };
}

/** Reads the key of an entity. `undefined` if a part of it is absent. */
export type ReadKey = (entity: Message) => EntityKey | undefined;

/** Prepares the key of an entity. Gives what is wrong with it, as a text, if it is no key. */
export function compileKey(entity: DescMessage, paths: string | readonly string[]): ReadKey | string {
  const list = typeof paths === "string" ? [paths] : paths;
  if (list.length === 0) return `names no field: write ${suggestKey(entity)}`;
  const compiled = list.map((path) => compilePath(entity, path));
  const problem = compiled.map((it, index) => keyProblem(list[index] ?? "", it)).find((it) => it);
  if (problem !== undefined) return `${problem}: write ${suggestKey(entity)}`;
  const reads = compiled.flatMap((it) => (typeof it === "string" ? [] : [it.read]));
  return (message) => {
    const parts = reads.map((read) => read(message));
    if (parts.includes(undefined)) return undefined;
    // Scalars, as was checked above.
    return entityKey((typeof paths === "string" ? parts[0] : parts) as Key);
  };
}

function keyProblem(path: string, compiled: CompiledPath | string): string | undefined {
  if (typeof compiled === "string") return compiled;
  return isKeyPart(compiled) ? undefined : `${path} can be no key, as it is no number, text, bool or enum`;
}

function isKeyPart({ end }: Pick<CompiledPath, "end">): boolean {
  if (end.kind === "oneof") return false;
  const { field } = end;
  return field.fieldKind === "enum" || (field.fieldKind === "scalar" && field.scalar !== ScalarType.BYTES);
}

/** The fields of a message that could be its key, to be shown. */
function suggestKey(entity: DescMessage): string {
  const names = membersOf(entity)
    .filter((end) => isKeyPart({ end }))
    .map(({ localName }) => `"${localName}"`);
  return names.length === 0 ? "the path to a key" : `a path such as ${names.slice(0, 5).join(", ")}`;
}

/** `Array.isArray` does not know read-only lists. */
function isList(key: Key): key is Extract<Key, readonly unknown[]> {
  return Array.isArray(key);
}
