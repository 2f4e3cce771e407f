import { type CelResult, celError, isCelError, parse, plan } from "@bufbuild/cel";
import { create, type DescMessage, type Message } from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { type Timestamp, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { StartError } from "../../errors.ts";
import { type Authenticated, anonymous, type Principal } from "../principal.ts";
import type { Rights } from "../rights.ts";
import { sampleOf } from "../validation/sample.ts";
import { checkCondition } from "./check.ts";
import { type Facts, factsOf, permissionVariable } from "./principal-facts.ts";

/** What must be true of a call: the compiled form of `portico.v1.MethodPolicy.condition`. */
export interface Condition {
  readonly source: string;
  /** Whether it depends on who calls. */
  readonly readsPrincipal: boolean;
  /** Every permission that it asks for with `principal.has()`. */
  readonly permissions: readonly string[];
  /**
   * Whether it is true of a call. An error says why that cannot be told, such as that an anonymous caller has no
   * subject; only `true` lets the call in. Never throws.
   *
   * @param request of the type that the condition was compiled for, and valid: the rules of validation bound the time
   * @param now in milliseconds since 1970
   */
  readonly holds: (
    request: Message,
    principal: Principal,
    rights: Pick<Rights, "has">,
    now: number,
  ) => boolean | Error;
}

/**
 * Compiles a condition, an expression in CEL (cel.dev) over
 *
 * - `principal`, with `kind`, `subject`, `issuer`, `tenant`, `roles` and `has("a.permission")`. What a caller does not
 *   have makes a comparison with it fail, whatever it is compared with; `has(principal.tenant)` asks for it.
 * - `request`, with the field names of the proto; enum values as `Kind.KIND_NAME`.
 * - `now`, a timestamp.
 *
 * Its time is bounded, with the help of rules of validation:
 *
 * - Loops (`all`, `exists`, `exists_one`, `map`, `filter`) do not stand in loops, and only go through lists and maps that a
 *   rule limits to 500 items.
 * - `matches` has a pattern that is written out, and a text that a rule limits to 10,000 characters. So has `contains`,
 *   which looks for something that is written out, or for 1,000 characters at the most; and what reads a text, such as
 *   `int()` or `timestamp()`. In a loop, the limit is for all of its rounds together.
 * - In a loop, `+` puts together texts or lists of 100,000 characters or items at the most, in all rounds; and a look into
 *   a time zone, such as `time.getHours("Europe/Paris")`, only stands in one of 50 rounds or less.
 *
 * Throws a {@link StartError} that lists everything that is wrong: unknown names and fields, types that do not fit,
 * permissions that are not written out, loops without a limit, and what is the same for every call.
 *
 * @param input the type of the requests
 * @example
 * const condition = compileCondition("request.user_id == principal.subject", method.input);
 * if (condition.holds(request, principal, rights, Date.now()) !== true) throw new PublicError("CONDITION_NOT_MET");
 */
export function compileCondition(source: string, input: DescMessage): Condition {
  const checked = checkCondition(parsed(source), input);
  if (checked.problems.length > 0) throw new StartError(checked.problems);
  const { permissions, variables } = checked;
  const run = plan(checked.env, checked.expr) as Run;
  const problem = constantProblem(run, variables);
  if (problem !== undefined) throw new StartError([problem]);
  const readsNow = variables.has("now");
  const asked = permissions.map((permission) => ({ permission, variable: permissionVariable(permission) }));
  const condition: Condition = {
    source,
    readsPrincipal: [...variables].some((name) => name !== "request" && name !== "now"),
    permissions,
    holds: (request, principal, rights, now) => {
      try {
        const values: Values = Object.create(factsOf(principal));
        values["request"] = reflect(input, request);
        if (readsNow) values["now"] = timestampFromMs(now);
        for (const { permission, variable } of asked) values[variable] = rights.has(permission);
        return verdict(run(values));
      } catch (error) {
        return error instanceof Error ? error : new Error("the condition failed", { cause: error });
      }
    },
  };
  const problems = trialProblems(condition, input);
  if (problems.length > 0) throw new StartError(problems);
  return condition;
}

/** The values of the variables of one call. The library takes errors for values, but its types do not say so. */
type Values = Record<string, Facts[string] | ReflectMessage | Timestamp>;
type Run = (values: Values) => CelResult;

function parsed(source: string): ReturnType<typeof parse> {
  try {
    return parse(source);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartError([`is not CEL, as cel.dev describes it: ${reason.replace(/^<input>:/, "")}`]);
  }
}

function verdict(result: CelResult): boolean | Error {
  if (typeof result === "boolean" || isCelError(result)) return result;
  return new Error(`the condition gave a ${typeof result}, ${notBoolean}`);
}

const notBoolean = "not true or false";

/** If it gives a value although nothing is known of the call, it gives it for every call. */
function constantProblem(run: Run, variables: ReadonlySet<string>): string | undefined {
  const unknown: Values = Object.create(null);
  for (const name of variables) unknown[name] = celError(`${name} is not known`);
  const result = run(unknown);
  return typeof result === "boolean"
    ? `is ${result} for every call: leave it out, or compare something`
    : undefined;
}

/** Finds what the types did not tell, by a run with an empty request and one with something in each field. */
function trialProblems({ holds }: Condition, input: DescMessage): string[] {
  const results = [create(input), sampleOf(input)].flatMap((request) =>
    trialPrincipals.flatMap((principal) =>
      [true, false].map((granted) => holds(request, principal, { has: () => granted }, 0)),
    ),
  );
  const messages = results.flatMap((result) => (result instanceof Error ? messagesOf(result) : []));
  return [...new Set(messages.filter((message) => isMistake.test(message)))].map((message) => {
    const isUnset = message.includes("null_type");
    return `fails for some calls: ${message}${isUnset ? "; ask first for has(request.field)" : ""}`;
  });
}

/** What the library says of a mistake in the condition, rather than of a call that does not fit it. */
const isMistake = new RegExp(
  `${notBoolean}|no matching overload|type mismatch|unbound function|unsupported key type|unknown (type|field)`,
  "i",
);

/** CEL puts the errors of both sides of an `||` into one. */
function messagesOf(error: Error): string[] {
  const others = Array.isArray(error.cause) ? error.cause.filter((it) => it instanceof Error) : [];
  return [error.message, ...others.flatMap(messagesOf)];
}

const somebody: Authenticated = {
  kind: "token",
  id: "trial",
  subject: "subject",
  issuer: "issuer",
  tenant: "tenant",
  roles: ["role"],
};
const trialPrincipals: readonly Principal[] = [
  anonymous,
  somebody,
  { ...somebody, tenant: undefined, roles: [] },
];
