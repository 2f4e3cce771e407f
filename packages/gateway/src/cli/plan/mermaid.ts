import { visible } from "../matrix/words.ts";
import type { MethodPlan } from "./method.ts";
import { linesOf, type Plan, summaryOf } from "./words.ts";

/** The plans as a Mermaid flowchart, for Markdown: a box for each step, in columns by level. */
export function planMermaid({ methods }: Plan): string {
  return ["flowchart LR", ...methods.flatMap(methodLines)].map((line) => `${line}\n`).join("");
}

function methodLines(plan: MethodPlan, index: number): string[] {
  const id = `m${index + 1}`;
  const idOf = new Map(plan.steps.map(({ name }, index) => [name, `${id}s${index + 1}`]));
  const levels = Map.groupBy(plan.steps, ({ level }) => level);
  return [
    `  subgraph ${id}[${text([plan.method])}]`,
    `    ${id}start([${text([summaryOf(plan)])}])`,
    ...[...levels].flatMap(([level, steps]) => [
      `    subgraph ${id}l${level}[${text([`level ${level}`])}]`,
      ...steps.map((step) => `      ${idOf.get(step.name)}[${text(linesOf(step))}]`),
      "    end",
    ]),
    ...plan.steps.flatMap(({ name, after }) => {
      const before = after.length === 0 ? [`${id}start`] : after.map((other) => idOf.get(other));
      return before.map((from) => `    ${from} --> ${idOf.get(name)}`);
    }),
    "  end",
  ];
}

/** In quotes, everything is text but for what is escaped here. */
function text(lines: readonly string[]): string {
  return `"${lines.map((line) => visible(line).replace(/[&<>"'#;`]/g, (it) => `#${it.charCodeAt(0)};`)).join("<br/>")}"`;
}
