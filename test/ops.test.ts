/**
 * One loop over all op records: shapes against values, references against expansions, index maps against references,
 * canonical attributes against themselves, f32 against float64.
 */
import test from "ava";
import { applyOp, makeOps } from "../compiler/ir/build.js";
import { evalDim } from "../compiler/ir/dim.js";
import { GraphBuilder, type Attrs, type Graph, type Node } from "../compiler/ir/graph.js";
import { variable } from "../compiler/ir/indices.js";
import { power } from "../compiler/ir/power.js";
import { evalNode, interpret, type Precision } from "../compiler/inspect/interpret.js";
import { isFault, type OpRecord, type OpSample, type Tensor } from "../compiler/ir/op.js";
import { OPS, recordOf } from "../compiler/ops/index.js";
import { sampleTensors, sampleTypes, unit } from "../compiler/ops/samples.js";
import type { Atom, Index, Value } from "../compiler/ir/value.js";

const BATCH = 3;
const random = (stream: unknown, length: number): Float32Array =>
  Float32Array.from({ length }, (_, i) => unit(Number(stream), i));

/** The sample as a graph of one op, or why it is at fault. */
function graphOf(record: OpRecord, sample: OpSample): { graph: Graph; node: Node } | string {
  const builder = new GraphBuilder();
  const ops = makeOps(builder, { path: "test" });
  const inputs = sampleTypes(sample).map((t, i) =>
    ops.call("input", [], { name: `x${i}`, shape: t.shape, dtype: t.dtype }));
  const node = applyOp(builder, record, inputs, sample.attrs ?? {}, { path: "test" });
  if (isFault(node)) return node.text;
  const named = new Map(inputs.map((x, i) => [`x${i}`, x]));
  return { node, graph: { inputs: named, parameters: new Map(), outputs: new Map([["y", node]]), updates: new Map() } };
}

function run(graph: Graph, tensors: readonly Tensor[], precision: Precision): Tensor {
  const inputs = new Map(tensors.map((x, i) => [`x${i}`, x]));
  const result = interpret(graph, { batch: BATCH, inputs, parameters: new Map(), precision, random });
  return result.outputs.get("y") as Tensor; // the graph's one output
}

/** Greatest difference, relative to values above 1. */
function distance(x: Tensor, y: Tensor): number {
  let worst = x.data.length === y.data.length ? 0 : Infinity;
  for (let i = 0; i < x.data.length; i++) {
    const [a, b] = [x.data[i] ?? NaN, y.data[i] ?? NaN];
    const d = Object.is(a, b) ? 0 : Math.abs(a - b) / Math.max(1, Math.abs(b));
    worst = d <= worst ? worst : d; // NaN becomes the worst
  }
  return worst;
}

const cases = [...OPS.values()].flatMap((record) =>
  record.samples.map((sample, i) => ({ record, sample, name: `${record.name} ${i}` })));

for (const { record, sample, name } of cases) {
  test(name, (t) => {
    const made = graphOf(record, sample);
    if (typeof made === "string") return t.fail(made);
    const { graph, node } = made;
    const tensors = sampleTensors(record, sample, 1, BATCH);
    const exact = run(graph, tensors, "f64");
    t.deepEqual(exact.shape, node.shape.map((d) => evalDim(d, BATCH)), "inferred and evaluated shape");
    t.true(exact.data.every((v) => Number.isFinite(v)), "finite values");
    if (record.canonical) t.deepEqual(record.canonical(node.inputs, node.attrs), node.attrs,
      "canonical attributes are canonical");
    t.true(distance(run(graph, tensors, "f32"), exact) < 3e-6, "f32 is near float64");
    if (record.expand && record.evaluate) {
      const expanded = evalNode(record, node.attrs, tensors, node.inputs.map((x) => x.dtype), "f64", random);
      t.true(distance(expanded, exact) < 1e-12, "evalNode agrees with the graph");
      const meaning = run(expansion(graph, node, record), tensors, "f64");
      t.true(distance(meaning, exact) < 1e-12, `reference and expansion: ${distance(meaning, exact)}`);
    }
    if (record.pull) t.is(distance(pulled(node, tensors), exact), 0, "index map and reference");
  });
}

/** The graph with the op replaced by its expansion. */
function expansion(graph: Graph, node: Node, record: OpRecord): Graph {
  const builder = new GraphBuilder();
  const ops = makeOps(builder, { path: "test" });
  const inputs = node.inputs.map((x) => ops.call("input", [], x.attrs));
  const root = record.expand?.(ops, inputs, node.attrs) ?? node;
  return { ...graph, outputs: new Map([["y", root]]) };
}

/** Every element by `pull`, its indices evaluated at numbers. */
function pulled(node: Node, tensors: readonly Tensor[]): Tensor {
  const shape = node.shape.map((d) => evalDim(d, BATCH));
  const at = node.shape.map((d, i) => variable(`i${i}`, d));
  const read = (input: number, where: readonly Index[]): Value =>
    ({ kind: "load", node: node.inputs[input] as Node, at: where });
  const value = recordOf(node.op).pull?.(node, at, read) as Value; // only called for records with pull
  const data = new Float64Array(shape.reduce((n, s) => n * s, 1));
  for (let flat = 0; flat < data.length; flat++) {
    let rest = flat;
    const position = new Map<string, number>();
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      const size = shape[axis] as number; // axis < rank
      position.set(`i${axis}`, rest % size);
      rest = Math.floor(rest / size);
    }
    data[flat] = new Evaluator(position, (n) => tensors[node.inputs.indexOf(n)] as Tensor).value(value);
  }
  return { shape, data };
}

class Evaluator {
  constructor(readonly position: ReadonlyMap<string, number>, readonly tensor: (node: Node) => Tensor) {}

  index(i: Index): number {
    return i.terms.reduce((sum, t) => sum + evalDim(t.coefficient, BATCH) * this.#atom(t.atom),
      evalDim(i.constant, BATCH));
  }

  #atom(atom: Atom): number {
    switch (atom.kind) {
      case "variable": return this.position.get(atom.name) ?? NaN;
      case "quotient": return Math.floor(this.index(atom.of) / evalDim(atom.divisor, BATCH));
      case "remainder": return this.index(atom.of) % evalDim(atom.divisor, BATCH);
      case "product": return this.index(atom.of) * evalDim(atom.factor, BATCH);
      case "dynamic": return Math.min(Math.max(this.value(atom.value), 0), evalDim(atom.size, BATCH) - 1);
      default: return atom satisfies never;
    }
  }

  value(v: Value): number {
    switch (v.kind) {
      case "constant": return v.value;
      case "index": return this.index(v.index);
      case "apply": return recordOf(v.op).scalar?.(...v.args.map((a) => this.value(a))) ?? NaN;
      case "select": {
        const holds = v.guards.every((g) => this.index(g.index) >= 0 && this.index(g.index) < evalDim(g.size, BATCH));
        return this.value(holds ? v.then : v.otherwise);
      }
      case "load": {
        const { shape, data } = this.tensor(v.node);
        const flat = v.at.reduce((sum, i, axis) => {
          const [here, size] = [this.index(i), shape[axis] ?? NaN];
          return here >= 0 && here < size ? sum * size + here : NaN; // out of bounds shows as NaN
        }, 0);
        return data[flat] ?? NaN;
      }
      case "accumulator": case "fold": return NaN; // never made by `pull`
      default: return v satisfies never;
    }
  }
}

test("every record is documented and sampled", (t) => {
  for (const record of OPS.values()) {
    t.regex(record.signature, /^\(.*\) -> /, record.name);
    t.regex(record.doc, /\.$/, record.name);
    const sampled = record.samples.length > 0
      || ["parameter", "input", "random_uniform", "result"].includes(record.name);
    t.true(sampled, `${record.name} has samples`);
    t.is(record.kind === "elementwise", record.scalar !== undefined && record.wgsl !== undefined, record.name);
    t.is(record.kind === "reduction", record.fold !== undefined, record.name);
    t.is(record.kind === "composite" || record.kind === "fused", record.expand !== undefined, record.name);
  }
});

const faults: readonly [op: string, shapes: readonly (readonly (number | "B")[])[], attrs: Attrs, code: string,
  text: string, help?: string][] = [
  ["matmul", [["B", 3, 197, 64], ["B", 3, 197, 64]], {}, "shape_mismatch",
    "`matmul` needs equal inner sizes, got 64 and 197",
    "transpose the second operand: `matmul(a, transpose(b))`"],
  ["matmul", [["B", 3], ["B", 3]], {}, "shape_mismatch", "`matmul` needs equal inner sizes, got 3 and B",
    "transpose the second operand: `matmul(a, transpose(b))`"],
  ["matmul", [["B", 3], [3]], {}, "rank_mismatch", "`matmul` needs matrices, got [B, 3] by [3]"],
  ["add", [["B", 197, 192], ["B", 196, 192]], {}, "shape_mismatch",
    "`+` needs shapes that broadcast, got [B, 197, 192] and [B, 196, 192]"],
  ["reshape", [["B", 197, 192]], { shape: [{ b: 1, c: 0 }, 197, 3, 3, 38.4] }, "not_an_integer",
    "dimension 4 of `shape` of `reshape` must be a non-negative whole number, got 38.4"],
  ["reshape", [["B", 6]], { shape: [{ b: 1, c: 0 }, 5] }, "element_count",
    "`reshape` cannot turn [B, 6] into [B, 5]: it has 6·B elements, not 5·B"],
  ["sum", [["B", 6]], { axis: 2 }, "rank_mismatch", "`sum` is given axis 2, but the operand has axes 0 to 1"],
  ["permute", [["B", 6]], { order: [0] }, "rank_mismatch",
    "`permute` needs each of the 2 axes of [B, 6] once, got [0]"],
  ["not", [["B", 6]], {}, "wrong_type", "`not` needs bool operands, got f32 [B, 6]"],
  ["gather", [[5, 6], ["B"]], {}, "wrong_type",
    "`gather` needs a tensor and i32 positions, got f32 [5, 6] and f32 [B]"],
  ["concat", [["B", 1, 5], ["B", 2, 6]], { axis: 1 }, "shape_mismatch",
    "`concat` needs parts that differ in axis 1 only, got [B, 1, 5] and [B, 2, 6]"],
  ["matmul", [["B", 3], [3, "B"]], {}, "symbolic_batch", "`matmul` would contain the batch twice: [B, B]"],
  ["conv2d", [["B", 6, 8, 8], [4, 3, 3, 3]], {}, "shape_mismatch",
    "`conv2d` has 6 channels per group, but its kernels have 3"],
  ["conv2d", [["B", 3, 2, 2], [4, 3, 3, 3]], {}, "shape_mismatch",
    "`conv2d` needs a kernel within the padded side, got 3 over 2"],
  ["tile", [["B", 3]], { times: [{ b: 1, c: 0 }, 1] }, "symbolic_batch",
    "`times` of `tile` cannot depend on the batch, got B"],
];
for (const [name, shapes, attrs, code, text, help] of faults) {
  test(`fault: ${text}`, (t) => {
    const made = graphFault(name, shapes, attrs);
    t.is(made?.fault, code);
    t.is(made?.text, text);
    if (help !== undefined) t.is(made?.help, help);
  });
}

function graphFault(name: string, shapes: readonly (readonly (number | "B")[])[], attrs: Attrs) {
  const builder = new GraphBuilder();
  const ops = makeOps(builder, { path: "test" });
  const inputs = sampleTypes({ inputs: shapes.map((shape) => ({ shape })) })
    .map((type, i) => ops.call("input", [], { name: `x${i}`, shape: type.shape }));
  const node = applyOp(builder, recordOf(name), inputs, attrs, { path: "test" });
  return isFault(node) ? node : undefined;
}

test("mixed numbers: i32 beside f32 is f32, a whole constant beside i32 is i32", (t) => {
  const ops = makeOps(new GraphBuilder(), { path: "test" });
  const i = ops.call("arange", [], { n: 5 });
  t.is(ops.call("add", [i, ops.constant(1)]).dtype, "i32");
  t.is(ops.call("add", [i, ops.constant(0.5)]).dtype, "f32");
  t.is(ops.call("mul", [i, ops.call("float", [i])]).dtype, "f32");
  t.is(ops.call("lt", [i, ops.constant(2)]).dtype, "bool");
});

test("draws of random numbers have streams of their own", (t) => {
  const ops = makeOps(new GraphBuilder(), { path: "test" });
  const [a, b] = [0, 1].map(() => ops.call("bernoulli", [], { p: 0.5, shape: [7] }));
  t.not(a, b);
});

test("powers known at compile time are the same in every engine", (t) => {
  const expected: readonly (readonly [x: number, y: number, value: number])[] = [
    [32, -0.5, 1 / Math.sqrt(32)], [2, 0.5, Math.SQRT2], [0.1, 3, 0.1 * 0.1 * 0.1], [10, -5, 1e-5], [-2, 3, -8], [-2, -1, -0.5], [2, 31, 2147483648],
    [0, 0, 1], [0, -1, Infinity], [-4, 0.5, NaN], [Infinity, -0.5, 0], [5, 0, 1], [2, 100, 1.2676506002282294e30],
  ];
  for (const [x, y, value] of expected) t.is(power(x, y), value, `${x} ^ ${y}`);
});
