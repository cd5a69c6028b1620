/**
 * @file Concatenation, and the movement ops that are made of others.
 */
import { addDim, dim, isEmpty, isOne, mulDim, sameDim, showShape, subDim, type Dim, type Shape } from "../ir/dim.js";
import type { Attrs, Node, TensorType } from "../ir/graph.js";
import { constantIndex, subIndex } from "../ir/indices.js";
import { defineOp, isFault, type OpFault, type OpRecord, type OpSample, type Ops } from "../ir/op.js";
import type { Index, Value } from "../ir/value.js";
import { algebra } from "./algebra.js";
import { asList, axisAttr, fault, readAll, readAxis, readEach, readPerAxis, readWhole } from "./attributes.js";
import { dimAt, operand, reshapeTo, wrongType } from "./shapes.js";
import { allocateLike, at, count, stridesOf, writeStrided } from "./strided.js";

const indexAt = (list: readonly Index[], i: number): Index => list[i] as Index; // one index an axis

/** A slice of one axis, all of the others. */
function sliceAxis(ops: Ops, x: Node, axis: number, start: Dim, stop: Dim): Node {
  const starts = x.shape.map((_, i) => (i === axis ? start : dim(0)));
  return ops.call("slice", [x], { starts, stops: x.shape.map((d, i) => (i === axis ? stop : d)) });
}

/** Attributes of ops along one axis. */
type OneAxis = { readonly axis: number };

function inferConcat(inputs: readonly TensorType[], attrs: OneAxis): readonly [TensorType] | OpFault {
  const [first] = inputs;
  if (!first) return fault("missing_argument", "`concat` needs at least one tensor, got an empty list");
  const { axis } = attrs;
  const fits = (t: TensorType): boolean => t.dtype === first.dtype && t.shape.length === first.shape.length &&
    t.shape.every((d, i) => i === axis || sameDim(d, dimAt(first.shape, i)));
  const wrong = inputs.find((t) => !fits(t));
  if (wrong) {
    const show = (t: TensorType): string => `${t.dtype === "f32" ? "" : `${t.dtype} `}${showShape(t.shape)}`;
    const shown = `${show(first)} and ${show(wrong)}`;
    return fault("shape_mismatch", `\`concat\` needs parts that differ in axis ${axis} only, got ${shown}`);
  }
  const size = inputs.map((t) => dimAt(t.shape, axis)).reduce(addDim);
  return [{ shape: first.shape.map((d, i) => (i === axis ? size : d)), dtype: first.dtype }];
}

export const concat = defineOp({
  name: "concat", kind: "movement", signature: "(parts: list, axis: int) -> [..]",
  doc: "The parts joined one after another along an axis. Source: torch.cat.",
  canonical: axisAttr("concat"),
  infer: inferConcat,
  evaluate(inputs, attrs, [shape = []]) {
    const [first] = inputs;
    if (!first) return [];
    const { axis } = attrs;
    const [data, strides] = [allocateLike(first.data, count(shape)), stridesOf(shape)];
    let start = 0;
    for (const part of inputs) {
      writeStrided(data, strides, start * at(strides, axis), part);
      start += at(part.shape, axis);
    }
    return [{ shape, data }];
  },
  pull(node, index, read) {
    const { axis } = node.attrs;
    const starts = startsOf(node.inputs.map((x) => dimAt(x.shape, axis)));
    const part = (n: number): Value => {
      const place = subIndex(indexAt(index, axis), constantIndex(dimAt(starts, n)));
      const then = read(n, index.map((i, a) => (a === axis ? place : i)));
      if (n === node.inputs.length - 1) return then;
      return { kind: "select", guards: [{ index: place, size: dimAt(operand(node.inputs, n).shape, axis) }], then,
        otherwise: part(n + 1) };
    };
    return part(0);
  },
  withoutEmpty(ops, inputs, attrs) {
    const [only, ...more] = inputs.filter((x) => !isEmpty(x.shape));
    return only && more.length === 0 ? only : ops.call("concat", only ? [only, ...more] : [], attrs);
  },
  narrow(ops, inputs, attrs, most) {
    const groups = Array.from(
      { length: Math.ceil(inputs.length / most) }, (_, i) => inputs.slice(i * most, (i + 1) * most),
    );
    return ops.call("concat", groups.map((group) => ops.call("concat", group, attrs)), attrs);
  },
  gradient({ ops, node, dy }) {
    const { axis } = node.attrs;
    const sizes = node.inputs.map((x) => dimAt(x.shape, axis));
    return startsOf(sizes).map((start, n) => sliceAxis(ops, dy, axis, start, addDim(start, dimAt(sizes, n))));
  },
  samples: [
    { inputs: [{ shape: ["B", 1, 5] }, { shape: ["B", 7, 5] }], attrs: { axis: 1 } },
    { inputs: [{ shape: [3] }, { shape: [2] }, { shape: [5] }], attrs: { axis: -1 } },
    { inputs: [{ shape: ["B", 3] }, { shape: [2, 3] }], attrs: { axis: 0 } },
  ],
});

/** Where each part begins. */
function startsOf(sizes: Shape): Dim[] {
  let start = dim(0);
  return sizes.map((size) => {
    const own = start;
    start = addDim(start, size);
    return own;
  });
}

interface Made<A extends Attrs> {
  readonly name: string;
  readonly signature: string;
  readonly doc: string;
  readonly canonical: OpRecord<A>["canonical"];
  readonly infer: OpRecord<A>["infer"];
  readonly expand: NonNullable<OpRecord<A>["expand"]>;
  readonly samples: readonly OpSample[];
}
const made = <A extends Attrs>(spec: Made<A>): OpRecord => defineOp({ ...spec, kind: "composite", gradient: "expand" });

/** A composite that only reshapes: `shape` says to what. */
function reshaping<A extends Attrs>(
  name: string, signature: string, doc: string, canonical: Made<A>["canonical"],
  shape: (x: Shape, attrs: A) => Shape | OpFault,
  samples: readonly OpSample[],
): OpRecord {
  return made({
    name, signature, doc, canonical, samples,
    infer([x], attrs) {
      const to = x ? shape(x.shape, attrs) : wrongType(name, "a tensor", []);
      return isFault(to) ? to : [{ shape: to, dtype: x?.dtype ?? "f32" }];
    },
    expand(ops, inputs, attrs) {
      const to = shape(operand(inputs, 0).shape, attrs);
      return isFault(to) ? operand(inputs, 0) : reshapeTo(ops, operand(inputs, 0), to); // infer has found no fault
    },
  });
}

const shapes: readonly OpRecord[] = [
  reshaping("squeeze", "(x: [..], axis: int) -> [..]", "x without an axis of size 1. Source: torch.squeeze.",
    axisAttr("squeeze"),
    (x, attrs) => isOne(dimAt(x, attrs.axis)) ? x.filter((_, i) => i !== attrs.axis)
      : fault("shape_mismatch", `\`squeeze\` needs size 1 along axis ${attrs.axis} of ${showShape(x)}`),
    [{ inputs: [{ shape: ["B", 1, 5] }], attrs: { axis: 1 } }]),
  reshaping("unsqueeze", "(x: [..], axis: int) -> [..]", "x with a new axis of size 1. Source: torch.unsqueeze.",
    axisAttr("unsqueeze", null, 1),
    (x, attrs) => [...x.slice(0, attrs.axis), dim(1), ...x.slice(attrs.axis)],
    [{ inputs: [{ shape: ["B", 5] }], attrs: { axis: -1 } }, { inputs: [{ shape: ["B", 5] }], attrs: { axis: 0 } }]),
  reshaping("flatten", "(x: [..], start = 1, end = -1) -> [..]",
    "Axes `start` to `end` merged into one. Source: torch.flatten.",
    ([x], attrs) => {
      const rank = x?.shape.length ?? 0;
      const from = readAxis(attrs["start"] ?? 1, "flatten", rank);
      if (isFault(from)) return from;
      const to = readAxis(attrs["end"] ?? -1, "flatten", rank);
      if (isFault(to)) return to;
      return from <= to ? { start: from, end: to }
        : fault("rank_mismatch", `\`flatten\` needs start ≤ end, got ${from} and ${to}`);
    },
    (x, attrs) => {
      const [from, to] = [attrs.start, attrs.end];
      const size = x.slice(from, to + 1).reduce((n, d) => mulDim(n, d) ?? n, dim(1)); // a shape holds B at most once
      return [...x.slice(0, from), size, ...x.slice(to + 1)];
    },
    [{ inputs: [{ shape: ["B", 3, 5, 2] }] }, { inputs: [{ shape: ["B", 3, 5] }], attrs: { start: 0, end: 1 } }]),
];

const swapped = <T>(list: readonly T[]): T[] => [...list.slice(0, -2), ...list.slice(-2).reverse()];

const rearranged: readonly OpRecord[] = [
  made({
    name: "transpose", signature: "(x: [.., M, N]) -> [.., N, M]",
    doc: "The last two axes swapped. Source: torch.Tensor.mT.",
    canonical: () => ({}),
    infer([x]) {
      if (x && x.shape.length >= 2) return [{ shape: swapped(x.shape), dtype: x.dtype }];
      return fault("rank_mismatch", `\`transpose\` needs two axes or more, got ${showShape(x?.shape ?? [])}`);
    },
    expand: (ops, [x]) => ops.call("permute", x ? [x] : [], { order: swapped((x?.shape ?? []).map((_, i) => i)) }),
    samples: [{ inputs: [{ shape: ["B", 3, 5] }] }, { inputs: [{ shape: [7, 2] }] }],
  }),
  made({
    name: "stack", signature: "(parts: list, axis = 0) -> [..]",
    doc: "Tensors of equal shape along a new axis. Source: torch.stack.",
    canonical: axisAttr("stack", 0, 1),
    infer(inputs, attrs) {
      const { axis } = attrs;
      const raised = inputs.map((t) => ({ ...t, shape: [...t.shape.slice(0, axis), dim(1), ...t.shape.slice(axis)] }));
      return inferConcat(raised, attrs);
    },
    expand: (ops, inputs, attrs) =>
      ops.call("concat", inputs.map((x) => ops.call("unsqueeze", [x], { axis: attrs.axis })), attrs),
    samples: [{ inputs: [{ shape: ["B", 3] }, { shape: ["B", 3] }], attrs: { axis: -1 } }],
  }),
  made({
    name: "tile", signature: "(x: [..], times: list) -> [..]",
    doc: "x repeated times[i] times along axis i. Source: torch.tile.",
    canonical: ([x], attrs) => readAll({
      times: readPerAxis(asList(attrs["times"]) ?? [], "`times` of `tile`", x?.shape.length ?? 0, 1),
    }),
    infer([x], attrs) {
      const { times } = attrs;
      const shape = (x?.shape ?? []).map((d, i) => ({ b: d.b * at(times, i), c: d.c * at(times, i) }));
      return x ? [{ shape, dtype: x.dtype }] : wrongType("tile", "a tensor", []);
    },
    expand(ops, inputs, attrs) {
      const [x, times] = [operand(inputs, 0), attrs.times];
      const apart = ops.call("reshape", [x], { shape: x.shape.flatMap((d) => [dim(1), d]) });
      const repeated = ops.call("expand", [apart], { shape: x.shape.flatMap((d, i) => [dim(at(times, i)), d]) });
      return ops.call("reshape", [repeated], { shape: x.shape.map((d, i) => mulDim(d, dim(at(times, i))) ?? d) });
    },
    samples: [{ inputs: [{ shape: ["B", 3] }], attrs: { times: [2, 3] } }],
  }),
  made({
    name: "roll", signature: "(x: [..], shift: list, axis: list) -> [..]",
    doc: "Elements shifted by shift[i] along axis[i]; those past the end wrap around. Source: torch.roll.",
    canonical([x], attrs) {
      const given = asList(attrs["axis"] ?? attrs["axes"]) ?? [attrs["axis"] ?? null];
      const axes = readEach(given, (a) => readAxis(a, "roll", x?.shape.length ?? 0));
      if (isFault(axes)) return axes;
      return readAll({ shift: readPerAxis(attrs["shift"], "`shift` of `roll`", axes.length, -Infinity), axes });
    },
    infer([x], attrs) {
      if (!x) return wrongType("roll", "a tensor", []);
      const batch = attrs.axes.find((axis) => dimAt(x.shape, axis).b !== 0);
      if (batch === undefined) return [{ shape: x.shape, dtype: x.dtype }];
      return fault("symbolic_batch", `\`roll\` moves along axes without B, got axis ${batch} of ${showShape(x.shape)}`,
        "use `flip`");
    },
    expand(ops, inputs, attrs) {
      const { shift } = attrs;
      return attrs.axes.reduce((x, axis, i) => rollAxis(ops, x, axis, at(shift, i)), operand(inputs, 0));
    },
    samples: [
      { inputs: [{ shape: ["B", 5, 7] }], attrs: { shift: [-2, 3], axis: [1, 2] } },
      { inputs: [{ shape: ["B", 5] }], attrs: { shift: 6, axis: 1 } },
    ],
  }),
  triangle("tril", "Zero above the diagonal (column − row > diagonal). Source: torch.tril.", "le"),
  triangle("triu", "Zero below the diagonal (column − row < diagonal). Source: torch.triu.", "ge"),
];

function rollAxis(ops: Ops, x: Node, axis: number, shift: number): Node {
  const size = dimAt(x.shape, axis);
  const moved = ((shift % size.c) + size.c) % size.c;
  if (moved === 0) return x;
  const cut = subDim(size, dim(moved));
  return ops.call("concat", [sliceAxis(ops, x, axis, cut, size), sliceAxis(ops, x, axis, dim(0), cut)], { axis });
}

function triangle(name: string, doc: string, test: string): OpRecord {
  return made({
    name, doc, signature: "(x: [.., M, N], diagonal = 0) -> [.., M, N]",
    canonical: (_inputs, attrs) => readAll({
      diagonal: readWhole(attrs["diagonal"] ?? 0, `\`diagonal\` of \`${name}\``, -Infinity),
    }),
    infer([x]) {
      if (x && x.shape.length >= 2 && x.dtype === "f32") return [{ shape: x.shape, dtype: x.dtype }];
      return fault("rank_mismatch",
        `\`${name}\` needs f32 matrices, got ${x?.dtype ?? "none"} ${showShape(x?.shape ?? [])}`);
    },
    expand(ops, inputs, attrs) {
      const [o, x] = [algebra(ops), operand(inputs, 0)];
      const [m, n] = [dimAt(x.shape, x.shape.length - 2), dimAt(x.shape, x.shape.length - 1)];
      const row = ops.call("reshape", [ops.call("arange", [], { n: m })], { shape: [m, dim(1)] });
      const offset = o.unary("float", o.sub(ops.call("arange", [], { n }), row));
      return o.where(o.binary(test, offset, attrs.diagonal), x, 0);
    },
    samples: [{ inputs: [{ shape: ["B", 5, 7] }] }, { inputs: [{ shape: [5, 3] }], attrs: { diagonal: -1 } }],
  });
}

export const joins: readonly OpRecord[] = [concat, ...shapes, ...rearranged];
