/** Training that stops being finite: which tensor was first, at which step, and who wrote it. Embedded adapter. */
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { interpret } from "../compiler/inspect/interpret.js";
import type { Node } from "../compiler/ir/graph.js";
import type { Tensor } from "../compiler/ir/op.js";
import { familyOfTarget } from "../compiler/pipeline.js";
import { definitionOf } from "../compiler/cli/artifact.js";
import { compiledRecipe, type CompiledRecipe } from "../compiler/train/compile.js";
import { renderDiagnostics } from "../dsl/diagnostics.js";
import { TrainingLoader, type Batch } from "../runtime/data/loader.js";
import { shapes } from "../runtime/data/shapes.js";
import { FileError } from "../runtime/errors.js";
import type { TrainerOptions } from "../runtime/node/train/options.js";
import { Trainer } from "../runtime/node/train/trainer.js";
import { firstBad, floatTypes } from "../runtime/trace.js";
import { DeviceEngine } from "../runtime/train/engine.js";
import type { EngineOptions } from "../runtime/train/programs.js";
import { scalarValue } from "../runtime/train/inputs.js";
import { DivergedError, train, type CheckpointStore, type TrainingEvent } from "../runtime/train/loop.js";
import type { Schedule } from "../runtime/train/schedule.js";
import type { EngineState, TrainingState } from "../runtime/train/state.js";
import { encodeSafetensors } from "../runtime/weights/safetensors.js";
import type { TrainingSettings } from "../runtime/training.js";
import { openTestDevice } from "./harness.js";
import { elaborate, recipeText } from "./recipes.js";
import { CLASSES, FEATURES, tinyRecipe } from "./tiny_recipe.js";

const device = openTestDevice();
test.after.always(async () => (await device).destroy());

const start = Float32Array.from({ length: CLASSES * FEATURES }, (_, i) => Math.sin(i) / 100);

async function openTiny(options: Omit<EngineOptions, "device"> = {}): Promise<DeviceEngine> {
  const engine = await DeviceEngine.open(tinyRecipe(), { device: await device, poison: true, ...options });
  await engine.initialize(({ path }) => Promise.resolve(path === "head.weight" ? start : undefined));
  return engine;
}

const data = (): TrainingLoader => new TrainingLoader(shapes({ length: 160, split: "train" }), {
  batch: 16, seed: 5, preprocess: { size: 32, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] },
});

/** A run of the tiny recipe. @param spoil changes a batch by its step, each time it is made */
async function run(
  engine: DeviceEngine, lr: number, { spoil = () => undefined, store, signal, to = 8, resumed }: {
    readonly spoil?: (batch: Batch, step: number) => void; readonly store?: CheckpointStore;
    readonly signal?: AbortSignal; readonly to?: number; readonly resumed?: TrainingState;
  } = {},
): Promise<{ error: DivergedError; warnings: string[]; made: number[] }> {
  const loader = data();
  const made: number[] = [];
  const training = {
    async *batches(first: number, end: number): AsyncGenerator<Batch> {
      let step = first;
      for await (const batch of loader.batches(first, end)) {
        spoil(batch, step);
        made.push(step++);
        yield batch;
      }
    },
  };
  const schedule: Schedule = {
    kind: "constant", lr, stepping: "steps", warmup: 0, warmupLr: 0, length: to, own: {},
  };
  const course = train({
    recipe: "tiny", schedule, steps: to, stepsPerEpoch: 100, batch: 16, logEvery: 1, saveEvery: { steps: 2 },
  }, {
    engine, training, ...(store ? { store } : {}), ...(signal ? { signal } : {}),
  }, resumed && { state: resumed, path: "before" });
  const warnings: string[] = [];
  try {
    for await (const event of course) if (event.kind === "warning") warnings.push(event.text);
  } catch (error) {
    if (error instanceof DivergedError) return { error, warnings, made };
    throw error;
  }
  throw new Error("the run ended well");
}

/** Checkpoints in memory. @param loads false: they cannot be read back */
function memoryStore(loads = true): CheckpointStore & { readonly kept: Map<string, TrainingState> } {
  const kept = new Map<string, TrainingState>();
  const load = (path: string): Promise<TrainingState> => {
    const state = kept.get(path);
    return state ? Promise.resolve(state)
      : Promise.reject(new FileError("gone", { file: path, fault: "missing" }));
  };
  return {
    kept,
    save: (state) => {
      kept.set(`step-${state.step}`, state);
      return Promise.resolve({ path: `step-${state.step}`, notes: [] });
    },
    ...(loads ? { load } : {}),
  };
}

test("NaN and infinities are told by their bits, f32 and f16; whole numbers are no floats", (t) => {
  t.is(firstBad(Float32Array.of(0, -1, 3.4e38, 1e-45).buffer), undefined);
  t.deepEqual(firstBad(Float32Array.of(1, 2, -Infinity, NaN).buffer), { index: 2, value: -Infinity });
  t.deepEqual(firstBad(Float32Array.of(NaN).buffer), { index: 0, value: NaN });
  t.deepEqual(firstBad(Uint16Array.of(0x7bff, 0x7c00).buffer, "f16"), { index: 1, value: Infinity });
  t.deepEqual(firstBad(Uint16Array.of(0xfe00).buffer, "f16"), { index: 0, value: NaN });
  const binding = (i: number, type: string): string =>
    `@group(0) @binding(${i}) var<storage, read_write> b${i}: array<${type}>;`;
  t.deepEqual(floatTypes(["f32", "vec4f", "i32", "vec4<f16>", "u32"].map((type, i) => binding(i, type)).join("\n")),
    ["f32", "f32", undefined, "f16", undefined]);
});

test.serial("a number in the data: the input, its place, its step, and that no setting will fix it", async (t) => {
  for (const passes of [1, 2]) {
    const engine = await openTiny({ passes });
    const spoil = (batch: Batch, step: number): void => { if (step === 3) batch.images[40_000] = -Infinity; };
    const store = memoryStore();
    const { error, warnings, made } = await run(engine, 1e-3, { spoil, store });
    t.deepEqual(error.found, { tensor: "images", kind: "input", index: 40_000, value: -Infinity });
    t.deepEqual([error.step, error.tensor, error.checkpoint], [3, "images", "step-2"]);
    t.regex(error.message, /at step 3: 'images' is the first .*\(input: -Infinity at 40000, as the data provided it\); /u);
    t.regex(error.message, /the last good checkpoint is step-2$/u);
    t.regex(error.help ?? "", /no setting will fix this/u);
    t.deepEqual(warnings, ["step 3 is not finite; steps 2 to 3 are repeated from step-2 to find out why"]);
    t.deepEqual(made, [0, 1, 2, 3, 2, 3], "only what came after the checkpoint is done again");
    engine.destroy();
  }
});

test.serial("a learning rate beyond all floats: the parameter in its lane, the optimizer's kernel", async (t) => {
  const kernels = { 1: { kernel: "update", dispatch: 6, of: 6 }, 2: { kernel: "update", dispatch: 2, of: 3 } } as const;
  for (const passes of [1, 2] as const) {
    const engine = await openTiny({ passes });
    const { error } = await run(engine, 1e39);
    t.is(error.step, 0, "the loss is bad at step 1 only");
    t.like(error.found, { tensor: "head.weight", kind: "parameter", by: kernels[passes] });
    t.false(Number.isFinite(error.found?.value));
    t.regex(error.message, /'head\.weight' .*written by the kernel update, dispatch \d of \d\); no checkpoint/u);
    t.regex(error.help ?? "", /lower the learning rate.*clip the gradients, then train again/u);
    engine.destroy();
  }
});

test.serial("a learning rate far too high: the forward pass of the step after", async (t) => {
  const engine = await openTiny();
  const store = memoryStore();
  const { error } = await run(engine, 1e38, { store });
  // Weights of 1e37 and more: scores overflow, and infinity less infinity is not a number.
  t.like(error.found, { tensor: "error", kind: "activation", by: { kernel: "forward", dispatch: 1, of: 6 } });
  t.regex(error.help ?? "", store.kept.size > 0 ? /then resume from the checkpoint/u : /then train again/u);
  engine.destroy();
});

test.serial("without a way back the tensor noticed is told; from a resumed state it is found again", async (t) => {
  const engine = await openTiny();
  const spoil = (batch: Batch, step: number): void => { if (step >= 3) batch.images[7] = NaN; };
  const store = memoryStore(false);
  const { made } = await run(engine, 1e-3, { spoil, store });
  t.deepEqual(made, [0, 1, 2, 3, 0, 1, 2, 3], "from the beginning, where checkpoints cannot be read back");
  const resumed = store.kept.get("step-2");
  const again = await run(engine, 1e-3, { spoil, ...(resumed ? { resumed } : {}) });
  t.deepEqual(again.made, [2, 3, 2, 3]);
  t.like(again.error, { step: 3, tensor: "images" });
  const broken = memoryStore();
  const lost = await run(engine, 1e-3, {
    spoil, store: { ...broken, load: (path) => Promise.reject(new FileError("gone", { file: path, fault: "missing" })) },
    ...(resumed ? { resumed } : {}), to: 6,
  }).catch((error: unknown) => error);
  // The state before the bad step is that of the run resumed: nothing was saved since.
  t.like(lost, { error: { step: 3, tensor: "images" } });
  engine.destroy();
});

test.serial("a checkpoint that is gone, and Ctrl-C, leave what was noticed", async (t) => {
  const engine = await openTiny();
  const spoil = (batch: Batch, step: number): void => { if (step === 2) batch.images[7] = NaN; };
  const store = memoryStore();
  const gone: CheckpointStore = { ...store, load: (path) => Promise.reject(new FileError("gone", { file: path, fault: "missing" })) };
  const lost = await run(engine, 1e-3, { spoil, store: gone });
  t.is(lost.error.found, undefined);
  t.is(lost.error.tensor, "head.weight");
  t.regex(lost.warnings.at(-1) ?? "", /repeating failed: step-2: gone/u);
  const controller = new AbortController();
  await engine.restart();
  const left = await run(engine, 1e-3, {
    signal: controller.signal, spoil: (batch, step) => {
      spoil(batch, step);
      if (step === 2) controller.abort();
    },
  });
  t.deepEqual([left.error.step, left.error.found], [2, undefined]);
  engine.destroy();
});

test.serial("data that is bad once only: nothing is found, and that is said", async (t) => {
  const engine = await openTiny();
  let times = 0;
  const spoil = (batch: Batch, step: number): void => { if (step === 1 && times++ === 0) batch.images[7] = NaN; };
  const { error, warnings } = await run(engine, 1e-3, { spoil });
  t.deepEqual([error.step, error.tensor, error.found], [1, "head.weight", undefined]);
  t.regex(warnings.at(-1) ?? "", /^all values were finite this time/u);
  engine.destroy();
});

test.serial("going back to the beginning gives the first states bit for bit", async (t) => {
  const engine = await openTiny();
  const first = await engine.readState();
  for await (const batch of data().batches(0, 3)) await engine.step(batch, { step: 0, lr: 1e-2 });
  t.notDeepEqual(await engine.readState(), first);
  await engine.restart();
  t.deepEqual(await engine.readState(), first);
  t.is((await engine.metrics()).nonFinite, undefined);
  engine.destroy();
});

test.serial("a step that is traced changes the states as a step does", async (t) => {
  for (const passes of [1, 2]) {
    const [traced, stepped] = [await openTiny({ passes }), await openTiny({ passes })];
    let step = 0;
    for await (const batch of data().batches(0, 3)) {
      t.is(await traced.trace(batch, { step, lr: 1e-3 }), undefined);
      await stepped.step(batch, { step, lr: 1e-3 });
      step++;
    }
    t.deepEqual(await traced.readState(), await stepped.readState());
    for (const engine of [traced, stepped]) engine.destroy();
  }
});

// ---- Compiled recipes, against the interpreter ----

function compile(changes: Readonly<Record<string, string>>, lanes: boolean): CompiledRecipe {
  const { recipe, diagnostics } = elaborate(recipeText({ batch: "batch = 4 images", ...changes }));
  if (!recipe) throw new Error(renderDiagnostics(diagnostics));
  return compiledRecipe(recipe, { lanes, verify: true });
}

const images = (): Batch => ({
  images: Float32Array.from({ length: 4 * 3 * 64 }, (_, i) => Math.sin(i)), labels: Int32Array.of(0, 1, 2, 3),
  targets: new Float32Array(32), mask: new Float32Array(4).fill(1), count: 4,
});

/** Names of the tensors that the graph stores, in the order of its kernels, that the interpreter finds not finite. */
function badByInterpreter(compiled: CompiledRecipe, batch: Batch, state: EngineState, lr: number): string[] {
  const { train: made } = compiled.graphs;
  if (!made) throw new Error("steps of one pass");
  const stored = familyOfTarget(made, "scalar").lowered.flatMap(({ writes }) => writes);
  const named = new Map(stored.map((node, i): [string, Node] => [String(i), node]));
  const at = { step: 0, lr, pass: 0, passes: 1 };
  const given = new Map<string, Tensor>([
    ["images", { shape: [4, 3, 8, 8], data: batch.images }], ["labels", { shape: [4], data: batch.labels }],
    ...compiled.manifest.scalars.map((scalar): [string, Tensor] =>
      [`step.${scalar.name}`, { shape: [], data: Float32Array.of(scalarValue(scalar, at)) }]),
  ]);
  const parameters = new Map(compiled.manifest.states.map((one): [string, Tensor] => {
    const found = state.tensors.find(({ role, path }) =>
      path === one.of && (role === "parameter") === (one.role === "parameter" || one.role === "buffer")
      && (one.role !== "optimizer" || role === `optimizer.${one.path.split("/")[0] ?? ""}`));
    return [one.path, { shape: one.shape, data: found?.data ?? new Float32Array() }];
  }));
  const graph = { ...made.expanded, outputs: named, updates: new Map<string, Node>() };
  const { outputs } = interpret(graph, { batch: 4, inputs: given, parameters, precision: "f32" });
  const outputOf = new Map([...made.expanded.outputs].map(([name, node]) => [node, name]));
  return stored.flatMap((node, i) => {
    const bad = outputs.get(String(i))?.data.some((value) => !Number.isFinite(value)) === true;
    return bad ? [outputOf.get(node) ?? node.origin.path] : [];
  });
}

const loss = (more: string): string =>
  `loss(images: [B, 3, H, W], labels: i32[B]) {
    p = student(images).logits
    return cross_entropy(p, labels) + ${more}
  }`;

/** What is added to the loss, and a weight that is huge: not finite somewhere. */
const CASES: Readonly<Record<string, readonly [more: string, huge?: string]>> = {
  "a division by zero": ["mean(p / (p - p))"],
  "a root's slope at zero": ["mean(sqrt(p - p))"],
  "an exponential that overflows": ["mean(exp(p * 1e6 + 1000.0))"],
  "a weight that makes a norm in the middle overflow": ["0.5", "blocks.1.norm2.weight"],
};

for (const [title, [more, huge]] of Object.entries(CASES)) {
  test.serial(`${title}: the tensor that the interpreter finds first`, async (t) => {
    const compiled = compile({ loss: loss(more) }, false);
    const engine = await DeviceEngine.open(definitionOf(compiled), { device: await device, family: "scalar", poison: true });
    await engine.initialize(({ path, shape: [features = 0] }) =>
      Promise.resolve(path === huge ? new Float32Array(features).fill(3e38) : undefined));
    const state = await engine.readState();
    const batch = images();
    const wanted = badByInterpreter(compiled, batch, state, 1e-3);
    const found = await engine.trace(batch, { step: 0, lr: 1e-3 });
    t.true(wanted.length > 0);
    if (huge !== undefined) t.is(wanted[0], "blocks.1.norm2");
    t.is(found?.tensor, wanted[0]);
    t.regex(found?.by?.kernel ?? "", /\w/u);
    engine.destroy();
  });
}

test.serial("a gradient in a lane is told by its parameter", async (t) => {
  // The bias's gradient is four images' 1e38 each, the first sum that overflows.
  const compiled = compile({ loss: loss("1e38 * sum(p)"), optimizer: "optimizer = sgd(lr = 1e-3)" }, true);
  t.true(compiled.manifest.states.some(({ path, inside }) => path === "head.bias" && inside !== undefined));
  const engine = await DeviceEngine.open(definitionOf(compiled), { device: await device, family: "scalar" });
  await engine.initialize();
  const found = await engine.trace(images(), { step: 0, lr: 1e-3 });
  t.like(found, { tensor: "head.bias.grad", kind: "gradient", index: 0, value: Infinity });
  engine.destroy();
});

// ---- The trainer ----

const settings: Partial<TrainingSettings> = {
  optimizer: { name: "sgd", arguments: { lr: 1e39, momentum: 0.9, weight_decay: 0, nesterov: false } },
  schedule: { name: "constant", arguments: { stepping: "steps", warmup: { value: 0, unit: "steps" }, warmup_lr: 0 } },
};

test.serial("a trainer finds it from a checkpoint on disk, and from weights that it started with", async (t) => {
  const home = await mkdtemp(join(tmpdir(), "deitc-diverged-"));
  const file = join(home, "start.safetensors");
  await writeFile(file, Buffer.concat(encodeSafetensors([
    { name: "head.weight", shape: [CLASSES, FEATURES], data: start }, { name: "seen", shape: [3], data: new Float32Array(3) },
  ])));
  const finish = async (options: TrainerOptions, changes: Partial<TrainingSettings>): Promise<readonly [unknown, string[]]> => {
    const trainer = await Trainer.open(tinyRecipe(changes), { device: await device, ...options });
    const events: TrainingEvent[] = [];
    try {
      for await (const event of trainer.run()) events.push(event);
      return [undefined, []];
    } catch (error) {
      return [error, events.flatMap((event) => (event.kind === "warning" ? [event.text] : []))];
    } finally {
      trainer.destroy();
    }
  };
  const [error, warnings] = await finish({ out: join(home, "a"), weights: { student: file } }, settings);
  t.like(error, { step: 0, tensor: "head.weight" });
  t.is(warnings.length, 1, warnings.join("\n"));
  t.regex(String(error), /written by the kernel update/u);
  // Warm-up from a rate that is harmless: the first steps are kept, the last one is the end.
  const { schedule } = settings;
  if (!schedule) return t.fail("the recipe has a schedule");
  const warmup = { value: 2, unit: "steps" } as const;
  const late = { ...schedule, arguments: { ...schedule.arguments, warmup, warmup_lr: 1e-6 } };
  const [later, told] = await finish({ out: join(home, "b"), saveEvery: { steps: 1 } }, { ...settings, schedule: late });
  t.true(later instanceof DivergedError && later.found?.by !== undefined && later.step > 0, String(later));
  t.regex(told[0] ?? "", /repeated from .*checkpoints[\\/]\d+-step-1 /u);
});
