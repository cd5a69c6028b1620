/**
 * Memory that was used before: on a device that clears nothing by itself, a run gives the same bits whatever was in the
 * memory it is given.
 */
import { resolve } from "node:path";
import test from "ava";
import { nodeHost } from "../compiler/cli/host.js";
import { language } from "../compiler/index.js";
import { compileRecipe, type CompiledRecipe } from "../compiler/train/compile.js";
import { renderDiagnostics } from "../dsl/diagnostics.js";
import { loadProgram, type SourceHost } from "../dsl/resolve.js";
import type { Device } from "../runtime/device.js";
import { initialize } from "../runtime/weights/initialize.js";
import { generated, integers } from "./golden.js";
import { openTestDevice, openUncheckedDevice, soil } from "./harness.js";
import type { Tensors } from "./recipes.js";
import { DeviceSteps } from "./train_device.js";

/** Sizes of no whole vectors, so that lanes and packed gradients have gaps between their parts. */
const TEXT = `import { linear } from "deitc/nn.deit"
import { cross_entropy } from "deitc/losses.deit"
model tiny(width = 13, classes = 8) {
  input images: [B, 3, 4, 4]
  fc1 = linear(reshape(images, [B, 48]), width)
  fc2 = linear(gelu(fc1), width)
  fc3 = linear(gelu(fc2), classes)
  output logits = fc3
}
recipe plain {
  student: tiny
  data = image_folder("images")
  batch = 4 images
  length = 4 steps
  optimizer = adamw(lr = 1e-2)
  schedule = constant()
  clip = global_norm(1.0)
  ema = 0.9
  loss(images: [B, 3, H, W], labels: i32[B]) { return cross_entropy(student(images).logits, labels) }
}
recipe passes extends plain { accumulate = 2 steps }
recipe lamb extends plain { optimizer = lamb(lr = 1e-2) }
recipe adaptive extends plain { clip = adaptive(0.01) }
`;
const BATCH = 4;
const STEPS = 4;

function compiled(name: string): CompiledRecipe {
  const host = nodeHost(resolve("models"));
  const entry = "entry.deit";
  const inMemory: SourceHost = {
    resolve: (from, path) => (from === undefined ? { path: entry } : host.resolve(from, path)),
    read: (path) => (path === entry ? { text: TEXT } : host.read(path)),
  };
  const { program, diagnostics } = loadProgram(entry, inMemory, language());
  if (!program || diagnostics.length > 0) throw new Error(renderDiagnostics(diagnostics));
  const made = compileRecipe(program, name, { verify: true });
  if (!made.compiled) throw new Error(renderDiagnostics(made.diagnostics));
  return made.compiled;
}

const data: Tensors = new Map([
  ["images", { shape: [BATCH, 3, 4, 4], data: generated("images", BATCH * 48, 0, 1) }],
  ["labels", { shape: [BATCH], data: integers("labels", BATCH, 8) }],
]);

/** Losses and gradient norms of a few steps from the same start. */
async function train(device: Device, made: CompiledRecipe): Promise<readonly number[]> {
  const run = await DeviceSteps.open(device, made, BATCH, (state) => {
    const initializer = state.initial.kind === "copy" ? { kind: "ones" as const } : state.initial;
    return initialize({ path: state.of, shape: state.shape, trained: true, decay: true, initializer }, 1);
  }, undefined, false);
  const figures: number[] = [];
  for (let step = 1; step <= STEPS; step++) {
    const graphs = run.has("train") ? ["train"] as const : ["gather", "gather", "apply"] as const;
    for (const graph of graphs) {
      const outputs = await run.run(graph, data, step, 0.01, graphs.length === 1 ? 1 : 2);
      for (const name of ["loss", "grad_norm"]) figures.push(...(outputs.get(name)?.slice(0, 1) ?? []));
    }
  }
  run.destroy();
  return figures;
}

let [checked, unchecked]: (Device | undefined)[] = [];
test.before(async () => {
  [checked, unchecked] = [await openTestDevice(), await openUncheckedDevice()];
});
test.after.always(() => {
  checked?.destroy();
  unchecked?.destroy();
});

for (const name of ["plain", "passes", "lamb", "adaptive"]) {
  test.serial(`a recipe in memory that was used before: ${name}`, async (t) => {
    if (!checked || !unchecked) return t.fail("there are devices");
    const made = compiled(name);
    const clean = await train(checked, made);
    t.true(clean.length >= STEPS && clean.every(Number.isFinite));
    for (let turn = 0; turn < 3; turn++) {
      await soil(unchecked);
      t.deepEqual(await train(unchecked, made), clean, `run ${turn}`);
    }
  });
}
