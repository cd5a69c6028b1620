/**
 * Recipes by the elaborator: settings, frozen models, bounds, buffers, and what is said of mistakes.
 */
import { resolve } from "node:path";
import test from "ava";
import { nodeHost } from "../compiler/cli/host.js";
import { rootsOf, topological } from "../compiler/ir/graph.js";
import { language } from "../compiler/index.js";
import { interpret } from "../compiler/inspect/interpret.js";
import type { Tensor } from "../compiler/ir/op.js";
import { OPS } from "../compiler/ops/index.js";
import { elaborateRecipe } from "../compiler/train/recipe.js";
import { trainingGraph } from "../compiler/train/step.js";
import { renderDiagnostics } from "../dsl/diagnostics.js";
import { loadProgram } from "../dsl/resolve.js";
import { maxAbs } from "./golden.js";
import { BATCH } from "./micro.js";
import { advance, elaborate, length, LOSS, numberOf, numbersOf, recipeText, start } from "./recipes.js";

test("settings are plain, with defaults and arithmetic done", (t) => {
  const { recipe, diagnostics } = elaborate(recipeText({
    student: "student: tiny { depth = layers } from \"start.pth\"",
    layers: "layers = half + 1\nhalf = 1",
    optimizer: "optimizer = adamw(lr = 5e-4 * batch / 512 images)",
    schedule: 'schedule = cosine(warmup = 20 steps, stepping = "official")',
    more: "accumulate = 4 steps\nclip = global_norm(1.0)\nema = 0.99\nseed = 7\ndrop_path = 0.1\n" +
      "no_weight_decay = [\"head.weight\"]\naugment = [horizontal_flip(), random_crop(8), mixup(0.2)]\neval = shapes(seed = 1)",
    loss: LOSS.replace("labels: i32[B]", "targets: [B, C]").replace("cross_entropy", "soft_cross_entropy").replace("labels)", "targets)"),
  }));
  t.is(renderDiagnostics(diagnostics), "");
  const settings = recipe?.settings;
  t.is(settings?.batch, 64);
  t.deepEqual(settings?.length, { value: 5, unit: "epochs" });
  t.is(recipe?.optimizer.lr, 5e-4 / 8);
  t.is(recipe?.optimizer.weightDecay, 0.05);
  t.deepEqual(settings?.schedule,
    { name: "cosine", arguments: { stepping: "official", warmup: { value: 20, unit: "steps" }, warmup_lr: 1e-6, min_lr: 1e-5 } });
  t.deepEqual([settings?.accumulate, settings?.ema, settings?.seed, settings?.precision], [4, 0.99, 7, "f32"]);
  t.deepEqual(settings?.clip, { name: "global_norm", arguments: { limit: 1 } });
  t.deepEqual(settings?.augment.map((one) => one.name), ["horizontal_flip", "random_crop", "mixup"]);
  t.deepEqual(settings?.augment[2]?.arguments, { alpha: 0.2, probability: 1, switch: 0.5 });
  t.deepEqual(settings?.eval?.arguments, { seed: 1, train: 20000, test: 2000 });
  t.is(recipe?.classes, 8);
  t.deepEqual(recipe?.instances.map(({ name, model, path, weights }) => [name, model, path, weights]),
    [["student", "tiny", "", "start.pth"]]);
  const made = recipe && trainingGraph(recipe);
  t.true(made?.undecayed.includes("head.weight"));
  t.false(made?.undecayed.includes("blocks.0.attn.qkv.weight"));
  // `drop_path` reached the student: its last block (of two) draws, once a branch.
  const draws = topological(made ? rootsOf(made.graph) : []).filter((node) => node.op === "bernoulli");
  t.deepEqual(draws.map((node) => node.attrs["p"]), [0.9, 0.9]);
});

test("a frozen teacher is a constant of the step, under its own name", (t) => {
  const { recipe, diagnostics } = elaborate(recipeText({
    student: "student: tiny_distilled", teacher: "teacher: tiny { depth = 1 } frozen from \"teacher.safetensors\"",
    more: "ema = 0.5",
    loss: `loss(images: [B, 3, H, W], targets: [B, C]) {
      s = student(images)
      return soft_cross_entropy(s.logits, targets) + hard_distillation(s.logits_dist, teacher(images).logits)
    }`,
  }));
  t.is(renderDiagnostics(diagnostics), "");
  const made = recipe && trainingGraph(recipe);
  const frozen = made?.states.filter(({ path }) => path.startsWith("teacher.")) ?? [];
  t.is(frozen.length, 20);
  t.true(frozen.every(({ role, path }) => role === "buffer" && made?.graph.updates.has(path) === false));
  t.deepEqual(made?.states.filter(({ of, path }) => of.startsWith("teacher.") && of !== path), []);
  t.true([...(made?.graph.outputs.keys() ?? [])].includes("correct"));
});

test("the shipped recipes elaborate", (t) => {
  const { program } = loadProgram("models/recipe.deit", nodeHost(resolve(".")), language());
  for (const name of ["hard", "soft"]) {
    if (!program) return t.fail("models/recipe.deit loads");
    const { recipe, diagnostics } = elaborateRecipe(program, name, { ops: OPS });
    t.is(renderDiagnostics(diagnostics), "");
    t.deepEqual(recipe?.instances.map(({ frozen }) => frozen), [false, true]);
    t.is(recipe?.classes, 1000);
    t.deepEqual([...(recipe?.predictions.keys() ?? [])], ["logits", "logits_dist", "prediction"]);
    t.is(recipe?.training.updates.size, 0);
  }
});

/** What is changed in a sound recipe, and what is said of it: code, message, help. */
const MISTAKES: readonly [string, Readonly<Record<string, string>>, string][] = [
  ["unknown member", { more: "optimzer = adamw(lr = 1)" }, "unused_constant: `optimzer` is never used"],
  ["missing unit", { length: "length = 5" }, "missing_unit: `length` needs a unit"],
  ["missing unit, computed", { length: "length = max(5, 3)" }, "missing_unit: `length` needs a unit"],
  ["wrong unit", { batch: "batch = 5 epochs" }, "wrong_unit: `batch` takes images, got epochs"],
  ["a head the loss leaves out", { student: "student: tiny_distilled" },
    "no_gradient: the loss does not depend on `head_dist.weight` of `student` " +
      "(use the output `logits_dist` in the loss)"],
  ["classes of the data", { data: 'data = cifar10("x")' },
    "value_error: `cifar10` has 10 classes, but the trained model predicts 8 (give the model 10 classes)"],
  ["classes of the evaluation", { more: 'eval = cifar100("x")' },
    "value_error: `cifar100` has 100 classes, but the trained model predicts 8 (give the model 100 classes)"],
  ["classes of the targets", {
    loss: "loss(images: [B, 3, H, W], targets: [B, 9]) { return soft_cross_entropy(student(images).logits, targets) }",
  }, "shape_mismatch: `target` of `soft_cross_entropy` is [B, C], where C is 8 from `logits`; got [B, 9]"],
  ["classes of the teacher", {
    teacher: 'teacher: tiny { classes = 9 } frozen from "t.pth"',
    loss: "loss(images: [B, 3, H, W], labels: i32[B]) { " +
      "return hard_distillation(student(images).logits, teacher(images).logits) }",
  }, "shape_mismatch: `teacher` of `hard_distillation` is [B, C], where C is 8 from `student`; got [B, 9]"],
  ["a gradient that would hold the batch twice", {
    loss: "loss(images: [B, 3, H, W], labels: i32[B]) { return mean(gather(student(images).logits, labels, axis = 0)) }",
  }, "symbolic_batch: `gather` along the batch with an index for each sample has no gradient (pick among entries of an " +
    "axis without B, or block the gradient with `stop_gradient`)"],
  ["frozen without weights", { teacher: "teacher: tiny frozen" },
    "frozen_without_weights: `teacher` is frozen but has no weights"],
  ["a model nobody calls", { teacher: 'teacher: tiny frozen from "t.pth"' },
    "unused_constant: `teacher` is never used"],
  ["a loss per sample", {
    loss: "loss(images: [B, 3, H, W]) { return sum(student(images).logits, axis = 1) }",
  }, "wrong_type: a loss must be a single number, got a tensor [B] (take its mean: `mean(…)`)"],
  ["a size nothing says", { loss: LOSS.replace("labels: i32[B]", "labels: i32[K]") },
    "value_error: the size `K` in `i32[K]` is unknown"],
  ["images of another size", { loss: LOSS.replace("[B, 3, H, W]", "[B, 1, H, W]") },
    "shape_mismatch: `images` of `loss of recipe r` is [B, 1, H, W], where dimension 1 is 1; got [B, 3, 8, 8]"],
  ["a momentum of one", { optimizer: "optimizer = sgd(lr = 0.1, momentum = 1)" },
    "value_error: `momentum` of `sgd` must be at least 0 and below 1, got 1"],
  ["one beta", { optimizer: "optimizer = adamw(lr = 0.1, betas = [0.9])" },
    "value_error: `betas` of `adamw` must be a list of 2 numbers, got [0.9]"],
  ["half an image", { batch: "batch = 3 images / sqrt(4)", more: "accumulate = 2 steps" },
    "not_an_integer: `batch` must be a positive integer, got 1.5"],
  ["an unknown stepping", { schedule: 'schedule = cosine(stepping = "weeks")' },
    'value_error: `stepping` of `cosine` must be "epochs", "official" or "steps", got "weeks"'],
  ["passes that do not divide", { more: "accumulate = 7 steps" },
    "value_error: a batch of 64 images does not split into 7 equal passes (`accumulate` must divide `batch`)"],
  ["an end of no path", { more: 'no_weight_decay = ["dist_token"]' },
    "unknown_name: no trained parameter ends in `dist_token`"],
  ["an unknown override", { student: "student: tiny { widht = 3 }" },
    "unknown_override: `tiny` has no parameter `widht`"],
  ["a clip of nothing", { more: "clip = global_norm(0)" }, "value_error: `limit` of `global_norm` must be more than 0, got 0"],
  ["an ema beyond one", { more: "ema = sqrt(2)" }, "value_error: `ema` must be a number between 0 and 1, got the number"],
];

for (const [what, changes, said] of MISTAKES) {
  test(`mistake: ${what}`, (t) => {
    const { recipe, diagnostics } = elaborate(recipeText(changes));
    t.is(recipe, undefined);
    const lines = diagnostics.map(({ code, message, help }) => `${code}: ${message}${help ? ` (${help})` : ""}`);
    t.is(lines.length, 1, lines.join("\n"));
    t.true(lines[0]?.startsWith(said), lines[0]);
  });
}

// ---- Other bounds, buffers, whole numbers and 0-d parameters ----

const IMPORTS = 'import { batch_norm, linear } from "../../models/nn.deit"';
const NORM = `
model pooled(classes = 8) {
  input images: [B, 3, 8, 8]
  bn = batch_norm(images)
  buffer seen: i32[1] ~ zeros
  if training { update seen = seen + 1 }
  param gain: [] ~ ones
  head = linear(mean(bn, axis = [2, 3]) * gain, classes)
  output logits = head
}
`;
const IMAGES: Tensor = { shape: [BATCH, 3, 8, 8], data: Float32Array.from({ length: 768 }, (_, i) => Math.sin(i)) };
const DATA = new Map([["images", IMAGES], ["labels", { shape: [BATCH], data: Int32Array.of(1, 2, 3, 4) }]]);

/** The recipe of the pooled model. */
const pooled = (more: string): string => {
  const text = recipeText({ student: "student: pooled", more });
  return IMPORTS + text.replace("model tiny extends", `${NORM}model tiny extends`);
};

test("buffers advance and are averaged, whole numbers are copied, 0-d parameters train", (t) => {
  const { recipe, diagnostics } = elaborate(pooled("ema = 0.75"));
  t.is(renderDiagnostics(diagnostics), "");
  if (!recipe) return;
  const made = trainingGraph(recipe);
  t.deepEqual(made.undecayed.filter((path) => path !== "gain").sort(), ["bn.bias", "bn.weight", "head.bias"]);
  const state = start(made);
  const zero: Tensor = { shape: [1], data: new Int32Array(1) };
  for (const path of ["seen", "ema/seen"]) state.set(path, zero);
  const before = new Map(state);
  for (let step = 1; step <= 2; step++) advance(made, state, DATA, step, 0.01);
  t.deepEqual([...numbersOf(state, "seen"), ...numbersOf(state, "ema/seen")], [2, 2]);
  const [mean, moved] = [numbersOf(before, "bn.running_mean"), numbersOf(state, "bn.running_mean")];
  t.true(maxAbs(mean, moved) > 1e-3 && maxAbs(mean, numbersOf(state, "ema/bn.running_mean")) > 1e-4);
  t.not(numberOf(before, "gain"), numberOf(state, "gain"));
});

test("bounds by value, by unit and by parameter", (t) => {
  for (const [clip, bound] of [["value(0.01)", 0.01], ["adaptive(0.02)", undefined], ["parameter_norm(0.01)", undefined]] as const) {
    const { recipe, diagnostics } = elaborate(pooled(`clip = ${clip}\n`)
      .replace("adamw(lr = 1e-3)", "sgd(lr = 0.1, momentum = 0)"));
    t.is(renderDiagnostics(diagnostics), "");
    if (!recipe) continue;
    const made = trainingGraph(recipe);
    const state = start(made);
    state.set("seen", { shape: [1], data: new Int32Array(1) });
    const before = new Map(state);
    const inputs = new Map([...DATA, ["step.lr", { shape: [], data: Float32Array.of(0.1) }] as const]);
    const gradients = interpret({ ...made.graph, outputs: made.gradients, updates: new Map() },
      { batch: BATCH, inputs, parameters: state, precision: "f32" }).outputs;
    advance(made, state, DATA, 1, 0.1);
    for (const path of [...made.decayed, ...made.undecayed]) {
      const [w, g, after] = [numbersOf(before, path), numbersOf(gradients, path), numbersOf(state, path)];
      const rows = path === "head.weight" ? 8 : 1;
      const size = w.length / rows;
      const want = Array.from(w, (value, i) => {
        if (bound !== undefined) return value - 0.1 * Math.max(-bound, Math.min(bound, g[i] ?? NaN));
        if (clip.startsWith("parameter")) return value - 0.1 * (g[i] ?? NaN) * Math.min(1, 0.01 / (length(g) + 1e-6));
        const row = Math.floor(i / size) * size;
        const own = length(g.slice(row, row + size));
        const limit = 0.02 * Math.max(1e-3, length(w.slice(row, row + size)));
        return value - 0.1 * (g[i] ?? NaN) * Math.min(1, limit / own);
      });
      t.true(maxAbs(after, want) < 1e-6, `${clip} ${path}: ${maxAbs(after, want)}`);
      t.true(maxAbs(after, w) > 0, path);
    }
  }
});
