/**
 * @file Statements, in order. Names keep what was last assigned to them, in loops and branches too.
 */
import type * as ast from "../../dsl/ast.js";
import { isEmpty, sameDim, showShape, type Dim } from "../ir/dim.js";
import { applyOp, asTensor, failNoTensor } from "./apply.js";
import { dimensionOf, wholeNumber } from "./dimensions.js";
import { condition } from "./conditions.js";
import type { Frame } from "./frame.js";
import { declare, update } from "./parameters.js";
import { describe, ERROR, isBroken, number, showType, tensor, type Value } from "./values.js";

type Of<K extends ast.Statement["kind"]> = Extract<ast.Statement, { kind: K }>;

/** Runs a body up to its end or a `return`. @returns whether it returned. */
export function run(frame: Frame, body: ast.Body): boolean {
  return body.statements.some((statement) => runStatement(frame, statement));
}

function runStatement(frame: Frame, statement: ast.Statement): boolean {
  frame.target = "";
  switch (statement.kind) {
    case "assign":
      assign(frame, statement);
      return false;
    case "return":
      frame.result = { value: frame.evaluate(statement.value), span: statement.value.span };
      return true;
    case "param":
    case "buffer":
      frame.names.set(statement.name.text, declare(frame, statement));
      return false;
    case "update":
      update(frame, statement);
      return false;
    case "input":
      frame.names.set(statement.name.text, input(frame, statement));
      return false;
    case "output":
      output(frame, statement);
      return false;
    case "for": return loop(frame, statement);
    case "if": return branch(frame, statement);
    default: return statement satisfies never;
  }
}

function assign(frame: Frame, statement: Of<"assign">): void {
  const [first, ...more] = statement.targets;
  if (!first) return;
  frame.target = first.text;
  if (more.length === 0) {
    frame.names.set(first.text, frame.evaluate(statement.value, first.text));
    return;
  }
  const value = frame.evaluate(statement.value);
  const items = value.kind === "list" ? value.items : undefined;
  if (value.kind !== "error" && items?.length !== statement.targets.length) {
    const got = items ? `a list of ${items.length}` : describe(value);
    frame.fail("wrong_type",
      { text: `${statement.targets.length} names on the left need as many values, got ${got}` }, statement.value.span);
  }
  const fits = items?.length === statement.targets.length;
  for (const [i, target] of statement.targets.entries()) frame.names.set(target.text, (fits && items[i]) || ERROR);
}

/** An input of the graph, or, in a model that is called, the tensor it was given. */
function input(frame: Frame, statement: Of<"input">): Value {
  const { name, type } = statement;
  if (type.kind !== "tensor") return frame.fail("wrong_type",
    { text: `an input must be a tensor, not ${frame.text(type.span)}` }, type.span);
  frame.inputDocs.set(name.text, `\`${frame.text(type.span)}\``);
  const shape: Dim[] = [];
  for (const d of type.dims) {
    if (d.kind !== "expr") {
      frame.fail("wrong_type", { text: `the shape of an input must be known, without \`${frame.text(d.span)}\`` },
        d.span);
      return ERROR;
    }
    const size = dimensionOf(frame, d.expr);
    if (!size) return ERROR;
    shape.push(size);
  }
  const given = frame.given?.get(name.text);
  if (given) {
    const fits = given.dtype === type.dtype && given.shape.length === shape.length
      && given.shape.every((d, i) => sameDim(d, shape[i] ?? d));
    const declared = showType({ shape, dtype: type.dtype });
    const text = `\`${name.text}\` of \`${frame.label}\` is ${declared}, got ${showType(given)}`;
    if (!fits) return (frame.caller ?? frame).fail("shape_mismatch", { text }, frame.span,
      { notes: [{ text: "it is declared here", span: type.span }] });
    return tensor(given);
  }
  const known = frame.session.inputs.get(name.text);
  if (known) return frame.fail("duplicate_name", { name: name.text, what: "the input" }, name.span);
  frame.target = name.text;
  const attrs = { name: name.text, shape };
  const value = applyOp(frame, statement.span, "input", [], type.dtype === "f32" ? attrs
    : { ...attrs, dtype: type.dtype });
  if (value.kind === "tensor") frame.session.inputs.set(name.text, value.node);
  return value;
}

function output(frame: Frame, statement: Of<"output">): void {
  const name = statement.name.text;
  frame.target = name;
  const value = frame.evaluate(statement.value, name);
  const node = isBroken(value) ? undefined : asTensor(frame, value, statement.value.span);
  if (!node && !isBroken(value)) {
    failNoTensor(frame, value, { text: `an output must be a tensor, got ${describe(value)}` }, statement.value.span);
  }
  if (node && isEmpty(node.shape)) {
    frame.fail("value_error", { text: `the output \`${name}\` has no elements: ${showShape(node.shape)}` },
      statement.value.span);
  }
  if (frame.outputs.has(name)) frame.fail("duplicate_name", { name, what: "the output" }, statement.name.span);
  frame.outputDocs.set(name, `\`${frame.text(statement.value.span)}\``);
  frame.outputs.set(name, node ? tensor(node) : ERROR);
}

function loop(frame: Frame, statement: Of<"for">): boolean {
  const from = bound(frame, statement.from);
  const to = bound(frame, statement.to);
  if (from === undefined || to === undefined || !ascends(frame, statement, from, to)) {
    frame.broken = true;
    frame.names.set(statement.name.text, ERROR);
    spoil(frame, statement.body);
    return false;
  }
  frame.session.countTurns(frame, statement.span, to - from);
  for (let i = from; i < to; i++) {
    frame.names.set(statement.name.text, number(i));
    if (run(frame, statement.body)) return true;
  }
  return false;
}

/** Whether a loop's bounds are in order; equal ones are no turn. */
function ascends(frame: Frame, statement: Of<"for">, from: number, to: number): boolean {
  if (to >= from) return true;
  const { span } = statement.to;
  const end = frame.text(span) === String(to) ? "" : `\`${frame.text(span)}\` is ${to}: `;
  frame.fail("value_error", { text: `${end}a loop cannot run from ${from} up to ${to}` }, span);
  return false;
}

/** A loop bound: a whole number at compile time; undefined after a diagnostic. */
function bound(frame: Frame, expr: ast.Expr): number | undefined {
  const value = frame.evaluate(expr);
  switch (value.kind) {
    case "number": return wholeNumber(frame, value, expr.span, -Infinity) ? value.value : undefined;
    case "error": return undefined;
    case "dim":
      frame.fail("symbolic_batch", { where: "a loop bound" }, expr.span);
      return undefined;
    case "tensor":
      frame.fail("tensor_condition", { where: "`for`", text: showType(value.node) }, expr.span);
      return undefined;
    default:
      frame.fail("wrong_type", { text: `a loop bound must be a whole number, got ${describe(value)}` }, expr.span);
      return undefined;
  }
}

function branch(frame: Frame, statement: ast.If): boolean {
  const test = condition(frame, statement.test, "if");
  const { otherwise } = statement;
  if (test === undefined) {
    frame.broken = true;
    spoilIf(frame, statement);
    return false;
  }
  if (test) return run(frame, statement.body);
  if (!otherwise) return false;
  return "kind" in otherwise ? branch(frame, otherwise) : run(frame, otherwise);
}

/** Marks every name a body that could not be run would have assigned, so that its readers are not reported too. */
function spoil(frame: Frame, body: ast.Body): void {
  for (const statement of body.statements) {
    switch (statement.kind) {
      case "assign":
        for (const target of statement.targets) frame.names.set(target.text, ERROR);
        break;
      case "param":
      case "buffer":
      case "input":
        frame.names.set(statement.name.text, ERROR);
        break;
      case "output":
        frame.outputs.set(statement.name.text, ERROR);
        break;
      case "for":
        spoil(frame, statement.body);
        break;
      case "if":
        spoilIf(frame, statement);
        break;
      case "return":
      case "update": break;
      default: statement satisfies never;
    }
  }
}

function spoilIf(frame: Frame, statement: ast.If): void {
  spoil(frame, statement.body);
  const { otherwise } = statement;
  if (!otherwise) return;
  if ("kind" in otherwise) spoilIf(frame, otherwise);
  else spoil(frame, otherwise);
}
