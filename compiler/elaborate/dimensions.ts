/**
 * @file Values to dimensions, and unification of argument shapes with the types of a signature.
 */
import type { DimType, Expr, Span, TensorType } from "../../dsl/ast.js";
import { sameDim, sameShape, showDim, showShape, type Dim, type Shape } from "../ir/dim.js";
import type { Note } from "../../dsl/diagnostics.js";
import type { Frame } from "./frame.js";
import { ELEMENTS } from "./limits.js";
import { describe, dimension, showNumber, type NumberValue, type Quotient, type Value } from "./values.js";

/** The dimension an expression stands for, at least `least`; undefined after a diagnostic. */
export function dimensionOf(frame: Frame, expr: Expr, least: 0 | 1 = 1): Dim | undefined {
  return toDimension(frame, frame.evaluate(expr), expr.span, least);
}

function toDimension(frame: Frame, value: Value, span: Span, least: 0 | 1): Dim | undefined {
  const what = `the dimension \`${frame.text(span)}\``;
  switch (value.kind) {
    case "error": return undefined;
    case "dim":
      if (value.dim.b > 0 && value.dim.b + value.dim.c > 0) return value.dim;
      frame.fail("value_error", { text: `${what} = ${showDim(value.dim)} is not positive for every batch` }, span);
      return undefined;
    case "number":
      if (!wholeNumber(frame, value, span, least)) return undefined;
      if (value.value <= ELEMENTS) return { b: 0, c: value.value };
      frame.fail("too_large", { what, size: `the value ${value.value}`, limit: `${ELEMENTS}` }, span);
      return undefined;
    default:
      frame.fail("wrong_type", {
        text: `${what} is ${describe(value)}`,
        help: value.kind === "tensor" ? "dimensions are whole numbers, or whole multiples of `B`"
          : "a dimension is a positive integer",
      }, span);
      return undefined;
  }
}

/** Whether a number is whole and at least `least`; the diagnostic spells out the division that made it otherwise. */
export function wholeNumber(frame: Frame, value: NumberValue, span: Span, least: number): boolean {
  if (Number.isInteger(value.value) && value.value >= least) return true;
  const what = /^-?[\d.]+$/.test(frame.text(span)) ? (least > 0 ? "a dimension" : "an `int`")
    : `\`${frame.text(span)}\``;
  const shown = { what, value: Number(showNumber(value.value)), positive: least > 0 };
  frame.fail("not_an_integer", value.quotient ? { ...shown, ...explainQuotient(frame, value.quotient) } : shown, span);
  return false;
}

function explainQuotient(frame: Frame, { expr, divisor, left, right }: Quotient): { working: string; help?: string } {
  const shown = `${showNumber(left)} / ${showNumber(right)} = ${showNumber(left / right)}`;
  const working = `\`${frame.text(expr.span)}\` = ${shown}`;
  return Number.isInteger(left) ? { working, help: `${frame.text(divisor.span)} must divide ${showNumber(left)}` }
    : { working };
}

/** What is being matched against a type: names it in messages. */
export interface Subject {
  /** `x` of `attention`; empty for its result. */
  readonly name: string;
  readonly owner: string;
  /** Where the fault is reported, and by whom. */
  readonly span: Span;
  readonly reporter: Frame;
}

const isCapital = (dim: DimType): string | undefined =>
  dim.kind === "expr" && dim.expr.kind === "name" && /^[A-Z]/.test(dim.expr.name) ? dim.expr.name : undefined;

/**
 * First half of unification: rank, and capitals bound on first use. `B` binds like the others, so that a block also
 * takes a tensor whose first dimension is a multiple of the batch. Expressions wait for `checkDims`, when all is bound.
 */
export function bindDims(frame: Frame, type: TensorType, shape: Shape, subject: Subject): boolean {
  const pairs = align(type, shape);
  if (!pairs) return rankMismatch(frame, type, shape, subject);
  if (pairs.rest) {
    if (!frame.rest) frame.rest = { shape: pairs.rest, from: subject.name, span: type.span };
    else if (!sameShape(frame.rest.shape, pairs.rest)) {
      const why = `\`..\` is ${showShape(frame.rest.shape)} from \`${frame.rest.from}\``;
      return mismatch(frame, type, shape, subject, why,
        [{ text: `\`..\` was bound here by \`${frame.rest.from}\``, span: frame.rest.span }]);
    }
  }
  for (const [dim, size] of pairs.dims) {
    const name = isCapital(dim);
    if (!name) continue;
    const bound = frame.bindings.get(name);
    if (!bound) {
      frame.bindings.set(name, { name, value: size, from: subject.name, span: dim.span });
      frame.names.set(name, dimension(size));
    } else if (!sameDim(bound.value, size)) {
      return mismatch(frame, type, shape, subject, `${name} is ${showDim(bound.value)} from \`${bound.from}\``,
        [{ text: `${name} = ${showDim(bound.value)} was bound here by \`${bound.from}\``, span: bound.span }]);
    }
  }
  return true;
}

/** Second half: dimensions given by expressions. */
export function checkDims(frame: Frame, type: TensorType, shape: Shape, subject: Subject): boolean {
  const pairs = align(type, shape);
  if (!pairs) return false;
  for (const [dim, size] of pairs.dims) {
    if (dim.kind !== "expr" || isCapital(dim)) continue;
    const expected = dimensionOf(frame, dim.expr, 0);
    if (!expected) return false;
    if (sameDim(expected, size)) continue;
    const text = frame.text(dim.expr.span);
    const shown = text === showDim(expected) ? `dimension ${type.dims.indexOf(dim)} is ${text}`
      : `${text} is ${showDim(expected)}`;
    return mismatch(frame, type, shape, subject, shown, [...involved(frame, dim.expr)]);
  }
  return true;
}

/** The shape a type has once everything in it is bound; undefined entries are inferred. */
export function expectedDims(frame: Frame, type: TensorType): readonly (Dim | undefined)[] | undefined {
  const dims: (Dim | undefined)[] = [];
  for (const dim of type.dims) {
    const name = isCapital(dim);
    if (dim.kind !== "expr" || (name && !frame.names.has(name) && name !== "B")) {
      dims.push(undefined);
      continue;
    }
    const size = dimensionOf(frame, dim.expr, 0);
    if (!size) return undefined;
    dims.push(size);
  }
  return dims;
}

interface Pairs {
  readonly dims: readonly (readonly [DimType, Dim])[];
  /** What `..` stands for. */
  readonly rest?: Shape;
}

/** Each dimension of a type with its size; undefined where the ranks differ. */
function align(type: TensorType, shape: Shape): Pairs | undefined {
  const at = type.dims.findIndex((d) => d.kind === "rest");
  const fixed = at < 0 ? type.dims.length : type.dims.length - 1;
  if (shape.length < fixed || (at < 0 && shape.length !== fixed)) return undefined;
  if (at < 0) return { dims: zip(type.dims, shape) };
  const after = shape.length - (fixed - at);
  return {
    dims: [...zip(type.dims.slice(0, at), shape), ...zip(type.dims.slice(at + 1), shape.slice(after))],
      rest: shape.slice(at, after),
  };
}

function zip(dims: readonly DimType[], shape: Shape): (readonly [DimType, Dim])[] {
  const pairs: (readonly [DimType, Dim])[] = [];
  for (const [i, dim] of dims.entries()) {
    const size = shape[i];
    if (size) pairs.push([dim, size]);
  }
  return pairs;
}

function rankMismatch(frame: Frame, type: TensorType, shape: Shape, subject: Subject): false {
  const fixed = type.dims.filter((d) => d.kind !== "rest").length;
  const wanted = fixed === type.dims.length ? String(fixed) : `at least ${fixed}`;
  const text = `${subjectWords(subject)} is ${frame.text(type.span)}, ${wanted} dimensions; got ${showShape(shape)}`;
  subject.reporter.fail("rank_mismatch", { text }, subject.span,
    { label: showShape(shape), notes: [declaredAt(type, subject)] });
  return false;
}

const subjectWords = ({ name, owner }: Subject): string =>
  (name === "" ? `the result of \`${owner}\`` : `\`${name}\` of \`${owner}\``);

const declaredAt = (type: TensorType, subject: Subject): Note =>
  ({ text: `${subject.name === "" ? "it" : `\`${subject.name}\``} is declared here`, span: type.span });

function mismatch(frame: Frame, type: TensorType, shape: Shape, subject: Subject, why: string,
  notes: readonly Note[]): false {
  const text = `${subjectWords(subject)} is ${frame.text(type.span)}, where ${why}; got ${showShape(shape)}`;
  const places = notes.length > 0 ? notes : [declaredAt(type, subject)];
  subject.reporter.fail("shape_mismatch", { text }, subject.span, { label: showShape(shape), notes: places });
  return false;
}

/** Notes for the capitals an expression reads. */
function* involved(frame: Frame, expr: Expr): Generator<Note> {
  if (expr.kind === "name") {
    const bound = frame.bindings.get(expr.name);
    if (bound) yield { text: `${bound.name} = ${showDim(bound.value)} was bound here by \`${bound.from}\``,
      span: bound.span };
  } else if (expr.kind === "binary") {
    yield* involved(frame, expr.left);
    yield* involved(frame, expr.right);
  }
}
