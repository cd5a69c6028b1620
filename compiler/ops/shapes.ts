/**
 * @file Shape arithmetic that several ops share: broadcasting and reduced shapes, over dimensions that may hold B.
 */
import { dim, isConstant, isOne, sameDim, showShape, sizeOf, type Dim, type Shape } from "../ir/dim.js";
import type { DType, Node, TensorType } from "../ir/graph.js";
import type { OpFault, Ops } from "../ir/op.js";
import { fault } from "./attributes.js";

/** Dimension `i` of a shape known to be long enough. */
export const dimAt = (shape: Shape, i: number): Dim => shape[i] as Dim; // the caller's i is in range

/** The shape all of `shapes` broadcast to (numpy's rule), or nothing when they do not. */
export function broadcastShape(shapes: readonly Shape[]): Shape | undefined {
  const rank = Math.max(0, ...shapes.map((s) => s.length));
  const out: Dim[] = [];
  for (let i = 0; i < rank; i++) {
    let size = dim(1);
    for (const shape of shapes) {
      const d = shape[shape.length - rank + i];
      if (!d || isOne(d)) continue;
      if (!isOne(size) && !sameDim(size, d)) return undefined;
      size = d;
    }
    out.push(size);
  }
  return out;
}

/** `shape` without `axes`, or with 1 in their place. */
export const reducedShape = (shape: Shape, axes: readonly number[], keep: boolean): Shape =>
  keep ? shape.map((d, i) => (axes.includes(i) ? dim(1) : d)) : shape.filter((_, i) => !axes.includes(i));

/** A result of a reduction brought back to the rank of its operand, 1 along `axes`. */
export const restoreAxes = (ops: Ops, y: Node, shape: Shape, axes: readonly number[]): Node =>
  reshapeTo(ops, y, reducedShape(shape, axes, true));

/** Reshaped unless it already has the shape. */
export const reshapeTo = (ops: Ops, x: Node, shape: Shape): Node =>
  x.shape.length === shape.length && x.shape.every((d, i) => sameDim(d, dimAt(shape, i)))
    ? x
    : ops.call("reshape", [x], { shape });

/** One number everywhere, of any type. */
export const filled = (ops: Ops, value: number, shape: Shape, dtype: DType): Node =>
  ops.call("expand", [ops.call("constant", [], { value, ...(dtype === "f32" ? {} : { dtype }) })], { shape });

/** How many elements the axes hold together, as a 0-d f32. */
export const countNode = (ops: Ops, shape: Shape, axes: readonly number[]): Node =>
  dimNode(ops, sizeOf(axes.map((axis) => dimAt(shape, axis))));

/** A dimension as a 0-d f32: a constant, or the `size` op when it holds B. */
const dimNode = (ops: Ops, size: Dim): Node =>
  isConstant(size) ? ops.constant(size.c) : ops.call("size", [], { size });

/** The fault of a wrong element type: `got` are the operands. */
export const wrongType = (op: string, needs: string, got: readonly TensorType[], help?: string): OpFault =>
  fault("wrong_type",
    `\`${op}\` needs ${needs}, got ${got.map((t) => `${t.dtype} ${showShape(t.shape)}`).join(" and ")}`, help);

/** A fault unless there are `arity` operands, all f32, or f16 at the positions of `halves`. */
export function checkFloats(
  op: string, inputs: readonly TensorType[], arity: number, halves: readonly number[] = [],
): OpFault | undefined {
  if (inputs.length !== arity) return fault("missing_argument",
    `\`${op}\` needs ${arity} tensors, got ${inputs.length}`);
  if (inputs.every(({ dtype }, i) => dtype === "f32" || (dtype === "f16" && halves.includes(i)))) return undefined;
  return wrongType(op, "f32 operands", inputs, "convert with `float(x)`");
}

/** Operand `i` of inputs whose number has been checked. */
export const operand = <T>(inputs: readonly T[], i: number): T => inputs[i] as T; // arity is checked by infer
