/**
 * @file Operators on values. Numbers fold at compile time, dimensions stay dimensions while they are whole multiples of
 * the batch, everything else with a tensor in it becomes an op.
 */
import type { BinaryOperator, Expr } from "../../dsl/ast.js";
import { addDim, divDim, isConstant, mulDim, subDim, type Dim, dim as constantDim } from "../ir/dim.js";
import { power } from "../ir/power.js";
import { madeList, type Frame } from "./frame.js";
import { applyOp, asTensor, failNoTensor } from "./apply.js";
import {
  bool, describe, dimension, ERROR, number, sameValue, treeSize, type NumberValue, type Value,
} from "./values.js";

type BinaryExpr = Extract<Expr, { kind: "binary" }>;

/** The op behind each operator. */
const OPERATOR_OPS: Readonly<Record<BinaryOperator, string>> = {
  "+": "add", "-": "sub", "*": "mul", "/": "div", "%": "mod", "^": "pow",
  "==": "eq", "!=": "ne", "<": "lt", "<=": "le", ">": "gt", ">=": "ge", and: "and", or: "or",
};

/** `left operator right`; reports `wrong_type`, `symbolic_batch`, and a division by the number zero. */
export function binary(frame: Frame, expr: BinaryExpr, left: Value, right: Value): Value {
  if (left.kind === "error" || right.kind === "error") return ERROR;
  if ((expr.operator === "/" || expr.operator === "%") && right.kind === "number" && right.value === 0) {
    const divisor = frame.text(expr.right.span);
    const text = `\`${frame.text(expr.span)}\` divides by zero` +
      (Number(divisor) === 0 ? "" : `: \`${divisor}\` is 0`);
    return frame.fail("value_error", { text }, expr.span);
  }
  const folded = fold(frame, expr, left, right);
  if (folded) return folded;
  const x = asTensor(frame, left, expr.left.span);
  const y = asTensor(frame, right, expr.right.span);
  if (!x || !y) {
    const both = `${describe(left)} and ${describe(right)}`;
    const text = `\`${expr.operator}\` cannot be applied to ${both}`;
    return failNoTensor(frame, x ? right : left, { text }, expr.span);
  }
  return applyOp(frame, expr.span, OPERATOR_OPS[expr.operator], [x, y], {});
}

/** The compile-time value, or undefined where tensors take part. */
function fold(frame: Frame, expr: BinaryExpr, left: Value, right: Value): Value | undefined {
  const { operator } = expr;
  if (operator === "==" || operator === "!=") {
    if (left.kind === "list" && right.kind === "list") {
      frame.session.countItems(frame, expr.span, Math.min(treeSize(left), treeSize(right)));
    }
    const same = sameValue(left, right);
    if (same !== undefined) return bool(same === (operator === "=="));
  }
  if (operator === "+" && left.kind === "list" && right.kind === "list") {
    return madeList(frame, expr.span, [...left.items, ...right.items]);
  }
  if (left.kind === "number" && right.kind === "number") return foldNumbers(expr, left, right);
  if (left.kind === "bool" && right.kind === "bool") {
    if (operator === "and") return bool(left.value && right.value);
    if (operator === "or") return bool(left.value || right.value);
    return undefined;
  }
  if (operator === "and" || operator === "or") return decide(operator, left, right) ?? decide(operator, right, left);
  if (left.kind === "quantity" || right.kind === "quantity") return foldQuantities(frame, expr, left, right);
  const x = dimOf(left);
  const y = dimOf(right);
  if (!x || !y) return undefined;
  const result = foldDims(operator, x, y);
  if (result) return dimension(result);
  if (!(operator in COMPARISONS)) return undefined;
  return frame.fail("symbolic_batch", { where: `a comparison: ${describe(left)} with ${describe(right)}` }, expr.span);
}

/** `and` or `or` of a compile-time boolean and a tensor: the boolean decides, or leaves it to the tensor. */
const decide = (operator: "and" | "or", known: Value, other: Value): Value | undefined =>
  known.kind === "bool" && other.kind === "tensor" ? (known.value === (operator === "or") ? known : other) : undefined;

const COMPARISONS: Readonly<Partial<Record<BinaryOperator, (x: number, y: number) => boolean>>> = {
  "==": (x, y) => x === y, "!=": (x, y) => x !== y,
  "<": (x, y) => x < y, "<=": (x, y) => x <= y, ">": (x, y) => x > y, ">=": (x, y) => x >= y,
};

function foldNumbers(expr: BinaryExpr, left: NumberValue, right: NumberValue): Value | undefined {
  const compare = COMPARISONS[expr.operator];
  if (compare) return bool(compare(left.value, right.value));
  if (expr.operator === "/") {
    const quotient = { expr, divisor: expr.right, left: left.value, right: right.value };
    return number(left.value / right.value, left.quotient ?? quotient);
  }
  const value = arithmetic(expr.operator, left.value, right.value);
  return value === undefined ? undefined : number(value, left.quotient ?? right.quotient);
}

/** `%` takes the sign of the divisor, as torch.remainder and Python do. */
function arithmetic(operator: BinaryOperator, x: number, y: number): number | undefined {
  switch (operator) {
    case "+": return x + y;
    case "-": return x - y;
    case "*": return x * y;
    case "%": return x - y * Math.floor(x / y);
    case "^": return power(x, y);
    default: return undefined;
  }
}

function foldDims(operator: BinaryOperator, x: Dim, y: Dim): Dim | undefined {
  switch (operator) {
    case "+": return addDim(x, y);
    case "-": return subDim(x, y);
    case "*": return mulDim(x, y);
    case "/": return divDim(x, y);
    default: return undefined;
  }
}

/** A dimension with the batch in it, or a whole number that can stand beside one. */
function dimOf(v: Value): Dim | undefined {
  if (v.kind === "dim") return v.dim;
  return v.kind === "number" && Number.isInteger(v.value) ? constantDim(v.value) : undefined;
}

function foldQuantities(frame: Frame, expr: BinaryExpr, left: Value, right: Value): Value {
  const compare = COMPARISONS[expr.operator];
  if (left.kind === "quantity" && right.kind === "quantity" && left.unit === right.unit) {
    if (compare) return bool(compare(left.value, right.value));
    if (expr.operator === "/") return number(left.value / right.value);
    if (expr.operator === "+" || expr.operator === "-") {
      return { kind: "quantity", unit: left.unit, value: left.value + (expr.operator === "+" ? 1 : -1) * right.value };
    }
  }
  if (left.kind === "quantity" && right.kind === "number" && (expr.operator === "*" || expr.operator === "/")) {
    return { kind: "quantity", unit: left.unit, value: expr.operator === "*" ? left.value * right.value
      : left.value / right.value };
  }
  if (left.kind === "number" && right.kind === "quantity" && expr.operator === "*") {
    return { kind: "quantity", unit: right.unit, value: left.value * right.value };
  }
  return frame.fail("wrong_type", {
    text: `\`${expr.operator}\` cannot be applied to ${describe(left)} and ${describe(right)}`,
    help: "dividing equal units gives a number, as in `batch / 512 images`",
  }, expr.span);
}

/** `-x` and `not x`. */
export function unary(frame: Frame, expr: Extract<Expr, { kind: "unary" }>, operand: Value): Value {
  if (operand.kind === "error") return ERROR;
  if (expr.operator === "not") {
    if (operand.kind === "bool") return bool(!operand.value);
    if (operand.kind === "tensor") return applyOp(frame, expr.span, "not", [operand.node], {});
    return frame.fail("wrong_type", { text: `\`not\` needs a boolean, got ${describe(operand)}` }, expr.span);
  }
  if (operand.kind === "number") return number(-operand.value, operand.quotient);
  if (operand.kind === "quantity") return { ...operand, value: -operand.value };
  if (operand.kind === "dim" && !isConstant(operand.dim)) return dimension(subDim(constantDim(0), operand.dim));
  const x = asTensor(frame, operand, expr.operand.span);
  if (x) return applyOp(frame, expr.span, "neg", [x], {});
  return frame.fail("wrong_type", { text: `\`-\` needs a number or a tensor, got ${describe(operand)}` }, expr.span);
}
