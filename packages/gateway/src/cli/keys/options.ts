import { readFile } from "node:fs/promises";
import * as z from "zod";
import { parseAccess } from "../../policy/access.ts";
import { type ApiKeyEntry, apiKeyEntry } from "../../policy/identity/api-keys.ts";
import { UsageError } from "../arguments.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** The file of keys that a command works on. */
export interface KeyFile {
  readonly path: string;
  /** How messages name it. */
  readonly name: string;
}

/** The file that `--file` gives, or else `API_KEYS_FILE`. */
export function fileOf(flag: string | undefined, env: Environment): KeyFile {
  const path = flag ?? env["API_KEYS_FILE"];
  if (path === undefined || path === "")
    throw new UsageError("API_KEYS_FILE is not set: set it to the path of the file of keys, or give --file");
  return { path, name: `${flag === undefined ? "API_KEYS_FILE" : "--file"} (${path})` };
}

/** What of an entry each flag gives. */
const flags: Readonly<Record<string, string>> = {
  name: "--name",
  roles: "--roles",
  tenant: "--tenant",
  limits: "--limit",
};

/** The entry, if it has the form of one. Throws a {@link UsageError} that names the flags which do not fit. */
export function checkedEntry(entry: ApiKeyEntry): ApiKeyEntry {
  const { error } = apiKeyEntry.safeParse(entry);
  if (error === undefined) return entry;
  const problems = error.issues.map(
    ({ path, message }) => `${flags[String(path[0])] ?? path.join(".")}: ${message}`,
  );
  throw new UsageError(problems.join("\n"));
}

const dayMs = 86_400_000;

/** The time that `--expires` means, in milliseconds since 1970. */
export function parseExpiry(text: string, now: number): number {
  const days = Number(/^(\d{1,5})d$/.exec(text)?.[1] ?? Number.NaN);
  if (days >= 1 && days <= 36_500) return now + days * dayMs;
  const day = z.iso.date().safeParse(text).success ? Date.parse(text) : Number.NaN;
  if (day > now) return day;
  throw new UsageError(
    `--expires is ${JSON.stringify(text)}: give days such as 90d, from 1 to 36500, or a day to come such as 2027-01-31`,
  );
}

/** Refuses roles that the access file does not have, if there is one. */
export async function refuseUnknownRoles(roles: readonly string[], env: Environment): Promise<void> {
  const path = env["ACCESS_FILE"];
  if (path === undefined || path === "") return;
  const file = `ACCESS_FILE (${path})`;
  const known = Object.keys(parseAccess(await readFile(path, "utf8"), file).roles);
  const unknown = roles.filter((role) => !known.includes(role));
  if (unknown.length > 0)
    throw new UsageError(
      `--roles: ${unknown.map((role) => JSON.stringify(role)).join(", ")} is no role of ${file}: it has ${known.sort().join(", ")}`,
    );
}
