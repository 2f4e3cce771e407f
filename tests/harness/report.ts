import { cpus, totalmem } from "node:os";
import type { Figure } from "./figures.ts";
import { type Part, programme } from "./programme.ts";

/** What a report is about. */
export interface ReportFacts {
  readonly figures: readonly Figure[];
  readonly command: string;
  readonly at: Date;
}

/** The report of the programme, in Markdown: every row, with what was measured of it. */
export function writeReport({ figures, command, at }: ReportFacts): string {
  const missed = figures.filter(({ reached }) => !reached).length;
  return [
    "# Reliability and security: what was measured\n",
    `Written by \`${command}\` on ${at.toISOString().slice(0, 10)}, on ${machine()}.`,
    "",
    `${figures.length} figures, ${missed === 0 ? "all of them reached" : `${missed} of them **not reached**`}.`,
    "What must hold on any machine is asserted by the tests as well: a row that is here has not crashed the gateway, lost a",
    "request or let one in. Times and percentages depend on the machine.",
    "",
    ...programme.flatMap((part) => writePart(part, figures)),
  ].join("\n");
}

function writePart({ title, rows }: Part, figures: readonly Figure[]): string[] {
  const lines = rows.flatMap((row) => {
    const own = figures.filter(({ id }) => id === row.id);
    if (own.length === 0) return [line([row.id, row.test, row.expected, "not measured", ""])];
    return own.map(({ id, test, expected, measured, reached }) =>
      line([id, test, expected, measured, reached ? "yes" : "**not reached**"]),
    );
  });
  return [
    `## ${title}\n`,
    "| | test | expected | measured | reached |",
    "|---|---|---|---|---|",
    ...lines,
    "",
  ];
}

function line(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|").replaceAll("\n", " ")).join(" | ")} |`;
}

function machine(): string {
  const processors = cpus();
  const memory = Math.round(totalmem() / 2 ** 30);
  return `${processors.length} x ${processors[0]?.model ?? "an unknown processor"}, ${memory} GiB, Node ${process.version}`;
}
