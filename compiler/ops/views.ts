/**
 * @file Movement within one tensor: other coordinates for the same elements.
 */
import {
  atMost, dim, isConstant, isEmpty, sameDim, showDim, showShape, sizeOf, subDim, type Dim, type Shape,
} from "../ir/dim.js";
import type { Attr } from "../ir/graph.js";
import { addIndex, constantIndex, delinearize, linearize, quotient, remainder, scaleIndex,
  subIndex } from "../ir/indices.js";
import { defineOp, isFault, type OpFault, type OpRecord, type OpSample } from "../ir/op.js";
import type { Guard, Index } from "../ir/value.js";
import {
  asList, fault, isDim, readAll, readAxes, readAxis, readEach, readNumber, readPerAxis, readShape, readWhole,
  sizesOf,
} from "./attributes.js";
import { broadcastShape, dimAt, filled, operand, wrongType } from "./shapes.js";
import { allocateLike, at, broadcastStrides, count, readStrided, stridesOf, writeStrided } from "./strided.js";

const indexAt = (list: readonly Index[], i: number): Index => list[i] as Index; // one index an axis

/** The shape of a result as the one canonical attribute. */
const shapeAttr = (name: string): OpRecord<{ readonly shape: Shape }>["canonical"] => (_inputs, attrs) =>
  readAll({ shape: readShape(attrs["shape"], `\`shape\` of \`${name}\``) });

export const reshape = defineOp({
  name: "reshape", kind: "movement", signature: "(x: [..], shape: list) -> [..]",
  doc: "The same elements, in row-major order, in another shape of equal size. Source: torch.reshape.",
  canonical: shapeAttr("reshape"),
  infer([x], attrs) {
    const { shape } = attrs;
    if (!x) return wrongType("reshape", "a tensor", []);
    if (shape.filter((d) => !isConstant(d)).length > 1) return twoBatches("reshape", shape);
    const [had, wanted] = [sizeOf(x.shape), sizeOf(shape)];
    if (sameDim(had, wanted)) return [{ shape, dtype: x.dtype }];
    return fault("element_count", `\`reshape\` cannot turn ${showShape(x.shape)} into ${showShape(shape)}: ` +
      `it has ${showDim(had)} elements, not ${showDim(wanted)}`);
  },
  evaluate: ([x], _attrs, [shape = []]) => (x ? [{ shape, data: x.data }] : []),
  pull: (node, index, read) => read(0, delinearize(linearize(index, node.shape), operand(node.inputs, 0).shape)),
  gradient: ({ ops, node, dy }) => [ops.call("reshape", [dy], { shape: operand(node.inputs, 0).shape })],
  samples: [
    { inputs: [{ shape: ["B", 6, 5] }], attrs: { shape: [{ b: 1, c: 0 }, 3, 10] } },
    { inputs: [{ shape: ["B", 3, 5] }], attrs: { shape: [{ b: 3, c: 0 }, 5] } },
    { inputs: [{ shape: [7] }], attrs: { shape: [1, 7, 1] } },
  ],
});

const twoBatches = (op: string, shape: Shape): OpFault =>
  fault("symbolic_batch", `\`${op}\` would contain the batch twice: ${showShape(shape)}`,
    "only one dimension of a tensor may contain B; keep the batch separate");

export const permute = defineOp({
  name: "permute", kind: "movement", signature: "(x: [..], order: list) -> [..]",
  doc: "Axis i of the result is axis order[i] of x. Source: torch.permute.",
  canonical([x], attrs) {
    const rank = x?.shape.length ?? 0;
    const order = readEach(asList(attrs["order"]) ?? [], (item) => readAxis(item, "permute", rank));
    if (isFault(order)) return order;
    const complete = order.length === rank && new Set(order).size === rank;
    if (complete) return { order };
    return fault("rank_mismatch",
      `\`permute\` needs each of the ${rank} axes of ${showShape(x?.shape ?? [])} once, got [${order.join(", ")}]`);
  },
  infer: ([x], attrs) =>
    x ? [{ shape: attrs.order.map((axis) => dimAt(x.shape, axis)), dtype: x.dtype }]
      : wrongType("permute", "a tensor", []),
  evaluate([x], attrs, [shape = []]) {
    if (!x) return [];
    const strides = stridesOf(x.shape);
    return [readStrided(x.data, shape, attrs.order.map((axis) => at(strides, axis)))];
  },
  pull(node, index, read) {
    const from = new Array<Index>(index.length);
    for (const [i, axis] of node.attrs.order.entries()) from[axis] = indexAt(index, i);
    return read(0, from);
  },
  gradient({ ops, node, dy }) {
    const { order } = node.attrs;
    return [ops.call("permute", [dy], { order: order.map((_, axis) => order.indexOf(axis)) })];
  },
  samples: [
    { inputs: [{ shape: ["B", 3, 5, 2] }], attrs: { order: [2, 0, 3, 1] } },
    { inputs: [{ shape: [3, 7] }], attrs: { order: [-1, 0] } },
  ],
});

export const expand = defineOp({
  name: "expand", kind: "movement", signature: "(x: [..], shape: list) -> [..]",
  doc: "x repeated along its axes of size 1 and along new leading axes. Source: torch.Tensor.expand.",
  canonical: shapeAttr("expand"),
  infer([x], attrs) {
    const { shape } = attrs;
    if (!x) return wrongType("expand", "a tensor", []);
    if (shape.filter((d) => !isConstant(d)).length > 1) return twoBatches("expand", shape);
    const reached = broadcastShape([x.shape, shape]);
    const fits = reached?.length === shape.length && reached.every((d, i) => sameDim(d, dimAt(shape, i)));
    if (fits) return [{ shape, dtype: x.dtype }];
    return fault("shape_mismatch", `\`expand\` cannot repeat ${showShape(x.shape)} to ${showShape(shape)}`,
      "only axes of size 1 are repeated; new axes go in front");
  },
  evaluate: ([x], _attrs, [shape = []]) => (x ? [readStrided(x.data, shape, broadcastStrides(x.shape, shape))] : []),
  pull(node, index, read) {
    const from = operand(node.inputs, 0).shape;
    const lead = node.shape.length - from.length;
    return read(0, from.map((d, i) => (d.b === 0 && d.c === 1 ? constantIndex(0) : indexAt(index, i + lead))));
  },
  // The sum over repeated axes is differentiate's: it brings every gradient to its operand's shape.
  gradient: ({ dy }) => [dy],
  samples: [
    { inputs: [{ shape: [1, 3, 5] }], attrs: { shape: [{ b: 1, c: 0 }, 3, 5] } },
    { inputs: [{ shape: [3, 1] }], attrs: { shape: [2, 3, 7] } },
    { inputs: [{ shape: [] }], attrs: { shape: [{ b: 2, c: 1 }] } },
  ],
});

/** A start or stop of a slice; negative numbers count from the end. */
function readBound(a: Attr | undefined, size: Dim, otherwise: Dim): Dim | OpFault {
  if (a === undefined || a === null) return otherwise;
  if (isDim(a) && !isConstant(a)) return a;
  const value = readWhole(a, "a bound of `slice`", -Infinity);
  if (isFault(value)) return value;
  return value < 0 ? { b: size.b, c: size.c + value } : dim(value);
}

/** ⌈(stop − start) / step⌉ where it is one number or one multiple of B. */
function sliceSize(start: Dim, stop: Dim, step: number): Dim | undefined {
  const extent = subDim(stop, start);
  return extent.b % step === 0 ? { b: extent.b / step, c: Math.ceil(extent.c / step) } : undefined;
}

export const slice = defineOp({
  name: "slice", kind: "movement", internal: true,
  signature: "(x: [..], starts: list, stops: list, steps: list) -> [..]",
  doc: "Elements start, start + step, … before stop of every axis: `x[1:, ::2]`. Source: torch.Tensor indexing.",
  canonical([x], attrs) {
    const shape = x?.shape ?? [];
    const [starts, stops] = [asList(attrs["starts"]) ?? [], asList(attrs["stops"]) ?? []];
    return readAll({
      starts: readEach(shape, (size, i) => readBound(starts[i], size, dim(0))),
      stops: readEach(shape, (size, i) => readBound(stops[i], size, size)),
      steps: readPerAxis(attrs["steps"] ?? 1, "`steps` of `slice`", shape.length, 1),
    });
  },
  infer([x], attrs) {
    if (!x) return wrongType("slice", "a tensor", []);
    const { starts, stops, steps } = attrs;
    const shape: Dim[] = [];
    for (const [i, size] of x.shape.entries()) {
      const [start, stop, step] = [dimAt(starts, i), dimAt(stops, i), at(steps, i)];
      const inside = atMost(dim(0), start) && atMost(stop, size)
        && (sameDim(start, stop) || atMost(start, subDim(stop, dim(1))));
      const range = `${showDim(start)}:${showDim(stop)}`;
      if (!inside) return fault("value_error", `slice ${range} is out of range for axis ${i} of ${showShape(x.shape)}`);
      const extent = sliceSize(start, stop, step);
      if (!extent) return fault("symbolic_batch",
        `slice ${range}:${step} of axis ${i} does not have a size for every batch`);
      shape.push(extent);
    }
    return [{ shape, dtype: x.dtype }];
  },
  evaluate([x], attrs, [shape = []]) {
    if (!x) return [];
    const [strides, starts, steps] = [stridesOf(x.shape), sizesOf(attrs.starts), attrs.steps];
    const offset = starts.reduce((sum, start, i) => sum + start * at(strides, i), 0);
    return [readStrided(x.data, shape, strides.map((s, i) => s * at(steps, i)), offset)];
  },
  pull(node, index, read) {
    const { starts, steps } = node.attrs;
    return read(0, index.map((i, axis) =>
      addIndex(scaleIndex(i, at(steps, axis)), constantIndex(dimAt(starts, axis)))));
  },
  // Zeros around and between: spread the elements out by the steps, then pad to the operand's shape.
  gradient({ ops, node, dy }) {
    const { shape } = operand(node.inputs, 0);
    const { starts, steps } = node.attrs;
    const spread = steps.every((s) => s === 1) ? dy : ops.call("dilate", [dy], { steps });
    const after = shape.map((size, i) => subDim(subDim(size, dimAt(starts, i)), dimAt(spread.shape, i)));
    return [ops.call("pad", [spread], { before: starts, after, value: 0 })];
  },
  samples: [
    { inputs: [{ shape: ["B", 5, 7] }], attrs: { starts: [null, 1, -3], stops: [null, null, 7], steps: [1, 1, 1] } },
    { inputs: [{ shape: [7, 10] }], attrs: { starts: [1, 0], stops: [6, 10], steps: [2, 3] } },
    { inputs: [{ shape: ["B", 3] }], attrs: { starts: [0, 2], stops: [null, 3] } },
  ],
});

const dilate = defineOp({
  name: "dilate", kind: "movement", internal: true, signature: "(x: [..], steps: list) -> [..]",
  doc: "Elements `steps` apart along each axis with zeros between: what a stride's gradient needs.",
  canonical: ([x], attrs) => readAll({
    steps: readPerAxis(attrs["steps"], "`steps` of `dilate`", x?.shape.length ?? 0, 1),
  }),
  infer([x], attrs) {
    if (!x) return wrongType("dilate", "a tensor", []);
    const { steps } = attrs;
    const apart = (d: Dim, step: number): Dim => ({ b: d.b * step, c: (d.c - 1) * step + 1 });
    const shape = x.shape.map((d, i) => (isEmpty([d]) ? d : apart(d, at(steps, i))));
    return [{ shape, dtype: x.dtype }];
  },
  evaluate([x], attrs, [shape = []]) {
    if (!x) return [];
    const data = allocateLike(x.data, count(shape));
    const { steps } = attrs;
    writeStrided(data, stridesOf(shape).map((s, i) => s * at(steps, i)), 0, x);
    return [{ shape, data }];
  },
  pull(node, index, read) {
    const { steps } = node.attrs;
    const guards: Guard[] = [];
    const from = index.map((i, axis) => {
      const step = dim(at(steps, axis));
      if (step.c === 1) return i;
      guards.push({ index: remainder(i, step), size: dim(1) });
      return quotient(i, step);
    });
    const then = read(0, from);
    if (guards.length === 0) return then;
    return { kind: "select", guards, then, otherwise: { kind: "constant", value: 0, dtype: node.dtype } };
  },
  gradient({ ops, node, dy }) {
    return [ops.call("slice", [dy], { steps: node.attrs.steps })];
  },
  samples: [{ inputs: [{ shape: ["B", 3, 5] }], attrs: { steps: [1, 2, 3] } }],
});

const padSamples: readonly OpSample[] = [
  { inputs: [{ shape: ["B", 3, 5] }], attrs: { before: [0, 1, 2], after: [0, 0, 3], value: 0 } },
  { inputs: [{ shape: [3, 7] }], attrs: { before: [2, 0], after: [1, 0], value: -1.5 } },
];

/** Sizes of a margin, which may hold B and may be 0. */
function readMargin(a: Attr | undefined, what: string, rank: number): readonly Dim[] | OpFault {
  const list = asList(a);
  if (!list || list.length !== rank) return fault("wrong_type",
    `${what} needs a list of ${rank} numbers, one per axis`);
  return readEach(list, (item) => {
    if (isDim(item) && !isConstant(item)) return item;
    const value = readWhole(item, what, 0);
    return isFault(value) ? value : dim(value);
  });
}

export const pad = defineOp({
  name: "pad", kind: "movement", signature: "(x: [..], before: list, after: list, value = 0.0) -> [..]",
  doc: "x with before[i] and after[i] elements of `value` around axis i. Source: torch.nn.functional.pad.",
  canonical([x], attrs) {
    const rank = x?.shape.length ?? 0;
    return readAll({
      before: readMargin(attrs["before"], "`before` of `pad`", rank),
      after: readMargin(attrs["after"], "`after` of `pad`", rank),
      value: readNumber(attrs["value"], "`value` of `pad`", 0),
    });
  },
  infer([x], attrs) {
    if (!x) return wrongType("pad", "a tensor", []);
    const { before, after } = attrs;
    const grown = (d: Dim, i: number): Dim =>
      ({ b: d.b + dimAt(before, i).b + dimAt(after, i).b, c: d.c + dimAt(before, i).c + dimAt(after, i).c });
    return [{ shape: x.shape.map(grown), dtype: x.dtype }];
  },
  evaluate([x], attrs, [shape = []]) {
    if (!x) return [];
    const data = allocateLike(x.data, count(shape)).fill(attrs.value);
    const strides = stridesOf(shape);
    writeStrided(data, strides, sizesOf(attrs.before).reduce((sum, n, i) => sum + n * at(strides, i), 0), x);
    return [{ shape, data }];
  },
  pull(node, index, read) {
    const { shape } = operand(node.inputs, 0);
    const { before } = node.attrs;
    const from = index.map((i, axis) => subIndex(i, constantIndex(dimAt(before, axis))));
    const guards = from.flatMap((i, axis) =>
      sameDim(dimAt(shape, axis), dimAt(node.shape, axis)) ? [] : [{ index: i, size: dimAt(shape, axis) }]);
    const then = read(0, from);
    if (guards.length === 0) return then;
    return { kind: "select", guards, then,
      otherwise: { kind: "constant", value: node.attrs.value, dtype: node.dtype } };
  },
  withoutEmpty: (ops, _inputs, attrs, { shape, dtype }) => filled(ops, attrs.value, shape, dtype),
  gradient({ ops, node, dy }) {
    const { shape } = operand(node.inputs, 0);
    const starts = node.attrs.before;
    const stops = starts.map((s, i) => ({ b: s.b + dimAt(shape, i).b, c: s.c + dimAt(shape, i).c }));
    return [ops.call("slice", [dy], { starts, stops })];
  },
  samples: padSamples,
});

const flip = defineOp({
  name: "flip", kind: "movement", signature: "(x: [..], axis: list) -> [..]",
  doc: "x reversed along the axes. Source: torch.flip.",
  canonical: ([x], attrs) => readAll({ axes: readAxes(attrs["axis"] ?? attrs["axes"], "flip", x?.shape.length ?? 0) }),
  infer: ([x]) => (x ? [{ shape: x.shape, dtype: x.dtype }] : wrongType("flip", "a tensor", [])),
  evaluate([x], attrs, [shape = []]) {
    if (!x) return [];
    const [strides, axes] = [stridesOf(shape), attrs.axes];
    const offset = axes.reduce((sum, axis) => sum + (at(shape, axis) - 1) * at(strides, axis), 0);
    return [readStrided(x.data, shape, strides.map((s, i) => (axes.includes(i) ? -s : s)), offset)];
  },
  pull(node, index, read) {
    const { axes } = node.attrs;
    const last = (axis: number): Index => constantIndex(subDim(dimAt(node.shape, axis), dim(1)));
    return read(0, index.map((i, axis) => (axes.includes(axis) ? subIndex(last(axis), i) : i)));
  },
  gradient: ({ ops, node, dy }) => [ops.call("flip", [dy], { axes: node.attrs.axes })],
  samples: [{ inputs: [{ shape: ["B", 3, 5] }], attrs: { axis: [0, -1] } },
    { inputs: [{ shape: [7] }], attrs: { axis: [0] } }],
});

export const views: readonly OpRecord[] = [reshape, permute, expand, slice, dilate, pad, flip];
