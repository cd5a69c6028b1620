/**
 * Gradients of the micro models on a device against PyTorch's. What distils has its teacher in the plan: a frozen model
 * whose answers to the golden images are the golden logits.
 */
import test from "ava";
import { resolve } from "node:path";
import { nodeHost } from "../compiler/cli/host.js";
import { language } from "../compiler/index.js";
import { compileRecipe, type CompiledRecipe } from "../compiler/train/compile.js";
import { renderDiagnostics } from "../dsl/diagnostics.js";
import { loadProgram, type SourceHost } from "../dsl/resolve.js";
import { adapterName, type Device } from "../runtime/device.js";
import type { StateInfo } from "../runtime/training.js";
import { leftOut, officialKey, relativeL2 } from "./golden.js";
import { openTestDevice } from "./harness.js";
import { withoutKeys } from "./micro_checks.js";
import { BATCH, CLASSES, micro, microData, microFile, microGolden, microParameter } from "./micro.js";
import { length, numbersOf, relative } from "./recipes.js";
import { DeviceSteps } from "./train_device.js";

/** Golden, student, and its loss of student outputs `s`, teacher outputs `t`, and what else the data brings. */
const CASES: readonly (readonly [golden: string, model: string, loss: string])[] = [
  ["plain_h2.ce", "plain_h2", "cross_entropy(s.logits, labels)"],
  ["plain_h2.ls0.1", "plain_h2", "label_smoothing(s.logits, labels, 0.1)"],
  ["plain_h2.soft_target", "plain_h2", "soft_cross_entropy(s.logits, targets)"],
  ["plain_h2.bce", "plain_h2", "binary_cross_entropy(s.logits, float(targets > 0))"],
  ["plain_h1.ce", "plain_h1", "cross_entropy(s.logits, labels)"],
  ["plain_h1.soft_target", "plain_h1", "soft_cross_entropy(s.logits, targets)"],
  ["ls_h2.ce", "ls_h2", "cross_entropy(s.logits, labels)"],
  ["ls_h2.soft_target", "ls_h2", "soft_cross_entropy(s.logits, targets)"],
  ["ls_h2.bce", "ls_h2", "binary_cross_entropy(s.logits, float(targets > 0))"],
  ["dist_h2.dl_soft_0.1_3.0", "dist_h2", distilled("soft_distillation(s.logits_dist, t.logits, 3.0)", 0.1)],
  ["dist_h2.dl_soft_0.5_3.0", "dist_h2", distilled("soft_distillation(s.logits_dist, t.logits, 3.0)", 0.5)],
  ["dist_h2.dl_soft_0.5_1.0", "dist_h2", distilled("soft_distillation(s.logits_dist, t.logits, 1.0)", 0.5)],
  ["dist_h2.dl_hard_0.5_1.0", "dist_h2", distilled("hard_distillation(s.logits_dist, t.logits)", 0.5)],
  ["dist_h1.dl_soft_0.5_3.0", "dist_h1", distilled("soft_distillation(s.logits_dist, t.logits, 3.0)", 0.5)],
  ["dist_h1.dl_hard_0.5_1.0", "dist_h1", distilled("hard_distillation(s.logits_dist, t.logits)", 0.5)],
];

function distilled(loss: string, alpha: number): string {
  return `${1 - alpha} * soft_cross_entropy(s.logits, targets) + ${alpha} * ${loss}`;
}

/** One step of momentum without decay: the momentum is the gradient then, unrounded. */
function recipeText(model: string, loss: string): string {
  const teaches = loss.includes("t.logits");
  const given = loss.includes("labels") ? "labels: i32[B]" : "targets: [B, C]";
  return `
import { ${model} } from "./micro.deit"
import { linear } from "../../models/nn.deit"
import {
  binary_cross_entropy, cross_entropy, hard_distillation, label_smoothing, soft_cross_entropy, soft_distillation
} from "../../models/losses.deit"
model table(classes = 10) {
  input images: [B, 3, 32, 32]
  fc = linear(reshape(images, [B, 3072]), classes)
  output logits = fc
}
recipe r {
  student: ${model}
  ${teaches ? 'teacher: table frozen from "table.safetensors"' : ""}
  data = cifar10("data")
  batch = 4 images
  length = 1 steps
  optimizer = sgd(lr = 0.01, weight_decay = 0.0)
  loss(images: [B, 3, H, W], ${given}) {
    s = student(images)
    ${teaches ? "t = teacher(images)" : ""}
    return ${loss}
  }
}
`;
}

function compiled(text: string): CompiledRecipe {
  const [real, file] = [nodeHost(resolve(".")), "test/train/case.deit"];
  const host: SourceHost = {
    read: (path) => (path === file ? { text } : real.read(path)),
    resolve: (from, spec) => (spec === file ? { path: spec } : real.resolve(from, spec)),
  };
  const { program, diagnostics } = loadProgram(file, host, language());
  if (!program) throw new Error(renderDiagnostics(diagnostics));
  const made = compileRecipe(program, "r", { verify: true });
  if (!made.compiled) throw new Error(renderDiagnostics(made.diagnostics));
  return made.compiled;
}

/**
 * The least weights [classes, pixels] by which the images have the golden teacher's logits: W = Tᵀ·(X·Xᵀ)⁻¹·X, by
 * Gauss-Jordan elimination in float64.
 */
function teacherWeights(): Float32Array {
  const data = microData();
  const [x, logits] = [numbersOf(data, "images"), numbersOf(data, "teacher")];
  const pixels = x.length / BATCH;
  const at = (i: number, p: number): number => x[i * pixels + p] ?? NaN;
  const rows = Array.from({ length: BATCH }, (_, i) => [
    ...Array.from({ length: BATCH }, (_, j) => {
      let sum = 0;
      for (let p = 0; p < pixels; p++) sum += at(i, p) * at(j, p);
      return sum;
    }),
    ...Array.from({ length: CLASSES }, (_, c) => logits[i * CLASSES + c] ?? NaN),
  ]);
  for (const [i, row] of rows.entries()) {
    const pivot = row[i] ?? NaN;
    row.forEach((v, c) => (row[c] = v / pivot));
    for (const other of rows) {
      const factor = other[i] ?? NaN;
      if (other !== row) other.forEach((v, c) => (other[c] = v - factor * (row[c] ?? NaN)));
    }
  }
  return Float32Array.from({ length: CLASSES * pixels }, (_, at1) => {
    const [c, p] = [Math.floor(at1 / pixels), at1 % pixels];
    return rows.reduce((sum, row, i) => sum + (row[BATCH + c] ?? NaN) * at(i, p), 0);
  });
}

let device: Device;
test.before(async (t) => {
  device = await openTestDevice();
  t.log(`on ${adapterName(device.info)}`);
});
test.after.always(() => device?.destroy());

const start = ({ path, of, shape, initial }: StateInfo): Float32Array => {
  if (path.endsWith("fc.weight")) return teacherWeights();
  const zeros = (initial.kind === "zeros" && path !== of) || path.endsWith("fc.bias");
  return zeros ? new Float32Array(shape.reduce((n, d) => n * d, 1)) : Float32Array.from(microParameter(of, shape).data);
};

for (const [name, model, loss] of CASES) {
  if (!microFile(micro.gradients[name]?.file)) leftOut(`each gradient: ${name}`);
  test.serial(`loss and gradients: ${name}`, async (t) => {
    const golden = micro.gradients[name];
    if (!golden) return t.fail("the index has it");
    const run = await DeviceSteps.open(device, compiled(recipeText(model, loss)), BATCH, start);
    const outputs = await run.run("train", microData(golden.loss === "bce"), 1, 0.01);
    const states = await run.states();
    run.destroy();
    const worstLoss = relative(outputs.get("loss")?.[0] ?? NaN, golden.loss_f64);
    t.true(worstLoss <= 1e-5, `loss: ${worstLoss}`);
    const gradients = new Map<string, ArrayLike<number>>([...states].flatMap(([path, { data }]) => {
      const [, own] = /^sgd\.momentum\/(.+)$/.exec(path) ?? [];
      return own === undefined ? [] : [[`grad.${officialKey(own)}`, data] as const];
    }));
    let [worst, where] = [0, ""];
    const check = (key: string, error: number): void => {
      if (error > worst || Number.isNaN(error)) [worst, where] = [error, key];
      t.true(error <= 2e-4, `${key}: ${error}`);
    };
    const file = [...(microGolden(golden.file) ?? [])].filter(([key]) => key.startsWith("grad."));
    for (const [key, { data }] of file) {
      check(key, relativeL2(withoutKeys(key, gradients.get(key) ?? []), withoutKeys(key, data)));
    }
    for (const [key, want] of Object.entries(golden.grad_l2 ?? {})) {
      if (key.startsWith("grad.")) check(`|${key}|`, relative(length(gradients.get(key) ?? []), want));
    }
    check("norm of all", relative(length([...gradients.values()].map(length)), golden.grad_norm_f64));
    t.log(`loss ${worstLoss.toExponential(1)}, worst of ${gradients.size} gradients ${worst.toExponential(1)} ${where}`);
    t.true(gradients.size > 30);
  });
}
