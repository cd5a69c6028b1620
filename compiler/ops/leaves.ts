/**
 * @file Ops without inputs: what the caller brings (parameters, inputs, random numbers) and what the compiler knows.
 */
import { dim, showDim } from "../ir/dim.js";
import type { Attr, Attrs, DType, Node, TensorType } from "../ir/graph.js";
import { constantIndex } from "../ir/indices.js";
import { attrsOf, defineOp, isFault, type OpRecord } from "../ir/op.js";
import {
  asList, fault, isDim, readAll, readDim, readEach, readNumber, readShape, readWhole, sizesOf,
} from "./attributes.js";
import { algebra } from "./algebra.js";

const dtypeOf = (attrs: Attrs): DType =>
  (attrs["dtype"] === "i32" || attrs["dtype"] === "bool" ? attrs["dtype"] : "f32");
/** f32 is the type nobody writes. */
const withType = <A extends Attrs>(attrs: A, dtype: DType): A => (dtype === "f32" ? attrs : { ...attrs, dtype });

/** A tensor the caller brings, known by the attribute `key`. Its numbers come from the interpreter's options. */
const brought = <A extends Attrs>(name: string, key: string, doc: string, known: (key: Attr) => A) =>
  defineOp({
    name, kind: "leaf", signature: `(${key}, shape: list) -> [..]`, doc, internal: true,
    canonical(_inputs, attrs) {
      const shape = readShape(attrs["shape"], `\`shape\` of \`${name}\``);
      if (isFault(shape)) return shape;
      return withType({ ...known(attrs[key] ?? null), shape }, dtypeOf(attrs));
    },
    infer: (_inputs, attrs) => [{ shape: attrs.shape, dtype: dtypeOf(attrs) }],
    gradient: "none", samples: [],
  });

export const parameter = brought("parameter", "path", "A parameter or buffer, by its path.",
  (path) => ({ path: String(path) }));
/** The path of a parameter or buffer. */
export const pathOf = (node: Node): string => attrsOf(parameter, node).path;

export const input = brought("input", "name", "An input of the model, by its name.",
  (name) => ({ name: String(name) }));
export const randomUniform = brought("random_uniform", "stream",
  "Uniform numbers in [0, 1), redrawn every step; `stream` tells them apart.", (stream) => ({ stream }));

export const constant = defineOp({
  name: "constant", kind: "leaf", signature: "(value: real) -> []",
  doc: "A number, f32 unless `dtype` says otherwise.",
  internal: true,
  canonical(_inputs, attrs) {
    const value = readNumber(attrs["value"], "a constant");
    return isFault(value) ? value : withType({ value }, dtypeOf(attrs));
  },
  infer: (_inputs, attrs) => [{ shape: [], dtype: dtypeOf(attrs) }],
  evaluate: (_inputs, attrs) => [{ shape: [], data: Float64Array.of(attrs.value) }],
  pull: (node) => ({ kind: "constant", value: node.attrs.value, dtype: node.dtype }),
  gradient: "none",
  samples: [{ inputs: [], attrs: { value: -1.5 } }, { inputs: [], attrs: { value: 7, dtype: "i32" } }],
});

export const result = defineOp({
  name: "result", kind: "opaque", signature: "(x: [..], index: int) -> [..]", internal: true,
  doc: "One of the results of an op that has several.",
  canonical: (_inputs, attrs) => readAll({ index: readWhole(attrs["index"], "`index` of `result`", 0) }),
  infer(inputs, { index }) {
    const [node] = inputs;
    const extra: readonly TensorType[] = node && "extra" in node && Array.isArray(node.extra) ? node.extra : [];
    const type = index === 0 ? node : extra[index - 1];
    return type ? [{ shape: type.shape, dtype: type.dtype }] : fault("wrong_type", "`result` finds no such result");
  },
  gradient: "none", samples: [],
});

export const leaves: readonly OpRecord[] = [
  parameter, input, randomUniform, constant,
  defineOp({
    name: "table", kind: "leaf", signature: "(values: list, shape: list) -> [..]", internal: true,
    doc: "Fixed numbers, row-major: a list literal as a tensor.",
    canonical(_inputs, attrs) {
      const shape = readShape(attrs["shape"], "`shape` of `table`");
      if (isFault(shape)) return shape;
      const values = readEach(asList(attrs["values"]) ?? [], (a) => readNumber(a, "a value of `table`"));
      return isFault(values) ? values : withType({ values, shape }, dtypeOf(attrs));
    },
    infer(_inputs, attrs) {
      const { shape, values } = attrs;
      const size = shape.reduce((n, d) => n * (d.b === 0 ? d.c : NaN), 1);
      if (size === values.length) return [{ shape, dtype: dtypeOf(attrs) }];
      return fault("element_count",
        `\`table\` of ${values.length} numbers does not fill [${shape.map(showDim).join(", ")}]`);
    },
    evaluate: (_inputs, attrs) =>
      [{ shape: sizesOf(attrs.shape), data: Float64Array.from(attrs.values) }],
    embedded: (node) => node.attrs.values,
    gradient: "none", samples: [{ inputs: [], attrs: { values: [1, 2.5, -3], shape: [3, 1] } }],
  }),
  defineOp({
    name: "arange", kind: "leaf", signature: "(n: int) -> [n]",
    doc: "i32 0, 1, …, n − 1; n may hold B. Source: torch.arange.",
    canonical: (_inputs, attrs) => readAll({ n: readDim(attrs["n"], "`n` of `arange`") }),
    infer: (_inputs, { n }) => [{ shape: [n], dtype: "i32" }],
    evaluate: (_inputs, _attrs, [shape = []]) =>
      [{ shape, data: Int32Array.from({ length: shape[0] ?? 1 }, (_, i) => i) }],
    pull: (_node, at) => ({ kind: "index", index: at[0] ?? constantIndex(0) }),
    gradient: "none", samples: [{ inputs: [], attrs: { n: 7 } }, { inputs: [], attrs: { n: { b: 3, c: 1 } } }],
  }),
  defineOp({
    name: "size", kind: "leaf", signature: "(size: int) -> []", internal: true,
    doc: "A dimension as f32, so that `B` can be used in tensor arithmetic.",
    canonical(_inputs, attrs) {
      const { size } = attrs;
      return isDim(size) ? { size } : { size: dim(Number(size)) };
    },
    infer: () => [{ shape: [], dtype: "f32" }],
    evaluate: (_inputs, { size }) => [{ shape: [], data: Float64Array.of(size.c) }],
    pull: ({ attrs }) => (
      { kind: "apply", op: "float", args: [{ kind: "index", index: constantIndex(attrs.size) }], dtype: "f32" }
    ),
    gradient: "none", samples: [{ inputs: [], attrs: { size: { b: 196, c: 0 } } }],
  }),
  defineOp({
    name: "full", kind: "composite", signature: "(shape: list, value: real) -> [..]",
    doc: "A tensor filled with one number. Source: torch.full.",
    canonical: (_inputs, attrs) => readAll({
      shape: readShape(attrs["shape"], "`shape` of `full`"), value: readNumber(attrs["value"], "`value` of `full`"),
    }),
    infer: (_inputs, attrs) => [{ shape: attrs.shape, dtype: "f32" }],
    expand: (ops, _inputs, attrs) =>
      ops.call("expand", [ops.constant(attrs.value)], { shape: attrs.shape }),
    gradient: "none", samples: [{ inputs: [], attrs: { shape: [{ b: 1, c: 0 }, 5], value: 0.25 } }],
  }),
  defineOp({
    name: "bernoulli", kind: "composite", draws: true, signature: "(p: real, shape: list) -> [..]",
    doc: "1 with probability p, else 0, redrawn every step. Source: torch.bernoulli.",
    canonical(_inputs, attrs) {
      const p = readNumber(attrs["p"], "`p` of `bernoulli`");
      if (isFault(p)) return p;
      if (p < 0 || p > 1) return fault("value_error", `\`p\` of \`bernoulli\` must be a probability, got ${p}`);
      const shape = readShape(attrs["shape"], "`shape` of `bernoulli`");
      return readAll({ p, shape, stream: attrs["stream"] ?? null });
    },
    infer: (_inputs, attrs) => [{ shape: attrs.shape, dtype: "f32" }],
    expand(ops, _inputs, attrs) {
      const drawn = ops.call("random_uniform", [], { stream: attrs.stream, shape: attrs.shape });
      return ops.call("float", [algebra(ops).lt(drawn, attrs.p)]);
    },
    gradient: "none", samples: [{ inputs: [], attrs: { p: 0.7, shape: [{ b: 1, c: 0 }, 1, 1], stream: 1 } }],
  }),
  result,
];
