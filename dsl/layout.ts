/**
 * @file Expressions and types as text: on one line where they fit in 120 columns, else broken at their outermost
 * joints.
 */
import type * as ast from "./ast.js";
import { textOf } from "./source.js";
import { escape } from "./tokens.js";

/** Columns of a line. */
export const WIDTH = 120;
const STEP = "  ";

/** How tightly an expression holds together; an operand looser than its place takes brackets. */
const CONDITIONAL = 0;
const UNARY = 6;
const POWER = 7;
const POSTFIX = 8;
const PRIMARY = 9;
const strengths: Readonly<Record<ast.BinaryOperator, number>> = {
  or: 1, and: 2, "==": 3, "!=": 3, "<=": 3, ">=": 3, "<": 3, ">": 3, "+": 4, "-": 4, "*": 5, "/": 5, "%": 5, "^": POWER,
};

function strengthOf(expr: ast.Expr): number {
  switch (expr.kind) {
    case "conditional": return CONDITIONAL;
    case "binary": return strengths[expr.operator];
    case "unary": return UNARY;
    case "call":
    case "index":
    case "member": return POSTFIX;
    default: return PRIMARY;
  }
}

/** Whether the writer put brackets around an operand: they may make precedence clear, so they stay. */
function isBracketed({ span }: ast.Expr): boolean {
  const { text } = span.source;
  let before = span.start - 1;
  let after = span.end;
  while (isSpace(text[before])) before--;
  while (isSpace(text[after])) after++;
  return text[before] === "(" && text[after] === ")";
}

const isSpace = (character: string | undefined): boolean => character !== undefined && " \t\r\n".includes(character);

/** Whether `expr` takes brackets as an operand where `least` strength is needed. */
const needsBrackets = (expr: ast.Expr, least: number): boolean =>
  strengthOf(expr) < least || (strengthOf(expr) < POSTFIX && isBracketed(expr));

/** An expression on one line. */
export function flat(expr: ast.Expr): string {
  switch (expr.kind) {
    case "number":
    case "quantity": return textOf(expr.span);
    case "bool": return String(expr.value);
    case "none": return "none";
    case "name": return expr.name;
    case "string": return showString(expr);
    case "list": return `[${expr.items.map(flat).join(", ")}]`;
    case "call": return `${expr.callee.text}(${expr.args.map(showArg).join(", ")})${showPath(expr)}`;
    case "index": return `${operand(expr.object, POSTFIX)}[${expr.indices.map(showIndex).join(", ")}]`;
    case "member": return `${operand(expr.object, POSTFIX)}.${expr.name.text}`;
    case "unary": return `${expr.operator === "not" ? "not " : "-"}${operand(expr.operand, UNARY)}`;
    case "binary": return showBinary(expr);
    case "conditional": return `${operand(expr.test, CONDITIONAL + 1)} ? ${flat(expr.then)} : ${flat(expr.otherwise)}`;
    default: return expr satisfies never;
  }
}

const operand = (expr: ast.Expr, least: number): string =>
  needsBrackets(expr, least) ? `(${flat(expr)})` : flat(expr);
const showArg = (arg: ast.Call["args"][number]): string =>
  arg.name === undefined ? flat(arg.value) : `${arg.name.text} = ${flat(arg.value)}`;
const showPath = (call: ast.Call): string => (call.as === undefined ? "" : ` as ${showString(call.as)}`);

function showBinary({ operator, left, right }: Extract<ast.Expr, { kind: "binary" }>): string {
  if (operator === "^") return `${operand(left, POSTFIX)}^${operand(right, UNARY)}`;
  const strength = strengths[operator];
  return `${operand(left, strength)} ${operator} ${operand(right, strength + 1)}`;
}

function showIndex(index: ast.Index): string {
  if (index.kind === "at") return flat(index.value);
  const part = (expr: ast.Expr | undefined): string => (expr === undefined ? "" : flat(expr));
  return `${part(index.from)}:${part(index.to)}${index.step === undefined ? "" : `:${flat(index.step)}`}`;
}

/** A string with its quotes. */
export const showString = ({ parts }: ast.StringLiteral): string =>
  `"${parts.map((part) => (typeof part === "string" ? escape(part) : `{${flat(part)}}`)).join("")}"`;

/** A type on one line. */
export function showType(type: ast.Type): string {
  if (type.kind === "scalar") return type.name;
  return `${type.dtype === "i32" ? "i32" : ""}[${type.dims.map(showDimension).join(", ")}]`;
}

function showDimension(dim: ast.DimType): string {
  switch (dim.kind) {
    case "rest": return "..";
    case "inferred": return "_";
    case "expr": return flat(dim.expr);
    default: return dim satisfies never;
  }
}

/**
 * Where a text is put: its own indentation, the column it begins at, and the columns that follow it on its last line.
 */
export interface Place {
  readonly indent: string;
  readonly column: number;
  readonly tail: number;
}

/** An expression over as many lines as it needs; the first line has no indentation. */
export function wrap(expr: ast.Expr, at: Place): string {
  const line = flat(expr);
  if (at.column + line.length + at.tail <= WIDTH) return line;
  switch (expr.kind) {
    case "call": {
      const items = expr.args.map((arg) => (place: Place) => {
        const name = arg.name === undefined ? "" : `${arg.name.text} = `;
        return name + wrap(arg.value, { ...place, column: place.column + name.length });
      });
      return items.length === 0 ? line : `${expr.callee.text}(${fill(items, at.indent)})${showPath(expr)}`;
    }
    case "list":
      if (expr.items.length === 0) return line;
      return `[${fill(expr.items.map((item) => (place: Place) => wrap(item, place)), at.indent)}]`;
    case "binary":
      return expr.operator === "^" ? line : wrapBinary(expr, at);
    case "conditional": {
      const indent = at.indent + STEP;
      const place = { indent, column: indent.length + 2, tail: at.tail };
      const arm = (sign: string, value: ast.Expr): string => `\n${indent}${sign} ${wrap(value, place)}`;
      return wrapOperand(expr.test, 1, { ...at, tail: 0 }) + arm("?", expr.then) + arm(":", expr.otherwise);
    }
    case "unary": {
      const sign = expr.operator === "not" ? "not " : "-";
      return sign + wrapOperand(expr.operand, UNARY, { ...at, column: at.column + sign.length });
    }
    case "index": {
      const indices = `[${expr.indices.map(showIndex).join(", ")}]`;
      return wrapOperand(expr.object, POSTFIX, { ...at, tail: at.tail + indices.length }) + indices;
    }
    default:
      return line;
  }
}

function wrapOperand(expr: ast.Expr, least: number, at: Place): string {
  if (!needsBrackets(expr, least)) return wrap(expr, at);
  return `(${wrap(expr, { indent: at.indent + STEP, column: at.column + 1, tail: at.tail + 1 })})`;
}

/** A chain of operators of one strength, each on a line of its own before its operand. */
function wrapBinary(expr: Extract<ast.Expr, { kind: "binary" }>, at: Place): string {
  const strength = strengths[expr.operator];
  const indent = at.indent + STEP;
  const links: string[] = [];
  let left: ast.Expr = expr;
  while (left.kind === "binary" && strengths[left.operator] === strength && (left === expr || !isBracketed(left))) {
    const sign = `${left.operator} `;
    const right = wrapOperand(left.right, strength + 1, { indent, column: indent.length + sign.length, tail: at.tail });
    links.unshift(`\n${indent}${sign}${right}`);
    left = left.left;
  }
  return wrapOperand(left, strength, { ...at, tail: 0 }) + links.join("");
}

/** Items separated by commas, as many a line as fit, one step deeper than `indent`, between line breaks. */
export function fill(items: readonly ((at: Place) => string)[], indent: string): string {
  const inner = indent + STEP;
  const lines: string[] = [];
  let current = "";
  items.forEach((item, i) => {
    const comma = i < items.length - 1 ? "," : "";
    const text = item({ indent: inner, column: inner.length, tail: comma.length }) + comma;
    const joined = current === "" ? text : `${current} ${text}`;
    const whole = !text.includes("\n") && !current.includes("\n");
    if (current !== "" && !(whole && inner.length + joined.length <= WIDTH)) {
      lines.push(current);
      current = text;
    } else {
      current = joined;
    }
  });
  return `\n${[...lines, current].map((line) => inner + line).join("\n")}\n${indent}`;
}
