/**
 * @file Builds nodes from expressions of the language: the right-hand sides of rules, and their examples.
 */
import type { Expr } from "../../dsl/ast.js";
import { BATCH, addDim, divDim, isConstant, mulDim, subDim, type Dim } from "../ir/dim.js";
import type { Attr, Attrs, Node } from "../ir/graph.js";
import { invariant } from "../ir/invariant.js";
import type { Ops } from "../ir/op.js";
import { OPERATORS, arithmetic, constantExpression, constantValue, type Match } from "./pattern.js";

/** What the names of an expression mean. */
interface RuleScope {
  node(name: string): Node | undefined;
  attr(name: string): Attr | undefined;
}

/** Metavariables; one that bound a 0-d constant also has its number in attribute position. */
export function scopeOf(match: Match): RuleScope {
  return {
    node: (name) => match.nodes.get(name),
    attr: (name) => {
      const node = match.nodes.get(name);
      return node ? constantValue(node) : match.attrs.get(name);
    },
  };
}

/** The node `expr` means. Positional arguments are inputs, named ones attributes. */
export function instantiate(expr: Expr, scope: RuleScope, ops: Ops): Node {
  const sub = (e: Expr): Node => instantiate(e, scope, ops);
  const number = constantExpression(expr);
  if (number !== undefined) return ops.constant(number);
  switch (expr.kind) {
    case "name": {
      const node = scope.node(expr.name);
      if (node) return node;
      const value = scope.attr(expr.name);
      invariant(typeof value === "number", `${expr.name} is a metavariable of the pattern`);
      return ops.constant(value);
    }
    case "unary":
      return ops.call(expr.operator === "-" ? "neg" : "not", [sub(expr.operand)]);
    case "binary": {
      const name = OPERATORS[expr.operator];
      invariant(name !== undefined, `the operator ${expr.operator} is an op`);
      return ops.call(name, [sub(expr.left), sub(expr.right)]);
    }
    case "call": {
      const inputs = expr.args.filter((a) => !a.name).flatMap((a) => (
        a.value.kind === "list" ? a.value.items : [a.value]
      ));
      const attrs: Record<string, Attr> = {};
      for (const { name, value } of expr.args) if (name) attrs[name.text] = attribute(value, scope);
      return ops.call(expr.callee.text, inputs.map(sub), attrs as Attrs);
    }
    default:
      invariant(false, `a rule builds names, numbers, operators and calls, not ${expr.kind}`);
  }
}

/** The attribute `expr` means; `B` is the batch, arithmetic is over numbers and dimensions. */
function attribute(expr: Expr, scope: RuleScope): Attr {
  switch (expr.kind) {
    case "number":
    case "bool":
      return expr.value;
    case "none":
      return null;
    case "string":
      return expr.parts.join("");
    case "list":
      return expr.items.map((item) => attribute(item, scope));
    case "name": {
      if (expr.name === "B") return { ...BATCH };
      const value = scope.attr(expr.name);
      invariant(value !== undefined, `${expr.name} has a value in attribute position`);
      return value;
    }
    case "unary": {
      const x = attribute(expr.operand, scope);
      invariant(typeof x === "number" && expr.operator === "-", "only numbers are negated");
      return -x;
    }
    case "binary":
      return compute(expr.operator, attribute(expr.left, scope), attribute(expr.right, scope));
    default: {
      const number = constantExpression(expr);
      invariant(number !== undefined, `an attribute is a literal, a name or arithmetic, not ${expr.kind}`);
      return number;
    }
  }
}

function compute(operator: string, x: Attr, y: Attr): Attr {
  if (typeof x === "number" && typeof y === "number") {
    const value = arithmetic(operator, x, y);
    invariant(value !== undefined, `${operator} computes an attribute`);
    return value;
  }
  const combine = { "+": addDim, "-": subDim, "*": mulDim, "/": divDim }[operator];
  const result = combine?.(asDim(x), asDim(y));
  invariant(result !== undefined, `${operator} of these dimensions is a dimension`);
  return isConstant(result) ? result.c : { b: result.b, c: result.c };
}

function asDim(a: Attr): Dim {
  if (typeof a === "number") return { b: 0, c: a };
  invariant(typeof a === "object" && a !== null && "b" in a && "c" in a, "a dimension");
  return a as Dim; // it has b and c
}
