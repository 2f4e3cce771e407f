import { visible } from "../matrix/words.ts";
import type { MethodPlan, PlannedStep } from "./method.ts";
import { callWords, type Plan, summaryOf } from "./words.ts";

/**
 * The plans as text to be committed and reviewed: a method stays as it is while its calls do, whatever becomes of the
 * others.
 */
export function planText({ rows, methods }: Plan): string {
  return [legend(rows), ...methods.map(methodText)].join("\n\n").concat("\n");
}

function legend(rows: number): string {
  return `The calls to internal services that each method makes, at the most.
Written by: npx -y pnpm@12 portico plan

  The number is the level: calls of one level are made side by side, after those of the level before, or some of them.
  Found out by running the handlers, with ${rows} items in each list that has no limit, all of them different.
  A call "for" fields is not made if the caller may not read them, or does not select them.
  What follows "else" is called in its place where the service does not have the method.`;
}

function methodText(plan: MethodPlan): string {
  const { method, steps } = plan;
  const cells = steps.map((step) => cellsOf(step, steps));
  const widths = [0, 1, 2].map((column) => Math.max(0, ...cells.map((row) => row[column]?.length ?? 0)));
  const lines = cells.map((row) =>
    `  ${row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .filter((_, column) => widths[column] !== 0)
      .join("  ")}`.trimEnd(),
  );
  return [`${method}   ${visible(summaryOf(plan))}`, ...lines].join("\n");
}

function cellsOf(step: PlannedStep, steps: readonly PlannedStep[]): readonly string[] {
  const { level, name, after, fields, otherwise } = step;
  const before = steps.filter((other) => other.level === level - 1);
  // Where it waits for all of the level before, the number says so.
  const isPlain = before.length === after.length && before.every((other) => after.includes(other.name));
  const notes = [
    ...(isPlain ? [] : [`after ${after.join(", ")}`]),
    ...(fields.length === 0 ? [] : [`for ${fields.join(", ")}`]),
    ...(otherwise.length === 0 ? [] : [`else ${otherwise.join(", ")}`]),
  ];
  return [String(level), name, callWords(step), notes.join("; ")];
}
