/**
 * Recipes as graphs, by the interpreter: losses, gradients and ten-step trainings of the micro models against PyTorch,
 * accumulation against one pass, evaluation, and what is wrong with a recipe.
 */
import { resolve } from "node:path";
import test from "ava";
import { nodeHost } from "../compiler/cli/host.js";
import { differentiate } from "../compiler/differentiate.js";
import { rootsOf, topological, type Graph, type Node } from "../compiler/graph.js";
import { callableNames } from "../compiler/index.js";
import { interpret, type Interpretation } from "../compiler/interpret.js";
import type { Tensor } from "../compiler/op.js";
import { OPS } from "../compiler/ops/index.js";
import { members } from "../dsl/vocabulary.js";
import { evaluationGraph } from "../compiler/train/evaluation.js";
import { OPTIMIZERS, type StepScalar } from "../compiler/train/optimizer.js";
import { elaborateRecipe, type ElaboratedRecipe } from "../compiler/train/recipe.js";
import { accumulationGraphs, scalarInput, trainingGraph, type TrainingGraph } from "../compiler/train/step.js";
import { gradientPath } from "../compiler/train/state.js";
import { renderDiagnostics } from "../dsl/diagnostics.js";
import { loadProgram, type SourceHost } from "../dsl/resolve.js";
import { maxAbs, officialKey, relativeL2 } from "./golden.js";
import { BATCH, micro, microData, microGolden, microParameter, WIDTH } from "./micro.js";

type Tensors = ReadonlyMap<string, Tensor>;

const { program } = loadProgram("test/train/micro.deit", nodeHost(resolve(".")), { opNames: callableNames() });

function recipeOf(name: string): ElaboratedRecipe {
  if (!program) throw new Error("micro.deit loads");
  const { recipe, diagnostics } = elaborateRecipe(program, name, { ops: OPS });
  if (!recipe) throw new Error(renderDiagnostics(diagnostics));
  return recipe;
}

const length = (x: ArrayLike<number>): number => Math.sqrt(Array.from(x).reduce((sum, v) => sum + v * v, 0));
const relative = (got: number, want: number): number => Math.abs(got - want) / Math.abs(want);
const numbersOf = (tensors: Tensors, name: string): Tensor["data"] => {
  const tensor = tensors.get(name);
  if (!tensor) throw new Error(`there is a tensor ${name}`);
  return tensor.data;
};
const numberOf = (tensors: Tensors, name: string): number => numbersOf(tensors, name)[0] ?? NaN;

/** Rows of the key in a fused bias: they have no gradient in exact arithmetic, what is stored is rounding noise. */
const isFused = (path: string): boolean => path.endsWith("attn.qkv.bias");
const withoutKeys = (path: string, data: ArrayLike<number>): ArrayLike<number> =>
  (isFused(path) ? Array.from(data).filter((_, i) => i < WIDTH || i >= 2 * WIDTH) : data);

/** State at the start: parameters as generated, averages as their parameters, the rest zero. */
function start({ states }: TrainingGraph): Map<string, Tensor> {
  return new Map(states.map(({ path, of, shape, initial }) =>
    [path, initial.kind === "zeros" && path !== of ? { shape, data: new Float32Array(shape.reduce((n, d) => n * d, 1)) }
      : microParameter(of, shape)]));
}

function scalarAt(scalar: StepScalar, step: number, lr: number, passes: number): number {
  switch (scalar.kind) {
    case "learning_rate": return lr;
    case "bias_correction": return 1 - scalar.beta ** step;
    case "share": return 1 / passes;
    default: return scalar satisfies never;
  }
}

/** One run of a graph at step `step`, counted from 1; changes `state`. */
function advance(made: TrainingGraph, state: Map<string, Tensor>, data: Tensors, step: number, lr: number,
  passes = 1, batch = BATCH): Interpretation {
  const inputs = new Map([...made.graph.inputs.keys()].flatMap((name): [string, Tensor][] => {
    const tensor = data.get(name);
    return tensor ? [[name, tensor]] : [];
  }));
  for (const scalar of made.scalars) {
    inputs.set(scalarInput(scalar), { shape: [], data: Float32Array.of(scalarAt(scalar, step, lr, passes)) });
  }
  const result = interpret(made.graph, { batch, inputs, parameters: state, precision: "f32" });
  for (const [path, next] of result.updates) state.set(path, next);
  return result;
}

// ---- Losses and gradients ----

/** Golden, and the recipe whose loss it is. */
const LOSSES: readonly [string, string][] = [
  ["plain_h2.ce", "plain_h2_ce"], ["plain_h2.ls0.1", "smooth"], ["plain_h2.soft_target", "plain_h2_soft_target"],
  ["plain_h2.bce", "plain_h2_bce"], ["plain_h1.ce", "plain_h1_ce"], ["plain_h1.soft_target", "plain_h1_soft_target"],
  ["dist_h2.dl_soft_0.1_3.0", "dist_h2_soft_weak"], ["dist_h2.dl_soft_0.5_3.0", "dist_h2_soft_3"],
  ["dist_h2.dl_soft_0.5_1.0", "dist_h2_soft_1"], ["dist_h2.dl_hard_0.5_1.0", "dist_h2_hard"],
  ["dist_h1.dl_soft_0.5_3.0", "dist_h1_soft_3"], ["dist_h1.dl_hard_0.5_1.0", "dist_h1_hard"],
  ["ls_h2.soft_target", "ls_h2_soft_target"], ["ls_h2.ce", "ls_h2_ce"], ["ls_h2.bce", "ls_h2_bce"],
];

/** Every tensor a gradient file has, computed. */
function gradientsOf(recipe: ElaboratedRecipe, inputs: Tensors): Tensors {
  const { training: { builder, graph }, predictions } = recipe;
  const made = trainingGraph(recipe, { gradientNorm: true });
  const loss = graph.outputs.get("loss") as Node; // a recipe has a loss
  const outputs = new Map<string, Node>([["loss", loss]]);
  for (const [name, node] of made.graph.outputs) outputs.set(name, node);
  for (const [path, node] of made.gradients) outputs.set(`grad.${officialKey(path)}`, node);
  const by = (name: string, node: Node): void => {
    const [gradient] = differentiate(builder, loss, [node]).gradients;
    if (gradient) outputs.set(name, gradient);
  };
  for (const [name, node] of predictions) {
    if (name === "prediction") continue;
    outputs.set(name, node);
    by(`d${name}`, node);
  }
  by("grad_input", graph.inputs.get("images") as Node); // the micro losses take images
  const whole: Graph = { ...made.graph, outputs, updates: new Map() };
  return interpret(whole, { batch: BATCH, inputs, parameters: start(made), precision: "f32" }).outputs;
}

for (const [name, target] of LOSSES) {
  test(`loss and gradients: ${name}`, (t) => {
    const golden = micro.gradients[name];
    if (!golden) return t.fail("the index has it");
    const got = gradientsOf(recipeOf(target), microData(golden.loss === "bce"));
    const worstLoss = relative(numberOf(got, "loss"), golden.loss_f64);
    t.true(worstLoss <= 1e-5, `loss: ${worstLoss}`);
    t.true(relative(numberOf(got, "grad_norm"), golden.grad_norm_f64) <= 1e-5);
    let [worst, where] = [0, ""];
    const check = (key: string, error: number): void => {
      if (error > worst || Number.isNaN(error)) [worst, where] = [error, key];
      t.true(error <= 2e-4, `${key}: ${error}`);
    };
    const file = microGolden(golden.file);
    for (const [key, { data }] of file ?? []) {
      if (!got.has(key)) continue;
      check(key, relativeL2(withoutKeys(key, numbersOf(got, key)), withoutKeys(key, data)));
    }
    for (const [key, want] of Object.entries(golden.grad_l2 ?? {})) {
      check(`|${key}|`, relative(length(numbersOf(got, key)), want));
    }
    const expected = golden.grad_l2 ? [...Object.keys(golden.grad_l2)] : [...(file?.keys() ?? [])];
    t.deepEqual(expected.filter((key) => !got.has(key)), []);
    if (!file) t.log("no golden file here: the loss alone");
    t.log(`loss ${worstLoss.toExponential(1)}, worst of ${expected.length} tensors ${worst.toExponential(1)} ${where}`);
  });
}

// ---- Ten steps ----

for (const [name, golden] of Object.entries(micro.training)) {
  test(`ten steps: ${name}`, (t) => {
    const made = trainingGraph(recipeOf(name), { gradientNorm: true });
    t.deepEqual(made.undecayed.map(officialKey).sort(), [...golden.no_decay].sort());
    t.is(made.decayed.length + made.undecayed.length, Object.keys(golden.final_l2).filter((key) => !key.startsWith("ema.")).length);
    const state = start(made);
    const [losses, norms]: [number[], number[]] = [[], []];
    for (let step = 1; step <= golden.steps; step++) {
      const { outputs } = advance(made, state, microData(), step, golden.lr);
      losses.push(numberOf(outputs, "loss"));
      norms.push(numberOf(outputs, "grad_norm"));
    }
    const last = interpret({ ...made.graph, updates: new Map() },
      { batch: BATCH, inputs: microDataWith(made), parameters: state, precision: "f32" });
    losses.push(numberOf(last.outputs, "loss"));
    const worstOf = (got: readonly number[], want: readonly number[]): number =>
      Math.max(...want.map((w, i) => relative(got[i] ?? NaN, w)));
    const errors = [worstOf(losses, golden.losses_f64), worstOf(norms, golden.grad_norm_before_clip_f64)];
    t.true(errors.every((e) => e <= 1e-4), `losses and norms: ${errors.join(", ")}`);
    const finals = checkFinals(name, state);
    t.deepEqual(finals.bad, []);
    t.log(`losses ${errors[0]?.toExponential(1)}, norms ${errors[1]?.toExponential(1)}, ${finals.text}`);
  });
}

function microDataWith(made: TrainingGraph): Tensors {
  const scalars = made.scalars.map((one): [string, Tensor] =>
    [scalarInput(one), { shape: [], data: Float32Array.of(1) }]);
  return new Map([...microData(), ...scalars]);
}

/** Final parameters and averages against the golden's, within its README's tolerances. */
function checkFinals(name: string, state: Tensors): { readonly bad: readonly string[]; readonly text: string } {
  const golden = micro.training[name];
  const plain = golden?.opt === "sgd" || golden?.opt === "momentum";
  const [bound, most] = plain ? [2e-5, 1e-5] : [1e-3, 2e-3];
  const bad: string[] = [];
  let [worst, greatest, compared] = [0, 0, 0];
  for (const [path, { data }] of state) {
    const own = path.replace(/^ema\//, "");
    if (own.includes("/")) continue;
    const key = (path === own ? "" : "ema.") + officialKey(own);
    const want = microGolden(golden?.file)?.get(key);
    // SGD does not divide by the noise in the key rows: there they are compared too.
    const keep = (x: ArrayLike<number>): ArrayLike<number> => (plain ? x : withoutKeys(own, x));
    const [rel, max] = want ? [relativeL2(keep(data), keep(want.data)), maxAbs(keep(data), keep(want.data))]
      : isFused(own) && !plain ? [0, 0] : [relative(length(data), golden?.final_l2[key] ?? NaN), 0];
    compared++;
    [worst, greatest] = [Math.max(worst, rel), Math.max(greatest, max)];
    if (!(rel <= bound && max <= most)) bad.push(`${key}: rel ${rel}, max ${max}`);
  }
  const how = microGolden(golden?.file) ? "" : " (lengths only)";
  const text = `${compared} tensors: rel ${worst.toExponential(1)}, max ${greatest.toExponential(1)}${how}`;
  return { bad, text };
}

// ---- Passes ----

test("two passes of half a batch are one step on the whole", (t) => {
  for (const name of ["adamw_plain", "sgd_nesterov_clip1", "lamb_plain"]) {
    const recipe = recipeOf(name);
    const whole = trainingGraph(recipe);
    const { gather, apply } = accumulationGraphs(recipe);
    const [one, two] = [start(whole), new Map([...start(gather), ...start(apply)])];
    t.deepEqual(apply.data, []);
    const half = (from: number): Tensors => new Map([...microData()].map(([key, { shape, data }]) => {
      const size = data.length / 2;
      return [key, { shape: [BATCH / 2, ...shape.slice(1)], data: data.slice(from * size, (from + 1) * size) }];
    }));
    for (let step = 1; step <= 2; step++) {
      const { outputs } = advance(whole, one, microData(), step, 0.001);
      const parts = [0, 1].map((i) => advance(gather, two, half(i), step, 0.001, 2, BATCH / 2));
      const mean = parts.reduce((sum, part) => sum + numberOf(part.outputs, "loss"), 0) / 2;
      t.true(relative(mean, numberOf(outputs, "loss")) < 1e-6);
      const sums = [...two].filter(([path]) => path.startsWith(gradientPath("")));
      t.true(sums.length === whole.decayed.length + whole.undecayed.length && sums.every(([, x]) => length(x.data) > 0));
      advance(apply, two, new Map(), step, 0.001, 2);
      for (const [path] of sums) t.is(length(numbersOf(two, path)), 0, path);
    }
    for (const [path, { data }] of one) {
      const error = maxAbs(withoutKeys(path, numbersOf(two, path)), withoutKeys(path, data));
      t.true(error <= 2e-5, `${name} ${path}: ${error}`);
    }
  }
});

// ---- Evaluation ----

test("evaluation sums over the rows that count", (t) => {
  const recipe = recipeOf("dist_h2_hard");
  const { graph, data } = evaluationGraph(recipe);
  t.deepEqual(data, ["images", "labels", "mask"]);
  const parameters = new Map([...graph.parameters.values()].map(({ path, node }) =>
    [path, microParameter(path, node.shape.map((d) => d.c))]));
  const run = (labels: readonly number[], mask: readonly number[]): Tensors =>
    interpret(graph, { batch: BATCH, parameters, precision: "f32", inputs: new Map<string, Tensor>([
      ...microData(), ["labels", { shape: [BATCH], data: Int32Array.from(labels) }],
      ["mask", { shape: [BATCH], data: Float32Array.from(mask) }]]) }).outputs;
  const rows = Array.from({ length: BATCH }, (_, b) =>
    Array.from(numbersOf(run([0, 0, 0, 0], [1, 1, 1, 1]), "prediction")).slice(10 * b, 10 * b + 10));
  const ranked = rows.map((row) => row.map((_, c) => c).sort((x, y) => (row[y] ?? 0) - (row[x] ?? 0)));
  const at = (places: readonly number[]): number[] => ranked.map((order, b) => order[places[b] ?? 0] ?? -1);
  const labels = at([0, 4, 5, 0]);
  const entropy = (b: number): number =>
    Math.log((rows[b] ?? []).reduce((sum, v) => sum + Math.exp(v), 0)) - (rows[b]?.[labels[b] ?? 0] ?? NaN);
  const all = run(labels, [1, 1, 1, 1]);
  t.deepEqual(["correct", "correct5", "count"].map((name) => numberOf(all, name)), [2, 3, 4]);
  t.true(relative(numberOf(all, "loss"), [0, 1, 2, 3].reduce((sum, b) => sum + entropy(b), 0)) < 1e-5);
  const some = run(labels, [1, 0, 1, 0]);
  t.deepEqual(["correct", "correct5", "count"].map((name) => numberOf(some, name)), [1, 1, 2]);
  t.true(relative(numberOf(some, "loss"), entropy(0) + entropy(2)) < 1e-5);
});

// ---- Settings and mistakes ----

/** Elaborates a text beside the shipped models. */
function elaborate(text: string, target?: string) {
  const real = nodeHost(resolve("."));
  const host: SourceHost = {
    read: (path) => (path === "test/train/case.deit" ? { text } : real.read(path)),
    resolve: (from, spec) => (spec === "test/train/case.deit" ? { path: spec } : real.resolve(from, spec)),
  };
  const loaded = loadProgram("test/train/case.deit", host, { opNames: callableNames() });
  return loaded.program ? elaborateRecipe(loaded.program, target, { ops: OPS })
    : { diagnostics: loaded.diagnostics, recipe: undefined };
}

const HEAD = `
import { vit } from "../../models/vit.deit"
import { cross_entropy, hard_distillation, soft_cross_entropy } from "../../models/losses.deit"
model tiny extends vit { image = 8  patch = 4  dim = 8  depth = 2  heads = 2  classes = 8 }
model tiny_distilled extends tiny { distilled = true }
`;
const LOSS = "loss(images: [B, 3, H, W], labels: i32[B]) { return cross_entropy(student(images).logits, labels) }";
const recipeText = (changes: Readonly<Record<string, string>> = {}): string => {
  const parts = {
    student: "student: tiny", data: "data = shapes()", batch: "batch = 64 images", length: "length = 5 epochs",
    optimizer: "optimizer = adamw(lr = 1e-3)", loss: LOSS, ...changes,
  };
  return `${HEAD}recipe r {\n${Object.values(parts).join("\n")}\n}\n`;
};

test("settings are plain, with defaults and arithmetic done", (t) => {
  const { recipe, diagnostics } = elaborate(recipeText({
    student: "student: tiny { depth = layers } from \"start.pth\"",
    layers: "layers = half + 1\nhalf = 1",
    optimizer: "optimizer = adamw(lr = 5e-4 * batch / 512 images)",
    schedule: 'schedule = cosine(warmup = 20 steps, stepping = "official")',
    more: "accumulate = 4 steps\nclip = global_norm(1.0)\nema = 0.99\nseed = 7\ndrop_path = 0.1\n" +
      "no_weight_decay = [\"head.weight\"]\naugment = [horizontal_flip(), mixup(0.2)]\neval = shapes(seed = 1)",
  }));
  t.is(renderDiagnostics(diagnostics), "");
  const settings = recipe?.settings;
  t.is(settings?.batch, 64);
  t.deepEqual(settings?.length, { value: 5, unit: "epochs" });
  t.is(recipe?.optimizer.lr, 5e-4 / 8);
  t.is(recipe?.optimizer.weightDecay, 0.05);
  t.deepEqual(settings?.schedule,
    { kind: "cosine", stepping: "official", warmup: { value: 20, unit: "steps" }, warmupLr: 1e-6, minLr: 1e-5 });
  t.deepEqual([settings?.accumulate, settings?.ema, settings?.seed, settings?.precision], [4, 0.99, 7, "f32"]);
  t.deepEqual(settings?.clip, { kind: "global_norm", limit: 1 });
  t.deepEqual(settings?.augment.map((one) => one.name), ["horizontal_flip", "mixup"]);
  t.deepEqual(settings?.augment[1]?.arguments, { alpha: 0.2, probability: 1, switch: 0.5 });
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

test("the signature of every optimizer stands in the vocabulary, and no other does", (t) => {
  const accepts = members["optimizer"]?.accepts;
  t.deepEqual(Object.keys(accepts?.is === "call" ? accepts.calls : {}), [...OPTIMIZERS.keys()]);
});

/** What is changed in a sound recipe, and what is said of it: code, message, help. */
const MISTAKES: readonly [string, Readonly<Record<string, string>>, string][] = [
  ["unknown member", { more: "optimzer = adamw(lr = 1)" }, "unused_constant: `optimzer` is never read"],
  ["missing unit", { length: "length = 5" }, "missing_unit: `length` needs a unit"],
  ["missing unit, computed", { length: "length = max(5, 3)" }, "missing_unit: `length` needs a unit"],
  ["wrong unit", { batch: "batch = 5 epochs" }, "wrong_unit: `batch` takes images, got epochs"],
  ["a head the loss leaves out", { student: "student: tiny_distilled" },
    "no_gradient: the loss does not reach `head_dist.weight` of `student` (use the output `logits_dist` in the loss)"],
  ["classes of the data", { data: 'data = cifar10("x")' },
    "value_error: `cifar10` has 10 classes, the trained model predicts 8 (give the model 10 classes)"],
  ["classes of the evaluation", { more: 'eval = cifar100("x")' },
    "value_error: `cifar100` has 100 classes, the trained model predicts 8 (give the model 100 classes)"],
  ["classes of the targets", {
    loss: "loss(images: [B, 3, H, W], targets: [B, 9]) { return soft_cross_entropy(student(images).logits, targets) }",
  }, "shape_mismatch: `target` of `soft_cross_entropy` is [B, C], where C is 8 by `logits`; got [B, 9]"],
  ["classes of the teacher", {
    teacher: 'teacher: tiny { classes = 9 } frozen from "t.pth"',
    loss: "loss(images: [B, 3, H, W], labels: i32[B]) { " +
      "return hard_distillation(student(images).logits, teacher(images).logits) }",
  }, "shape_mismatch: `teacher` of `hard_distillation` is [B, C], where C is 8 by `student`; got [B, 9]"],
  ["frozen without weights", { teacher: "teacher: tiny frozen" },
    "frozen_without_weights: `teacher` is frozen but has no weights"],
  ["a model nobody calls", { teacher: 'teacher: tiny frozen from "t.pth"' }, "unused_constant: `teacher` is never read"],
  ["a loss per sample", {
    loss: "loss(images: [B, 3, H, W]) { return sum(student(images).logits, axis = 1) }",
  }, "wrong_type: a loss is one number, got a tensor [B] (take its mean: `mean(…)`)"],
  ["a size nothing says", { loss: LOSS.replace("labels: i32[B]", "labels: i32[K]") },
    "value_error: nothing says what `K` is in `i32[K]`"],
  ["images of another size", { loss: LOSS.replace("[B, 3, H, W]", "[B, 1, H, W]") },
    "shape_mismatch: `images` of `loss of recipe r` is [B, 1, H, W], where dimension 1 is 1; got [B, 3, 8, 8]"],
  ["a momentum of one", { optimizer: "optimizer = sgd(lr = 0.1, momentum = 1)" },
    "value_error: `momentum` of `sgd` is between 0 and 0.9999999999999998, got 1"],
  ["a stepping that is none", { schedule: 'schedule = cosine(stepping = "weeks")' },
    'value_error: `stepping` is "epochs", "official" or "steps", got "weeks"'],
  ["passes that do not divide", { more: "accumulate = 7 steps" },
    "value_error: a batch of 64 images does not split into 7 equal passes (`accumulate` must divide `batch`)"],
  ["an end of no path", { more: 'no_weight_decay = ["dist_token"]' },
    "unknown_name: no trained parameter ends in `dist_token`"],
  ["an override that is none", { student: "student: tiny { widht = 3 }" },
    "unknown_override: `tiny` has no parameter `widht`"],
  ["a clip of nothing", { more: "clip = global_norm(0)" }, "value_error: `global_norm` takes a positive number, got 0"],
  ["an ema beyond one", { more: "ema = sqrt(2)" }, "value_error: `ema` is a number between 0 and 1, got the number"],
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

test("a recipe is chosen by name where there are several", (t) => {
  t.is(program && elaborateRecipe(program, undefined, { ops: OPS }).diagnostics[0]?.code, "ambiguous_target");
  t.is(program && elaborateRecipe(program, "smoth", { ops: OPS }).diagnostics[0]?.help, "did you mean `smooth`?");
});

test("the order of building does not change a graph", (t) => {
  const [one, two] = [recipeOf("adamw_plain"), recipeOf("adamw_plain")];
  accumulationGraphs(two);
  const [a, b] = [trainingGraph(one), trainingGraph(two)];
  t.is(topological(rootsOf(a.graph)).length, topological(rootsOf(b.graph)).length);
  t.deepEqual(a.states, b.states);
});
