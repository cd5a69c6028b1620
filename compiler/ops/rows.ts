/**
 * @file Normalisations of rows: every element depends on all of its row, the result has the operand's shape.
 */
import type { Node } from "../ir/graph.js";
import { defineOp, isFault, type OpFault, type OpRecord, type OpSample, type Tensor } from "../ir/op.js";
import { algebra, type Algebra } from "./algebra.js";
import { fault, readAxes, readNumber } from "./attributes.js";
import { checkFloats, operand } from "./shapes.js";
import { allocateLike, at, readStrided, stridesOf, writeStrided } from "./strided.js";

const SAMPLES: readonly OpSample[] = [
  { inputs: [{ shape: ["B", 3, 7], range: [-4, 4] }], attrs: { axis: -1 } },
  { inputs: [{ shape: ["B", 5, 3], range: [-4, 4] }], attrs: { axis: 1 } },
  { inputs: [{ shape: [2, 5, 3], range: [-3, 3] }], attrs: { axis: [0, 2] } },
];

interface Row {
  readonly name: string;
  readonly signature: string;
  readonly doc: string;
  /** Arguments beside the axes, with their defaults. */
  readonly eps?: number;
  /** One row in float64, the oracle. */
  readonly row: (x: Float64Array, eps: number) => Float64Array;
  readonly expand: (o: Algebra, x: Node, axes: readonly number[], eps: number) => Node;
  readonly gradient: (o: Algebra, dy: Node, x: Node, y: Node, axes: readonly number[], eps: number) => Node;
}

type RowAttrs = { readonly axes: readonly number[] } | { readonly axes: readonly number[]; readonly eps: number };

function row(spec: Row): OpRecord<RowAttrs> {
  const { name, signature, doc, eps } = spec;
  const epsOf = (attrs: RowAttrs): number => ("eps" in attrs ? attrs.eps : 0);
  return defineOp({
    name, kind: "composite", signature, doc,
    canonical(inputs, attrs): RowAttrs | OpFault {
      const axes = readAxes(attrs["axis"] ?? attrs["axes"] ?? -1, name, inputs[0]?.shape.length ?? 0);
      if (isFault(axes)) return axes;
      if (axes.length === 0) return fault("rank_mismatch", `\`${name}\` needs an axis, got none`);
      const value = readNumber(attrs["eps"], `\`eps\` of \`${name}\``, eps ?? 0);
      if (isFault(value)) return value;
      return eps === undefined ? { axes } : { axes, eps: value };
    },
    infer: (inputs) => checkFloats(name, inputs, 1) ?? [operand(inputs, 0)],
    evaluate: ([x], attrs) => (x ? [eachRow(x, attrs.axes, (r) => spec.row(r, epsOf(attrs)))] : []),
    expand: (ops, inputs, attrs) => spec.expand(algebra(ops), operand(inputs, 0), attrs.axes, epsOf(attrs)),
    gradient: ({ ops, node, dy }) =>
      [spec.gradient(algebra(ops), dy, operand(node.inputs, 0), node, node.attrs.axes, epsOf(node.attrs))],
    samples: SAMPLES,
  });
}

/** Applies `f` to the elements along `axes`, for each position of the other axes. */
function eachRow(x: Tensor, axes: readonly number[], f: (row: Float64Array) => Float64Array): Tensor {
  const strides = stridesOf(x.shape);
  const others = x.shape.map((_, i) => i).filter((i) => !axes.includes(i));
  const [rowShape, rowStrides] = [axes.map((i) => at(x.shape, i)), axes.map((i) => at(strides, i))];
  const otherShape = others.map((i) => at(x.shape, i));
  // Offsets of the rows: reading the strides of "position" along the other axes.
  const offsets = readStrided(Int32Array.from(x.data.keys()), otherShape, others.map((i) => at(strides, i))).data;
  const data = allocateLike(x.data, x.data.length);
  for (const offset of offsets) {
    const values = Float64Array.from(readStrided(x.data, rowShape, rowStrides, offset).data);
    writeStrided(data, rowStrides, offset, { shape: rowShape, data: f(values) });
  }
  return { shape: x.shape, data };
}

const total = (row: Float64Array): number => row.reduce((s, v) => s + v, 0);
const logSumExp = (row: Float64Array): number => {
  const top = row.reduce((m, v) => Math.max(m, v), -Infinity);
  return top + Math.log(total(row.map((v) => Math.exp(v - top))));
};

export const rows: readonly OpRecord<RowAttrs>[] = [
  row({
    name: "softmax", signature: "(x: [..], axis = -1) -> [..]",
    doc: "e^x / Σ e^x along the axis. Source: torch.softmax.",
    row(x) {
      const level = logSumExp(x);
      return x.map((v) => Math.exp(v - level));
    },
    expand(o, x, axes) {
      const e = o.unary("exp", o.sub(x, o.max(x, axes)));
      return o.div(e, o.sum(e, axes));
    },
    gradient: (o, dy, _x, y, axes) => o.mul(y, o.sub(dy, o.sum(o.mul(dy, y), axes))),
  }),
  row({
    name: "log_softmax", signature: "(x: [..], axis = -1) -> [..]",
    doc: "x − ln Σ e^x along the axis. Source: torch.log_softmax.",
    row(x) {
      const level = logSumExp(x);
      return x.map((v) => v - level);
    },
    expand(o, x, axes) {
      const centred = o.sub(x, o.max(x, axes));
      return o.sub(centred, o.unary("log", o.sum(o.unary("exp", centred), axes)));
    },
    gradient: (o, dy, _x, y, axes) => o.sub(dy, o.mul(o.unary("exp", y), o.sum(dy, axes))),
  }),
  row({
    name: "standardize", signature: "(x: [..], axis: list, eps = 1e-6) -> [..]", eps: 1e-6,
    doc: "(x − mean) / √(variance + eps) over the axes, biased variance. Source: Ba et al. 2016; torch.nn.LayerNorm.",
    row(x, eps) {
      const mean = total(x) / x.length;
      const centred = x.map((v) => v - mean);
      const rstd = 1 / Math.sqrt(total(centred.map((v) => v * v)) / x.length + eps);
      return centred.map((v) => v * rstd);
    },
    expand(o, x, axes, eps) {
      const centred = o.sub(x, o.mean(x, axes));
      return o.mul(centred, o.unary("rsqrt", o.add(o.mean(o.mul(centred, centred), axes), eps)));
    },
    // dx = rstd·(dy − mean(dy) − y·mean(dy·y)).
    gradient(o, dy, x, y, axes, eps) {
      const centred = o.sub(x, o.mean(x, axes));
      const rstd = o.unary("rsqrt", o.add(o.mean(o.mul(centred, centred), axes), eps));
      const rest = o.sub(o.sub(dy, o.mean(dy, axes)), o.mul(y, o.mean(o.mul(dy, y), axes)));
      return o.mul(rstd, rest);
    },
  }),
];
