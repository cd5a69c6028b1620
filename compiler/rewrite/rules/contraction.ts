/**
 * @file Contractions in other clothes.
 */
import { dim, sameDim } from "../../ir/dim.js";
import { attrsOf } from "../../ir/op.js";
import { conv2d } from "../../ops/convolution.js";
import { at } from "../../ops/strided.js";
import { rule, type Guard, type Rule } from "../rule.js";
import { dimAt, inputOf } from "./views.js";

/** Steps as wide as the kernel, which is more than a pixel, cover the image exactly. */
const tiles: Guard = ({ root }) => {
  const { stride } = attrsOf(conv2d, root);
  const [image, kernel] = [inputOf(root, 0).shape, inputOf(root, 1).shape];
  const exact = [0, 1].every((side) => sameDim(dimAt(kernel, 2 + side), dim(at(stride, side)))
    && sameDim(dimAt(image, 2 + side), dim(dimAt(root.shape, 2 + side).c * at(stride, side))));
  return exact && stride.some((step) => step > 1);
};

// x [N, C, H, W] by w [O, C, s0, s1]: each window is a row of one product, [N, (H/s0)·(W/s1), C·s0·s1] by
// [C·s0·s1, O], brought back to [N, O, H/s0, W/s1].
const DEPTH = "x.shape[1] * s[0] * s[1]";
const SPLIT = "reshape(x, shape = [x.shape[0], x.shape[1], root.shape[2], s[0], root.shape[3], s[1]])";
const PATCHES = `reshape(permute(${SPLIT}, order = [0, 2, 4, 1, 3, 5]), ` +
  `shape = [x.shape[0], root.shape[2] * root.shape[3], ${DEPTH}])`;
const MATRIX = `permute(reshape(w, shape = [w.shape[0], ${DEPTH}]), order = [1, 0])`;

export const contractionRules: readonly Rule[] = [
  rule("tiling convolution", "conv2d(x, w, stride = s, pad = [[0, 0], [0, 0]], dilation = [1, 1], groups = 1)",
    `reshape(permute(matmul(${PATCHES}, ${MATRIX}), order = [0, 2, 1]), shape = root.shape)`, {
    when: tiles,
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
