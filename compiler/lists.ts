/**
 * @file Calls whose value is a list of tensors: they are slices, not ops of their own.
 */
import { addDim, dim, isConstant, showShape, type Dim } from "./dim.js";
import type { Attrs, Node } from "./graph.js";
import { isFault, type OpFault, type Ops } from "./op.js";
import { asList, fault, readAxis, readEach, readWhole } from "./ops/attributes.js";
import { sliceAxis } from "./ops/joins.js";
import { dimAt } from "./ops/shapes.js";

export interface ListOp {
  readonly name: string;
  readonly signature: string;
  readonly doc: string;
  apply(ops: Ops, x: Node, attrs: Attrs): readonly Node[] | OpFault;
}

/** Consecutive slices of the given sizes. */
function parts(ops: Ops, x: Node, axis: number, sizes: readonly number[]): Node[] {
  let start: Dim = dim(0);
  return sizes.map((size) => {
    const stop = addDim(start, dim(size));
    const part = size === dimAt(x.shape, axis).c ? x : sliceAxis(ops, x, axis, start, stop);
    start = stop;
    return part;
  });
}

/** An axis of constant size. */
function readSplitAxis(name: string, x: Node, attrs: Attrs, otherwise?: number): { axis: number; size: number } | OpFault {
  const axis = readAxis(attrs["axis"] ?? otherwise, name, x.shape.length);
  if (isFault(axis)) return axis;
  const size = dimAt(x.shape, axis);
  if (isConstant(size)) return { axis, size: size.c };
  return fault("symbolic_batch", `\`${name}\` cannot cut axis ${axis} of ${showShape(x.shape)}: how many parts would depend on B`);
}

function readSizes(a: Attrs[string] | undefined, size: number): readonly number[] | OpFault {
  const list = asList(a);
  if (list) {
    const sizes = readEach(list, (item) => readWhole(item, "a size of `split`", 1));
    if (isFault(sizes)) return sizes;
    const total = sizes.reduce((x, y) => x + y, 0);
    return total === size ? sizes : fault("element_count", `\`split\` into [${sizes.join(", ")}] takes ${total} of ${size}`);
  }
  const count = readWhole(a, "`parts` of `split`", 1);
  if (isFault(count)) return count;
  if (size % count === 0) return Array.from({ length: count }, () => size / count);
  return fault("not_an_integer", `\`split\` cannot cut ${size} into ${count} equal parts: ${size} / ${count} = ${size / count}`);
}

const all: readonly ListOp[] = [
  {
    name: "unbind", signature: "(x: [..], axis = 0) -> list",
    doc: "The entries of an axis, each without it. Source: torch.unbind.",
    apply(ops, x, attrs) {
      const cut = readSplitAxis("unbind", x, attrs, 0);
      if (isFault(cut)) return cut;
      const shape = x.shape.filter((_, i) => i !== cut.axis);
      const ones = Array.from({ length: cut.size }, () => 1);
      return parts(ops, x, cut.axis, ones).map((part) => ops.call("reshape", [part], { shape }));
    },
  },
  {
    name: "split", signature: "(x: [..], parts, axis: int) -> list",
    doc: "An axis cut into `parts` equal parts, or into parts of the sizes listed. Source: torch.split, torch.chunk.",
    apply(ops, x, attrs) {
      const cut = readSplitAxis("split", x, attrs);
      if (isFault(cut)) return cut;
      const sizes = readSizes(attrs["parts"], cut.size);
      return isFault(sizes) ? sizes : parts(ops, x, cut.axis, sizes);
    },
  },
];

/** Calls that give lists, by name. */
export const LIST_OPS: ReadonlyMap<string, ListOp> = new Map(all.map((op) => [op.name, op]));
