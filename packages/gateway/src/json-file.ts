import type * as z from "zod";
import { StartError } from "./errors.ts";

/**
 * Reads the text of a JSON file by a schema. Throws a {@link StartError} that lists every problem with its place, such as
 * `access.json: roles.admin[0]: must be ...`.
 *
 * @param file how messages name the file
 */
export function readJsonFile<S extends z.ZodType>(schema: S, text: string, file: string): z.output<S> {
  const result = schema.safeParse(parse(text, file));
  if (result.success) return result.data;
  throw new StartError(
    result.error.issues.map(({ path, message }) => `${file}: ${placeOf(path)}: ${message}`),
  );
}

function parse(text: string, file: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new StartError([`${file} is not JSON: ${error instanceof Error ? error.message : String(error)}`]);
  }
}

function placeOf(path: readonly PropertyKey[]): string {
  const place = path.map((part) => (typeof part === "number" ? `[${part}]` : `.${String(part)}`)).join("");
  return place === "" ? "the file" : place.replace(/^\./, "");
}
