/** Optimizers that no PyTorch training in the clone has: a few steps, against the same computed here by hand. */
import test from "ava";
import { makeOps } from "../compiler/ir/build.js";
import { GraphBuilder } from "../compiler/ir/graph.js";
import { algebra } from "../compiler/ops/algebra.js";
import { interpret } from "../compiler/inspect/interpret.js";
import { OPTIMIZERS } from "../compiler/train/optimizer.js";
import type { Arguments } from "../runtime/training.js";

/** Parameters [3] after each of some steps of an optimizer whose only state is `m`. */
function run(name: string, given: Arguments, gradients: readonly (readonly number[])[], decayed: boolean): number[][] {
  const optimizer = OPTIMIZERS.get(name)?.create(given);
  if (!optimizer) throw new Error(`there is an optimizer ${name}`);
  const ops = makeOps(new GraphBuilder(), { path: "test" });
  const input = (label: string, shape: readonly number[]) =>
    ops.call("input", [], { name: label, shape: shape.map((c) => ({ b: 0, c })), dtype: "f32" });
  const inputs = { theta: input("theta", [3]), g: input("g", [3]), m: input("m", [3]), lr: input("lr", []) };
  const next = optimizer.update(algebra(ops), {
    parameter: inputs.theta, gradient: inputs.g, states: { m: inputs.m }, scalars: { lr: inputs.lr }, decayed,
  });
  const outputs = new Map(Object.entries({ theta: next.parameter, ...next.states }));
  const graph = { inputs: new Map(Object.entries(inputs)), parameters: new Map(), outputs, updates: new Map() };
  const state = new Map([["theta", START], ["m", [0, 0, 0]]]);
  return gradients.map((g) => {
    const values = { theta: state.get("theta") ?? [], m: state.get("m") ?? [], g, lr: [optimizer.lr] };
    const tensors = Object.entries(values).map(([key, data]) =>
      [key, { shape: key === "lr" ? [] : [3], data: Float64Array.from(data) }] as const);
    const made = interpret(graph, { batch: 1, inputs: new Map(tensors), parameters: new Map(), precision: "f64" }).outputs;
    for (const [key, { data }] of made) state.set(key, [...data]);
    return state.get("theta") ?? [];
  });
}

const START = [1, -2, 0.5];
const GRADIENTS = [[0.3, -0.1, 0], [-0.2, 0.4, 1], [-0.4, -0.9, -3], [0.1, 0.1, 0.1]];

test("lion steps by the sign of its average and decays apart", (t) => {
  const [lr, decay, beta1, beta2] = [0.01, 0.5, 0.9, 0.99];
  for (const decayed of [true, false]) {
    const got = run("lion", { lr, weight_decay: decay, betas: [beta1, beta2] }, GRADIENTS, decayed);
    START.forEach((start, i) => {
      let [theta, m] = [start, 0];
      GRADIENTS.forEach((all, step) => {
        const g = all[i] ?? NaN;
        if (decayed) theta *= 1 - lr * decay;
        theta -= lr * Math.sign(beta1 * m + (1 - beta1) * g);
        m = beta2 * m + (1 - beta2) * g;
        t.true(Math.abs((got[step]?.[i] ?? NaN) - theta) < 1e-12, `step ${step}, parameter ${i}, decayed ${decayed}`);
      });
    });
  }
  // A gradient of exactly 0 moves nothing: sign(0) = 0.
  t.is(run("lion", { lr, weight_decay: 0, betas: [0.9, 0.99] }, [[0, 0, 0]], true)[0]?.[2], START[2]);
});
