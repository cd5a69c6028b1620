/**
 * @file Contractions in other clothes.
 */
import { divDim, dim, invariantMul, isConstant, type Dim } from "../../ir/dim.js";
import type { Attr, Node } from "../../ir/graph.js";
import type { Ops } from "../../ir/op.js";
import { ruleAt, type Rule } from "../rule.js";
import { dimAt, inputOf, permute, reshape } from "./views.js";

const numbers = (a: Attr | undefined): readonly number[] => (Array.isArray(a) ? a.flat(Infinity) : [a]).map(Number);

/**
 * A convolution whose windows tile the image, [N, C, H, W] by [O, C, p, q]: each window is a row of one product,
 * [N, (H/p)·(W/q), C·p·q] by [C·p·q, O], brought back to [N, O, H/p, W/q].
 */
function tiled(ops: Ops, root: Node): Node | undefined {
  const [x, weight] = [inputOf(root, 0), inputOf(root, 1)];
  // images have four axes
  const [n, c, h, w] = [0, 1, 2, 3].map((axis) => dimAt(x.shape, axis)) as [Dim, Dim, Dim, Dim];
  const [o, , p, q] = [0, 1, 2, 3].map((axis) => dimAt(weight.shape, axis)) as [Dim, Dim, Dim, Dim]; // so have weights
  const { attrs } = root;
  const stride = numbers(attrs.stride);
  const plain = [
    ...numbers(attrs.pad)
  ].every((m) => m === 0) && numbers(attrs.dilation).every((d) => d === 1) && attrs.groups === 1;
  const [rows, cols] = [divDim(h, p), divDim(w, q)];
  if (
    !plain || !rows || !cols || !isConstant(p) || !isConstant(q) || stride[0] !== p.c || stride[1] !== q.c
  ) return undefined;
  if (p.c === 1 && q.c === 1) return undefined;
  const places = invariantMul(rows, cols);
  const depth = dim(c.c * p.c * q.c);
  const split = reshape(ops, x, [n, c, rows, p, cols, q]);
  const patches = reshape(ops, permute(ops, split, [0, 2, 4, 1, 3, 5]), [n, places, depth]);
  const matrix = permute(ops, reshape(ops, weight, [o, depth]), [1, 0]);
  const product = ops.call("matmul", [patches, matrix]);
  return reshape(ops, permute(ops, product, [0, 2, 1]), [n, o, rows, cols]);
}

export const contractionRules: readonly Rule[] = [
  ruleAt("tiling convolution", ["conv2d"], (ops, { root, nodes }) => {
    const inputs = root.inputs.map((input, i) => nodes.get(String(i)) ?? input);
    return tiled(ops, { ...root, inputs });
  }, {
    doc: "A convolution by steps of its kernel's size is a matrix product over patches. Kernels of one pixel " +
      "stay convolutions.",
    examples: [
      { text: "conv2d(x, w, stride = 2, pad = 0)", inputs: { x: ["B", 3, 4, 6], w: [5, 3, 2, 2] } },
      { text: "permute(reshape(conv2d(x, w, stride = 2) + reshape(b, shape = [1, 5, 1, 1]), shape = [B, 5, 6]), " +
        "order = [0, 2, 1])",
        inputs: { x: ["B", 3, 4, 6], w: [5, 3, 2, 2], b: [5] }, parameters: ["w", "b"] },
    ],
  }),
];
