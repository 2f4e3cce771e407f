import { readFile, writeFile } from "node:fs/promises";
import { relative } from "node:path";
import * as z from "zod";
import { StartError } from "../../errors.ts";
import { readJsonFile } from "../../json-file.ts";
import { CommandError } from "../arguments.ts";

const reasons = z.record(
  z.string(),
  z.string().refine((reason) => reason.trim() !== "", "write the reason"),
);

const ledgerSchema = z.strictObject({
  /** What stays inside, and why. */
  hidden: reasons.default({}),
  /** What a handler deals with, and where. */
  handled: reasons.default({}),
});

/** What was decided about internal fields that no view, loader or request map deals with. */
export type Ledger = Readonly<z.infer<typeof ledgerSchema>>;

/**
 * Reads a ledger. One that is not there is empty. Throws a {@link CommandError} that lists every problem in it, an entry without
 * a reason among them.
 */
export async function readLedger(path: string): Promise<Ledger> {
  try {
    return readJsonFile(ledgerSchema, await readFile(path, "utf8"), relative("", path));
  } catch (error) {
    // No gateway needs it to start.
    if (error instanceof StartError) throw new CommandError(error.problems.join("\n"));
    if (error instanceof Error && "code" in error && error.code === "ENOENT")
      return { hidden: {}, handled: {} };
    throw error;
  }
}

/** Writes a ledger as it is to be reviewed: sorted, a line for each entry. */
export async function writeLedger(path: string, ledger: Ledger): Promise<void> {
  await writeFile(path, ledgerText(ledger));
}

/** The text of a ledger. */
export function ledgerText({ hidden, handled }: Ledger): string {
  return `${JSON.stringify({ hidden: sorted(hidden), handled: sorted(handled) }, null, 2)}\n`;
}

function sorted(entries: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(entries).sort(([one], [other]) => (one < other ? -1 : 1)));
}

/** The entry that a name has, by itself or with all of its message. */
export function entryOf(
  entries: Readonly<Record<string, string>>,
  name: string,
  parent: string,
): string | undefined {
  return Object.hasOwn(entries, name) ? entries[name] : entries[`${parent}.*`];
}
