import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** The path of the first of these programs that is installed. */
export function findProgram(...names: readonly string[]): string | undefined {
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  return names.flatMap((name) => folders.map((folder) => join(folder, name))).find(isExecutable);
}

/**
 * Whether tests that need one of these programs are to be skipped: a person may do without it. In CI it counts as
 * there, so that the tests fail instead of being forgotten.
 */
export function isMissing(...names: readonly string[]): boolean {
  return findProgram(...names) === undefined && process.env["CI"] !== "true";
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
