/**
 * @file Reductions: folds over axes, and what is made of them.
 */
import { isEmpty, showShape } from "../ir/dim.js";
import type { Attrs, Node, TensorType } from "../ir/graph.js";
import {
  defineOp, isFault, type OpFault, type OpRecord, type OpSample, type Ops, type Reduced, type Tensor,
} from "../ir/op.js";
import { algebra, type Algebra } from "./algebra.js";
import { fault, readAll, readAxes, readBool } from "./attributes.js";
import { countNode, dimAt, operand, reducedShape, reshapeTo, restoreAxes, wrongType } from "./shapes.js";
import { at, broadcastStrides, count, forEachRow, stridesOf } from "./strided.js";

const SIGNATURE = "(x: [..], axis = none, keep = false) -> [..]";
/** The greatest finite f32: WGSL has no literal for infinity. */
export const GREATEST = 3.4028234663852886e38;

const samplesIn = (low: number, high: number): readonly OpSample[] => [
  { inputs: [{ shape: ["B", 5, 7], range: [low, high] }], attrs: { axis: -1 } },
  { inputs: [{ shape: ["B", 3, 5], range: [low, high] }], attrs: { axis: [0, 2], keep: true } },
  { inputs: [{ shape: [3, 11], range: [low, high] }] },
];

/** Reductions that have a value where there are no elements. */
const OF_NOTHING = ["sum", "prod", "any", "all", "norm"];

/** `axis` (a number, a list, or none for all) as ascending `axes`, and `keep`. */
function reductionAttrs(name: string, inputs: readonly TensorType[], attrs: Attrs): Reduced | OpFault {
  const { shape } = inputs[0] ?? { shape: [] };
  const axes = readAxes(attrs["axis"] ?? attrs["axes"], name, shape.length);
  if (isFault(axes)) return axes;
  if (!OF_NOTHING.includes(name) && isEmpty(axes.map((axis) => dimAt(shape, axis)))) {
    return fault("value_error", `\`${name}\` needs at least one element along its axes, got ${showShape(shape)}`);
  }
  return readAll({ axes, keep: readBool(attrs["keep"], `\`keep\` of \`${name}\``, false) });
}

interface Reduction {
  readonly name: string;
  readonly doc: string;
  readonly fold: NonNullable<OpRecord["fold"]>;
  readonly dtype?: "bool";
  readonly gradient: OpRecord<Reduced>["gradient"];
  readonly samples: readonly OpSample[];
}

const inferReduction = (name: string, dtype: "f32" | "bool"): OpRecord<Reduced>["infer"] => (inputs, attrs) => {
  const [x] = inputs;
  if (!x || inputs.length !== 1 || x.dtype !== dtype) {
    return wrongType(name, `one ${dtype} operand`, inputs,
      dtype === "f32" ? "convert with `float(x)`" : "compare first, as in `x > 0`");
  }
  return [{ shape: reducedShape(x.shape, attrs.axes, attrs.keep), dtype }];
};

const reduction = (spec: Reduction): OpRecord =>
  defineOp({
    ...spec, kind: "reduction", signature: SIGNATURE,
    canonical: (inputs, attrs) => reductionAttrs(spec.name, inputs, attrs),
    reduced: (attrs) => attrs,
    infer: inferReduction(spec.name, spec.dtype ?? "f32"),
  });

/** Folds `x` over `axes` in float64, in row-major order. @param shape of the result. */
export function foldAxes(x: Tensor, axes: readonly number[], shape: readonly number[],
  fold: NonNullable<OpRecord["fold"]>): Tensor {
  const kept = x.shape.map((s, i) => (axes.includes(i) ? 1 : s));
  const strides = broadcastStrides(kept, x.shape);
  const out = new Float64Array(count(kept)).fill(fold.identity);
  const last = x.shape.length - 1;
  const [width, step] = last < 0 ? [1, 0] : [at(x.shape, last), at(strides, last)];
  const { data } = x;
  const { combine } = fold;
  // Every offset below is in range by the strides.
  forEachRow(x.shape, stridesOf(x.shape), 0, strides, 0, (from, to) => {
    if (step !== 0) {
      for (let i = 0, o = to; i < width; i++, o += step) out[o] = combine(out[o] as number, data[from + i] as number);
      return;
    }
    let value = out[to] as number;
    for (let i = 0; i < width; i++) value = combine(value, data[from + i] as number);
    out[to] = value;
  });
  return { shape, data: out };
}

/** A gradient from dy and y brought back to the operand's rank, and the operand. */
type Spread = (o: Algebra, dy: Node, y: Node, x: Node, axes: readonly number[], ops: Ops) => Node;
const spread = (derivative: Spread): OpRecord<Reduced>["gradient"] =>
  ({ ops, node, dy }) => {
    const [x, axes] = [operand(node.inputs, 0), node.attrs.axes];
    const back = (t: Node): Node => restoreAxes(ops, t, x.shape, axes);
    const dx = derivative(algebra(ops), back(dy), back(node), x, axes, ops);
    return [ops.call("expand", [dx], { shape: x.shape })];
  };

/** dy shared evenly among the elements that are the extremum, as torch.amax does. */
const toExtremum = spread((o, dy, y, x, axes) => {
  const hit = o.unary("float", o.eq(x, y));
  return o.mul(hit, o.div(dy, o.sum(hit, axes)));
});

const folds: readonly OpRecord[] = [
  reduction({
    name: "sum", doc: "The sum over axes (default: all). Source: torch.sum.",
    fold: { identity: 0, combine: (a, b) => a + b, wgsl: (a, b) => `(${a} + ${b})` },
    gradient: spread((_o, dy) => dy), samples: samplesIn(-2, 2),
  }),
  reduction({
    name: "max", doc: "The largest element over axes. Source: torch.amax.",
    fold: { identity: -GREATEST, combine: (a, b) => Math.max(a, b), wgsl: (a, b) => `max(${a}, ${b})` },
    gradient: toExtremum, samples: samplesIn(-2, 2),
  }),
  reduction({
    name: "min", doc: "The smallest element over axes. Source: torch.amin.",
    fold: { identity: GREATEST, combine: (a, b) => Math.min(a, b), wgsl: (a, b) => `min(${a}, ${b})` },
    gradient: toExtremum, samples: samplesIn(-2, 2),
  }),
  reduction({
    name: "prod", doc: "The product over axes. Source: torch.prod.",
    fold: { identity: 1, combine: (a, b) => a * b, wgsl: (a, b) => `(${a} * ${b})` },
    // Where one element is 0 only that one has a slope: the product of the others.
    gradient: spread((o, dy, y, x, axes, ops) => {
      const zero = o.eq(x, 0);
      const zeros = o.sum(o.unary("float", zero), axes);
      const others = ops.call("prod", [o.where(zero, 1, x)], { axes, keep: true });
      return o.mul(dy, o.where(zero, o.where(o.eq(zeros, 1), others, 0), o.div(y, o.where(zero, 1, x))));
    }),
    samples: samplesIn(0.5, 1.5),
  }),
  reduction({
    name: "any", doc: "Whether any element is true. Source: torch.any.", dtype: "bool",
    fold: { identity: 0, combine: (a, b) => a | b, wgsl: (a, b) => `(${a} || ${b})` },
    gradient: "none", samples: [{ inputs: [{ shape: ["B", 5], dtype: "bool" }], attrs: { axis: [1] } }],
  }),
  reduction({
    name: "all", doc: "Whether all elements are true. Source: torch.all.", dtype: "bool",
    fold: { identity: 1, combine: (a, b) => a & b, wgsl: (a, b) => `(${a} && ${b})` },
    gradient: "none", samples: [{ inputs: [{ shape: ["B", 5], dtype: "bool" }], attrs: { axis: [1] } }],
  }),
];

interface Derived {
  readonly name: string;
  readonly doc: string;
  readonly gradient: OpRecord<Reduced>["gradient"];
  readonly range?: readonly [number, number];
  /** The value with the reduced axes kept as 1. */
  readonly value: (ops: Ops, x: Node, axes: readonly number[]) => Node;
}

/** A reduction made of others. */
const derived = ({ value, range = [-2, 2], ...spec }: Derived): OpRecord =>
  defineOp({
    ...spec, kind: "composite", signature: SIGNATURE,
    canonical: (inputs, attrs) => reductionAttrs(spec.name, inputs, attrs),
    reduced: (attrs) => attrs,
    infer: inferReduction(spec.name, "f32"),
    expand(ops, inputs, attrs) {
      const x = operand(inputs, 0);
      return reshapeTo(ops, value(ops, x, attrs.axes), reducedShape(x.shape, attrs.axes, attrs.keep));
    },
    samples: samplesIn(...range),
  });

const composites: readonly OpRecord[] = [
  derived({
    name: "mean", doc: "The mean over axes. Source: torch.mean.",
    value: (ops, x, axes) => algebra(ops).div(algebra(ops).sum(x, axes), countNode(ops, x.shape, axes)),
    gradient({ ops, node, dy }) {
      const [x, axes] = [operand(node.inputs, 0), node.attrs.axes];
      const share = algebra(ops).div(restoreAxes(ops, dy, x.shape, axes), countNode(ops, x.shape, axes));
      return [ops.call("expand", [share], { shape: x.shape })];
    },
  }),
  derived({
    name: "variance",
    doc: "The mean squared distance from the mean (biased: divided by n). Source: torch.var(unbiased=False).",
    value: meanSquare,
    gradient({ ops, node, dy }) {
      const [o, x, axes] = [algebra(ops), operand(node.inputs, 0), node.attrs.axes];
      const share = o.div(o.mul(restoreAxes(ops, dy, x.shape, axes), 2), countNode(ops, x.shape, axes));
      return [o.mul(o.sub(x, o.mean(x, axes)), share)];
    },
  }),
  derived({
    name: "std", doc: "The square root of `variance` (biased). Source: torch.std(unbiased=False).",
    value: (ops, x, axes) => ops.call("sqrt", [meanSquare(ops, x, axes)]), gradient: "expand",
  }),
  derived({
    name: "logsumexp", doc: "ln Σ e^x without overflow. Source: torch.logsumexp.",
    value(ops, x, axes) {
      const o = algebra(ops);
      const top = o.max(x, axes);
      return o.add(o.unary("log", o.sum(o.unary("exp", o.sub(x, top)), axes)), top);
    },
    gradient: spread((o, dy, y, x) => o.mul(dy, o.unary("exp", o.sub(x, y)))),
  }),
  derived({
    name: "norm", doc: "√Σ x²; its gradient at 0 is 0. Source: torch.linalg.vector_norm.",
    value: (ops, x, axes) => ops.call("sqrt", [algebra(ops).sum(algebra(ops).mul(x, x), axes)]),
    gradient: spread((o, dy, y, x) => o.mul(x, o.where(o.gt(y, 0), o.div(dy, o.where(o.gt(y, 0), y, 1)), 0))),
  }),
];

function meanSquare(ops: Ops, x: Node, axes: readonly number[]): Node {
  const o = algebra(ops);
  const centred = o.sub(x, o.mean(x, axes));
  return o.mean(o.mul(centred, centred), axes);
}

/** The position of the extremum along one axis, the lowest on ties: i32. */
function position(name: "argmax" | "argmin", extremum: "max" | "min",
  better: (a: number, b: number) => boolean): OpRecord {
  return defineOp({
    name, kind: "composite", signature: "(x: [..], axis: int, keep = false) -> [..]",
    doc: `i32 position of the ${extremum}imum along one axis; the lowest on ties. Source: torch.${name}.`,
    canonical(inputs, attrs) {
      const canonical = reductionAttrs(name, inputs, attrs);
      if (isFault(canonical) || canonical.axes.length === 1) return canonical;
      return fault("wrong_type", `\`${name}\` needs one axis, got ${canonical.axes.length}`, "write `axis = -1`");
    },
    reduced: (attrs) => attrs,
    infer(inputs, attrs) {
      const types = inferReduction(name, "f32")(inputs, attrs);
      return isFault(types) ? types : [{ shape: types[0].shape, dtype: "i32" }];
    },
    evaluate([x], attrs, [shape = []]) {
      return x ? [{ shape, data: positions(x, attrs.axes[0] ?? 0, better) }] : [];
    },
    // min over where(x is the extremum, its position, n): f32 holds positions below 2^24 exactly.
    expand(ops, inputs, attrs) {
      const [o, x, axes] = [algebra(ops), operand(inputs, 0), attrs.axes];
      const axis = axes[0] ?? 0;
      const along = x.shape.map((d, i) => (i === axis ? d : { b: 0, c: 1 }));
      const places = reshapeTo(ops, o.unary("float", ops.call("arange", [], { n: dimAt(x.shape, axis) })), along);
      const hit = o.eq(x, ops.call(extremum, [x], { axes, keep: true }));
      const first = ops.call("min", [o.where(hit, places, GREATEST)], { axes, keep: attrs.keep });
      return ops.call("int", [first]);
    },
    gradient: "none",
    samples: [{ inputs: [{ shape: ["B", 5, 7] }], attrs: { axis: -1 } },
      { inputs: [{ shape: [5, 3] }], attrs: { axis: 0, keep: true } }],
  });
}

function positions(x: Tensor, axis: number, better: (a: number, b: number) => boolean): Int32Array {
  const [size, inner] = [at(x.shape, axis), count(x.shape.slice(axis + 1))];
  const out = new Int32Array(x.data.length / size);
  for (let i = 0; i < out.length; i++) {
    const start = Math.floor(i / inner) * size * inner + (i % inner);
    let best = 0;
    for (let k = 1; k < size; k++) {
      if (better(x.data[start + k * inner] ?? 0, x.data[start + best * inner] ?? 0)) best = k;
    }
    out[i] = best;
  }
  return out;
}

export const reductions: readonly OpRecord[] = [
  ...folds, ...composites,
  position("argmax", "max", (a, b) => a > b),
  position("argmin", "min", (a, b) => a < b),
];
