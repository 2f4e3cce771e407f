import type { DescField, Message } from "@bufbuild/protobuf";
import type { Call } from "../../call.ts";
import type { CaseOf, ValueOf } from "./path.ts";
import { fieldMember, shapeOf } from "./shape.ts";
import {
  type CompiledSource,
  compileSource,
  type Derived,
  type FieldPlan,
  isProblems,
  Lacking,
  type Place,
  type Source,
} from "./source.ts";

/** A source for each case of a oneof. */
export type CaseSources<From, O> = {
  readonly [C in CaseOf<O>]: Source<From, ValueOf<O, C>>;
};

/**
 * Makes a oneof. It takes the first case whose source has a value; a case that never comes has `constant(undefined)`.
 * If none has, the oneof stays unset: so it is for a case of the internal oneof that no source takes from.
 *
 * A relation that makes a case which the answer will not have is still fetched if a case after it is wanted: whether
 * that one is taken depends on it.
 *
 * @example
 * payment: cases({ card: nested(cardView, "payment.card"), invoice: "payment.invoice", voucher: constant(undefined) })
 */
export function cases<From, O extends { readonly case: string | undefined }>(
  sources: CaseSources<From, O>,
): Derived<From, O> {
  // A case can be called as what every object has.
  const byCase = new Map(Object.entries(sources as Record<string, string | Derived<never, unknown>>));
  return { compile: (place) => compileCases(byCase, place) };
}

function compileCases(
  sources: ReadonlyMap<string, string | Derived<never, unknown>>,
  place: Place,
): CompiledSource | readonly string[] {
  const { target } = place;
  if (target.count !== "oneof") return [`cases(...) makes a oneof, the field to be made is ${target.text}`];
  const { oneof } = target;
  const problems = [...sources.keys()]
    .filter((name) => !oneof.fields.some(({ localName }) => localName === name))
    .map((name) => `the oneof has no case ${name}`);
  const compiled: Case[] = [];
  for (const field of oneof.fields) {
    const source = sources.get(field.localName);
    if (source === undefined) {
      problems.push(`case ${field.localName} has no source: write constant(undefined) if it never comes`);
      continue;
    }
    const fit = compileSource(source, { ...place, target: shapeOf(fieldMember(field)), setOnly: true });
    if (isProblems(fit)) problems.push(...fit.map((problem) => `case ${field.localName}: ${problem}`));
    else compiled.push({ field, name: field.localName, source: fit });
  }
  return problems.length > 0 ? problems : joined(compiled);
}

/** One case of a oneof, and what makes it. */
interface Case {
  readonly field: DescField;
  readonly name: string;
  readonly source: CompiledSource;
}

function joined(compiled: readonly Case[]): CompiledSource {
  const plan: FieldPlan = {
    kind: "cases",
    reads: [...new Set(compiled.flatMap(({ source }) => source.plan.reads))],
    cases: Object.fromEntries(compiled.map(({ name, source }) => [name, source.plan])),
  };
  if (compiled.every(({ source }) => "value" in source)) {
    const instant = compiled.flatMap(({ name, source }) =>
      "value" in source ? [{ name, value: source.value }] : [],
    );
    return { plan, value: (message) => first(instant, (value) => value(message)) };
  }
  return {
    plan,
    fill: async (messages, call) => {
      const last = compiled.findLastIndex(({ field }) => !call.omitted.has(field));
      const columns = await Promise.all(
        compiled
          .slice(0, last + 1)
          .map(async ({ name, source }) => ({ name, value: await valuesOf(source, messages, call) })),
      );
      return messages.map((_, index) => first(columns, (values) => values[index]));
    },
  };
}

async function valuesOf(
  source: CompiledSource,
  messages: readonly Message[],
  call: Call,
): Promise<readonly unknown[]> {
  return "value" in source ? messages.map(source.value) : source.fill(messages, call);
}

/** The first case that has a value. One that could not be had is told as such. */
function first<V>(
  sources: readonly { readonly name: string; readonly value: V }[],
  get: (value: V) => unknown,
): unknown {
  for (const { name, value } of sources) {
    const found = get(value);
    if (found instanceof Lacking) return new Lacking(found.error, caseOf(name, found.rest));
    if (found !== undefined) return caseOf(name, found);
  }
  return undefined;
}

function caseOf(name: string, value: unknown): unknown {
  return value === undefined ? undefined : { case: name, value };
}
