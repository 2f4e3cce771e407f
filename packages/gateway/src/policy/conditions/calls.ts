import { type CelEnv, isCelError, plan } from "@bufbuild/cel";
import type { Expr, Expr_Call } from "@bufbuild/cel-spec/cel/expr/syntax_pb.js";
import { stringOf } from "./ast.ts";
import { canBeEqual, either, isBool, overloads } from "./fit.ts";
import { suggest } from "./suggest.ts";
import { bool, describeType, dyn, type Type, unknown } from "./types.ts";

/**
 * The type that a call or an operator gives, or what is wrong with it. What functions there are, the environment says.
 */
export function typeOfCall(
  name: string,
  target: Type | undefined,
  args: readonly Type[],
  env: CelEnv,
): Type | string {
  const [first = dyn, second = dyn, third = dyn] = args;
  switch (name) {
    case "_&&_":
    case "_||_":
      return args.every(isBool) ? bool : notBool(args);
    case "@not_strictly_false":
      return bool;
    case "_?_:_":
      return isBool(first) ? either(second, third) : notBool([first]);
    case "_[_]":
      return typeOfIndex(first, second);
    case "_==_":
    case "_!=_":
      return canBeEqual(first, second) ? bool : neverEqual(first, second);
    case "@in": {
      const items = second.name === "map" ? second.key : second.item;
      if (items !== undefined && !canBeEqual(first, items)) return neverEqual(first, items);
    }
  }
  return typeOfFunction(name, target, args, env);
}

function typeOfFunction(
  name: string,
  target: Type | undefined,
  args: readonly Type[],
  env: CelEnv,
): Type | string {
  const [first = dyn, second = dyn] = args;
  const known = env.funcs.find(name);
  if (known === undefined) return unknownFunction(name, env);
  const results = overloads(known, target, args).map(({ result }) => result);
  const [result] = results;
  if (result === undefined) {
    const given = `(${args.map(describeType).join(", ")})`;
    return `${operatorOf(name)} cannot be applied to ${target === undefined ? "" : `${describeType(target)}.`}${given}`;
  }
  const operands = target === undefined ? args : [target, ...args];
  const outer = operands.some((operand) => operand.outer === true);
  if (result.name === "dyn" || results.some(({ name }) => name !== result.name)) return { ...unknown, outer };
  const most = operands.reduce((sum, operand) => sum + (operand.most ?? 0), 0);
  const isSized = ["string", "bytes", "list", "map"].includes(result.name);
  const item = result.name === "list" ? itemOfSum(first, second) : undefined;
  return { name: result.name, ...(isSized && most > 0 && { most }), ...(item && { item }), outer };
}

/** The type of the items of two lists that are put together; of an empty list, nothing is known. */
function itemOfSum(left: Type, right: Type): Type | undefined {
  if (left.item === undefined || right.item === undefined) return left.item ?? right.item;
  return either(left.item, right.item);
}

function typeOfIndex(container: Type, index: Type): Type | string {
  const outer = container.outer === true;
  if (container.name === "dyn" && container.wraps === undefined) return container;
  if (container.name === "list" && canBeEqual(index, { name: "int" }))
    return { ...(container.item ?? unknown), outer };
  if (container.name === "map" && canBeEqual(index, container.key ?? unknown))
    return { ...(container.item ?? unknown), outer };
  return `a value of type ${describeType(container)} has nothing at an index of type ${describeType(index)}`;
}

function notBool(operands: readonly Type[]): string {
  const wrong = operands.filter((operand) => !isBool(operand)).map(describeType);
  return `needs true or false, not a value of type ${[...new Set(wrong)].join(" or ")}`;
}

function neverEqual(left: Type, right: Type): string {
  if (left.values !== undefined && right.values !== undefined) {
    const [few, many] = left.values.length < right.values.length ? [left, right] : [right, left];
    return `${list(few.values)} is not one of ${list(many.values)}`;
  }
  const desc = [left, right].find((type) => type.enum !== undefined)?.enum;
  const hint = desc === undefined ? "" : `; write ${desc.name}.${desc.values.at(-1)?.name}, for example`;
  return `a value of type ${describeType(left)} never equals one of type ${describeType(right)}${hint}`;
}

function list(values: readonly string[] = []): string {
  return values.map((value) => JSON.stringify(value)).join(", ");
}

function unknownFunction(name: string, env: CelEnv): string {
  const names = new Set(
    [...macros, ...[...env.funcs].map((func) => func.name)].filter((it) => /^\w+$/.test(it)),
  );
  if (name === "has") return "has() takes a field, such as has(request.field)";
  if (macros.includes(name))
    return `${name}() takes a name and what it is for, such as items.all(item, item != "")`;
  return `there is no function ${name}()${suggest(name, names)}`;
}

const macros = ["has", "all", "exists", "exists_one", "map", "filter"];

/** `_<=_` is `<=` for people. */
function operatorOf(name: string): string {
  return /^\w+$/.test(name) && !name.startsWith("_")
    ? `${name}()`
    : name.replaceAll("_", "").replace("@", "");
}

/** What is wrong with the values that are written out in a call: they are the same for every call. */
export function literalProblems(expr: Expr, call: Expr_Call, env: CelEnv): string[] {
  const operands = call.target === undefined ? call.args : [call.target, ...call.args];
  if (call.function === "matches") return patternProblems(expr, call, env);
  if (operands.length === 0 || operands.some((operand) => operand.exprKind.case !== "constExpr")) return [];
  return failureOf(expr, env);
}

/** A pattern is compiled at every use: one that a caller could write would take as long as the caller likes. */
function patternProblems(expr: Expr, call: Expr_Call, env: CelEnv): string[] {
  const pattern = call.args.at(-1);
  if (pattern === undefined || stringOf(pattern) === undefined)
    return ["matches() needs a pattern that is written out"];
  const tried: Expr_Call = { ...call, target: pattern, args: [pattern] };
  return failureOf({ ...expr, exprKind: { case: "callExpr", value: tried } }, env);
}

function failureOf(expr: Expr, env: CelEnv): string[] {
  const result = plan(env, expr)({});
  return isCelError(result) ? [`never gives a value: ${result.message}`] : [];
}
