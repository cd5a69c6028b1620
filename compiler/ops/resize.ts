/**
 * @file Images of another size: each side is one matrix product with a table of weights that positions alone decide,
 * so nothing is read but the images.
 */
import { dim, isConstant, showShape, type Dim } from "../ir/dim.js";
import type { Node } from "../ir/graph.js";
import { defineOp, type OpRecord, type Ops } from "../ir/op.js";
import { algebra } from "./algebra.js";
import { fault, readAll, readPerAxis } from "./attributes.js";
import { checkFloats, dimAt, operand } from "./shapes.js";

/** Keys' cubic kernel with the sharpness that Pillow takes. Source: Keys 1981. */
const A = -0.5;

/**
 * [to, from]: how much of each old pixel a new one has. The kernel is two old pixels wide to each side, or two new ones
 * where the image shrinks; what falls outside the image is left out and the rest made up for.
 */
function weights(ops: Ops, from: number, to: number): Node {
  const o = algebra(ops);
  const scale = from / to;
  const line = (n: number): Node => ops.call("float", [ops.call("arange", [], { n })]);
  const centre = o.sub(o.mul(o.add(line(to), 0.5), scale), 0.5);
  const places = o.sub(ops.call("reshape", [centre], { shape: [dim(to), dim(1)] }), line(from));
  const d = o.div(o.unary("abs", places), Math.max(1, scale));
  const polynomial = (...factors: readonly number[]): Node =>
    factors.slice(1).reduce<Node>((sum, factor) => o.add(o.mul(sum, d), factor), ops.constant(factors[0] ?? 0));
  const near = polynomial(A + 2, -(A + 3), 0, 1);
  const far = polynomial(A, -5 * A, 8 * A, -4 * A);
  const raw = o.where(o.lt(d, 1), near, o.where(o.lt(d, 2), far, 0));
  return o.div(raw, o.sum(raw, [1]));
}

export const resize: OpRecord = defineOp({
  name: "resize", kind: "composite", signature: "(x: [N, C, H, W], size) -> [N, C, _, _]",
  doc: "Images resized to [height, width], or one number for both: bicubic, antialiased when shrinking. " +
    "Source: Pillow, Image.resize with BICUBIC, without its rounding to bytes.",
  canonical: (_inputs, attrs) => readAll({ size: readPerAxis(attrs["size"], "`size` of `resize`", 2, 1) }),
  infer(inputs, attrs) {
    const wrong = checkFloats("resize", inputs, 1);
    if (wrong) return wrong;
    const { shape } = operand(inputs, 0);
    if (shape.length !== 4) {
      return fault("rank_mismatch", `\`resize\` needs images [N, C, H, W], got ${showShape(shape)}`);
    }
    if (!shape.slice(2).every(isConstant)) {
      return fault("symbolic_batch", `\`resize\` needs sides without B, got ${showShape(shape)}`);
    }
    const sides: Dim[] = attrs.size.map((side) => dim(side));
    return [{ shape: [...shape.slice(0, 2), ...sides], dtype: "f32" }];
  },
  expand(ops, inputs, attrs) {
    const x = operand(inputs, 0);
    const [height = 1, width = 1] = attrs.size;
    const [h, w] = [dimAt(x.shape, 2).c, dimAt(x.shape, 3).c];
    const wide = w === width ? x : ops.call("matmul", [x, ops.call("transpose", [weights(ops, w, width)])]);
    return h === height ? wide : ops.call("matmul", [weights(ops, h, height), wide]);
  },
  gradient: "expand",
  samples: [
    { inputs: [{ shape: ["B", 3, 4, 5] }], attrs: { size: [7, 5] } },
    { inputs: [{ shape: ["B", 2, 9, 7] }], attrs: { size: [4, 12] } },
    { inputs: [{ shape: [2, 3, 5, 5] }], attrs: { size: 5 } },
  ],
});
