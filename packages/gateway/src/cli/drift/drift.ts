import { join, relative } from "node:path";
import { readArgs, UsageError } from "../arguments.ts";
import { formatOf } from "../check/check.ts";
import type { ProgramIo } from "../command.ts";
import { load } from "../load.ts";
import { decisionsOf } from "./decisions.ts";
import { readLedger, writeLedger } from "./ledger.ts";
import { coveredBy, type DriftReport, reportDrift } from "./report.ts";
import type { Standing } from "./standings.ts";
import { surfaceOf } from "./surface.ts";

export const driftHelp = `portico drift [--ledger <file>] [--all] [--format text|json]
portico drift --hide <name> --because <text> [--ledger <file>]
  Says what was decided about every field and enum value that the internal services have: exposed, used by a relation or
  a computed field, hidden with a reason, handled by a handler, or undecided. What is undecided fails, with the line to
  write into the ledger, and the command that exposes it.
    --ledger <file>     where reasons are (default: ledger.json, beside the sources of the API)
    --all               lists what is decided as well
    --format <format>   text (default), or json, for programs: with everything that is decided
    --hide <name>       writes into the ledger that this stays inside: acme.users.v1.User.risk_score, or with .* all
                        fields of a message
    --because <text>    why
`;

/**
 * Runs `portico drift`. Throws a `UsageError` for arguments that make no sense, a `StartError` if the API does not load,
 * which is what a changed internal proto may do to it, and a `CommandError` for a ledger that cannot be read.
 *
 * @param args what follows `portico drift`
 * @returns the exit code: 0, or 1 if something is undecided, or wrong in the ledger
 */
export async function driftCommand(args: readonly string[], io: ProgramIo): Promise<number> {
  const { values } = readArgs(args, {
    ledger: { type: "string" },
    all: { type: "boolean" },
    format: { type: "string" },
    hide: { type: "string" },
    because: { type: "string" },
  });
  const path = values.ledger ?? ledgerPath(io);
  if (values.hide !== undefined || values.because !== undefined) {
    await hide(values.hide, values.because, path, io);
    return 0;
  }
  const format = formatOf(values.format);
  const report = reportDrift(await load(io), await readLedger(path));
  io.out(
    format === "json"
      ? `${JSON.stringify(report, null, 2)}\n`
      : textOf(report, relative("", path), values.all === true),
  );
  return report.undecided.length + report.problems.length > 0 ? 1 : 0;
}

/** Where the ledger of an API is. */
export function ledgerPath({ project }: Pick<ProgramIo, "project">): string {
  return join(project.appFolder, "ledger.json");
}

async function hide(
  name: string | undefined,
  reason: string | undefined,
  path: string,
  io: ProgramIo,
): Promise<void> {
  if (name === undefined)
    throw new UsageError("--because goes with --hide: name the field that stays inside");
  if (reason === undefined || reason.trim() === "")
    throw new UsageError('--because is not given: say why the field stays inside: --because "personal data"');
  const app = await load(io);
  const covered = coveredBy(name, surfaceOf(app.upstreams));
  if (covered.length === 0)
    throw new UsageError(
      `--hide is ${JSON.stringify(name)}, which the internal services do not have: give a full name, such as acme.users.v1.User.phone`,
    );
  const { exposed } = decisionsOf(app);
  if (covered.every((element) => exposed.has(element.name)))
    throw new UsageError(
      `--hide: ${name} is exposed as ${covered.flatMap((element) => [...(exposed.get(element.name) ?? [])]).join(", ")}`,
    );
  const ledger = await readLedger(path);
  await writeLedger(path, { ...ledger, hidden: { ...ledger.hidden, [name]: reason.trim() } });
}

function textOf({ standings, undecided, problems }: DriftReport, ledger: string, all: boolean): string {
  const sections = [
    ...(all ? [standings.map(lineOf).join("\n")] : []),
    ...(undecided.length === 0 ? [] : [undecidedText(undecided, ledger)]),
    ...(problems.length === 0 ? [] : [problems.map((problem) => `${ledger}: ${problem}`).join("\n")]),
    summaryOf(standings),
  ];
  return `${sections.join("\n\n")}\n`;
}

function undecidedText(undecided: DriftReport["undecided"], ledger: string): string {
  return [
    `Nobody has decided on these. Expose each, or write its line into ${ledger}: under hidden with the reason why it stays`,
    "inside, or under handled with the place where a handler or a loader deals with it.",
    ...undecided.map(({ name, ledgerLine, expose }) => `\n  ${name}\n    ${expose}\n    ${ledgerLine}`),
  ].join("\n");
}

function lineOf({ name, status, words, within }: Standing): string {
  const inside = within === undefined ? "" : ` with ${within}`;
  return `${status.padEnd(9)}  ${name}${inside}${words.length === 0 ? "" : `: ${words.join("; ")}`}`;
}

function summaryOf(standings: readonly Standing[]): string {
  const counts = Map.groupBy(standings, ({ status }) => status);
  const parts = (["exposed", "used", "hidden", "handled", "undecided"] as const).map(
    (status) => `${counts.get(status)?.length ?? 0} ${status}`,
  );
  return `${standings.length} internal fields and values: ${parts.join(", ")}.`;
}
