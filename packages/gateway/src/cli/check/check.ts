import { readArgs, UsageError } from "../arguments.ts";
import type { ProgramIo } from "../command.ts";
import { findProblems } from "./problems.ts";
import { type Warning, warningsOf } from "./warnings.ts";

export const checkHelp = `portico check [--strict] [--env] [--format text|json]
  Says everything that would keep the gateway from starting, without starting it: views, services, loaders, policies,
  rules of validation, and the access file if ACCESS_FILE names one. Then warns of what starts, but will hurt some day:
  relations by single calls, lists without an end, calls without a deadline, caches that nothing empties.
    --strict            makes warnings problems
    --env               checks all variables of the environment as well
    --format <format>   text (default), or json, for programs
`;

/**
 * Runs `portico check`. Throws a `UsageError` for arguments that make no sense.
 *
 * @param args what follows `portico check`
 * @returns the exit code: 0, or 1 if there are problems, or warnings with `--strict`
 */
export async function checkCommand(args: readonly string[], io: ProgramIo): Promise<number> {
  const { values } = readArgs(args, {
    strict: { type: "boolean" },
    env: { type: "boolean" },
    format: { type: "string" },
  });
  const format = formatOf(values.format);
  const { problems, app, methods } = await findProblems(io, values.env === true);
  const warnings = app === undefined || methods === undefined ? [] : warningsOf(app, methods);
  io.out(
    format === "json" ? `${JSON.stringify({ problems, warnings }, null, 2)}\n` : textOf(problems, warnings),
  );
  return problems.length > 0 || (values.strict === true && warnings.length > 0) ? 1 : 0;
}

/** Reads `--format`. Throws a `UsageError` for anything but `text`, the default, and `json`. */
export function formatOf(format = "text"): "text" | "json" {
  if (format === "text" || format === "json") return format;
  throw new UsageError(`--format is ${JSON.stringify(format)}: give text, json`);
}

function textOf(problems: readonly string[], warnings: readonly Warning[]): string {
  if (problems.length + warnings.length === 0) return "Nothing is wrong.\n";
  return [
    ...(problems.length === 0
      ? []
      : ["Portico cannot start:", ...problems.map((problem) => `  - ${problem}`)]),
    ...(warnings.length === 0 ? [] : ["Warnings:"]),
    ...warnings.flatMap(({ place, problem, remedy }) => [`  - ${place} ${problem}`, `    ${remedy}`]),
    "",
  ].join("\n");
}
