import { type CelEnv, celEnv } from "@bufbuild/cel";
import type {
  Expr,
  Expr_Call,
  Expr_Comprehension,
  Expr_CreateList,
  Expr_CreateStruct,
  Expr_Select,
  ParsedExpr,
} from "@bufbuild/cel-spec/cel/expr/syntax_pb.js";
import { createRegistry, type DescMessage } from "@bufbuild/protobuf";
import { usedTypes } from "@bufbuild/protobuf/reflect";
import { DurationSchema, TimestampSchema } from "@bufbuild/protobuf/wkt";
import { isName, macroOf, qualifiedName, rebuilt } from "./ast.ts";
import { literalProblems, typeOfCall } from "./calls.ts";
import { callProblems, loopProblems, roundsOf } from "./cost.ts";
import { either, isBool } from "./fit.ts";
import {
  type Context,
  checkMember,
  checkName,
  checkPermission,
  checkTypeName,
  failed,
  type Part,
  type Scope,
  variable,
} from "./names.ts";
import { createPatterns } from "./patterns.ts";
import { roleSet } from "./principal-facts.ts";
import { suggest } from "./suggest.ts";
import { bool, describeType, dyn, type Type, typeOfConstant, typeOfSelect, unknown } from "./types.ts";

/** A condition whose every name and type was looked at. */
export interface Checked {
  readonly env: CelEnv;
  /** What to run: each fact about the principal is a variable of its own, so that a missing one is an error. */
  readonly expr: Expr;
  readonly problems: readonly string[];
  /** The variables that it reads. */
  readonly variables: ReadonlySet<string>;
  /** The permissions that it asks `principal.has()` for. */
  readonly permissions: readonly string[];
}

/**
 * Looks at every part of a condition: names, fields, functions, types and costs. (The library has no type checker.)
 *
 * @param input the type of `request`
 */
export function checkCondition(parsed: ParsedExpr & { readonly expr: Expr }, input: DescMessage): Checked {
  const types = [input, ...usedTypes(input)];
  const context: Context = {
    env: celEnv({ registry: createRegistry(...types), re2: createPatterns() }),
    parsed,
    input,
    types: new Map([TimestampSchema, DurationSchema, ...types].map((type) => [type.typeName, type])),
    problems: new Set(),
    permissions: new Set(),
    variables: new Set(),
  };
  const { expr, type } = check(parsed.expr, { names: new Map(), rounds: 0 }, context);
  if (!isBool(type))
    context.problems.add(`gives a value of type ${describeType(type)}, but must be true or false`);
  const { env, problems, variables, permissions } = context;
  return { env, expr, problems: [...problems], variables, permissions: [...permissions] };
}

function check(expr: Expr, scope: Scope, context: Context): Part {
  switch (expr.exprKind.case) {
    case "constExpr":
      return { expr, type: typeOfConstant(expr.exprKind.value) };
    case "identExpr":
      return checkName(expr, expr.exprKind.value.name, scope, context);
    case "selectExpr":
      return checkSelect(expr, expr.exprKind.value, scope, context);
    case "callExpr":
      return checkCall(expr, expr.exprKind.value, scope, context);
    case "listExpr":
      return checkList(expr, expr.exprKind.value, scope, context);
    case "structExpr":
      return checkStruct(expr, expr.exprKind.value, scope, context);
    case "comprehensionExpr":
      return checkLoop(expr, expr.exprKind.value, scope, context);
    default:
      return failed(expr, "is incomplete", context);
  }
}

function checkSelect(expr: Expr, select: Expr_Select, scope: Scope, context: Context): Part {
  const { operand, field, testOnly } = select;
  if (operand === undefined) return failed(expr, "is incomplete", context);
  if (isName(operand, "principal")) return checkMember(expr, field, testOnly, context);
  const name = qualifiedName(expr);
  const root = name?.split(".", 1)[0] ?? "";
  if (name !== undefined && !scope.names.has(root) && !["principal", "request", "now"].includes(root))
    return checkTypeName(expr, name, scope, context);
  const holder = check(operand, scope, context);
  const type = typeOfSelect(holder.type, field);
  if (typeof type === "string") return failed(expr, type, context);
  const rewritten = rebuilt(expr, { case: "selectExpr", value: { ...select, operand: holder.expr } });
  return { expr: rewritten, type: testOnly ? bool : type };
}

function checkCall(expr: Expr, call: Expr_Call, scope: Scope, context: Context): Part {
  if (call.target !== undefined && isName(call.target, "principal"))
    return call.function === "has"
      ? checkPermission(expr, call, context)
      : failed(
          expr,
          `the principal has no function ${call.function}()${suggest(call.function, ["has"])}`,
          context,
        );
  const target = call.target && check(call.target, scope, context);
  const args = call.args.map((arg, index) =>
    call.function === "@in" && index === 1 && qualifiedName(arg) === "principal.roles"
      ? variable(arg, roleSet, { name: "map", key: { name: "string" }, item: bool }, context)
      : check(arg, scope, context),
  );
  const value = { ...call, args: args.map(({ expr }) => expr), ...(target && { target: target.expr }) };
  const rewritten = rebuilt(expr, { case: "callExpr", value });
  const types = args.map(({ type }) => type);
  const type = typeOfCall(call.function, target?.type, types, context.env);
  if (typeof type === "string") return failed(expr, type, context);
  for (const problem of literalProblems(rewritten, value, context.env)) failed(expr, problem, context);
  for (const problem of callProblems(call.function, target?.type, types, scope.rounds))
    failed(expr, problem, context);
  return { expr: rewritten, type };
}

function checkList(expr: Expr, list: Expr_CreateList, scope: Scope, context: Context): Part {
  const elements = list.elements.map((element) => check(element, scope, context));
  const rewritten = { ...list, elements: elements.map(({ expr }) => expr) };
  const item = elements.length === 0 ? undefined : commonType(elements);
  return {
    expr: rebuilt(expr, { case: "listExpr", value: rewritten }),
    type: { name: "list", ...(item && { item }), outer: item?.outer === true },
  };
}

/** A map that is written out. Messages are not: a condition compares what there is. */
function checkStruct(expr: Expr, struct: Expr_CreateStruct, scope: Scope, context: Context): Part {
  if (struct.messageName !== "")
    return failed(expr, "makes a message: compare its fields one by one", context);
  const keys: Part[] = [];
  const values: Part[] = [];
  const entries = struct.entries.map((entry) => {
    if (entry.keyKind.case !== "mapKey" || entry.value === undefined) return entry;
    const [key, value] = [check(entry.keyKind.value, scope, context), check(entry.value, scope, context)];
    keys.push(key);
    values.push(value);
    return { ...entry, keyKind: { case: "mapKey", value: key.expr } as const, value: value.expr };
  });
  const [key, item] = [commonType(keys), commonType(values)];
  return {
    expr: rebuilt(expr, { case: "structExpr", value: { ...struct, entries } }),
    type: { name: "map", key, item, outer: key.outer === true || item.outer === true },
  };
}

/** A macro that goes through a list, or the keys of a map: `all`, `exists`, `exists_one`, `map`, `filter`. */
function checkLoop(expr: Expr, loop: Expr_Comprehension, scope: Scope, context: Context): Part {
  const { iterRange, iterVar, accuVar, accuInit, loopCondition, loopStep, result } = loop;
  if (!iterRange || !accuInit || !loopCondition || !loopStep || !result)
    return failed(expr, "is incomplete", context);
  if (["principal", "request", "now"].includes(iterVar))
    return failed(expr, `${iterVar} has a meaning already: call the item by another name`, context);
  const range = check(iterRange, scope, context);
  const item = range.type.name === "map" ? range.type.key : range.type.item;
  if (!["list", "map", "dyn"].includes(range.type.name) || range.type.wraps !== undefined)
    return failed(expr, `nothing can go through a value of type ${describeType(range.type)}`, context);
  for (const problem of loopProblems(range.type, scope.rounds > 0)) failed(expr, problem, context);
  const start = check(accuInit, scope, context);
  const names = new Map([...scope.names, [accuVar, start.type], [iterVar, item ?? unknown]]);
  const inside: Scope = { names, rounds: roundsOf(range.type) };
  const [condition, step, end] = [
    check(loopCondition, inside, context),
    check(loopStep, inside, context),
    check(result, inside, context),
  ];
  const value = {
    ...loop,
    iterRange: range.expr,
    accuInit: start.expr,
    loopCondition: condition.expr,
    loopStep: step.expr,
    result: end.expr,
  };
  const { most = 0, outer = false } = range.type;
  // What filter() keeps, and what each round of map() adds to the list.
  const made = macroOf(expr, context.parsed) === "filter" ? item : step.type.item;
  const type = end.type.name === "list" ? { name: "list", item: made ?? unknown, most, outer } : end.type;
  return { expr: rebuilt(expr, { case: "comprehensionExpr", value }), type };
}

function commonType(parts: readonly Part[]): Type {
  const [first = dyn, ...others] = parts.map(({ type }) => type);
  return others.reduce(either, first);
}
