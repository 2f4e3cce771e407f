import type { CacheRule } from "../../policy/cache-rule.ts";
import { sharersOf, shortTime } from "../matrix/words.ts";
import type { MethodPlan, PlannedStep } from "./method.ts";

/** The plans of some methods. */
export interface Plan {
  /** The most items in a list that nothing else limits, as was assumed. */
  readonly rows: number;
  readonly methods: readonly MethodPlan[];
}

/** What a method asks for, in one line: `3 calls at the most, in 2 levels`. */
export function summaryOf({ problem, calls, callsPerMessage, levels, cache, steps }: MethodPlan): string {
  if (problem !== null) return `could not be planned: ${problem}`;
  const total = [
    ...(calls > 0 || callsPerMessage === 0
      ? [calls === 0 ? "no calls" : `${count(calls, "call")} at the most`]
      : []),
    ...(callsPerMessage > 0 ? [`${count(callsPerMessage, "call")} for each message`] : []),
  ].join(" and ");
  const depth = calls + callsPerMessage > 1 ? `, in ${count(levels, "level")}` : "";
  const kept = cache === null ? "" : `; answers are ${keptWords(cache)}`;
  const pages = steps.some(({ paged }) => paged) ? ", further pages not counted" : "";
  return `${total}${depth}${pages}${kept}`;
}

/** How many calls a step has, with what else there is to say about them; empty for a single plain call. */
export function callWords({ calls, callsPerMessage, atOnce, paged, cache, stream }: PlannedStep): string {
  const many = calls > 1 && atOnce < calls ? `, ${atOnce} at a time` : "";
  return [
    ...(calls > 1 ? [`${count(calls, "call")}${many}`] : []),
    ...(callsPerMessage > 0 ? [`${count(callsPerMessage, "call")} for each message`] : []),
    ...(paged ? [calls > 1 ? "up to 100 pages each" : "up to 100 pages"] : []),
    ...(stream ? ["a stream"] : []),
    ...(cache === null ? [] : [keptWords(cache)]),
  ].join(", ");
}

/** What is said about a step, line by line, where there is room for that. */
export function linesOf(step: PlannedStep): readonly string[] {
  const { name, fields, otherwise } = step;
  return [
    name,
    callWords(step),
    ...fields.map((field) => `for ${field}`),
    ...otherwise.map((other) => `else ${other}`),
  ].filter((line) => line !== "");
}

function keptWords(cache: CacheRule): string {
  return `kept ${shortTime(cache.ttlMs + cache.staleMs)} ${sharersOf(cache)}`;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
