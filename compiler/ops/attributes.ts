/**
 * @file Call arguments: read from what the text says (numbers, lists, dimensions) into canonical attributes, or found
 * at fault.
 */
import { dim, isConstant, showDim, type Dim } from "../ir/dim.js";
import { showAttr, type Attr, type Attrs, type TensorType } from "../ir/graph.js";
import { isFault, type OpFault } from "../ir/op.js";

/** A user's mistake. @param code one of the message catalogue's. */
export const fault = (code: string, text: string, help?: string): OpFault =>
  help === undefined ? { fault: code, text } : { fault: code, text, help };

const BATCH_HELP = "the batch is known only when the module is loaded; use it in a shape or in tensor arithmetic";

const show = (a: Attr | undefined): string => (a === undefined ? "nothing" : showAttr(a));

export function isDim(a: Attr | undefined): a is Dim {
  return typeof a === "object" && a !== null && !Array.isArray(a) && "b" in a && "c" in a;
}

/** The items of a list attribute, or undefined if it is not a list. */
export const asList = (a: Attr | undefined): readonly Attr[] | undefined =>
  Array.isArray(a) ? (a as readonly Attr[]) : undefined; // isArray does not narrow readonly arrays

/** A whole number ≥ `least`. @param what the argument, as the message calls it: "`stride` of `conv2d`". */
export function readWhole(a: Attr | undefined, what: string, least: number): number | OpFault {
  if (isDim(a) && !isConstant(a)) return fault("symbolic_batch",
    `${what} cannot depend on the batch, got ${showDim(a)}`, BATCH_HELP);
  const value = isDim(a) ? a.c : a;
  if (typeof value !== "number") return fault("wrong_type", `${what} must be a whole number, got ${show(a)}`);
  if (!Number.isInteger(value)) return fault("not_an_integer", `${what} must be a whole number, got ${value}`);
  return value >= least ? value : fault("value_error", `${what} must be at least ${least}, got ${value}`);
}

/** Any finite number; `otherwise` where the argument is missing. */
export function readNumber(a: Attr | undefined, what: string, otherwise?: number): number | OpFault {
  const value = isDim(a) && isConstant(a) ? a.c : (a ?? otherwise);
  if (isDim(value ?? undefined)) return fault("symbolic_batch", `${what} cannot depend on the batch, got ${show(a)}`,
    BATCH_HELP);
  if (typeof value !== "number") return fault("wrong_type", `${what} must be a number, got ${show(a)}`);
  return Number.isFinite(value) ? value : fault("value_error", `${what} must be finite, got ${value}`);
}

export function readBool(a: Attr | undefined, what: string, otherwise: boolean): boolean | OpFault {
  const value = a ?? otherwise;
  return typeof value === "boolean" ? value : fault("wrong_type", `${what} must be true or false, got ${show(a)}`);
}

/** A size, which may hold B; 0 for a tensor without elements. */
export function readDim(a: Attr | undefined, what: string): Dim | OpFault {
  if (isDim(a) && !isConstant(a)) {
    const fits = Number.isInteger(a.b) && Number.isInteger(a.c) && a.b > 0 && a.b + a.c > 0;
    return fits ? a : fault("not_an_integer", `${what} must be a positive whole number, got ${showDim(a)}`);
  }
  const value = isDim(a) ? a.c : a;
  if (typeof value !== "number") return fault("wrong_type", `${what} must be a dimension, got ${show(a)}`);
  if (Number.isInteger(value) && value >= 0) return dim(value);
  const help = value === -1 ? "write the size explicitly: dimensions are never inferred" : undefined;
  return fault("not_an_integer", `${what} must be a non-negative whole number, got ${value}`, help);
}

/** Sizes of a shape, e.g. `[B, 14 * 14, D]`. */
export function readShape(a: Attr | undefined, what: string): readonly Dim[] | OpFault {
  const list = asList(a);
  if (!list) return fault("wrong_type", `${what} must be a list of dimensions, got ${show(a)}`);
  return readEach(list, (item, i) => readDim(item, `dimension ${i} of ${what}`));
}

/** An axis, counted from 0; negative ones count from the end. */
export function readAxis(a: Attr | undefined, op: string, rank: number): number | OpFault {
  const axis = readWhole(a, `\`axis\` of \`${op}\``, -Infinity);
  if (isFault(axis)) return axis;
  if (axis >= -rank && axis < rank) return axis < 0 ? axis + rank : axis;
  const range = rank === 0 ? "the operand is 0-d" : `the operand has axes 0 to ${rank - 1}`;
  return fault("rank_mismatch", `\`${op}\` is given axis ${axis}, but ${range}`);
}

/** Axes in ascending order, each once; all of them where the argument is missing. */
export function readAxes(a: Attr | undefined, op: string, rank: number): readonly number[] | OpFault {
  if (a === undefined || a === null) return Array.from({ length: rank }, (_, i) => i);
  const axes = readEach(asList(a) ?? [a], (item) => readAxis(item, op, rank));
  if (isFault(axes)) return axes;
  const twice = axes.find((axis, i) => axes.indexOf(axis) !== i);
  if (twice !== undefined) return fault("value_error", `\`${op}\` is given axis ${twice} twice: ${show(a)}`);
  return [...axes].sort((x, y) => x - y);
}

/** One whole number ≥ `least` for each of `count` axes: a list of so many, or one number for all. */
export function readPerAxis(a: Attr | undefined, what: string, count: number,
  least: number): readonly number[] | OpFault {
  const list = asList(a) ?? Array.from({ length: count }, () => a ?? null);
  if (list.length !== count) return fault("wrong_type", `${what} needs ${count} numbers, got ${show(a)}`);
  return readEach(list, (item) => readWhole(item, what, least));
}

/** Reads every item, or gives the first fault. */
export function readEach<A extends Attr, T>(list: readonly A[],
  read: (item: A, i: number) => T | OpFault): readonly T[] | OpFault {
  const out: T[] = [];
  for (const [i, item] of list.entries()) {
    const value = read(item, i);
    if (isFault(value)) return value;
    out.push(value);
  }
  return out;
}

/** Canonical attributes, or the first fault among them. */
export function readAll<V extends Readonly<Record<string, Attr | OpFault>>>(
  values: V,
): { readonly [Name in keyof V]: Exclude<V[Name], OpFault> } | OpFault {
  const wrong = Object.values(values).find(isFault);
  return wrong ?? values as { [Name in keyof V]: Exclude<V[Name], OpFault> }; // none is a fault
}

/**
 * `axis` as the one canonical attribute. @param otherwise the axis where none is given @param extra how many more axes
 * the result has, which may be named too
 */
export const axisAttr = (name: string, otherwise: Attr = null, extra = 0) =>
  ([x]: readonly TensorType[], attrs: Attrs): { readonly axis: number } | OpFault =>
    readAll({ axis: readAxis(attrs["axis"] ?? otherwise, name, (x?.shape.length ?? 0) + extra) });

/** Sizes at a bound batch: `bindAttrs` has made every dimension constant. */
export const sizesOf = (shape: readonly Dim[]): readonly number[] => shape.map((d) => d.c);
