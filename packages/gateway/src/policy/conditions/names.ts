import type { CelEnv } from "@bufbuild/cel";
import type { Expr, Expr_Call, ParsedExpr } from "@bufbuild/cel-spec/cel/expr/syntax_pb.js";
import type { DescMessage } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import { identifier, stringOf, textOf, wholeNumber } from "./ast.ts";
import { factVariable, permissionVariable, presenceVariable, principalMembers } from "./principal-facts.ts";
import { suggest } from "./suggest.ts";
import { bool, dyn, findType, type NamedTypes, type Type, typeOfMember, typeOfMessage } from "./types.ts";

// The names in a condition: what each of them stands for.

/** What is known of a condition while it is looked at, and what was found. */
export interface Context {
  readonly env: CelEnv;
  readonly parsed: ParsedExpr;
  readonly input: DescMessage;
  readonly types: NamedTypes;
  readonly problems: Set<string>;
  readonly permissions: Set<string>;
  readonly variables: Set<string>;
}

/** The loop around a part. */
export interface Scope {
  /** Its variables; none outside of a loop. */
  readonly names: ReadonlyMap<string, Type>;
  /** How often the part is run at the most: 0 outside of a loop. */
  readonly rounds: number;
}

/** A part of the condition: as it is run, and what is known of its value. */
export interface Part {
  readonly expr: Expr;
  readonly type: Type;
}

/** A name by itself: a variable, or the beginning of a type. */
export function checkName(expr: Expr, name: string, scope: Scope, context: Context): Part {
  const type = scope.names.get(name);
  if (type !== undefined) return { expr, type };
  switch (name) {
    case "request":
      return variable(expr, name, { ...typeOfMessage(context.input), outer: true, validated: true }, context);
    case "now":
      return variable(expr, name, typeOfMessage(TimestampSchema), context);
    case "principal":
      return failed(expr, `is no value by itself: read ${memberNames} or has("a.permission") of it`, context);
    default:
      return checkTypeName(expr, name, scope, context);
  }
}

/** The name of an enum value or a message type, as the proto of the request could write it. */
export function checkTypeName(expr: Expr, name: string, scope: Scope, context: Context): Part {
  const found = findType(name, context.input, context.types);
  if (found?.kind === "enum_value")
    return { expr: wholeNumber(expr, found.number), type: { name: "int", enum: found.parent } };
  if (found?.kind === "message") return { expr: identifier(expr, found.typeName), type: { name: "type" } };
  if (scalarTypes.includes(name)) return { expr, type: { name: "type" } };
  const known = ["principal", "request", "now", ...scope.names.keys()].filter((it) => !it.startsWith("@"));
  const [root = name] = name.split(".", 1);
  return failed(
    expr,
    `is not known here: a condition reads ${known.join(", ")}${suggest(root, known)}`,
    context,
  );
}

/** What `type(value)` can be compared with, besides messages. */
const scalarTypes = ["int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type"];

/** A fact about the principal, or whether it has it. */
export function checkMember(expr: Expr, name: string, testOnly: boolean, context: Context): Part {
  const member = principalMembers.find((member) => member === name);
  if (member === undefined) {
    const hint = suggest(name, principalMembers);
    return failed(
      expr,
      `the principal has ${memberNames} and has("a.permission"), but no ${name}${hint}`,
      context,
    );
  }
  if (testOnly) return variable(expr, presenceVariable(member), bool, context);
  return variable(expr, factVariable(member), typeOfMember(member), context);
}

const memberNames = principalMembers.join(", ");

/** `principal.has()`. What it can ask for must be known at the start, for the review of who may do what. */
export function checkPermission(expr: Expr, { args }: Expr_Call, context: Context): Part {
  const [permission] = args.map(stringOf);
  if (args.length !== 1 || permission === undefined)
    return failed(
      expr,
      'must have one permission that is written out, such as principal.has("orders.read")',
      context,
    );
  if (!/^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$/.test(permission))
    return failed(expr, `"${permission}" is not a permission, such as "orders.read"`, context);
  context.permissions.add(permission);
  return variable(expr, permissionVariable(permission), bool, context);
}

/** A part that is a variable when it runs. */
export function variable(expr: Expr, name: string, type: Type, { variables }: Context): Part {
  variables.add(name);
  return { expr: identifier(expr, name), type };
}

/** A part with a problem. Nothing is known of its value, so that one mistake is one problem. */
export function failed(expr: Expr, problem: string, { problems, parsed }: Context): Part {
  problems.add(`${textOf(expr, parsed)}: ${problem}`);
  return { expr, type: dyn };
}
