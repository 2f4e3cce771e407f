import { writeFile } from "node:fs/promises";
import { StartError } from "../errors.ts";
import type { PublicService } from "../service.ts";
import { errorsPage } from "./errors.ts";
import { readArgs, UsageError } from "./key-options.ts";
import { type CommandIo, keysCommand } from "./keys.ts";
import { matrixCommand, matrixHelp } from "./matrix.ts";

/** What a command has of the world. Paths count from the current directory. */
export interface ProgramIo extends CommandIo {
  /** The public services. Asked for only by the commands that need them, since there may be something wrong with them. */
  readonly services: () => Promise<readonly PublicService[]>;
}

/**
 * Runs a command of `portico`.
 *
 * @param args the name of the command, and what follows
 * @returns the exit code: 0, 1 if something failed, 2 if the command makes no sense as it was given
 * @example process.exitCode = await runCommand(["matrix", "--format", "html"], io);
 */
export async function runCommand(args: readonly string[], io: ProgramIo): Promise<number> {
  const [name = "", ...rest] = args;
  if (isHelp(name)) return show(help, io);
  if (name === "keys") return keysCommand(rest, io);
  const command = Object.hasOwn(commands, name) ? commands[name as keyof typeof commands] : undefined;
  if (command === undefined) {
    io.err(`${name === "" ? "Nothing" : JSON.stringify(name)} is no command.\n\n${help}`);
    return 2;
  }
  if (rest.includes("--help") || rest.includes("-h")) return show(command.help, io);
  try {
    await command.run(rest, io);
    return 0;
  } catch (error) {
    return explain(error, name, io);
  }
}

const errorsHelp = `portico errors [--out <file>]
  Shows every code and reason that a call can fail with, as a page in Markdown.
    --out <file>        writes it into a file, in place of the standard output
`;

const commands = {
  matrix: { run: matrixCommand, help: matrixHelp },
  errors: { run: errorsCommand, help: errorsHelp },
};

const help = `portico <command>

  matrix   shows who may call each method, and who may read or set each guarded field
  keys     creates, lists and revokes API keys
  errors   shows every code and reason that a call can fail with

"portico <command> --help" tells more. Without a command, the gateway starts.
`;

async function errorsCommand(args: readonly string[], io: ProgramIo): Promise<void> {
  const { values } = readArgs(args, { out: { type: "string" } });
  if (values.out === undefined) io.out(errorsPage());
  else await writeFile(values.out, errorsPage());
}

function isHelp(argument: string): boolean {
  return argument === "--help" || argument === "-h" || argument === "help";
}

function show(text: string, io: ProgramIo): number {
  io.out(text);
  return 0;
}

function explain(error: unknown, name: string, { err }: ProgramIo): number {
  if (error instanceof UsageError) {
    err(`${error.message}\n"portico ${name} --help" tells more.\n`);
    return 2;
  }
  if (!(error instanceof StartError) && !isSystemError(error)) throw error;
  err(`${error.message}\n`);
  return 1;
}

/** A file that cannot be written, for example: its message says all. */
function isSystemError(error: unknown): error is Error {
  return error instanceof Error && "syscall" in error;
}
