/**
 * @file What movement rules need to know about views: permutations, the groups of axes a reshape merges and splits, and
 * builders that leave out views that do nothing.
 */
import {
  addDim, dim, divDim, isConstant, isOne, mulDim, sameDim, sameShape, subDim, type Dim, type Shape
} from "../../ir/dim.js";
import type { Attr, Node } from "../../ir/graph.js";
import { invariant } from "../../ir/invariant.js";
import { attrsOf, type Ops } from "../../ir/op.js";
import { at } from "../../ops/strided.js";
import { isView } from "../pattern.js";
import { permute as permuteOp, slice as sliceOp } from "../../ops/views.js";

/** The axis of the input that stands at each axis of the result of a `permute`. */
export const orderOf = (node: Node): readonly number[] => attrsOf(permuteOp, node).order;
export const inputOf = (node: Node, i = 0): Node => {
  const input = node.inputs[i];
  invariant(input, `${node.op} has an input ${i}`);
  return input;
};
export const dimAt = (shape: Shape, axis: number): Dim => {
  const d = shape[axis];
  invariant(d, "the axis exists");
  return d;
};

export const inverse = (order: readonly number[]): number[] => {
  const out = new Array<number>(order.length).fill(0);
  order.forEach((from, to) => (out[from] = to));
  return out;
};
const isIdentity = (order: readonly number[]): boolean => order.every((from, to) => from === to);
const dims = (shape: Shape): Attr => shape.map((d) => ({ b: d.b, c: d.c }));

export const reshape = (ops: Ops, x: Node, shape: Shape): Node =>
  sameShape(x.shape, shape) ? x : ops.call("reshape", [x], { shape: dims(shape) });
export const expand = (ops: Ops, x: Node, shape: Shape): Node =>
  sameShape(x.shape, shape) ? x : ops.call("expand", [x], { shape: dims(shape) });

/** A permutation; one that only moves axes of size 1 is a reshape. */
export function permute(ops: Ops, x: Node, order: readonly number[]): Node {
  if (isIdentity(order)) return x;
  if (!movesElements(x.shape, order)) return reshape(ops, x, order.map((axis) => dimAt(x.shape, axis)));
  return ops.call("permute", [x], { order });
}

/** Whether axes larger than 1 change their order. */
export function movesElements(shape: Shape, order: readonly number[]): boolean {
  const real = order.filter((axis) => !isOne(dimAt(shape, axis)));
  return real.some((axis, i) => i > 0 && axis < (real[i - 1] ?? 0));
}

/** Elements start, start + step, … below stop of one axis. */
export interface Range {
  readonly start: Dim;
  readonly stop: Dim;
  readonly step: number;
}
export const wholeRange = (size: Dim): Range => ({ start: dim(0), stop: size, step: 1 });
export const isWhole = (range: Range, size: Dim): boolean =>
  range.step === 1 && sameDim(range.start, dim(0)) && sameDim(range.stop, size);
export const shiftRange = (range: Range, by: Dim): Range => ({
  start: addDim(range.start, by), stop: addDim(range.stop, by), step: range.step,
});
/** Number of elements. Ranges with a step have constant lengths or B in whole steps. */
export function rangeSize(range: Range): Dim {
  const length = subDim(range.stop, range.start);
  return { b: length.b / range.step, c: Math.ceil(length.c / range.step) };
}

/** The ranges of a `slice`, one an axis. */
export function rangesOf(node: Node): Range[] {
  const { starts, stops, steps } = attrsOf(sliceOp, node);
  return node.shape.map((_, i) => ({ start: dimAt(starts, i), stop: dimAt(stops, i), step: at(steps, i) }));
}

export function slice(ops: Ops, x: Node, ranges: readonly Range[]): Node {
  if (ranges.every((r, i) => isWhole(r, dimAt(x.shape, i)))) return x;
  const starts = dims(ranges.map((r) => r.start));
  return ops.call("slice", [x], { starts, stops: dims(ranges.map((r) => r.stop)), steps: ranges.map((r) => r.step) });
}

/** Axes of a reshape's input and output that hold the same elements: `[12] → [3, 4]` is one group. */
interface Group {
  readonly from: readonly number[];
  readonly to: readonly number[];
}

/** The smallest groups of a reshape, in order; an axis of size 1 alone may have nothing on the other side. */
export function reshapeGroups(from: Shape, to: Shape): Group[] | undefined {
  const groups: Group[] = [];
  let [i, j] = [0, 0];
  while (i < from.length || j < to.length) {
    const [x, y] = [from[i], to[j]];
    const [oneX, oneY] = [x !== undefined && isOne(x), y !== undefined && isOne(y)];
    if (oneX && !oneY) {
      groups.push({ from: [i++], to: [] });
    } else if (oneY && !oneX) {
      groups.push({ from: [], to: [j++] });
    } else {
      const group = x && y && closeGroup(from, i, to, j);
      if (!group) return undefined;
      groups.push(group);
      i += group.from.length;
      j += group.to.length;
    }
  }
  return groups;
}

function closeGroup(from: Shape, i: number, to: Shape, j: number): Group | undefined {
  const group = { from: [i], to: [j] };
  let [p, q] = [dimAt(from, i), dimAt(to, j)];
  while (!sameDim(p, q)) {
    const growFrom = divDim(q, p) !== undefined || (divDim(p, q) === undefined && smaller(p, q));
    const next = growFrom ? from[i + group.from.length] : to[j + group.to.length];
    const product = next && mulDim(growFrom ? p : q, next);
    if (!product) return undefined;
    if (growFrom) {
      group.from.push(i + group.from.length);
      p = product;
    } else {
      group.to.push(j + group.to.length);
      q = product;
    }
  }
  return group;
}

const smaller = (p: Dim, q: Dim): boolean => (isConstant(p) === isConstant(q) ? p.b + p.c < q.b + q.c : isConstant(p));

/** Whether a node is made of parameters and constants by movement alone, so that moving it costs nothing. */
export function isSmallView(node: Node): boolean {
  if (isView(node)) return node.shape.every(isConstant) && isSmallView(inputOf(node));
  return node.op === "constant" || node.op === "parameter";
}

/** `shape` with 1s in front, up to `rank`. */
export const padRank = (shape: Shape, rank: number): Shape => [...Array.from({
  length: rank - shape.length
}, () => dim(1)), ...shape];

/**
 * A reshape after a permutation as a permutation after a reshape: the same elements when every group of the reshape
 * takes axes that were neighbours, in order, before the permutation. @returns the new reshape's shape and the order.
 */
export function swapReshape(before: Shape, order: readonly number[], to: Shape): {
  shape: Shape; order: number[]
} | undefined {
  const groups = reshapeGroups(order.map((axis) => dimAt(before, axis)), to);
  if (!groups) return undefined;
  const blocks: { at: number; to: number[] }[] = [];
  for (const group of groups) {
    const axes = group.from.map((axis) => order[axis] as number); // groups count the permuted axes
    if (axes.some((axis, i) => i > 0 && axis !== (axes[i - 1] ?? 0) + 1)) return undefined;
    const [first] = axes;
    const last = blocks.at(-1);
    if (first !== undefined) blocks.push({ at: first, to: [...group.to] });
    else if (last) last.to.push(...group.to);
    else blocks.push({ at: -1, to: [...group.to] });
  }
  const inPlace = [...blocks].sort((x, y) => x.at - y.at).flatMap((b) => b.to);
  return { shape: inPlace.map((axis) => dimAt(to, axis)), order: inverse(inPlace) };
}
