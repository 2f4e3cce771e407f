import {
  createRegistry,
  type DescExtension,
  type DescFile,
  type DescMessage,
  type Message,
} from "@bufbuild/protobuf";
import { nestedTypes, pathToString } from "@bufbuild/protobuf/reflect";
import { createValidator, type Validator, type Violation } from "@bufbuild/protovalidate";
import { type FieldViolation, StartError } from "../../errors.ts";
import { createPatternBudget, mostMatched, type PatternBudget } from "./pattern-budget.ts";
import { createRequiredCheck } from "./required.ts";
import { ruleProblems } from "./rule-trial.ts";
import { hasRules, messagesIn } from "./ruled.ts";
import { createSizeCheck } from "./size-rules.ts";

/**
 * Finds what is wrong with a request: every required field (AIP-203) that it leaves out, and every rule of protovalidate
 * that it breaks. Empty if it is valid.
 *
 * Throws if a rule cannot be evaluated, which is no fault of the caller's.
 */
export type Validate = (desc: DescMessage, message: Message) => readonly FieldViolation[];

/**
 * Compiles the rules of validation of all requests: `(buf.validate.field)`, `.message` and `.oneof`, predefined ones
 * included, and `(google.api.field_behavior) = REQUIRED`. A request type without rules costs nothing per call.
 *
 * The words are those of protovalidate, made to stand behind the name of a field. They say what a rule asks for, and do
 * not repeat what the caller sent, unless a rule of your own puts it into them. What is far too large is all that is said
 * of a request that has such a thing: nothing else is looked at then.
 *
 * Rules need no limits beside them: no set of rules is refused for what it may cost. What is bounded is the work for one
 * request, whose rest is "more than can be checked", and so not valid:
 *
 * - 5,000 items of lists and entries of maps that rules look into, in all; a larger `max_items` or `max_pairs` raises it.
 * - 100,000 characters that are matched with patterns, in all; the `max_len` of a field with a pattern, times the
 *   `max_items` of its list, raises it.
 * - 100 violations of rules are reported.
 *
 * A rule in CEL of your own costs what it costs: `this.all(x, this.exists(y, ...))` is quadratic.
 *
 * Throws a {@link StartError} that lists every rule that does not work, with its message and field.
 *
 * @param inputs the types of all requests
 * @example
 * const validate = createValidate([method.input]);
 * validate(method.input, request); // [{ field: "line_items[2].product", description: "is required" }]
 */
export function createValidate(inputs: readonly DescMessage[]): Validate {
  const registry = createRegistry(...predefinedRules(inputs));
  const patterns = createPatternBudget();
  const validator = createValidator({ registry, regexMatch: patterns.matches });
  const problems = ruleProblems(new Set(inputs.flatMap(messagesIn)), validator, registry);
  if (problems.length > 0) throw new StartError(problems);
  const checks = new Map(inputs.map((desc) => [desc, createCheck(desc, validator, patterns)]));
  return (desc, message) => {
    const check = checks.get(desc);
    if (check === undefined) throw new Error(`the rules of ${desc.typeName} were not compiled`);
    return check(message);
  };
}

type Check = (message: Message) => readonly FieldViolation[];

function createCheck(desc: DescMessage, validator: Validator, patterns: PatternBudget): Check {
  const missing = createRequiredCheck(desc);
  const tooLarge = createSizeCheck(desc);
  const most = mostMatched(desc);
  const isRuled = messagesIn(desc).some(hasRules);
  return (message) => {
    const large = tooLarge(message);
    if (large.length > 0) return large;
    const required = missing(message);
    if (!isRuled) return required;
    patterns.start(most);
    const result = validator.validate(desc, message);
    if (patterns.isSpent()) return [tooMuchText(most)];
    if (result.kind === "error") throw result.error;
    if (result.kind === "valid") return required;
    const named = new Set(required.map(({ field }) => field));
    // Nobody reads so many; those of required fields are left out of them.
    const few = result.violations.slice(0, maxViolations + named.size);
    const broken = few.map(describe).filter(({ field }) => !named.has(field));
    return [...required, ...broken.slice(0, maxViolations)];
  };
}

const maxViolations = 100;

function tooMuchText(most: number): FieldViolation {
  return {
    field: "",
    description: `the request is more than can be checked: it may have ${most} characters in all its texts that must match a pattern`,
  };
}

function describe({ message, field: path, forKey }: Violation): FieldViolation {
  const last = path.at(-1);
  const words =
    last?.kind === "oneof"
      ? `one of ${last.fields.map(({ name }) => name).join(", ")} must be set`
      : rewordings.reduce((text, [pattern, words]) => text.replace(pattern, words), message);
  return { field: pathToString(path), description: forKey ? `key ${words}` : words };
}

/** The field's name stands before these words. A rule without words is quoted by the library, as a fact about itself. */
const rewordings: readonly (readonly [RegExp, string])[] = [
  [/^(value|map|repeated value) /, ""],
  [/^must be (at least|at most) (\d+) entries$/, "must have $1 $2 entries"],
  [/^"(.*)" returned false$/s, "does not satisfy $1"],
];

/** The rules of a company's own that files in use define: extensions of `buf.validate.StringRules`, for example. */
function predefinedRules(inputs: readonly DescMessage[]): DescExtension[] {
  const files = new Set<DescFile>(inputs.flatMap(messagesIn).map(({ file }) => file));
  for (const { dependencies } of files) for (const file of dependencies) files.add(file);
  return [...files]
    .flatMap((file) => [...nestedTypes(file)])
    .filter((type) => type.kind === "extension")
    .filter(({ extendee }) => extendee.typeName.startsWith("buf.validate."));
}
