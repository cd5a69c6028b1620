/**
 * A convnet in training: its gradients against finite differences in float64, its batch statistics against a plain
 * computation of them, and the device against the interpreter.
 */
import test from "ava";
import { resolve } from "node:path";
import { nodeHost } from "../compiler/cli/host.js";
import { language } from "../compiler/index.js";
import { interpret } from "../compiler/inspect/interpret.js";
import type { Tensor } from "../compiler/ir/op.js";
import { OPS } from "../compiler/ops/index.js";
import { compileRecipe } from "../compiler/train/compile.js";
import { elaborateRecipe } from "../compiler/train/recipe.js";
import { trainingGraph } from "../compiler/train/step.js";
import { renderDiagnostics } from "../dsl/diagnostics.js";
import { loadProgram } from "../dsl/resolve.js";
import type { Device } from "../runtime/device.js";
import { namesFor } from "../compiler/targets/index.js";
import { generated, integers, maxAbs, parameterValue, relativeL2 } from "./golden.js";
import { obstacleOf, openTestDevice, openUncheckedDevice } from "./harness.js";
import { advance, numberOf, numbersOf, type Tensors } from "./recipes.js";
import { DeviceSteps } from "./train_device.js";

const BATCH = 4;
/** The test brings the images: of two sides, which no data set has. */
const OTHERS = ["images"];
const IMAGE = [BATCH, 3, 13, 15] as const;
const PIXELS = IMAGE.reduce((n, d) => n * d, 1);
const { program, diagnostics } = loadProgram("test/train/convnet.deit", nodeHost(resolve(".")), language());
if (!program) throw new Error(renderDiagnostics(diagnostics));
const elaborated = elaborateRecipe(program, undefined, { ops: OPS, others: OTHERS });
if (!elaborated.recipe) throw new Error(renderDiagnostics(elaborated.diagnostics));
const made = trainingGraph(elaborated.recipe, {});

const data: Tensors = new Map<string, Tensor>([
  ["images", { shape: IMAGE, data: generated("convnet:images", PIXELS, 0, 1) }],
  ["labels", { shape: [BATCH], data: integers("convnet:labels", BATCH, 8) }],
]);
const startOf = (path: string, shape: readonly number[]): Float32Array =>
  (path.includes("/") ? new Float32Array(shape.reduce((n, d) => n * d, 1)) : parameterValue("convnet:", path, shape));
const start = (): Map<string, Tensor> =>
  new Map(made.states.map(({ path, shape }): [string, Tensor] => [path, { shape, data: startOf(path, shape) }]));

let device: Device;
/** For tiled kernels, whose checked accesses a software adapter takes long to compile. */
let unchecked: Device;
test.before(async () => {
  [device, unchecked] = [await openTestDevice(), await openUncheckedDevice()];
});
test.after.always(() => [device, unchecked].forEach((one) => one?.destroy()));

test("gradients are the slopes of the loss", (t) => {
  const outputs = new Map([...made.gradients].map(([path, node]) => [`grad.${path}`, node]));
  const graph = { ...made.graph, updates: new Map() };
  const wide = new Map([...start()].map(([path, { shape, data: x }]): [string, Tensor] =>
    [path, { shape, data: Float64Array.from(x) }]));
  const inputs = new Map([...data, ["images", { shape: IMAGE, data: Float64Array.from(numbersOf(data, "images")) }]]);
  const run = (parameters: Tensors, wanted = made.graph.outputs): Tensors =>
    interpret({ ...graph, outputs: wanted }, { batch: BATCH, inputs, parameters, precision: "f64" }).outputs;
  const gradients = run(wide, outputs);
  t.is(gradients.size, 15);
  for (const path of made.gradients.keys()) {
    const { shape, data: x } = wide.get(path) ?? { shape: [], data: new Float64Array() };
    const direction = generated(`direction:${path}`, x.length, 0, 1);
    const slope = direction.reduce((sum, d, i) => sum + d * (numbersOf(gradients, `grad.${path}`)[i] ?? NaN), 0);
    const moved = (step: number): number => {
      const there = new Map(wide).set(path, { shape, data: Float64Array.from(x, (v, i) => v + step * (direction[i] ?? NaN)) });
      return numberOf(run(there), "loss");
    };
    const step = 1e-6;
    const difference = (moved(step) - moved(-step)) / (2 * step);
    t.true(Math.abs(slope - difference) <= 1e-6 * Math.max(1e-2, Math.abs(difference)),
      `${path}: gradient ${slope}, finite difference ${difference}`);
  }
});

test("running statistics are those of the batch, the variance without bias", (t) => {
  const state = start();
  const before = new Map(state);
  advance(made, state, data, 1, 0.05, 1, BATCH);
  // The first norm's input is the convolution of the images: computed here from scratch, in float64.
  const [x, w] = [numbersOf(data, "images"), numbersOf(before, "conv1.weight")];
  const [H, W, oh, ow] = [13, 15, 7, 8];
  for (let o = 0; o < 8; o++) {
    const values: number[] = [];
    for (let n = 0; n < BATCH; n++) for (let y = 0; y < oh; y++) for (let z = 0; z < ow; z++) {
      let sum = 0;
      for (let c = 0; c < 3; c++) for (let i = 0; i < 3; i++) for (let j = 0; j < 3; j++) {
        const [row, col] = [2 * y + i - 1, 2 * z + j - 1];
        if (row < 0 || row >= H || col < 0 || col >= W) continue;
        sum += (x[((n * 3 + c) * H + row) * W + col] ?? NaN) * (w[((o * 3 + c) * 3 + i) * 3 + j] ?? NaN);
      }
      values.push(sum);
    }
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const variance = values.reduce((a, v) => a + (v - mean) ** 2, 0) / (values.length - 1);
    const next = (name: string, value: number): void => {
      const want = 0.9 * (numbersOf(before, name)[o] ?? NaN) + 0.1 * value;
      const got = numbersOf(state, name)[o] ?? NaN;
      t.true(Math.abs(got - want) <= 1e-6 * Math.max(0.1, Math.abs(want)), `${name}[${o}]: ${got}, not ${want}`);
    };
    next("bn1.running_mean", mean);
    next("bn1.running_var", variance);
  }
});

for (const family of namesFor("f32")) {
  test.serial(`three steps on the device are the interpreter's: ${family}`, async (t) => {
    const { compiled, diagnostics: wrong } = compileRecipe(program, undefined, { verify: true, others: OTHERS });
    if (!compiled) return void t.fail(renderDiagnostics(wrong));
    const { train: manifest } = compiled.manifest.graphs;
    const obstacle = manifest && obstacleOf(device, { manifest, wgsl: compiled.wgsl }, family);
    if (obstacle !== undefined) return void t.pass(obstacle);
    const on = family === "tiled" ? unchecked : device;
    const run = await DeviceSteps.open(on, compiled, BATCH, ({ path, shape }) => startOf(path, shape), family);
    const state = start();
    const losses: number[] = [];
    for (let step = 1; step <= 3; step++) {
      const want = numberOf(advance(made, state, data, step, 0.05, 1, BATCH).outputs, "loss");
      const got = (await run.run("train", data, step, 0.05)).get("loss")?.[0] ?? NaN;
      losses.push(Math.abs(got - want) / want);
    }
    t.true(losses.every((e) => e <= 1e-5), losses.join());
    let worst = 0;
    for (const [path, { data: got }] of await run.states()) {
      const want = numbersOf(state, path);
      const error = Math.min(relativeL2(got, want), maxAbs(got, want) / 1e-2);
      worst = Math.max(worst, error);
      t.true(error <= 1e-4, `${path}: ${error}`);
    }
    run.destroy();
    t.log(`losses ${Math.max(...losses).toExponential(1)}, states ${worst.toExponential(1)}`);
  });
}
