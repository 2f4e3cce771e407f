import { unparse } from "@bufbuild/cel";
import { type Expr, ExprSchema, type ParsedExpr } from "@bufbuild/cel-spec/cel/expr/syntax_pb.js";
import { create } from "@bufbuild/protobuf";

// What conditions are made of: the syntax tree of CEL.

/** The same place in the condition, with something else there. */
export function rebuilt({ id }: Expr, exprKind: Expr["exprKind"]): Expr {
  return create(ExprSchema, { id, exprKind });
}

/** A variable in the place of something else. */
export function identifier({ id }: Expr, name: string): Expr {
  return create(ExprSchema, { id, exprKind: { case: "identExpr", value: { name } } });
}

/** A whole number in the place of something else. */
export function wholeNumber({ id }: Expr, value: number): Expr {
  const constantKind = { case: "int64Value", value: BigInt(value) } as const;
  return create(ExprSchema, { id, exprKind: { case: "constExpr", value: { constantKind } } });
}

/** Whether an expression is a name and no more. */
export function isName({ exprKind }: Expr, name: string): boolean {
  return exprKind.case === "identExpr" && exprKind.value.name === name;
}

/** `a.b.c`, if an expression is that and no more. */
export function qualifiedName({ exprKind }: Expr): string | undefined {
  if (exprKind.case === "identExpr") return exprKind.value.name;
  if (exprKind.case !== "selectExpr" || exprKind.value.testOnly) return undefined;
  const { operand, field } = exprKind.value;
  const parent = operand && qualifiedName(operand);
  return parent === undefined ? undefined : `${parent}.${field}`;
}

/** The string that an expression is, if it is one that is written out. */
export function stringOf({ exprKind }: Expr): string | undefined {
  const constant = exprKind.case === "constExpr" ? exprKind.value.constantKind : undefined;
  return constant?.case === "stringValue" ? constant.value : undefined;
}

/** The name of a macro such as `exists`, which the parser has replaced by what it stands for. */
export function macroOf({ id }: Expr, { sourceInfo }: ParsedExpr): string | undefined {
  const { exprKind } = sourceInfo?.macroCalls[String(id)] ?? {};
  return exprKind?.case === "callExpr" ? exprKind.value.function : undefined;
}

/** An expression as its author wrote it, but for the white space. */
export function textOf(expr: Expr, parsed: ParsedExpr): string {
  const text = unparse({ ...parsed, expr });
  return text.length > 100 ? `${text.slice(0, 100)}...` : text;
}
