import { writeFile } from "node:fs/promises";
import type { App } from "../application.ts";
import { StartError } from "../errors.ts";
import { CommandError, readArgs, UsageError } from "./arguments.ts";
import { checkCommand, checkHelp } from "./check/check.ts";
import { driftCommand, driftHelp } from "./drift/drift.ts";
import { errorsPage } from "./errors.ts";
import { exposeCommand, exposeHelp } from "./expose/expose.ts";
import { type CommandIo, keysCommand } from "./keys/keys.ts";
import { matrixCommand, matrixHelp } from "./matrix/matrix.ts";
import { planCommand, planHelp } from "./plan/plan.ts";

/** What a command has of the world. Paths count from the current directory. */
export interface ProgramIo extends CommandIo {
  /** The API. Asked for only by the commands that need it, since there may be something wrong with it. */
  readonly app: () => Promise<App>;
  /** Where the API is written, for the commands that read or change its sources. */
  readonly project: Project;
}

/** The repository of an API. */
export interface Project {
  /** The path of the folder with the sources of the API: `app/`. */
  readonly appFolder: string;
  /** Runs a program that the repository has installed, or `portico` itself, in a folder. */
  readonly run: (program: string, args: readonly string[], folder: string) => Promise<ProgramEnd>;
}

/** How a program ended. */
export interface ProgramEnd {
  /** The exit code: 0 if all went well. */
  readonly code: number;
  /** What it printed, on both outputs. */
  readonly output: string;
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
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command === undefined) {
    io.err(`${name === "" ? "Nothing" : JSON.stringify(name)} is no command.\n\n${help}`);
    return 2;
  }
  if (rest.includes("--help") || rest.includes("-h")) return show(command.help, io);
  try {
    const code = await command.run(rest, io);
    return typeof code === "number" ? code : 0;
  } catch (error) {
    return explain(error, name, io);
  }
}

const errorsHelp = `portico errors [--out <file>]
  Shows every code and reason that a call can fail with, as a page in Markdown.
    --out <file>        writes it into a file, in place of the standard output
`;

/** A command. Gives an exit code, if that is not 0 whenever nothing is thrown. */
interface Command {
  readonly run: (args: readonly string[], io: ProgramIo) => Promise<unknown>;
  readonly help: string;
}

const commands: Readonly<Record<string, Command>> = {
  matrix: { run: matrixCommand, help: matrixHelp },
  plan: { run: planCommand, help: planHelp },
  check: { run: checkCommand, help: checkHelp },
  drift: { run: driftCommand, help: driftHelp },
  expose: { run: exposeCommand, help: exposeHelp },
  errors: { run: errorsCommand, help: errorsHelp },
};

const help = `portico <command>

  matrix   shows who may call each method, and who may read or set each guarded field
  plan     shows the calls to internal services that each method makes, at the most
  check    says what would keep the gateway from starting, and warns of what will hurt some day
  drift    says which internal fields nobody has decided on: to expose them, or to hide them for a reason
  expose   exposes an internal field: in the public proto, in the view, in all that is generated
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
  const isExplained = error instanceof CommandError || error instanceof StartError || isSystemError(error);
  if (!isExplained) throw error;
  err(`${error.message}\n`);
  return 1;
}

/** A file that cannot be written, for example: its message says all. */
function isSystemError(error: unknown): error is Error {
  return error instanceof Error && "syscall" in error;
}
