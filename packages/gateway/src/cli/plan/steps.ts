import type { DescMethod } from "@bufbuild/protobuf";
import type { UpstreamDeclaration } from "../../upstream/upstream.ts";

/**
 * The calls of one method that belong together: they could all have been made at once, since none needs the answer of
 * another. One of a loader's batches and the next are one step; those for what the first batch led to are another.
 */
export interface Step {
  /** The same in every run: `crates.batchGetKeepers` and the round in which it began. */
  readonly id: string;
  /** `crates.batchGetKeepers`. */
  readonly name: string;
  readonly upstream: UpstreamDeclaration;
  readonly method: DescMethod;
  /** The round of its first call; rounds count from 1. */
  readonly begins: number;
  /** Those whose answers had what its calls ask for. */
  readonly sources: Set<Step>;
  /** How many calls were made in each round. */
  readonly rounds: Map<number, number>;
}

/** One call to an upstream, as it is made. */
export interface StepCall {
  readonly upstream: UpstreamDeclaration;
  readonly method: DescMethod;
  readonly round: number;
  /** The steps whose answers had something that stands in the request. */
  readonly sources: ReadonlySet<Step>;
}

/** Adds a call to the step that it belongs to, or to a new one, which is put at the end. */
export function addCall(steps: Step[], { upstream, method, round, sources }: StepCall): Step {
  const name = `${upstream.name}.${method.localName}`;
  const earliest = Math.max(0, ...[...sources].map(({ begins }) => begins));
  let step = steps.find((step) => step.name === name && step.begins > earliest);
  if (step === undefined) {
    step = {
      id: `${name}@${round}`,
      name,
      upstream,
      method,
      begins: round,
      sources: new Set(),
      rounds: new Map(),
    };
    steps.push(step);
  }
  for (const source of sources) step.sources.add(source);
  step.rounds.set(round, (step.rounds.get(round) ?? 0) + 1);
  return step;
}

/** How many calls a step has. */
export function callsOf({ rounds }: Step): number {
  return [...rounds.values()].reduce((sum, calls) => sum + calls, 0);
}

/** How many of them are under way at the same time. */
export function atOnce({ rounds }: Step): number {
  return Math.max(...rounds.values());
}
