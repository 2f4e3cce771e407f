import type { Step } from "./steps.ts";

/** For each step, those that it waits for, but for those that these wait for. */
export type Dependencies = ReadonlyMap<Step, readonly Step[]>;

/**
 * Finds out which step waits for which: those whose answers it asks with, and those without whose answers it does not
 * begin. For the latter, each step is held back once.
 *
 * @param steps in the sequence in which they began
 * @param holding runs the method without the answers of a step, and tells which steps it takes
 */
export async function dependenciesOf(
  steps: readonly Step[],
  holding: (id: string) => Promise<ReadonlySet<string>>,
): Promise<Dependencies> {
  const all = new Map(steps.map((step) => [step, new Set(step.sources)]));
  for (const held of steps) {
    const later = steps.filter(({ begins }) => begins > held.begins);
    if (later.length === 0) continue;
    const begun = await holding(held.id);
    for (const step of later) if (!begun.has(step.id)) all.get(step)?.add(held);
  }
  return new Map(steps.map((step) => [step, direct([...(all.get(step) ?? [])], all)]));
}

/** Without those that are waited for by way of others. */
function direct(waitedFor: readonly Step[], all: ReadonlyMap<Step, ReadonlySet<Step>>): Step[] {
  const leadsTo = (from: Step, to: Step): boolean =>
    [...(all.get(from) ?? [])].some((next) => next === to || leadsTo(next, to));
  return waitedFor.filter((step) => !waitedFor.some((other) => other !== step && leadsTo(other, step)));
}

/** The level of each step: 1 if it waits for none, else one more than the highest of those that it waits for. */
export function levelsOf(steps: readonly Step[], dependencies: Dependencies): ReadonlyMap<Step, number> {
  const levels = new Map<Step, number>();
  // Whatever a step waits for began before it.
  for (const step of [...steps].sort((a, b) => a.begins - b.begins))
    levels.set(step, 1 + Math.max(0, ...(dependencies.get(step) ?? []).map((it) => levels.get(it) ?? 0)));
  return levels;
}
