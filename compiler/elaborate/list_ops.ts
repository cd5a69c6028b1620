/**
 * @file Calls whose value is a list of tensors, `q, k, v = unbind(qkv)`: slices of one tensor. An op record gives one
 * tensor and a list is the language's, so these stand here.
 */
import { dim, isConstant, showShape } from "../ir/dim.js";
import type { Attr, Attrs, Node } from "../ir/graph.js";
import { isFault, type OpFault, type Ops } from "../ir/op.js";
import { asList, fault, readAxis, readEach, readWhole } from "../ops/attributes.js";

export interface ListOp {
  readonly name: string;
  readonly signature: string;
  readonly doc: string;
  /** The slices, or the user's mistake. */
  apply(ops: Ops, x: Node, attrs: Attrs): readonly Node[] | OpFault;
}

interface Axis {
  readonly axis: number;
  readonly size: number;
}

/** The axis to take apart; its size must not hold the batch. */
function fixedAxis(name: string, x: Node, attrs: Attrs): Axis | OpFault {
  const axis = readAxis(attrs["axis"] ?? 0, name, x.shape.length);
  if (isFault(axis)) return axis;
  const size = x.shape[axis] ?? dim(1);
  if (isConstant(size)) return { axis, size: size.c };
  return fault("symbolic_batch",
    `the number of parts of \`${name}\` along axis ${axis} of ${showShape(x.shape)} would depend on the batch`,
    "split along another axis");
}

/** Consecutive slices of these sizes, which add up to the axis. */
function consecutive(ops: Ops, x: Node, axis: number, sizes: readonly number[]): Node[] {
  let stop = 0;
  return sizes.map((size) => {
    const start = stop;
    stop += size;
    if (sizes.length === 1) return x;
    const starts = x.shape.map((_, i) => dim(i === axis ? start : 0));
    return ops.call("slice", [x], { starts, stops: x.shape.map((d, i) => (i === axis ? dim(stop) : d)) });
  });
}

/** So many equal sizes, or those listed. */
function partSizes(parts: Attr | undefined, size: number): readonly number[] | OpFault {
  const listed = asList(parts);
  if (!listed) {
    const count = readWhole(parts, "`parts` of `split`", 1);
    if (isFault(count)) return count;
    if (size % count === 0) return Array.from({ length: count }, () => size / count);
    const share = Number((size / count).toPrecision(12));
    return fault("not_an_integer",
      `\`split\` cannot divide ${size} into ${count} equal parts: ${size} / ${count} = ${share}`);
  }
  const sizes = readEach(listed, (item) => readWhole(item, "a size of `split`", 1));
  if (isFault(sizes)) return sizes;
  const total = sizes.reduce((a, b) => a + b, 0);
  return total === size ? sizes
    : fault("element_count",
      `the sizes [${sizes.join(", ")}] of \`split\` add up to ${total}, but the axis has ${size}`);
}

const table: readonly ListOp[] = [
  {
    name: "unbind", signature: "(x: [..], axis = 0) -> list",
    doc: "The slices of size 1 along an axis, each without that axis. Source: torch.unbind.",
    apply(ops, x, attrs) {
      const at = fixedAxis("unbind", x, attrs);
      if (isFault(at)) return at;
      const shape = x.shape.filter((_, i) => i !== at.axis);
      const ones = Array.from({ length: at.size }, () => 1);
      return consecutive(ops, x, at.axis, ones).map((part) => ops.call("reshape", [part], { shape }));
    },
  },
  {
    name: "split", signature: "(x: [..], parts, axis: int) -> list",
    doc: "Consecutive parts along an axis: `parts` equal ones, or one for each size of a list. Source: torch.split.",
    apply(ops, x, attrs) {
      const at = fixedAxis("split", x, attrs);
      if (isFault(at)) return at;
      const sizes = partSizes(attrs["parts"], at.size);
      return isFault(sizes) ? sizes : consecutive(ops, x, at.axis, sizes);
    },
  },
];

/** Calls that give lists of tensors, by name. */
export const LIST_OPS: ReadonlyMap<string, ListOp> = new Map(table.map((op) => [op.name, op]));
