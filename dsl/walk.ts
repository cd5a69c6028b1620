/**
 * @file Walks over syntax trees: every expression and statement in a declaration, outermost first.
 */
import type { Body, Expr, If, Index, Param, Record_, Statement, Type } from "./ast.js";

type Visit<T> = (node: T) => void;

/** The expressions directly inside one. */
function childrenOf(expr: Expr): readonly Expr[] {
  switch (expr.kind) {
    case "number":
    case "quantity":
    case "bool":
    case "none":
    case "name":
      return [];
    case "string":
      return expr.parts.filter((part) => typeof part !== "string");
    case "list":
      return expr.items;
    case "call":
      return [...expr.args.map((arg) => arg.value), ...(expr.as === undefined ? [] : [expr.as])];
    case "index":
      return [expr.object, ...expr.indices.flatMap(partsOf)];
    case "member":
      return [expr.object];
    case "unary":
      return [expr.operand];
    case "binary":
      return [expr.left, expr.right];
    case "conditional":
      return [expr.test, expr.then, expr.otherwise];
    default:
      return expr satisfies never;
  }
}

function partsOf(index: Index): readonly Expr[] {
  if (index.kind === "at") return [index.value];
  return [index.from, index.to, index.step].filter((part) => part !== undefined);
}

/** Visits an expression and everything in it. */
export function eachExpr(expr: Expr, visit: Visit<Expr>): void {
  visit(expr);
  for (const child of childrenOf(expr)) eachExpr(child, visit);
}

/** Visits the expressions of a type's dimensions. */
function eachTypeExpr(type: Type, visit: Visit<Expr>): void {
  if (type.kind === "scalar") return;
  for (const dim of type.dims) if (dim.kind === "expr") eachExpr(dim.expr, visit);
}

/** Visits the types and defaults of a header. */
export function eachParamExpr(params: readonly Param[], visit: Visit<Expr>): void {
  for (const { type, initial } of params) {
    if (type !== undefined) eachTypeExpr(type, visit);
    if (initial !== undefined) eachExpr(initial, visit);
  }
}

/** Visits the values of a record. */
export function eachRecordExpr(record: Record_, visit: Visit<Expr>): void {
  for (const { value } of record.fields) eachExpr(value, visit);
}

/** Visits every statement of a body, nested ones too. */
export function eachStatement(body: Body, visit: Visit<Statement>): void {
  for (const statement of body.statements) {
    visit(statement);
    if (statement.kind === "for") eachStatement(statement.body, visit);
    if (statement.kind === "if") eachBranch(statement, (branch) => eachStatement(branch, visit));
  }
}

/** Visits the bodies of an `if`, `else if` … chain; the conditions are its own and its nested ifs'. */
function eachBranch(statement: If, visit: Visit<Body>): void {
  let current: If | undefined = statement;
  while (current !== undefined) {
    visit(current.body);
    const next: Body | If | undefined = current.otherwise;
    current = undefined;
    if (next === undefined) return;
    if ("kind" in next) current = next;
    else visit(next);
  }
}

/** Visits every expression of a body. */
export function eachBodyExpr(body: Body, visit: Visit<Expr>): void {
  eachStatement(body, (statement) => {
    switch (statement.kind) {
      case "assign":
      case "return":
      case "update":
      case "output":
        return eachExpr(statement.value, visit);
      case "param":
      case "buffer":
        eachTypeExpr(statement.type, visit);
        return eachExpr(statement.initial, visit);
      case "input":
        return eachTypeExpr(statement.type, visit);
      case "for":
        eachExpr(statement.from, visit);
        return eachExpr(statement.to, visit);
      case "if":
        for (let one: If | undefined = statement; one !== undefined; ) {
          eachExpr(one.test, visit);
          one = one.otherwise !== undefined && "kind" in one.otherwise ? one.otherwise : undefined;
        }
        return;
      default:
        return statement satisfies never;
    }
  });
}
