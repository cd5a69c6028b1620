/**
 * @file `x[…]` on tensors and lists: positions and slices, counted from the end when negative.
 */
import type { Expr, Index, Span } from "../../dsl/ast.js";
import { atMost, dim, isConstant, showDim, showShape, subDim, type Dim } from "../ir/dim.js";
import { applyOp } from "./apply.js";
import { madeList, type Frame } from "./frame.js";
import { describe, ERROR, type Value } from "./values.js";

type IndexExpr = Extract<Expr, { kind: "index" }>;

/** `object[indices]`; reports `value_error`, `rank_mismatch`, `wrong_type`. */
export function subscript(frame: Frame, expr: IndexExpr, object: Value): Value {
  if (object.kind === "error") return ERROR;
  if (object.kind === "tensor") return tensorSubscript(frame, expr, object);
  if (object.kind === "list") return listSubscript(frame, expr, object.items);
  return frame.fail("wrong_type", { text: `only tensors and lists can be indexed; this is ${describe(object)}` },
    expr.span);
}

function listSubscript(frame: Frame, expr: IndexExpr, items: readonly Value[]): Value {
  const [index, extra] = expr.indices;
  if (!index || extra) {
    return frame.fail("rank_mismatch", { text: `a list takes one index, got ${expr.indices.length}` }, expr.span);
  }
  const size = dim(items.length);
  if (index.kind === "at") {
    const at = position(frame, index.value, size, "the list");
    return at ? (items[at.c] ?? ERROR) : ERROR;
  }
  const range = slice(frame, index, size, "the list");
  if (!range) return ERROR;
  const picked: Value[] = [];
  for (let i = range.start.c; i < range.stop.c; i += range.step) picked.push(items[i] ?? ERROR);
  return madeList(frame, expr.span, picked);
}

interface Range {
  readonly start: Dim;
  readonly stop: Dim;
  readonly step: number;
}

function tensorSubscript(frame: Frame, expr: IndexExpr, object: Extract<Value, { kind: "tensor" }>): Value {
  const { shape } = object.node;
  if (expr.indices.length > shape.length) {
    const text = `${expr.indices.length} indices for a tensor of ${shape.length} dimensions`;
    return frame.fail("rank_mismatch", { text }, expr.span, { label: showShape(shape) });
  }
  const starts: Dim[] = [];
  const stops: Dim[] = [];
  const steps: number[] = [];
  const kept: Dim[] = [];
  let whole = true;
  for (const [axis, size] of shape.entries()) {
    const index = expr.indices[axis];
    const what = `dimension ${axis} of ${showShape(shape)}`;
    const range = !index ? { start: dim(0), stop: size, step: 1 } : axisRange(frame, index, size, what);
    if (!range) return ERROR;
    starts.push(range.start);
    stops.push(range.stop);
    steps.push(range.step);
    const length = sliceLength(frame, index?.span ?? expr.span, range);
    if (!length) return ERROR;
    whole &&= length.b === size.b && length.c === size.c;
    if (index?.kind !== "at") kept.push(length);
  }
  const sliced = whole ? object : applyOp(frame, expr.span, "slice", [object.node], { starts, stops, steps });
  if (sliced.kind !== "tensor" || kept.length === shape.length) return sliced;
  return applyOp(frame, expr.span, "reshape", [sliced.node], { shape: kept });
}

function axisRange(frame: Frame, index: Index, size: Dim, what: string): Range | undefined {
  if (index.kind === "slice") return slice(frame, index, size, what);
  const at = position(frame, index.value, size, what);
  return at && { start: at, stop: { b: at.b, c: at.c + 1 }, step: 1 };
}

/** ⌈(stop − start) / step⌉, which must be whole for every batch. */
function sliceLength(frame: Frame, span: Span, range: Range): Dim | undefined {
  const length = subDim(range.stop, range.start);
  if (isConstant(length)) {
    if (length.c >= 0) return dim(Math.ceil(length.c / range.step));
    const text = `\`${frame.text(span)}\` ends before it begins: it runs from ${showDim(range.start)} to ` +
      showDim(range.stop);
    frame.fail("value_error", { text }, span);
    return undefined;
  }
  if (range.step === 1) return length;
  if (length.b % range.step === 0) return { b: length.b / range.step, c: Math.ceil(length.c / range.step) };
  frame.fail("symbolic_batch", { where: `how many items ${range.step} apart ${showDim(length)} has` }, span);
  return undefined;
}

/** A position in 0…size−1, counted from the end when negative. */
function position(frame: Frame, expr: Expr, size: Dim, what: string): Dim | undefined {
  const bound = boundary(frame, expr, size);
  if (!bound) return undefined;
  if (inside(bound, { b: size.b, c: size.c - 1 })) return bound;
  const last = showDim({ b: size.b, c: size.c - 1 });
  frame.fail("value_error",
    { text: `index ${frame.text(expr.span)} is outside ${what}, whose indices run from 0 to ${last}` }, expr.span);
  return undefined;
}

const inside = (x: Dim, last: Dim): boolean => atMost(dim(0), x) && atMost(x, last);

function slice(frame: Frame, index: Extract<Index, { kind: "slice" }>, size: Dim, what: string): Range | undefined {
  const start = index.from ? boundary(frame, index.from, size) : dim(0);
  const stop = index.to ? boundary(frame, index.to, size) : size;
  const step = index.step ? stepOf(frame, index.step) : 1;
  if (!start || !stop || step === undefined) return undefined;
  if (inside(start, size) && inside(stop, size)) return { start, stop, step };
  const text = `\`${frame.text(index.span)}\` reaches outside ${what}, which has ${showDim(size)} items`;
  frame.fail("value_error", { text }, index.span);
  return undefined;
}

function stepOf(frame: Frame, expr: Expr): number | undefined {
  const value = frame.evaluate(expr);
  if (value.kind === "number" && Number.isInteger(value.value) && value.value > 0) return value.value;
  if (value.kind !== "error") {
    const text = `the step of a slice must be a positive integer, got ${describe(value)}`;
    frame.fail("wrong_type", { text }, expr.span);
  }
  return undefined;
}

/** A whole number, counted from `size` when negative. */
function boundary(frame: Frame, expr: Expr, size: Dim): Dim | undefined {
  const value = frame.evaluate(expr);
  if (value.kind === "dim") return value.dim;
  if (value.kind === "number" && Number.isInteger(value.value)) {
    return value.value < 0 ? { b: size.b, c: size.c + value.value } : dim(value.value);
  }
  if (value.kind === "number") {
    frame.fail("not_an_integer", { what: "a position", value: value.value, positive: false }, expr.span);
  } else if (value.kind !== "error") {
    const help = value.kind === "tensor" ? { help: "use `gather` to index with a tensor" } : {};
    frame.fail("wrong_type", { text: `an index must be a compile-time number, got ${describe(value)}`, ...help },
      expr.span);
  }
  return undefined;
}
