/**
 * Recipes as graphs, by the interpreter: losses, gradients and ten-step trainings of the micro models against PyTorch,
 * accumulation against one pass, evaluation, and the compiler's passes on a step.
 */
import { resolve } from "node:path";
import test from "ava";
import { nodeHost } from "../compiler/cli/host.js";
import { differentiate } from "../compiler/train/differentiate.js";
import { expandComposites } from "../compiler/rewrite/expand.js";
import { printGraph, rootsOf, topological, type Graph, type Node } from "../compiler/ir/graph.js";
import { language } from "../compiler/index.js";
import { interpret } from "../compiler/inspect/interpret.js";
import type { Tensor } from "../compiler/ir/op.js";
import { OPS } from "../compiler/ops/index.js";
import { recognize } from "../compiler/rewrite/rules/recognize.js";
import { simplify } from "../compiler/rewrite/rules/simplify.js";
import { evaluationGraph } from "../compiler/train/evaluation.js";
import { reopen } from "../compiler/train/open.js";
import { elaborateRecipe, type ElaboratedRecipe } from "../compiler/train/recipe.js";
import { gradientPath } from "../compiler/train/state.js";
import { accumulationGraphs, scalarInput, trainingGraph, type TrainingGraph } from "../compiler/train/step.js";
import { renderDiagnostics } from "../dsl/diagnostics.js";
import { loadProgram } from "../dsl/resolve.js";
import { leftOut, maxAbs, officialKey, relativeL2 } from "./golden.js";
import { checkFinals, isFused, withoutKeys } from "./micro_checks.js";
import { BATCH, micro, microData, microFile, microGolden, microParameter } from "./micro.js";
import { advance, length, numberOf, numbersOf, relative, start, type Tensors } from "./recipes.js";

const { program } = loadProgram("test/train/micro.deit", nodeHost(resolve(".")), language());

function recipeOf(name: string): ElaboratedRecipe {
  if (!program) throw new Error("micro.deit loads");
  const { recipe, diagnostics } = elaborateRecipe(program, name, { ops: OPS, others: ["teacher"] });
  if (!recipe) throw new Error(renderDiagnostics(diagnostics));
  return recipe;
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
function gradientsOf(recipe: ElaboratedRecipe, inputs: Tensors, prepare?: (graph: Graph) => Graph): Tensors {
  const made = trainingGraph(recipe, { gradientNorm: true, ...(prepare ? { prepare } : {}) });
  const outputs = new Map(made.graph.outputs);
  for (const [path, node] of made.gradients) outputs.set(`grad.${officialKey(path)}`, node);
  const run = (graph: Graph): Tensors =>
    interpret({ ...graph, updates: new Map() }, { batch: BATCH, inputs, parameters: start(made), precision: "f32" })
      .outputs;
  // By the logits and the images the loss is differentiated here: a step has no use for these.
  const { builder, graph } = reopen({ ...recipe.training, outputs: new Map([...recipe.training.outputs,
    ...recipe.predictions]) });
  const more = new Map([...graph.outputs].filter(([name]) => name.startsWith("logits")));
  const images = graph.inputs.get("images");
  const by: [string, Node][] = [...more].map(([name, node]) => [`d${name}`, node]);
  for (const [name, node] of images ? [...by, ["grad_input", images] as const] : by) {
    const [gradient] = differentiate(builder, graph.outputs.get("loss") as Node, [node]).gradients; // it has a loss
    if (gradient) more.set(name, gradient);
  }
  return new Map([...run({ ...made.graph, outputs }), ...run({ ...graph, outputs: more })]);
}

for (const [name, target] of LOSSES) {
  if (!microFile(micro.gradients[name]?.file)) leftOut(`each gradient: ${name}`);
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
    t.log(`loss ${worstLoss.toExponential(1)}, worst of ${expected.length} tensors ${worst.toExponential(1)} ${where}`);
  });
}

// ---- Ten steps ----

for (const [name, golden] of Object.entries(micro.training)) {
  if (golden.file !== undefined && !microFile(golden.file)) leftOut(`ten steps, each parameter: ${name}`);
  test(`ten steps: ${name}`, (t) => {
    const made = trainingGraph(recipeOf(name), { gradientNorm: true });
    t.deepEqual(made.undecayed.map(officialKey).sort(), [...golden.no_decay].sort());
    const keys = Object.keys(golden.final_l2).filter((key) => !key.startsWith("ema."));
    t.is(made.decayed.length + made.undecayed.length, keys.length);
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
      t.is(sums.length, whole.decayed.length + whole.undecayed.length);
      t.true(sums.every(([, x]) => length(x.data) > 0));
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

test("a recipe is chosen by name where there are several", (t) => {
  t.is(program && elaborateRecipe(program, undefined, { ops: OPS }).diagnostics[0]?.code, "ambiguous_target");
  t.is(program && elaborateRecipe(program, "smoth", { ops: OPS }).diagnostics[0]?.help, "did you mean `smooth`?");
});

test("building one graph of a recipe changes no other", (t) => {
  const [one, two] = [recipeOf("adamw_plain"), recipeOf("adamw_plain")];
  accumulationGraphs(two, { gradientNorm: true });
  evaluationGraph(two);
  t.is(printGraph(trainingGraph(one).graph), printGraph(trainingGraph(two).graph));
});

// ---- Passes of the compiler ----

/** The passes in front of differentiation, or of fusion. */
const settled = (graph: Graph): Graph => simplify(recognize(simplify(graph).graph).graph).graph;

test("recognised before it is differentiated, and simplified and expanded after, a step is the same", (t) => {
  const recipe = recipeOf("adamw_plain");
  const plain = trainingGraph(recipe);
  const prepared = trainingGraph(recipe, { prepare: settled });
  const ops = (graph: Graph): readonly string[] => topological(rootsOf(graph)).map((node) => node.op);
  t.is(ops(prepared.graph).filter((op) => op === "attention").length, 2);
  t.deepEqual(prepared.states, plain.states);
  const lowered = [plain, prepared].map((made) => ({ ...made, graph: expandComposites(settled(made.graph), OPS) }));
  const runs = [plain, prepared, ...lowered].map((made) => {
    const state = start(made);
    const { outputs } = advance(made, state, microData(), 1, 0.001);
    return { state, loss: numberOf(outputs, "loss") };
  });
  for (const { state, loss } of runs) {
    t.true(relative(loss, runs[0]?.loss ?? NaN) < 1e-6);
    for (const [path, { data }] of runs[0]?.state ?? []) {
      // Moments, not parameters: the first step of Adam divides by the gradient's size, and so shows its sign alone.
      if (!path.includes("/") || isFused(path)) continue;
      const error = relativeL2(numbersOf(state, path), data);
      t.true(error < (path.startsWith("ema/") ? 2e-4 : 2e-5), `${path}: ${error}`);
    }
  }
});
