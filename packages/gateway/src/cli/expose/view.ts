import type { DescEnum, DescFile } from "@bufbuild/protobuf";
import { type FoundCall, importBeside, importConstant, importsEnd, referTo, schemaName } from "./sources.ts";
import { blankOut, insert, partsIn, textAt } from "./text.ts";

/** An entry for the fields of a view. */
export interface NewEntry {
  /** The public field, by its local name. */
  readonly name: string;
  /** Its source, as code. */
  readonly code: string;
  /** The functions of the framework that the code calls. */
  readonly calls: readonly string[];
  /** The constants that the code names, with the sources that they stand in. */
  readonly constants: readonly { readonly name: string; readonly path: string }[];
  /** The enum map that the code names and that there is not yet. */
  readonly map: NewEnumMap | undefined;
}

/** An enum map to be written. */
export interface NewEnumMap {
  readonly name: string;
  readonly from: DescEnum;
  /** The public enum, which will be there soon: its name, and its file. */
  readonly to: string;
  readonly file: DescFile;
}

/** The code of an entry. */
export function entryText({ name, code }: Pick<NewEntry, "name" | "code">): string {
  return `${name}: ${code}`;
}

/**
 * Writes an entry into a view, with the imports and the enum map that it needs.
 *
 * @returns the changed source; `undefined` if it cannot be seen where the entry, or an import, has to stand
 */
export function addToView(call: FoundCall, entry: NewEntry): string | undefined {
  const { source, start } = call;
  const added = addEntry(call, entry);
  if (added === undefined) return undefined;
  // From the end to the beginning, so that positions stay true.
  const { map, calls, constants } = entry;
  const mapped = map === undefined ? added : addMap(added, start, map);
  const imported =
    mapped && importBeside(mapped, "view", map === undefined ? calls : [...calls, "enumByName"]);
  return constants
    .filter(({ path }) => path !== source.path)
    .reduce(
      (text, { name, path }) => text && importConstant({ path: source.path, text }, path, name),
      imported,
    );
}

function addEntry({ source: { text }, args }: FoundCall, entry: NewEntry): string | undefined {
  const fields = args[2];
  if (fields === undefined) return undefined;
  const blanked = blankOut(text);
  const open = fields.start + blanked.slice(fields.start, fields.end).search(/\S|$/);
  const close = blanked.slice(0, fields.end).trimEnd().length - 1;
  if (blanked[open] !== "{" || blanked[close] !== "}") return undefined;
  const last = blanked.slice(0, close).trimEnd().length;
  const comma = /[{,]/.test(blanked[last - 1] ?? "") ? "" : ",";
  return `${text.slice(0, last)}${comma}${text.slice(last, close).trimEnd()}\n  ${entryText(entry)},\n${text.slice(close)}`;
}

function addMap(text: string, start: number, { name, from, to, file }: NewEnumMap): string | undefined {
  const origin = referTo(text, from.file, schemaName(from), `Internal${schemaName(from)}`);
  if (origin === undefined) return undefined;
  const target = referTo(origin.text, file, `${to}Schema`, `Public${to}Schema`);
  if (target === undefined) return undefined;
  const declaration = `const ${name} = enumByName(${origin.expression}, ${target.expression}, {\n  onUnknown: "default",\n});`;
  // Imports stand before the view, so that it has moved by what they have grown.
  const before = gapBefore(target.text, start + target.text.length - text.length);
  return before === undefined
    ? insert(target.text, importsEnd(target.text), `\n\n${declaration}`)
    : insert(target.text, before, `${declaration}\n\n`);
}

/** Where the comment of a statement begins, or the statement; `undefined` unless an empty line stands before it. */
function gapBefore(text: string, start: number): number | undefined {
  const gap = text.lastIndexOf("\n\n", start) + 2;
  return gap >= 2 && blankOut(text).slice(gap, start).trim() === "" ? gap : undefined;
}

/**
 * The code of another relation of the same view, made to take another field of the same entity.
 *
 * @param call the view
 * @param name the field whose relation is the model
 * @param into how the entity becomes the new field
 */
export function relationLike(
  { source: { text }, args }: FoundCall,
  name: string,
  into: string,
): string | undefined {
  const fields = args[2];
  if (fields === undefined) return undefined;
  const blanked = blankOut(text);
  const inside = { start: blanked.indexOf("{", fields.start) + 1, end: blanked.lastIndexOf("}", fields.end) };
  const entry = partsIn(blanked, inside).find((part) =>
    new RegExp(`^${name}\\s*:`).test(textAt(blanked, part)),
  );
  if (entry === undefined) return undefined;
  const open = blanked.indexOf("(", entry.start);
  const [loader, key, , options] = partsIn(blanked, {
    start: open + 1,
    end: blanked.lastIndexOf(")", entry.end),
  });
  if (!/:\s*related\s*$/.test(blanked.slice(entry.start, open)) || !loader || !key || !options)
    return undefined;
  return `related(${textAt(text, loader)}, ${textAt(text, key)}, ${into}, ${textAt(text, options)})`;
}
