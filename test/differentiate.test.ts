/**
 * Gradients of all records: against a directional finite difference in float64, and against their expansions'.
 */
import test from "ava";
import { makeOps } from "../compiler/ir/build.js";
import { differentiate } from "../compiler/train/differentiate.js";
import { evalDim, showShape } from "../compiler/ir/dim.js";
import { GraphBuilder, type Graph, type Node } from "../compiler/ir/graph.js";
import { interpret } from "../compiler/inspect/interpret.js";
import type { OpRecord, OpSample, Tensor } from "../compiler/ir/op.js";
import { OPS } from "../compiler/ops/index.js";
import { sampleTensors, sampleTypes, unit } from "../compiler/ops/samples.js";

const BATCH = 3;
const noise = (seed: number, shape: readonly number[]): Tensor =>
  ({ shape, data: Float64Array.from({ length: shape.reduce((n, s) => n * s, 1) }, (_, i) => 2 * unit(seed, i) - 1) });

/** Loss = Σ weight·op(x), its gradients by the f32 inputs, and the numbers to run both on. */
function lossOf(record: OpRecord, sample: OpSample, byExpansion: boolean) {
  const builder = new GraphBuilder();
  const ops = makeOps(builder, { path: "test" });
  const inputs = sampleTypes(sample).map((t, i) =>
    ops.call("input", [], { name: `x${i}`, shape: t.shape, dtype: t.dtype }));
  const called = ops.call(record.name, inputs, sample.attrs ?? {});
  const y = byExpansion && record.expand ? record.expand(ops, called.inputs, called.attrs) : called;
  const weight = ops.call("input", [], { name: "weight", shape: y.shape });
  const loss = ops.call("sum", [ops.call("mul", [y, weight])]);
  const by = inputs.filter((x) => x.dtype === "f32");
  const { gradients } = differentiate(builder, loss, by);
  const values = new Map(sampleTensors(record, sample, 2, BATCH).map((x, i): [string, Tensor] => [`x${i}`, x]));
  values.set("weight", noise(77, y.shape.map((d) => evalDim(d, BATCH))));
  return { loss, by, gradients, values };
}

function run(outputs: ReadonlyMap<string, Node>, inputs: ReadonlyMap<string, Tensor>): ReadonlyMap<string, Tensor> {
  const graph: Graph = { inputs: new Map(), parameters: new Map(), outputs, updates: new Map() };
  return interpret(graph, { batch: BATCH, inputs, parameters: new Map(), precision: "f64" }).outputs;
}

const nameOf = (node: Node): string => String(node.attrs["name"]);
const dot = (x: Tensor, y: Tensor): number => [...x.data].reduce((s, v, i) => s + v * (y.data[i] ?? NaN), 0);

/** The inputs moved by `step` along `direction`. */
type Values = ReadonlyMap<string, Tensor>;
function moved(values: Values, direction: Values, step: number): Map<string, Tensor> {
  return new Map([...values].map(([name, x]) => {
    const d = direction.get(name);
    return [name, d ? { shape: x.shape, data: Float64Array.from(x.data, (v, i) => v + step * (d.data[i] ?? NaN)) } : x];
  }));
}

const cases = [...OPS.values()].filter((r) => r.gradient !== "none")
  .flatMap((record) => record.samples.map((sample, i) => ({ record, sample, name: `${record.name} ${i}` })))
  .filter(({ sample }) => sample.inputs.some((x) => x.dtype === undefined || x.dtype === "f32"));

for (const { record, sample, name } of cases) {
  test(name, (t) => {
    const { loss, by, gradients, values } = lossOf(record, sample, false);
    for (const [i, g] of gradients.entries()) t.is(showShape(g.shape), showShape((by[i] as Node).shape),
      "a gradient has its operand's shape");
    const named = new Map(by.map((x, i) => [nameOf(x), gradients[i] as Node])); // one gradient an operand
    const found = run(named, values);
    const direction = new Map([...found].map(([n, g], i): [string, Tensor] => [n, noise(100 + i, g.shape)]));
    // every gradient has a direction
    const slope = [...found].reduce((sum, [n, g]) => sum + dot(g, direction.get(n) as Tensor), 0);
    const step = 1e-5;
    const lossAt = (s: number): number =>
      run(new Map([["loss", loss]]), moved(values, direction, s)).get("loss")?.data[0] ?? NaN;
    const difference = (lossAt(step) - lossAt(-step)) / (2 * step);
    // Central differences at 1e-5 in float64 are good to about 1e-9 of the loss's scale.
    t.true(Math.abs(slope - difference) <= 1e-7 * Math.max(1, Math.abs(difference)),
      `gradient ${slope}, finite difference ${difference}`);
    if (!record.expand || record.gradient === "expand") return;
    const other = lossOf(record, sample, true);
    const inherited = run(new Map(other.by.map((x, i) => [nameOf(x), other.gradients[i] as Node])), values); // as above
    for (const [n, g] of found) {
      const worst = [...g.data].reduce((m, v, i) => Math.max(m, Math.abs(v - (inherited.get(n)?.data[i] ?? NaN))), 0);
      t.true(worst < 1e-12, `own and inherited gradient differ by ${worst}`);
    }
  });
}

test("a node used twice gathers both gradients; an unused one is reported and zero", (t) => {
  const builder = new GraphBuilder();
  const ops = makeOps(builder, { path: "test" });
  const shape = [{ b: 0, c: 3 }];
  const parameter = (path: string): Node => ops.call("parameter", [], { path, shape });
  const [x, unused, cut] = [parameter("x"), parameter("unused"), parameter("cut")];
  const y = ops.call("add", [ops.call("mul", [x, x]), ops.call("stop_gradient", [cut])]);
  const { gradients, unreached } = differentiate(builder, ops.call("sum", [y]), [x, unused, cut]);
  t.deepEqual(unreached, [unused, cut]);
  const value: Tensor = { shape: [3], data: Float64Array.of(1, 2, 5) };
  const parameters = new Map([["x", value], ["unused", value], ["cut", value]]);
  const graph: Graph = { inputs: new Map(), parameters: new Map(), updates: new Map(),
    outputs: new Map(gradients.map((g, i) => [`${i}`, g])) };
  const { outputs } = interpret(graph, { batch: 1, inputs: new Map(), parameters, precision: "f64" });
  t.deepEqual([...outputs.values()].map((g) => [...g.data]), [[2, 4, 10], [0, 0, 0], [0, 0, 0]]);
});

test("an element that is zero has the product of the others as slope of `prod`", (t) => {
  const builder = new GraphBuilder();
  const ops = makeOps(builder, { path: "test" });
  const x = ops.call("input", [], { name: "x", shape: [{ b: 0, c: 3 }] });
  const { gradients } = differentiate(builder, ops.call("prod", [x]), [x]);
  const slope = (...values: number[]): number[] =>
    [...(run(new Map([["g", gradients[0] as Node]]),
      new Map([["x", { shape: [3], data: Float64Array.from(values) }]])).get("g")?.data ?? [])];
  t.deepEqual(slope(2, 3, 5), [15, 10, 6]);
  t.deepEqual(slope(2, 0, 5), [0, 10, 0]);
  t.deepEqual(slope(0, 0, 5), [0, 0, 0]);
});
