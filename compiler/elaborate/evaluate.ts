/**
 * @file Expressions to values.
 */
import type { Expr, Span, StringLiteral } from "../../dsl/ast.js";
import { BATCH } from "../ir/dim.js";
import { binary, unary } from "./arithmetic.js";
import { call } from "./call.js";
import { condition, interpolate } from "./conditions.js";
import { madeList, type Frame } from "./frame.js";
import { subscript } from "./subscript.js";
import {
  bool, describe, dimension, ERROR, FALSE, initializer, NONE, number, TRUE, type Value,
} from "./values.js";

/** Names every body knows. `B` is the batch unless a signature bound it to an argument's dimension. */
const PREDEFINED: ReadonlyMap<string, Value> = new Map<string, Value>([
  ["B", dimension(BATCH)],
  ["zeros", initializer({ kind: "zeros" })],
  ["ones", initializer({ kind: "ones" })],
  ["pi", number(Math.PI)],
]);

/**
 * The value of an expression; an error value after a diagnostic.
 * @param name the name on the left of the statement: the path of a call that is the whole right-hand side.
 */
export function evaluate(frame: Frame, expr: Expr, name?: string): Value {
  frame.session.countEvaluation(frame, expr.span);
  switch (expr.kind) {
    case "number": return number(expr.value);
    case "quantity": return { kind: "quantity", value: expr.value, unit: expr.unit };
    case "string": return stringValue(frame, expr);
    case "bool": return expr.value ? TRUE : FALSE;
    case "none": return NONE;
    case "name": return lookup(frame, expr.name, expr.span);
    case "list": {
      const items = expr.items.map((item) => evaluate(frame, item));
      return madeList(frame, expr.span, items);
    }
    case "call": return call(frame, expr, name);
    case "index": return subscript(frame, expr, evaluate(frame, expr.object, name));
    case "member": return member(frame, expr, evaluate(frame, expr.object, name));
    case "unary": return unary(frame, expr, evaluate(frame, expr.operand));
    case "binary": return binaryValue(frame, expr);
    case "conditional": {
      const test = condition(frame, expr.test, "?:");
      return test === undefined ? ERROR : evaluate(frame, test ? expr.then : expr.otherwise, name);
    }
    default: return expr satisfies never;
  }
}

/** `and` and `or` of compile-time booleans leave the right side alone once the left decides. */
function binaryValue(frame: Frame, expr: Extract<Expr, { kind: "binary" }>): Value {
  const left = evaluate(frame, expr.left);
  if (left.kind === "bool" && (expr.operator === "and" || expr.operator === "or")) {
    if (left.value === (expr.operator === "or")) return left;
  }
  return binary(frame, expr, left, evaluate(frame, expr.right));
}

function lookup(frame: Frame, name: string, span: Span): Value {
  const value = frame.names.get(name);
  if (value) return value;
  if (name === "training") return bool(frame.training);
  const predefined = PREDEFINED.get(name);
  if (predefined) return predefined;
  return frame.fail("unknown_name", { name, known: [...frame.names.keys(), "training", ...PREDEFINED.keys()] }, span);
}

function member(frame: Frame, expr: Extract<Expr, { kind: "member" }>, object: Value): Value {
  if (object.kind === "error") return ERROR;
  if (object.kind !== "outputs") {
    return frame.fail("wrong_type", { text: `only the outputs of a model have members; this is ${describe(object)}` },
      expr.span);
  }
  const name = expr.name.text;
  const known = [...object.outputs.keys()];
  const names = `outputs of \`${object.model}\``;
  return object.outputs.get(name) ?? frame.fail("unknown_name", { name, known, what: "output", names }, expr.name.span);
}

function stringValue(frame: Frame, literal: StringLiteral): Value {
  const value = interpolate(frame, literal);
  return value === undefined ? ERROR : { kind: "string", value };
}
