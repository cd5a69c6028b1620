/**
 * @file How contractions read their operands: what a kernel template needs to know of an op that sums products.
 */
import { dim, divDim, sizeOf, type Dim } from "../ir/dim.js";
import type { Node } from "../ir/graph.js";
import { addIndex, constantIndex, delinearize, quotient, scaleIndex, ZERO_INDEX } from "../ir/indices.js";
import type { OpRecord } from "../ir/op.js";
import { broadcast } from "../fuse/pull.js";
import type { Index } from "../ir/value.js";
import { dimAt, operand } from "./shapes.js";
import { at, type Sizes } from "./strided.js";

const lastDim = (node: Node): Dim => dimAt(node.shape, node.shape.length - 1);
/** Coordinates of an operand's leading axes, which broadcast against the result's. */
const lead = (node: Node, at: readonly Index[], of: Node): Index[] =>
  broadcast(at.slice(0, -2), node.shape.slice(0, -2), of.shape.slice(0, -2));
const row = (at: readonly Index[]): Index => at[at.length - 2] as Index; // results have rank 2 or more
const column = (at: readonly Index[]): Index => at[at.length - 1] as Index;

/** The operands of a contraction: `halves` of its record. */
export const PRODUCT = [0, 1] as const;

/** C[.., m, n] = Σ_k A[.., m, k]·B[.., k, n]. */
export const matmulContract: NonNullable<OpRecord["contract"]> = {
  depth: (node) => lastDim(operand(node.inputs, 0)),
  read: (node, at, k) => [
    [...lead(node, at, operand(node.inputs, 0)), row(at), k],
    [...lead(node, at, operand(node.inputs, 1)), k, column(at)],
  ],
};

export type Scaled = { readonly scale: number };
type Parts = "all" | "queries" | "keys";

/** O[.., i, c] = Σ_j softmax_j(scale·Σ_d Q[.., i, d]·K[.., j, d])·V[.., j, c]. */
export const attentionAttend: NonNullable<OpRecord<Scaled>["attend"]> = {
  scale: (node) => node.attrs.scale,
  keys: (node) => dimAt(operand(node.inputs, 1).shape, operand(node.inputs, 1).shape.length - 2),
  width: (node) => lastDim(operand(node.inputs, 0)),
  read: (node, at, j, d) => [
    [...lead(node, at, operand(node.inputs, 0)), row(at), d],
    [...lead(node, at, operand(node.inputs, 1)), j, d],
    [...lead(node, at, operand(node.inputs, 2)), j, column(at)],
  ],
};

/** Results [parts, .., row, column], or [.., row, column] of the queries alone. */
export const attentionAttendBack: NonNullable<OpRecord<Scaled & { readonly parts: Parts }>["attendBack"]> = {
  scale: (node) => node.attrs.scale,
  parts: (node) => node.attrs.parts,
  queries: (node) => dimAt(operand(node.inputs, 0).shape, operand(node.inputs, 0).shape.length - 2),
  keys: (node) => dimAt(operand(node.inputs, 1).shape, operand(node.inputs, 1).shape.length - 2),
  width: (node) => lastDim(operand(node.inputs, 0)),
  partAxis: (node) => (node.attrs.parts === "queries" ? undefined : 0),
  read: (_node, lead, i, j, d) => [
    [...lead, i, d], [...lead, j, d], [...lead, j, d], [...lead, i, d], [...lead, i], [...lead, i],
  ],
};

/** Of `conv2d`; `pad` is [[top, bottom], [left, right]]. */
export type ConvAttrs = {
  readonly stride: Sizes; readonly dilation: Sizes; readonly pad: readonly Sizes[]; readonly groups: number;
};

/** C[n, o, y, x] = Σ_(c,i,j) W[o, c, i, j]·X[n, group(o)·C + c, y·s + i·d − p, x·s + j·d − p], X being 0 outside. */
export const convContract: NonNullable<OpRecord<ConvAttrs>["contract"]> = {
  depth: (node) => sizeOf(operand(node.inputs, 1).shape.slice(1)),
  read(node, place, k) {
    const weight = operand(node.inputs, 1);
    const [n, o, y, x] = place as readonly [Index, Index, Index, Index]; // the result has rank 4
    const [c, i, j] = delinearize(k, weight.shape.slice(1)) as [Index, Index, Index]; // the weight has rank 4
    const { stride, dilation, pad, groups } = node.attrs;
    const outEach = divDim(dimAt(weight.shape, 0), dim(groups)) ?? dim(1); // inferred: groups divide
    const group = groups === 1 ? ZERO_INDEX : quotient(o, outEach);
    const side = (start: Index, tap: Index, axis: 0 | 1): Index =>
      addIndex(
        addIndex(scaleIndex(start, at(stride, axis)), scaleIndex(tap, at(dilation, axis))),
        constantIndex(-at(pad[axis] ?? [], 0)),
      );
    const channel = addIndex(scaleIndex(group, dimAt(weight.shape, 1)), c);
    return [[n, channel, side(y, i, 0), side(x, j, 1)], [o, c, i, j]];
  },
};


