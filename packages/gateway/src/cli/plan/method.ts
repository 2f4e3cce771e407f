import { PublicError } from "../../errors.ts";
import type { CacheRule } from "../../policy/cache-rule.ts";
import type { MethodEntry } from "../../policy/method-table.ts";
import { isPageSize } from "./answers.ts";
import { findNeeds } from "./fields.ts";
import type { KeyMatch } from "./keys.ts";
import { dependenciesOf, levelsOf } from "./levels.ts";
import type { LoaderKeys } from "./loaders.ts";
import { type RunOptions, runHandler } from "./run.ts";
import { atOnce, callsOf, type Step } from "./steps.ts";
import { Unplannable } from "./upstreams.ts";

/** What a public method asks of upstreams, at the most. */
export interface MethodPlan {
  /** `package.Service/Method`. */
  readonly method: string;
  readonly stream: boolean;
  /** Why there is no plan; `null` if there is one. */
  readonly problem: string | null;
  /** How many calls it makes at the most; for a stream, those that its messages do not add to. */
  readonly calls: number;
  /** How many more calls each message of a stream takes at the most. */
  readonly callsPerMessage: number;
  /** How many calls wait for each other, one after the other. */
  readonly levels: number;
  readonly permissions: readonly string[];
  /** How long its answers are kept, during which it makes no calls. */
  readonly cache: CacheRule | null;
  /** By level. */
  readonly steps: readonly PlannedStep[];
}

/** Calls of one method of an upstream, none of which waits for another. */
export interface PlannedStep {
  /** `crates.batchGetKeepers`; the second step of that name is `crates.batchGetKeepers#2`. */
  readonly name: string;
  /** 1 for calls that wait for none, 2 for those that wait for one of the first, and so on. */
  readonly level: number;
  readonly calls: number;
  readonly callsPerMessage: number;
  /** How many of the calls are under way at the same time. */
  readonly atOnce: number;
  /** Whether each call can have further pages, all of which are fetched: up to 100. */
  readonly paged: boolean;
  /** How long what it fetches is kept, during which it is not fetched again. */
  readonly cache: CacheRule | null;
  /** What is called in its place where the service does not have the method, the best first. */
  readonly otherwise: readonly string[];
  readonly stream: boolean;
  /** The steps that it waits for, but for those that these wait for. */
  readonly after: readonly string[];
  /** Whether the handler takes it even for an answer without fields. */
  readonly always: boolean;
  /** The fields of the answer that need it. */
  readonly fields: readonly string[];
}

/** How plans are found out. */
export interface PlanOptions {
  /** The most items in a list that nothing else limits. */
  readonly rows: number;
  readonly loaderKeys: LoaderKeys;
}

/** Finds out the plan of a method, by running its handler against upstreams that are simulated. */
export async function planMethod(entry: MethodEntry, options: PlanOptions): Promise<MethodPlan> {
  const { name, method, access, cache } = entry;
  const head = {
    method: name,
    stream: method.methodKind !== "unary",
    permissions: access.kind === "permission" ? access.permissions : [],
    cache: cache ?? null,
  };
  const worst = await findWorstRun(entry, options);
  if (typeof worst === "string")
    return { ...head, problem: worst, calls: 0, callsPerMessage: 0, levels: 0, steps: [] };
  const steps = await describeSteps(entry, worst, options);
  return {
    ...head,
    problem: null,
    calls: sumOf(steps.map(({ calls }) => calls)),
    callsPerMessage: sumOf(steps.map(({ callsPerMessage }) => callsPerMessage)),
    levels: Math.max(0, ...steps.map(({ level }) => level)),
    steps,
  };
}

interface WorstRun {
  readonly options: RunOptions;
  readonly steps: readonly Step[];
}

/**
 * Runs the handler with a request that has everything, or else with less; with one for a page, also with nothing, since a
 * filter may leave less to be fetched. Of those that it takes, the one with the most calls counts.
 *
 * @returns why it takes none, as a text
 */
async function findWorstRun(entry: MethodEntry, given: PlanOptions): Promise<WorstRun | string> {
  const runs: WorstRun[] = [];
  const errors: unknown[] = [];
  const isListing = entry.method.input.fields.some(isPageSize);
  for (const shape of ["full", "short", "bare"] as const) {
    if (runs.length > 0 && !(shape === "bare" && isListing)) continue;
    const options = { ...given, shape, match: await betterMatch(entry, { ...given, shape }) };
    const { steps, error } = await runHandler(entry, options);
    if (error instanceof Unplannable) return error.message;
    if (error === undefined) runs.push({ options, steps });
    else errors.push(error);
  }
  const [worst] = runs.sort((a, b) => callsIn(b.steps) - callsIn(a.steps));
  return worst ?? wordsOf(errors[0]);
}

/** By name, unless the handler goes further when keys are found in all fields of their type. */
async function betterMatch(entry: MethodEntry, given: Omit<RunOptions, "match">): Promise<KeyMatch> {
  const byName = await runHandler(entry, { ...given, match: "name", most: few });
  if (byName.error instanceof Unplannable) return "name";
  const byType = await runHandler(entry, { ...given, match: "type", most: few });
  if (byName.error !== undefined && byType.error === undefined) return "type";
  return byType.error === undefined && byType.steps.length > byName.steps.length ? "type" : "name";
}

/** Lists of so many items do, where it is not about their number. */
const few = 2;

async function describeSteps(
  entry: MethodEntry,
  { options, steps }: WorstRun,
  { loaderKeys }: PlanOptions,
): Promise<PlannedStep[]> {
  const names = namesOf(steps);
  const quick = await quicker(entry, { options, steps });
  const idsIn = async (options: RunOptions) => idsOf((await runHandler(entry, options)).steps);
  const after = await dependenciesOf(steps, (held) => idsIn({ ...quick, held }));
  const levels = levelsOf(steps, after);
  const perMessage = await callsPerMessage(entry, options, steps);
  const needs = await findNeeds(entry.method.output, (omitted) => idsIn({ ...quick, omitted }));
  const loadersOf = ({ method }: Step) => loaderKeys.get(method) ?? [];
  const planned = steps.map((step) => {
    const more = perMessage.get(step.id) ?? 0;
    return {
      name: names.get(step) ?? step.name,
      level: levels.get(step) ?? 1,
      calls: callsOf(step) - more,
      callsPerMessage: more,
      atOnce: atOnce(step),
      paged: loadersOf(step).some(({ paged }) => paged),
      cache: loadersOf(step).find(({ cache }) => cache !== undefined)?.cache ?? null,
      otherwise: [...new Set(loadersOf(step).flatMap(({ otherwise }) => otherwise))],
      stream: step.method.methodKind !== "unary",
      after: (after.get(step) ?? []).map((other) => names.get(other) ?? other.name),
      always: needs.own.has(step.id),
      fields: needs.byStep.get(step.id) ?? [],
    };
  });
  return planned.sort((a, b) => a.level - b.level);
}

/** Runs with short lists, if the handler takes the same steps for them. */
async function quicker(entry: MethodEntry, { options, steps }: WorstRun): Promise<RunOptions> {
  const quick = { ...options, most: few };
  const ids = idsOf((await runHandler(entry, quick)).steps);
  return steps.every(({ id }) => ids.has(id)) ? quick : options;
}

/** What a second message of a stream adds to the first. */
async function callsPerMessage(
  entry: MethodEntry,
  options: RunOptions,
  steps: readonly Step[],
): Promise<ReadonlyMap<string, number>> {
  if (entry.method.methodKind === "unary") return new Map();
  const once = new Map(steps.map((step) => [step.id, callsOf(step)]));
  const twice = await runHandler(entry, { ...options, messages: 2 });
  return new Map(twice.steps.map((step) => [step.id, callsOf(step) - (once.get(step.id) ?? 0)]));
}

/** In the sequence in which they began, the second of the same name is `#2`. */
function namesOf(steps: readonly Step[]): ReadonlyMap<Step, string> {
  return new Map(
    steps.map((step, index) => {
      const before = steps.slice(0, index).filter(({ name }) => name === step.name).length;
      return [step, before === 0 ? step.name : `${step.name}#${before + 1}`];
    }),
  );
}

function idsOf(steps: readonly Step[]): ReadonlySet<string> {
  return new Set(steps.map(({ id }) => id));
}

function callsIn(steps: readonly Step[]): number {
  return sumOf(steps.map(callsOf));
}

function sumOf(numbers: readonly number[]): number {
  return numbers.reduce((sum, number) => sum + number, 0);
}

function wordsOf(error: unknown): string {
  if (error instanceof PublicError) return error.rawMessage;
  return error instanceof Error ? error.message : String(error);
}
