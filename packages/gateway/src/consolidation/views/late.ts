import { StartError } from "../../errors.ts";
import { membersOf } from "./shape.ts";
import type { Convertible, FieldPlan } from "./source.ts";

/**
 * Makes sure that what is declared late, as in `nested(() => partView, "parts")`, is there and fits: a view cannot see to it
 * itself, since it is made before. Looks into views and request maps, and into all that is nested in them.
 *
 * Throws a {@link StartError} that names every field for which it is not so.
 */
export function checkLate(roots: readonly Convertible[]): void {
  const problems: string[] = [];
  const found = new Set(roots);
  // A set gives what is added to it on the way as well.
  for (const outer of found)
    for (const [name, plan] of Object.entries(outer.fields))
      for (const { view, reads, problem } of plansIn(plan).map(resolve)) {
        if (view !== undefined) found.add(view);
        if (problem !== undefined) problems.push(`${placeOf(outer, name)}: ${reads.join(", ")}: ${problem}`);
      }
  if (problems.length > 0) throw new StartError(problems);
}

function plansIn(plan: FieldPlan): readonly FieldPlan[] {
  const inside = [...Object.values(plan.cases ?? {}), ...(plan.into === undefined ? [] : [plan.into])];
  return [plan, ...inside.flatMap(plansIn)];
}

interface Resolved {
  readonly reads: readonly string[];
  readonly view?: Convertible | undefined;
  readonly problem?: string;
}

function resolve(plan: FieldPlan): Resolved {
  const { reads } = plan;
  try {
    return { reads, view: plan.view };
  } catch (error) {
    if (error instanceof StartError) return { reads, problem: error.problems.join(", ") };
    return { reads, problem: error instanceof Error ? error.message : String(error) };
  }
}

/** As other problems name it. */
function placeOf({ from, to, ...outer }: Convertible, localName: string): string {
  const name = membersOf(to).find((member) => member.localName === localName)?.name ?? localName;
  return `${to.typeName}.${name}, in its ${"all" in outer ? "view" : "request map"} of ${from.typeName}`;
}
