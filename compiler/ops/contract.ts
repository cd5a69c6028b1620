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

const lastDim = (node: Node): Dim => dimAt(node.shape, node.shape.length - 1);
/** Coordinates of an operand's leading axes, which broadcast against the result's. */
const lead = (node: Node, at: readonly Index[], of: Node): Index[] =>
  broadcast(at.slice(0, -2), node.shape.slice(0, -2), of.shape.slice(0, -2));
const row = (at: readonly Index[]): Index => at[at.length - 2] as Index; // results have rank 2 or more
const column = (at: readonly Index[]): Index => at[at.length - 1] as Index;

/** C[.., m, n] = Σ_k A[.., m, k]·B[.., k, n]. */
export const matmulContract: NonNullable<OpRecord["contract"]> = {
  depth: (node) => lastDim(operand(node.inputs, 0)),
  read: (node, at, k) => [
    [...lead(node, at, operand(node.inputs, 0)), row(at), k],
    [...lead(node, at, operand(node.inputs, 1)), k, column(at)],
  ],
};

/** O[.., i, c] = Σ_j softmax_j(scale·Σ_d Q[.., i, d]·K[.., j, d])·V[.., j, c]. */
export const attentionAttend: NonNullable<OpRecord["attend"]> = {
  scale: (node) => Number(node.attrs["scale"]),
  keys: (node) => dimAt(operand(node.inputs, 1).shape, operand(node.inputs, 1).shape.length - 2),
  width: (node) => lastDim(operand(node.inputs, 0)),
  read: (node, at, j, d) => [
    [...lead(node, at, operand(node.inputs, 0)), row(at), d],
    [...lead(node, at, operand(node.inputs, 1)), j, d],
    [...lead(node, at, operand(node.inputs, 2)), j, column(at)],
  ],
};

/** Results [parts, .., row, column], or [.., row, column] of the queries alone. */
export const attentionAttendBack: NonNullable<OpRecord["attendBack"]> = {
  scale: (node) => Number(node.attrs["scale"]),
  parts: (node) => node.attrs["parts"] as "all" | "queries" | "keys", // canonical
  queries: (node) => dimAt(operand(node.inputs, 0).shape, operand(node.inputs, 0).shape.length - 2),
  keys: (node) => dimAt(operand(node.inputs, 1).shape, operand(node.inputs, 1).shape.length - 2),
  width: (node) => lastDim(operand(node.inputs, 0)),
  partAxis: (node) => (node.attrs["parts"] === "queries" ? undefined : 0),
  read: (_node, lead, i, j, d) => [
    [...lead, i, d], [...lead, j, d], [...lead, j, d], [...lead, i, d], [...lead, i], [...lead, i],
  ],
};

/** C[n, o, y, x] = Σ_(c,i,j) W[o, c, i, j]·X[n, group(o)·C + c, y·s + i·d − p, x·s + j·d − p], X being 0 outside. */
export const convContract: NonNullable<OpRecord["contract"]> = {
  depth: (node) => sizeOf(operand(node.inputs, 1).shape.slice(1)),
  read(node, at, k) {
    const weight = operand(node.inputs, 1);
    const [n, o, y, x] = at as readonly [Index, Index, Index, Index]; // the result has rank 4
    const [c, i, j] = delinearize(k, weight.shape.slice(1)) as [Index, Index, Index]; // the weight has rank 4
    const { stride, dilation, pad, groups } = node.attrs as unknown as ConvAttrs; // canonical attributes of conv2d
    const outEach = divDim(dimAt(weight.shape, 0), dim(groups)) ?? dim(1); // inferred: groups divide
    const group = groups === 1 ? ZERO_INDEX : quotient(o, outEach);
    const side = (place: Index, tap: Index, axis: 0 | 1): Index =>
      addIndex(
        addIndex(scaleIndex(place, stride[axis]), scaleIndex(tap, dilation[axis])), constantIndex(-pad[axis][0]),
      );
    const channel = addIndex(scaleIndex(group, dimAt(weight.shape, 1)), c);
    return [[n, channel, side(y, i, 0), side(x, j, 1)], [o, c, i, j]];
  },
};

interface ConvAttrs {
  readonly stride: readonly [number, number];
  readonly dilation: readonly [number, number];
  readonly pad: readonly [readonly [number, number], readonly [number, number]];
  readonly groups: number;
}
