/**
 * @file How contractions read their operands: what a kernel template needs to know of an op that sums products.
 */
import type { Dim } from "../dim.js";
import type { Node } from "../graph.js";
import type { OpRecord } from "../op.js";
import { broadcast } from "../pull.js";
import type { Index } from "../value.js";
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
