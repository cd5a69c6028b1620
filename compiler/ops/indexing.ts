/**
 * @file Reading at computed positions, and prefix sums. A position outside its axis counts as the nearest one inside.
 */
import { dim, isConstant, isEmpty, mulDim, sameDim, showShape, type Dim, type Shape } from "../ir/dim.js";
import type { Node, TensorType } from "../ir/graph.js";
import { dynamicIndex } from "../ir/indices.js";
import { defineOp, type OpFault, type OpRecord, type Ops, type Tensor } from "../ir/op.js";
import { algebra } from "./algebra.js";
import { axisAttr, fault, readAll, readWhole } from "./attributes.js";
import { checkFloats, countNode, dimAt, operand, reshapeTo, wrongType } from "./shapes.js";
import { allocateLike, at, count } from "./strided.js";

const clampTo = (i: number, size: number): number => Math.min(Math.max(i, 0), size - 1);

function checkIndices(name: string, inputs: readonly TensorType[]): OpFault | undefined {
  if (inputs.length === 2 && operand(inputs, 1).dtype === "i32") return undefined;
  return wrongType(name, "a tensor and i32 positions", inputs, "convert the positions with `int(x)`");
}

/** [before, the axis, after] of an array read along `axis`. */
const spans = (shape: readonly number[], axis: number): readonly [number, number, number] =>
  [count(shape.slice(0, axis)), at(shape, axis), count(shape.slice(axis + 1))];

function gatherRows(x: Tensor, indices: Tensor, axis: number, shape: readonly number[]): Tensor {
  const [outer, size, inner] = spans(x.shape, axis);
  const data = allocateLike(x.data, count(shape));
  let to = 0;
  for (let o = 0; o < outer; o++) {
    for (const i of indices.data) {
      const from = (o * size + clampTo(i, size)) * inner;
      data.set(x.data.subarray(from, from + inner), to);
      to += inner;
    }
  }
  return { shape, data };
}

const gather = defineOp({
  name: "gather", kind: "movement", signature: "(x: [..], indices: i32 [..], axis = 0) -> [..]",
  doc: "Entries of an axis at `indices`, whose shape replaces the axis: an embedding. Source: torch.index_select.",
  canonical: axisAttr("gather", 0),
  infer(inputs, attrs) {
    const wrong = checkIndices("gather", inputs);
    if (wrong) return wrong;
    const [x, indices, axis] = [operand(inputs, 0), operand(inputs, 1), attrs.axis];
    if (isEmpty([dimAt(x.shape, axis)]) && !isEmpty(indices.shape)) {
      return fault("value_error", `\`gather\` has no entries to pick along axis ${axis} of ${showShape(x.shape)}`);
    }
    return [{ shape: [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)], dtype: x.dtype }];
  },
  evaluate: ([x, indices], attrs, [shape = []]) =>
    (x && indices ? [gatherRows(x, indices, attrs.axis, shape)] : []),
  pull(node, index, read) {
    const { axis } = node.attrs;
    const [x, indices] = [operand(node.inputs, 0), operand(node.inputs, 1)];
    const end = axis + indices.shape.length;
    const place = dynamicIndex(read(1, index.slice(axis, end)), dimAt(x.shape, axis));
    return read(0, [...index.slice(0, axis), place, ...index.slice(end)]);
  },
  // dx = one_hot(indices)ᵀ·dy: dense, but with a fixed order of sums.
  gradient({ ops, node, dy }) {
    const { axis } = node.attrs;
    const [x, indices] = [operand(node.inputs, 0), operand(node.inputs, 1)];
    const [before, size, after] = [x.shape.slice(0, axis), dimAt(x.shape, axis), x.shape.slice(axis + 1)];
    const picked = product(indices.shape);
    if (!isConstant(picked) && !isConstant(size)) return alongBatch("gather");
    const hot = oneHot(ops, reshapeTo(ops, clamped(ops, indices, x, axis), [picked]), size);
    const dense = reshapeTo(ops, dy, [product(before), picked, product(after)]);
    const dx = ops.call("matmul", [ops.call("transpose", [hot]), dense]);
    return [reshapeTo(ops, dx, x.shape), undefined];
  },
  samples: [
    { inputs: [{ shape: [7, 5] }, { shape: ["B", 3], dtype: "i32", range: [0, 7] }] },
    { inputs: [{ shape: ["B", 5, 3] }, { shape: [4], dtype: "i32", range: [0, 5] }], attrs: { axis: 1 } },
    { inputs: [{ shape: ["B", 3, 2] }, { shape: [7], dtype: "i32", range: [-3, 6] }], attrs: { axis: 1 } },
    { inputs: [{ shape: [5, 3] }, { shape: [], dtype: "i32", range: [0, 3] }], attrs: { axis: -1 } },
  ],
});

/** Gradients of picked entries compare every position with every index: B² of them where both run over the batch. */
const alongBatch = (name: string): OpFault => fault("symbolic_batch",
  `\`${name}\` along the batch with an index for each sample has no gradient`,
  "pick among entries of an axis without B, or block the gradient with `stop_gradient`");

/** Indices where they are read: gradients, too, take one outside the axis for the nearest one inside. */
function clamped(ops: Ops, indices: Node, x: Node, axis: number): Node {
  const o = algebra(ops);
  const last = o.sub(countNode(ops, x.shape, [axis]), 1);
  return o.unary("int", o.binary("minimum", o.binary("maximum", o.unary("float", indices), 0), last));
}

/** The product of sizes of which one at most holds B, as in any shape. */
const product = (shape: Shape): Dim => shape.reduce((n, d) => mulDim(n, d) ?? n, dim(1));

const oneHot = (ops: Ops, i: Node, classes: Dim): Node => {
  const each = ops.call("reshape", [i], { shape: [...i.shape, dim(1)] });
  return ops.call("float", [ops.call("eq", [each, ops.call("arange", [], { n: classes })])]);
};

function takeAlong(x: Tensor, indices: Tensor, axis: number, shape: readonly number[]): Tensor {
  const [, size, inner] = spans(x.shape, axis);
  const own = at(shape, axis);
  const data = allocateLike(x.data, count(shape));
  for (let i = 0; i < data.length; i++) {
    const outer = Math.floor(i / (own * inner));
    const place = clampTo(indices.data[i] ?? 0, size);
    data[i] = x.data[(outer * size + place) * inner + (i % inner)] ?? NaN;
  }
  return { shape, data };
}

const takeAlongOp = defineOp({
  name: "take_along", kind: "movement", signature: "(x: [..], indices: i32 [..], axis: int) -> [..]",
  doc: "For each element of `indices`, the element of x at that index along the axis. Source: torch.gather.",
  canonical: axisAttr("take_along"),
  infer(inputs, attrs) {
    const wrong = checkIndices("take_along", inputs);
    if (wrong) return wrong;
    const [x, indices, axis] = [operand(inputs, 0), operand(inputs, 1), attrs.axis];
    const fits = x.shape.length === indices.shape.length
      && x.shape.every((d, i) => i === axis || sameDim(d, dimAt(indices.shape, i)));
    if (fits && isEmpty([dimAt(x.shape, axis)]) && !isEmpty(indices.shape)) {
      return fault("value_error", `\`take_along\` has no entries to pick along axis ${axis} of ${showShape(x.shape)}`);
    }
    if (fits) return [{ shape: indices.shape, dtype: x.dtype }];
    return fault("shape_mismatch", `\`take_along\` needs shapes that differ in axis ${axis} only, got ` +
      `${showShape(x.shape)} and ${showShape(indices.shape)}`);
  },
  evaluate: ([x, indices], attrs, [shape = []]) =>
    (x && indices ? [takeAlong(x, indices, attrs.axis, shape)] : []),
  pull(node, index, read) {
    const { axis } = node.attrs;
    const place = dynamicIndex(read(1, index), dimAt(operand(node.inputs, 0).shape, axis));
    return read(0, index.map((i, a) => (a === axis ? place : i)));
  },
  // Each dy goes where its index points: Σ over positions k of dy[k]·(indices[k] == v).
  gradient({ ops, node, dy }) {
    const [x, indices, axis] = [operand(node.inputs, 0), operand(node.inputs, 1), node.attrs.axis];
    const apart = (t: Node): Node =>
      ops.call("reshape", [t], { shape: [...t.shape.slice(0, axis), dim(1), ...t.shape.slice(axis)] });
    const size = dimAt(x.shape, axis);
    if (!isConstant(size) && !indices.shape.every(isConstant)) return alongBatch("take_along");
    const places = ops.call("reshape", [ops.call("arange", [], { n: size })],
      { shape: [size, ...indices.shape.slice(axis).map(() => dim(1))] });
    const hit = ops.call("eq", [apart(clamped(ops, indices, x, axis)), places]);
    const sent = algebra(ops).where(hit, apart(dy), 0);
    return [ops.call("sum", [sent], { axes: [axis + 1] }), undefined];
  },
  samples: [
    { inputs: [{ shape: ["B", 5] }, { shape: ["B", 1], dtype: "i32", range: [0, 5] }], attrs: { axis: -1 } },
    { inputs: [{ shape: [3, 5, 2] }, { shape: [3, 4, 2], dtype: "i32", range: [0, 5] }], attrs: { axis: 1 } },
    { inputs: [{ shape: ["B", 3] }, { shape: ["B", 7], dtype: "i32", range: [-3, 6] }], attrs: { axis: 1 } },
  ],
});

const oneHotOp = defineOp({
  name: "one_hot", kind: "composite", signature: "(i: i32 [..], classes: int) -> [.., classes]",
  doc: "f32: 1 at the index, 0 elsewhere. Source: torch.nn.functional.one_hot.",
  canonical: (_inputs, attrs) => readAll({ classes: readWhole(attrs["classes"], "`classes` of `one_hot`", 1) }),
  infer([i], attrs) {
    if (i?.dtype !== "i32") return wrongType("one_hot", "an i32 operand", i ? [i] : [], "convert with `int(x)`");
    return [{ shape: [...i.shape, dim(attrs.classes)], dtype: "f32" }];
  },
  expand: (ops, inputs, attrs) => oneHot(ops, operand(inputs, 0), dim(attrs.classes)),
  gradient: "none",
  samples: [{ inputs: [{ shape: ["B", 3], dtype: "i32", range: [0, 5] }], attrs: { classes: 5 } }],
});

function runningSums(x: Tensor, axis: number): Tensor {
  const [outer, size, inner] = spans(x.shape, axis);
  const data = allocateLike(x.data, x.data.length);
  for (let row = 0; row < outer * inner; row++) {
    const start = Math.floor(row / inner) * size * inner + (row % inner);
    let sum = 0;
    for (let k = 0; k < size; k++) data[start + k * inner] = sum += x.data[start + k * inner] ?? NaN;
  }
  return { shape: x.shape, data };
}

const cumsum = defineOp({
  name: "cumsum", kind: "composite", signature: "(x: [..], axis: int) -> [..]",
  doc: "Running sums along an axis without B. Source: torch.cumsum.",
  canonical: axisAttr("cumsum"),
  infer(inputs, attrs) {
    const wrong = checkFloats("cumsum", inputs, 1);
    if (wrong) return wrong;
    const { shape } = operand(inputs, 0);
    if (dimAt(shape, attrs.axis).b === 0) return [{ shape, dtype: "f32" }];
    return fault("symbolic_batch", `\`cumsum\` runs along an axis without B, got ${showShape(shape)}`);
  },
  evaluate: ([x], attrs) => (x ? [runningSums(x, attrs.axis)] : []),
  // A product with the triangle of ones: n² work, no kernel of its own.
  expand(ops, inputs, attrs) {
    const [x, axis] = [operand(inputs, 0), attrs.axis];
    const [size, after] = [dimAt(x.shape, axis), x.shape.slice(axis + 1)];
    const ones = ops.call("tril", [ops.call("full", [], { shape: [size, size], value: 1 })]);
    const columns = reshapeTo(ops, x, [...x.shape.slice(0, axis + 1), product(after)]);
    return reshapeTo(ops, ops.call("matmul", [ones, columns]), x.shape);
  },
  gradient: "expand",
  samples: [{ inputs: [{ shape: ["B", 5, 3] }], attrs: { axis: 1 } },
    { inputs: [{ shape: ["B", 7] }], attrs: { axis: -1 } }],
});

export const indexing: readonly OpRecord[] = [gather, takeAlongOp, oneHotOp, cumsum];
