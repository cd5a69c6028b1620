/**
 * @file Builds nodes from expressions of the language: the right-hand sides of rules, and their examples.
 */
import type { Expr } from "../../dsl/ast.js";
import { BATCH, addDim, divDim, isConstant, mulDim, subDim, type Dim } from "../ir/dim.js";
import { showAttr, type Attr, type Node } from "../ir/graph.js";
import { invariant } from "../ir/invariant.js";
import type { Ops } from "../ir/op.js";
import { asList, isDim } from "../ops/attributes.js";
import { OPERATORS, arithmetic, constantExpression, constantValue, type Match } from "./pattern.js";

/** What the names of an expression mean. `root` is the replaced node where there is one. */
interface RuleScope {
  node(name: string): Node | undefined;
  attr(name: string): Attr | undefined;
}

/** Metavariables; one that bound a 0-d constant also has its number in attribute position. */
export function scopeOf(match: Match): RuleScope {
  return {
    node: (name) => (name === "root" ? match.root : match.nodes.get(name)),
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
      return ops.call(expr.callee.text, inputs.map(sub), attrs);
    }
    default:
      invariant(false, `a rule builds names, numbers, operators and calls, not ${expr.kind}`);
  }
}

/**
 * The attribute `expr` means; `B` is the batch. Arithmetic is over numbers and dimensions, and over lists item by item.
 * `x.shape` is the shape of the node x, `p[i]` an item, `p[q]` the items of p that the list q counts, `inverse(p)` the
 * permutation that undoes p.
 */
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
    case "member": {
      const node = expr.object.kind === "name" ? scope.node(expr.object.name) : undefined;
      invariant(node && expr.name.text === "shape", "a rule asks a node for its shape");
      return node.shape;
    }
    case "index": {
      const [index, more] = expr.indices;
      invariant(index?.kind === "at" && !more, "a rule takes items by one index or list");
      return itemsAt(listOf(attribute(expr.object, scope)), attribute(index.value, scope));
    }
    case "unary": {
      const x = attribute(expr.operand, scope);
      invariant(typeof x === "number" && expr.operator === "-", "only numbers are negated");
      return -x;
    }
    case "binary":
      return compute(expr.operator, attribute(expr.left, scope), attribute(expr.right, scope));
    default: {
      if (expr.kind === "call" && expr.callee.text === "inverse") {
        const [order = []] = expr.args.map((arg) => listOf(attribute(arg.value, scope)));
        return order.map((_, axis) => order.indexOf(axis));
      }
      const number = constantExpression(expr);
      invariant(number !== undefined, `an attribute is a literal, a name or arithmetic, not ${expr.kind}`);
      return number;
    }
  }
}

function listOf(a: Attr | undefined): readonly Attr[] {
  const list = asList(a);
  invariant(list, "only lists have items");
  return list;
}

function itemsAt(list: readonly Attr[], at: Attr): Attr {
  if (Array.isArray(at)) return at.map((one: Attr) => itemsAt(list, one));
  const item = typeof at === "number" ? list[at] : undefined;
  invariant(item !== undefined, `a list of ${list.length} has the item ${showAttr(at)}`);
  return item;
}

function compute(operator: string, x: Attr, y: Attr): Attr {
  const [left, right] = [asList(x), asList(y)];
  if (left) return left.map((item, i) => compute(operator, item, right ? itemsAt(right, i) : y));
  if (right) return right.map((item) => compute(operator, x, item));
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
  invariant(isDim(a), "only dimensions and numbers are computed with");
  return a;
}
