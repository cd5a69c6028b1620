/**
 * Compiled training steps on a device: the ten-step trainings of the micro models against PyTorch, passes against the
 * whole, fused against not fused, one run against its repetition.
 */
import { resolve } from "node:path";
import test from "ava";
import { nodeHost } from "../compiler/cli/host.js";
import { language } from "../compiler/index.js";
import { compileRecipe, type CompiledRecipe, type RecipeCompileOptions } from "../compiler/train/compile.js";
import { renderDiagnostics } from "../dsl/diagnostics.js";
import { loadProgram } from "../dsl/resolve.js";
import { namesFor } from "../compiler/targets/index.js";
import type { FamilyName } from "../runtime/manifest.js";
import type { StateInfo } from "../runtime/training.js";
import type { Device } from "../runtime/device.js";
import { leftOut, maxAbs } from "./golden.js";
import { obstacleOf, openTestDevice, openUncheckedDevice } from "./harness.js";
import { checkFinals, withoutKeys } from "./micro_checks.js";
import { BATCH, micro, microData, microFile, microParameter } from "./micro.js";
import { numbersOf, relative, type Tensors } from "./recipes.js";
import { DeviceSteps } from "./train_device.js";

const { program } = loadProgram("test/train/micro.deit", nodeHost(resolve(".")), language());

function compiled(name: string, options?: RecipeCompileOptions): CompiledRecipe {
  if (!program) throw new Error("micro.deit loads");
  const made = compileRecipe(program, name, { verify: true, ...options, others: ["teacher"] });
  if (!made.compiled) throw new Error(renderDiagnostics(made.diagnostics));
  return made.compiled;
}

let device: Device;
test.before(async () => {
  device = await openTestDevice();
});
test.after.always(() => device?.destroy());

/** Parameters as generated, averages as their parameters, the rest zero. */
const start = ({ path, of, shape, initial }: StateInfo): Float32Array =>
  (initial.kind === "zeros" && path !== of ? new Float32Array(shape.reduce((n, d) => n * d, 1))
    : Float32Array.from(microParameter(of, shape).data));

/** Losses and norms of `steps` steps on the micro data, and the states after them. */
async function train(
  made: CompiledRecipe, steps: number, lr: number, family?: FamilyName, on = device,
): Promise<{ readonly losses: number[]; readonly norms: number[]; readonly states: Tensors }> {
  const run = await DeviceSteps.open(on, made, BATCH, start, family);
  const [losses, norms]: [number[], number[]] = [[], []];
  for (let step = 1; step <= steps; step++) {
    const outputs = await run.run("train", microData(), step, lr);
    losses.push(outputs.get("loss")?.[0] ?? NaN);
    norms.push(outputs.get("grad_norm")?.[0] ?? NaN);
  }
  const states = await run.states();
  run.destroy();
  return { losses, norms, states };
}

for (const [name, golden] of Object.entries(micro.training)) {
  if (golden.file !== undefined && !microFile(golden.file)) leftOut(`ten steps, each parameter: ${name}`);
  test.serial(`ten steps: ${name}`, async (t) => {
    const { losses, norms, states } = await train(compiled(name), golden.steps, golden.lr);
    const worst = (got: readonly number[], want: readonly number[]): number =>
      Math.max(...got.map((g, i) => relative(g, want[i] ?? NaN)));
    const errors = [worst(losses, golden.losses_f64), worst(norms, golden.grad_norm_before_clip_f64)];
    t.true(errors.every((e) => e <= 1e-4), `losses and norms: ${errors.join(", ")}`);
    const finals = checkFinals(name, states);
    t.deepEqual(finals.bad, []);
    t.log(`losses ${errors[0]?.toExponential(1)}, norms ${errors[1]?.toExponential(1)}, ${finals.text}`);
  });
}

test.serial("fused, not fused, and without lanes agree; two runs are the same to the bit", async (t) => {
  const name = "adamw_dist_soft";
  const made = compiled(name);
  const [first, second] = [await train(made, 3, 1e-3), await train(made, 3, 1e-3)];
  t.deepEqual(second, first);
  for (const options of [{ without: ["fusion"] as const }, { lanes: false }]) {
    const other = await train(compiled(name, options), 3, 1e-3);
    t.deepEqual([...other.states.keys()].sort(), [...first.states.keys()].sort());
    for (const [path, { data }] of first.states) {
      const own = path.split("/").pop() ?? path;
      const error = maxAbs(withoutKeys(own, numbersOf(other.states, path)), withoutKeys(own, data));
      t.true(error <= 2e-5, `${JSON.stringify(options)} ${path}: ${error}`);
    }
  }
});

test.serial("every family that runs here agrees with the others", async (t) => {
  const name = "adamw_dist_soft";
  const made = compiled(name);
  const { train: step, evaluate } = made.manifest.graphs;
  const runs = namesFor("f32").filter((family) => [step, evaluate].every((manifest) =>
    manifest === undefined || obstacleOf(device, { manifest, wgsl: made.wgsl }, family) === undefined));
  t.true(runs.length > 1, runs.join());
  const golden = micro.training[name];
  // Checked accesses take a software adapter a minute to compile; the kernels one by one have theirs elsewhere.
  const unchecked = await openUncheckedDevice();
  t.teardown(() => unchecked.destroy());
  for (const family of runs) {
    const { losses } = await train(made, 3, golden?.lr ?? NaN, family, unchecked);
    const error = Math.max(...losses.map((loss, i) => relative(loss, golden?.losses_f64[i] ?? NaN)));
    t.true(error <= 1e-5, `${family}: ${error}`);
    t.log(`${family} ${error.toExponential(1)}`);
  }
});
