import { parseArgs } from "node:util";

/** The command cannot be run as it was given. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The command cannot do what it was asked for: says why. */
export class CommandError extends Error {
  override readonly name = "CommandError";
}

type Flags = NonNullable<NonNullable<Parameters<typeof parseArgs>[0]>["options"]>;

/** Reads the flags of a command. Throws a {@link UsageError} for one that it does not have. */
export function readArgs<const F extends Flags>(
  args: readonly string[],
  options: F,
  allowPositionals = false,
) {
  try {
    return parseArgs({ args: [...args], options, allowPositionals });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}
