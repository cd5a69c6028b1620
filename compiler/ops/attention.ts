/**
 * @file Attention, which rewrite rules make of three ops: as in inference, as in training, where its backward pass
 * needs one number a query more, and that backward pass.
 */
import { dim, sameDim, sameShape, showShape, type Shape } from "../ir/dim.js";
import type { Node, TensorType } from "../ir/graph.js";
import { defineOp, isFault, type OpFault, type OpRecord, type Ops, type Tensor } from "../ir/op.js";
import { algebra } from "./algebra.js";
import { fault, readAll, readNumber } from "./attributes.js";
import { attentionAttend, attentionAttendBack, type Scaled } from "./contract.js";
import { checkProduct } from "./matmul.js";
import { checkFloats, dimAt, operand } from "./shapes.js";
import { at, broadcastStrides, count, readStrided } from "./strided.js";

const transpose = (ops: Ops, x: Node): Node => ops.call("transpose", [x]);
const product = (ops: Ops, a: Node, b: Node): Node => ops.call("matmul", [a, b]);

const readScale = (op: string): OpRecord<Scaled>["canonical"] => (_inputs, attrs) =>
  readAll({ scale: readNumber(attrs["scale"], `\`scale\` of \`${op}\``) });

/** The result's shape, from q [.., N, D], k [.., M, D] and v [.., M, E]: [.., N, E]. */
function resultShape(op: string, inputs: readonly TensorType[]): Shape | OpFault {
  const wrong = checkFloats(op, inputs, 3, [0, 1, 2]);
  if (wrong) return wrong;
  const [q, k, v] = [operand(inputs, 0).shape, operand(inputs, 1).shape, operand(inputs, 2).shape];
  const keys = k.length < 2 ? k : [...k.slice(0, -2), dimAt(k, k.length - 1), dimAt(k, k.length - 2)];
  const scores = checkProduct(q, keys);
  return isFault(scores) ? scores : checkProduct(scores, v);
}

const EVEN = { inputs: [{ shape: ["B", 1, 11, 8] }, { shape: ["B", 1, 11, 8] }, { shape: ["B", 1, 11, 8] }],
  attrs: { scale: 0.35 } } as const;

export const attention = defineOp({
  name: "attention", kind: "fused", internal: true,
  signature: "(q: [.., N, D], k: [.., M, D], v: [.., M, E], scale: real) -> [.., N, E]",
  doc: "softmax(q·kᵀ·scale)·v without storing the scores. Source: Vaswani et al. 2017, §3.2.1; Dao et al. 2022.",
  canonical: readScale("attention"),
  infer(inputs) {
    const shape = resultShape("attention", inputs);
    return isFault(shape) ? shape : [{ shape, dtype: "f32" }];
  },
  halves: [0, 1, 2],
  attend: attentionAttend,
  expand(ops, inputs, attrs) {
    const [q, k, v] = [operand(inputs, 0), operand(inputs, 1), operand(inputs, 2)];
    const scores = algebra(ops).mul(product(ops, q, transpose(ops, k)), attrs.scale);
    return product(ops, ops.call("softmax", [scores], { axis: -1 }), v);
  },
  gradient: "expand",
  samples: [
    { inputs: [{ shape: ["B", 2, 5, 3] }, { shape: ["B", 2, 7, 3] }, { shape: ["B", 2, 7, 9] }],
      attrs: { scale: 0.6 } },
    EVEN,
  ],
});

/** Whether attention over these has a backward kernel: q, k and v of one batch and one width. */
export function hasBackward(q: Shape, k: Shape, v: Shape): boolean {
  const width = dimAt(q, q.length - 1);
  return sameShape(q.slice(0, -2), k.slice(0, -2)) && sameShape(k, v) && sameDim(width, dimAt(k, k.length - 1));
}

const saving = defineOp({
  name: "attention_saving", kind: "fused", internal: true,
  signature: "(q: [.., N, D], k: [.., M, D], v: [.., M, D], scale: real) -> ([.., N, D], [.., N])",
  doc: "attention, and ln Σ exp of each query's scaled scores, from which its backward pass computes the weights " +
    "again. Source: Dao et al. 2022.",
  canonical: readScale("attention_saving"),
  infer(inputs) {
    const shape = resultShape("attention_saving", inputs);
    if (isFault(shape)) return shape;
    const [q, k, v] = [operand(inputs, 0).shape, operand(inputs, 1).shape, operand(inputs, 2).shape];
    if (!hasBackward(q, k, v)) {
      const shown = [q, k, v].map(showShape).join(", ");
      return fault("shape_mismatch", `\`attention_saving\` needs one width, got ${shown}`);
    }
    return [{ shape, dtype: "f32" }, { shape: shape.slice(0, -1), dtype: "f32" }];
  },
  halves: [0, 1, 2],
  attend: attentionAttend,
  expand: (ops, inputs, attrs) => ops.call("attention", inputs, attrs),
  evaluate: ([q, k, v], attrs, [shape = [], rows = []]) =>
    (q && k && v ? attend(q, k, v, attrs.scale, shape, rows) : []),
  gradient({ ops, node, dy }) {
    const [q, k, v] = [operand(node.inputs, 0), operand(node.inputs, 1), operand(node.inputs, 2)];
    const delta = ops.call("sum", [algebra(ops).mul(dy, node)], { axes: [node.shape.length - 1], keep: false });
    const inputs = [q, k, v, dy, ops.result(node, 1), delta];
    const back = (parts: string): Node =>
      ops.call("attention_gradient", inputs, { scale: node.attrs.scale, parts });
    const part = (x: Node, n: number): Node => {
      const sizes = x.shape.slice(1);
      const all = { starts: [dim(n), ...sizes.map(() => dim(0))], stops: [dim(n + 1), ...sizes] };
      return ops.call("reshape", [ops.call("slice", [x], all)], { shape: sizes });
    };
    if (sameShape(q.shape, k.shape)) {
      const whole = back("all");
      return [part(whole, 0), part(whole, 1), part(whole, 2)];
    }
    const keys = back("keys");
    return [back("queries"), part(keys, 0), part(keys, 1)];
  },
  samples: [
    EVEN,
    { inputs: [{ shape: ["B", 2, 1, 4] }, { shape: ["B", 2, 7, 4] }, { shape: ["B", 2, 7, 4] }],
      attrs: { scale: 0.6 } },
  ],
});

/** Rows of softmax(q·kᵀ·scale)·v, and their ln Σ exp, in float64. */
function attend(
  q: Tensor, k: Tensor, v: Tensor, scale: number, shape: readonly number[], rows: readonly number[],
): Tensor[] {
  const lead = shape.slice(0, -2);
  const [n, d, m] = [at(shape, shape.length - 2), at(q.shape, q.shape.length - 1), at(k.shape, k.shape.length - 2)];
  const full = (x: Tensor): Tensor["data"] => {
    const whole = [...lead, ...x.shape.slice(-2)];
    return readStrided(x.data, whole, broadcastStrides(x.shape, whole)).data;
  };
  const [qs, ks, vs] = [full(q), full(k), full(v)];
  const value = (x: Tensor["data"], i: number): number => x[i] as number; // full tensors, indices in range
  const [out, sums] = [new Float64Array(count(shape)), new Float64Array(count(rows))];
  for (let r = 0; r < sums.length; r++) {
    const keys = Math.floor(r / n) * m;
    const scores = Array.from({ length: m }, (_, j) => {
      let dot = 0;
      for (let c = 0; c < d; c++) dot += value(qs, r * d + c) * value(ks, (keys + j) * d + c);
      return dot * scale;
    });
    const most = Math.max(...scores);
    const total = scores.reduce((sum, s) => sum + Math.exp(s - most), 0);
    sums[r] = most + Math.log(total);
    scores.forEach((s, j) => {
      const weight = Math.exp(s - most) / total;
      for (let c = 0; c < d; c++) out[r * d + c] = (out[r * d + c] as number) + weight * value(vs, (keys + j) * d + c);
    });
  }
  return [{ shape, data: out }, { shape: rows, data: sums }];
}

const PARTS = ["all", "queries", "keys"] as const;

const gradient = defineOp({
  name: "attention_gradient", kind: "fused", internal: true,
  signature: "(q: [.., N, D], k: [.., M, D], v: [.., M, D], dy: [.., N, D], sum: [.., N], delta: [.., N], " +
    "scale: real, parts: string) -> [..]",
  doc: "Gradients of attention by q, k and v [3, .., N, D], by q alone [.., N, D], or by k and v [2, .., M, D]; " +
    "`sum` is ln Σ exp of the scaled scores, `delta` is Σ dy·y. Source: Dao et al. 2022, algorithm 4.",
  canonical(inputs, attrs) {
    const scale = readScale("attention_gradient")(inputs, attrs);
    return isFault(scale) ? scale : { ...scale, parts: PARTS.find((p) => p === attrs["parts"]) ?? "all" };
  },
  infer(inputs, { parts }) {
    const wrong = checkFloats("attention_gradient", inputs, 6, [0, 1, 2, 3]);
    if (wrong) return wrong;
    const [q, k] = [operand(inputs, 0).shape, operand(inputs, 1).shape];
    const shape = parts === "queries" ? q : parts === "keys" ? [dim(2), ...k] : [dim(3), ...q];
    const fits = hasBackward(q, k, operand(inputs, 2).shape) && (parts !== "all" || sameShape(q, k));
    return fits ? [{ shape, dtype: "f32" }] : fault("shape_mismatch", "`attention_gradient` needs one width");
  },
  halves: [0, 1, 2, 3],
  attendBack: attentionAttendBack,
  expand(ops, inputs, attrs) {
    const o = algebra(ops);
    const [q, k, v, dy, sum, delta] = [0, 1, 2, 3, 4, 5].map((i) => operand(inputs, i)) as
      [Node, Node, Node, Node, Node, Node]; // infer has counted
    const column = (x: Node): Node => ops.call("reshape", [x], { shape: [...x.shape, dim(1)] });
    const { scale } = attrs;
    const weights = o.unary("exp", o.sub(o.mul(product(ops, q, transpose(ops, k)), scale), column(sum)));
    const change = o.mul(weights, o.sub(product(ops, dy, transpose(ops, v)), column(delta)));
    const dq = (): Node => o.mul(product(ops, change, k), scale);
    const dk = (): Node => o.mul(product(ops, transpose(ops, change), q), scale);
    const dv = (): Node => product(ops, transpose(ops, weights), dy);
    switch (attrs.parts) {
      case "queries": return dq();
      case "keys": return ops.call("stack", [dk(), dv()], { axis: 0 });
      default: return ops.call("stack", [dq(), dk(), dv()], { axis: 0 });
    }
  },
  gradient: "none",
  samples: [
    { inputs: [...EVEN.inputs, { shape: ["B", 1, 11, 8] }, { shape: ["B", 1, 11], range: [4, 6] },
      { shape: ["B", 1, 11] }], attrs: { scale: 0.35, parts: "all" } },
    ...(["queries", "keys"] as const).map((parts) => ({ inputs: [
      { shape: ["B", 2, 5, 4] as const }, { shape: ["B", 2, 7, 4] as const }, { shape: ["B", 2, 7, 4] as const },
      { shape: ["B", 2, 5, 4] as const }, { shape: ["B", 2, 5] as const, range: [3, 5] as const },
      { shape: ["B", 2, 5] as const }], attrs: { scale: 0.6, parts } })),
  ],
});

export const attentions: readonly OpRecord[] = [attention, saving, gradient];
