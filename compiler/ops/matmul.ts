/**
 * @file Matrix products: batched `matmul`.
 */
import { sameDim, showDim, showShape, sizeOf, type Shape } from "../ir/dim.js";
import type { Node } from "../ir/graph.js";
import { defineOp, isFault, type OpFault, type OpRecord, type Ops, type Tensor } from "../ir/op.js";
import { fault } from "./attributes.js";
import { matmulContract, PRODUCT } from "./contract.js";
import { broadcastShape, checkFloats, dimAt, operand, reshapeTo } from "./shapes.js";
import { allocateLike, at, broadcastStrides, count, readStrided, type Numbers } from "./strided.js";

/**
 * out[i, j] = Σ_k a[i, k]·b[j, k], from the given offsets; both operands row-major along k. Sums are float64 and
 * rounded once on the store, whatever the operands' type.
 */
export function dotRows(
  a: Numbers, aStart: number, b: Numbers, bStart: number, out: Numbers, outStart: number, rows: number, cols: number,
  depth: number,
): void {
  const block = 4;
  for (let j = 0; j < cols; j += block) {
    // The last block repeats its final column instead of a special case; all reads below are in range.
    const j1 = Math.min(j + 1, cols - 1), j2 = Math.min(j + 2, cols - 1), j3 = Math.min(j + 3, cols - 1);
    const q0 = bStart + j * depth, q1 = bStart + j1 * depth, q2 = bStart + j2 * depth, q3 = bStart + j3 * depth;
    for (let i = 0; i < rows; i += 2) {
      const next = Math.min(i + 1, rows - 1);
      const p0 = aStart + i * depth, p1 = aStart + next * depth;
      let s00 = 0, s01 = 0, s02 = 0, s03 = 0, s10 = 0, s11 = 0, s12 = 0, s13 = 0;
      for (let k = 0; k < depth; k++) {
        const x0 = a[p0 + k] as number, x1 = a[p1 + k] as number;
        const y0 = b[q0 + k] as number, y1 = b[q1 + k] as number, y2 = b[q2 + k] as number, y3 = b[q3 + k] as number;
        s00 += x0 * y0; s01 += x0 * y1; s02 += x0 * y2; s03 += x0 * y3;
        s10 += x1 * y0; s11 += x1 * y1; s12 += x1 * y2; s13 += x1 * y3;
      }
      const o0 = outStart + i * cols, o1 = outStart + next * cols;
      out[o0 + j] = s00; out[o0 + j1] = s01; out[o0 + j2] = s02; out[o0 + j3] = s03;
      out[o1 + j] = s10; out[o1 + j1] = s11; out[o1 + j2] = s12; out[o1 + j3] = s13;
    }
  }
}

function multiply(a: Tensor, b: Tensor, shape: readonly number[]): Tensor {
  const [rows, cols, depth] = [at(a.shape, a.shape.length - 2), at(b.shape, b.shape.length - 1),
    at(a.shape, a.shape.length - 1)];
  const lead = shape.slice(0, -2);
  const transposed = transposeLast(b);
  const data = allocateLike(a.data, count(shape));
  // Which matrix of each operand belongs to each matrix of the result.
  const matrices = (x: Tensor): Numbers => {
    const own = x.shape.slice(0, -2);
    return readStrided(Int32Array.from({ length: count(own) }, (_, i) => i), lead, broadcastStrides(own, lead)).data;
  };
  const [ofA, ofB] = [matrices(a), matrices(b)];
  for (let m = 0; m < ofA.length; m++) {
    const [p, q] = [(ofA[m] as number) * rows * depth, (ofB[m] as number) * cols * depth]; // m is in range
    dotRows(a.data, p, transposed, q, data, m * rows * cols, rows, cols, depth);
  }
  return { shape, data };
}

/** [.., k, n] as the numbers of [.., n, k]. */
function transposeLast(x: Tensor): Numbers {
  const [depth, cols] = [at(x.shape, x.shape.length - 2), at(x.shape, x.shape.length - 1)];
  const lead = count(x.shape.slice(0, -2));
  return readStrided(x.data, [lead, cols, depth], [cols * depth, 1, cols]).data;
}

/** Shape of a matrix product whose leading sizes broadcast. */
export function checkProduct(a: Shape, b: Shape): Shape | OpFault {
  const shown = `${showShape(a)} by ${showShape(b)}`;
  if (a.length < 2 || b.length < 2) {
    return fault("rank_mismatch", `\`matmul\` needs matrices, got ${shown}`,
      a.length < 2 ? "make the first operand a row: `unsqueeze(a, axis = 0)`"
        : "make the second a column: `unsqueeze(b, axis = -1)`");
  }
  const [inner, depth] = [dimAt(a, a.length - 1), dimAt(b, b.length - 2)];
  if (!sameDim(inner, depth)) {
    const help = sameDim(inner, dimAt(b, b.length - 1)) ? "transpose the second operand: `matmul(a, transpose(b))`"
      : sameDim(dimAt(a, a.length - 2), depth) ? "transpose the first operand: `matmul(transpose(a), b)`" : undefined;
    return fault("shape_mismatch", `\`matmul\` needs equal inner sizes, got ${showDim(inner)} and ${showDim(depth)}`,
      help);
  }
  const lead = broadcastShape([a.slice(0, -2), b.slice(0, -2)]);
  if (!lead) return fault("shape_mismatch", `\`matmul\` needs leading sizes that broadcast, got ${shown}`);
  return [...lead, dimAt(a, a.length - 2), dimAt(b, b.length - 1)];
}

const transpose = (ops: Ops, x: Node): Node => ops.call("transpose", [x]);
const product = (ops: Ops, a: Node, b: Node): Node => ops.call("matmul", [a, b]);

/** [.., m, k] as [rows, k]: one product over all rows instead of one a matrix and a sum. */
function asMatrix(ops: Ops, x: Node): Node {
  return reshapeTo(ops, x, [sizeOf(x.shape.slice(0, -1)), dimAt(x.shape, x.shape.length - 1)]);
}

export const matmul: OpRecord = defineOp({
  name: "matmul", kind: "contraction", signature: "(a: [.., M, K], b: [.., K, N]) -> [.., M, N]",
  doc: "Matrix product; leading sizes broadcast. Operands have two dimensions or more. Source: torch.matmul.",
  canonical: () => ({}),
  infer(inputs) {
    const wrong = checkFloats("matmul", inputs, 2, PRODUCT);
    if (wrong) return wrong;
    const shape = checkProduct(operand(inputs, 0).shape, operand(inputs, 1).shape);
    return isFault(shape) ? shape : [{ shape, dtype: "f32" }];
  },
  evaluate: ([a, b], _attrs, [shape = []]) => (a && b ? [multiply(a, b, shape)] : []),
  halves: PRODUCT,
  contract: matmulContract,
  gradient({ ops, node, dy }) {
    const [a, b] = [operand(node.inputs, 0), operand(node.inputs, 1)];
    const da = product(ops, dy, transpose(ops, b));
    // A 2-D second operand (a weight) is shared by all rows: contract over them at once.
    const shared = b.shape.length === 2 && a.shape.length > 2;
    const db = shared
      ? product(ops, transpose(ops, asMatrix(ops, a)), asMatrix(ops, dy))
      : product(ops, transpose(ops, a), dy);
    return [da, db];
  },
  samples: [
    { inputs: [{ shape: [3, 5] }, { shape: [5, 7] }] },
    { inputs: [{ shape: ["B", 5, 3] }, { shape: [3, 9] }] },
    { inputs: [{ shape: ["B", 2, 5, 3] }, { shape: ["B", 2, 3, 7] }] },
    { inputs: [{ shape: [2, 1, 5, 3] }, { shape: ["B", 3, 2] }] },
    { inputs: [{ shape: [5, 3] }, { shape: ["B", 3, 2] }] },
  ],
});
