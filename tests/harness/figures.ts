import { appendFileSync } from "node:fs";

/** One row of the programme, as it went. */
export interface Figure {
  /** Of the programme: `B1`. Several figures may have one. */
  readonly id: string;
  /** What was done, with its size: "upstream killed and restarted x 20". */
  readonly test: string;
  readonly expected: string;
  readonly measured: string;
  readonly reached: boolean;
}

/**
 * Records what a test of the programme measured: prints a line, and appends it to the file that `RELIABILITY_FIGURES`
 * names, which the report is made from.
 *
 * For what depends on the machine. What must hold on any machine is asserted by the test as well.
 *
 * @example figure({ id: "B1", test: "upstream killed x 20", expected: "<= 50 ms", measured: "12 ms", reached: true });
 */
export function figure(row: Figure): void {
  const mark = row.reached ? "reached" : "NOT REACHED";
  process.stdout.write(`${row.id} ${mark}: ${row.test}: ${row.measured} (expected: ${row.expected})\n`);
  const file = process.env["RELIABILITY_FIGURES"];
  if (file) appendFileSync(file, `${JSON.stringify(row)}\n`);
}
