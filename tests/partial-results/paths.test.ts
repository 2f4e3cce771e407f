import { toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";
import { createPartialGroups } from "../../packages/gateway/src/consolidation/partial/groups.ts";
import { pathOf, type Step } from "../../packages/gateway/src/consolidation/partial/path.ts";
import { PublicError } from "../../packages/gateway/src/errors.ts";
import { PartialResultSchema } from "../../packages/gateway/src/gen/portico/api/v1/partial_result_pb.ts";
import type { Reason } from "../../packages/gateway/src/reasons.ts";

// What a client reads out of the paths, by the grammar of docs/partial-results.md, is what was missing.

/** One field that is missing: its path, step by step, and why. */
interface Missing {
  readonly steps: readonly Step[];
  readonly reason: Reason;
}

const step = fc.oneof(
  fc.constantFrom<Step>({ kind: "item", index: 0 }, { kind: "item", index: 1 }, { kind: "item", index: 2 }),
  fc.nat(999).map((index): Step => ({ kind: "item", index })),
  fc
    .oneof(fc.string(), fc.constantFrom("a.b", "]", '"', ",", "0-2", "*", "\\"), fc.integer(), fc.boolean())
    .map((key): Step => ({ kind: "key", text: JSON.stringify(key) })),
);
/** A list has items and a map keys, so what stands behind a name is of one kind. */
const level = fc
  .record({ name: fc.constantFrom("a", "b_c"), sub: fc.option(step, { nil: undefined }) })
  .map(({ name, sub }): Step[] => (sub === undefined ? [field(name)] : [field(`${name}_${sub.kind}`), sub]));
const missing: fc.Arbitrary<Missing> = fc.record({
  steps: fc
    .tuple(fc.array(level, { maxLength: 3 }), fc.constantFrom("x", "y_z"))
    .map(([levels, last]) => [...levels.flat(), field(last)]),
  reason: fc.constantFrom<Reason>("SERVICE_UNAVAILABLE", "NOT_FOUND"),
});

test("few fields are all named, each once", () => {
  fc.assert(
    fc.property(fc.array(missing, { maxLength: 12 }), (given) => {
      const all = inOrder(given);
      const { parts } = told(all);
      fc.pre(!parts.some(({ path }) => /\[\*\]|^\*$/.test(path)));
      const read = parts.flatMap(({ path, reason }) => expand(path).map((one) => `${reason} ${one}`));
      expect(read.sort()).toEqual(all.map(textOf).sort());
    }),
    { numRuns: 500 },
  );
});

test("any number of fields is counted, covered by the paths, and fits a header", () => {
  fc.assert(
    fc.property(fc.array(missing, { minLength: 50, maxLength: 1_500 }), (given) => {
      const all = inOrder(given);
      const { parts, bytes } = told(all);
      expect(bytes).toBeLessThanOrEqual(4_096);
      expect(parts.reduce((sum, { count }) => sum + count, 0)).toBe(all.length);
      const covers = parts.map(({ reason, path }) => ({ reason, covered: new Set(expand(path)), path }));
      for (const one of all) {
        const text = textOf(one).slice(one.reason.length + 1);
        const wide = pathOf(one.steps).wide;
        const by = covers.filter(
          ({ reason, path, covered }) =>
            reason === one.reason && (path === "*" || covered.has(text) || blur(path) === wide),
        );
        expect(by.length, `${text} by ${JSON.stringify(parts)}`).toBeGreaterThan(0);
      }
    }),
    { numRuns: 30 },
  );
});

function field(name: string): Step {
  return { kind: "field", name };
}

function textOf({ steps, reason }: Missing): string {
  const { before, last, after } = pathOf(steps);
  const subscript = last === undefined ? "" : last.kind === "item" ? last.index : last.text;
  return `${reason} ${before}${subscript}${after}`;
}

/** Each once, in the order in which an answer is walked. */
function inOrder(given: readonly Missing[]): Missing[] {
  const each = [...new Map(given.map((one) => [textOf(one), one])).values()];
  const key = ({ steps }: Missing) =>
    steps.map((step) => (step.kind === "item" ? String(step.index).padStart(4, "0") : JSON.stringify(step)));
  return each.sort((a, b) => (key(a).join() < key(b).join() ? -1 : 1));
}

function told(all: readonly Missing[]) {
  const groups = createPartialGroups();
  for (const { steps, reason } of all) groups.add(pathOf(steps), new PublicError(reason));
  const result = groups.result();
  return {
    parts: result?.missing ?? [],
    bytes: result === undefined ? 0 : toBinary(PartialResultSchema, result).byteLength,
  };
}

const bracket = /\[((?:"(?:\\.|[^"\\])*"|[^\]"])*)\]/g;

/** All paths that one path stands for. */
function expand(path: string): string[] {
  const subscripts = [...path.matchAll(bracket)];
  const last = subscripts.at(-1);
  if (last === undefined) return [path];
  const [whole, inside = ""] = last;
  const put = (text: string) =>
    `${path.slice(0, last.index)}[${text}]${path.slice(last.index + whole.length)}`;
  return (inside.match(/"(?:\\.|[^"\\])*"|[^,]+/g) ?? []).flatMap((item) => {
    const [, from, to] = /^(\d+)-(\d+)$/.exec(item) ?? [];
    if (from === undefined || to === undefined) return [put(item)];
    return Array.from({ length: Number(to) - Number(from) + 1 }, (_, index) =>
      put(`${Number(from) + index}`),
    );
  });
}

function blur(path: string): string {
  return path.replace(bracket, "[*]");
}
