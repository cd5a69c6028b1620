/** The step engine on a device, against the same arithmetic on the CPU. Embedded adapter unless DEITC_ADAPTER names one. */
import test from "ava";
import { EvaluationLoader, TrainingLoader, type Batch } from "../runtime/data/loader.js";
import { shapes } from "../runtime/data/shapes.js";
import { InputError, OutOfMemoryError } from "../runtime/errors.js";
import { streamOf, uniformAt } from "../runtime/random.js";
import { DeviceEngine } from "../runtime/train/engine.js";
import type { EngineOptions } from "../runtime/train/programs.js";
import { movesBuffers } from "../runtime/train/states.js";
import { CpuEngine } from "./cpu_engine.js";
import { openTestDevice } from "./harness.js";
import { CLASSES, FEATURES, tinyManifest, tinyRecipe } from "./tiny_recipe.js";

const preprocess = { size: 32, resize: 32, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] } as const;
const batches = (first: number, end: number): AsyncIterable<Batch> =>
  new TrainingLoader(shapes({ length: 160, split: "train" }), {
    batch: 16, seed: 5, preprocess, augment: [{ kind: "label_smoothing", amount: 0.1 }],
  }).batches(first, end);
const evaluation = (batch: number): AsyncIterable<Batch> =>
  new EvaluationLoader(shapes({ length: 40, split: "held-out" }), { batch, preprocess }).batches();

const start = Float32Array.from({ length: CLASSES * FEATURES }, (_, i) => Math.sin(i) / 100);
const device = openTestDevice();
test.after.always(async () => (await device).destroy());

/** An engine that starts where `CpuEngine` does. */
async function open(options: Omit<EngineOptions, "device"> = {}): Promise<DeviceEngine> {
  const engine = await DeviceEngine.open(tinyRecipe(), { device: await device, poison: true, ...options });
  await engine.initialize(({ path }) => Promise.resolve(path === "head.weight" ? start : undefined));
  return engine;
}

const most = (a: Float32Array, b: Float32Array): number =>
  a.length === b.length ? a.reduce((worst, value, i) => Math.max(worst, Math.abs(value - (b[i] ?? NaN))), 0) : Infinity;

for (const passes of [1, 2, 4]) {
  test.serial(`steps of ${passes} passes are those of the CPU, evaluation too`, async (t) => {
    const [engine, cpu] = [await open({ passes }), new CpuEngine(CLASSES, FEATURES)];
    t.is(engine.dispatches, passes === 1 ? 6 : passes * 5 + 3);
    for await (const batch of batches(0, 6)) {
      for (const one of [engine, cpu]) await one.step(batch, { step: 0, lr: 2e-3 });
    }
    const [got, want] = [await engine.metrics(), await cpu.metrics()];
    t.true(Math.abs(got.loss - want.loss) < 1e-5, `${got.loss} for ${want.loss}`);
    t.true((got.gradNorm ?? 0) > 0.1 && (got.accuracy ?? 2) <= 1);
    const [mine, theirs] = [await engine.readState(), await cpu.readState()];
    for (const role of ["parameter", "optimizer.sgd.momentum", "ema"]) {
      const tensor = mine.tensors.find((one) => one.role === role && one.path === "head.weight");
      const other = theirs.tensors.find((one) => one.role === role.replace(".sgd", ""));
      const error = most(tensor?.data ?? new Float32Array(), other?.data ?? new Float32Array(1));
      t.true(error < 2e-6, `${role}: ${error}`);
    }
    for (const useEma of [false, true]) {
      for await (const batch of evaluation(engine.evaluationBatch)) {
        const [sums, expected] = [await engine.evaluate(batch, useEma), await cpu.evaluate(batch, useEma)];
        t.true(Math.abs(sums.loss - expected.loss) < 1e-4, `${sums.loss} for ${expected.loss}`);
        t.is(sums.top1, expected.top1);
        t.is(sums.top5, expected.top5);
      }
    }
    engine.destroy();
  });
}

test.serial("random numbers are functions of seed, stream and step; passes draw what the whole batch would", async (t) => {
  for (const passes of [1, 2]) {
    const engine = await open({ passes });
    for await (const batch of batches(0, 3)) await engine.step(batch, { step: 7, lr: 0 });
    const seen = (await engine.readState()).tensors.find(({ path }) => path === "seen")?.data;
    const key = { seed: 5, stream: streamOf("noise"), step: 7 };
    const first = (passes - 1) * (16 / passes);
    t.deepEqual(seen, Float32Array.of(3 * passes, uniformAt(key, first), uniformAt(key, 15)));
    engine.destroy();
  }
});

test.serial("a pass that does not fit is split where that is the same step, else the error says what to write", async (t) => {
  const small = await openTestDevice();
  t.teardown(() => small.destroy());
  // Eight images of 12 KiB are the most that a tensor may take.
  const limits = { ...small.limits, maxBufferSize: 110_000, maxStorageBufferBindingSize: 110_000 };
  Object.defineProperty(small, "limits", { value: limits });
  const definition = tinyRecipe();
  const { manifest } = definition;
  const { train, evaluate, infer, gather, apply } = manifest.graphs;
  /** Without the buffer that each pass moves. */
  const still = manifest.states.map((state) => (state.role === "buffer" ? { ...state, role: "optimizer" as const } : state));
  t.deepEqual([movesBuffers(manifest), movesBuffers({ ...manifest, states: still })], [true, false]);
  const opened = (changes: Partial<typeof manifest>): Promise<DeviceEngine> =>
    DeviceEngine.open({ ...definition, manifest: { ...manifest, ...changes } }, { device: small });
  const engine = await opened({ states: still });
  t.is(engine.passes, 2);
  engine.destroy();
  if (!train || !gather || !apply) return t.fail("the recipe has all graphs");
  for (const changes of [{}, { states: still, graphs: { train, evaluate, infer } }]) {
    const error = await t.throwsAsync(opened(changes), { instanceOf: OutOfMemoryError, message: /a pass of 16 images does not fit/u });
    t.regex(error.help ?? "", /write `accumulate = 2 steps` in the recipe: a pass then has 8 images, and at most 8 fit/u);
  }
  return undefined;
});

test.serial("states come back bit for bit and go on so; what does not fit is refused", async (t) => {
  const one = await open();
  const two = await open();
  for await (const batch of batches(0, 2)) await one.step(batch, { step: 0, lr: 1e-3 });
  const state = await one.readState();
  t.deepEqual(state.tensors.map(({ role, path }) => `${role}/${path}`), [
    "parameter/head.weight", "optimizer.sgd.momentum/head.weight", "ema/head.weight", "parameter/seen",
  ]);
  await two.writeState(state);
  t.deepEqual(await two.readState(), state);
  for await (const batch of batches(2, 4)) {
    for (const engine of [one, two]) await engine.step(batch, { step: 2, lr: 1e-3 });
  }
  t.deepEqual(await two.readState(), await one.readState());
  const [first, ...others] = state.tensors;
  const extra = { role: "ema", path: "seen", shape: [3], data: new Float32Array(3) } as const;
  await t.throwsAsync(two.writeState({ tensors: others, counters: {} }), {
    instanceOf: InputError, message: /has no 'parameter\/head.weight'/u,
  });
  await t.throwsAsync(two.writeState({ tensors: [...state.tensors, extra], counters: {} }), {
    instanceOf: InputError, message: /'ema\/seen'/u,
  });
  t.is(first?.data.length, CLASSES * FEATURES);
  for (const engine of [one, two]) engine.destroy();
});

test.serial("initial values follow the seed, averages start as their parameters", async (t) => {
  const engine = await DeviceEngine.open(tinyRecipe(), { device: await device });
  const read = async (): Promise<Float32Array[]> => {
    await engine.initialize();
    return (await engine.readState()).tensors.map(({ data }) => data);
  };
  const [weight, momentum, ema] = await read();
  t.deepEqual(await read(), [weight, momentum, ema, new Float32Array(3)]);
  t.deepEqual(ema, weight);
  const std = Math.sqrt((weight ?? new Float32Array()).reduce((sum, x) => sum + x * x, 0) / (CLASSES * FEATURES));
  t.true(Math.abs(std - 0.01) < 3e-4, String(std));
  t.true(momentum?.every((x) => x === 0));
  engine.destroy();
});

test.serial("a loss that is no number names the step and the tensor", async (t) => {
  const engine = await open();
  let step = 0;
  for await (const batch of batches(0, 4)) {
    if (step === 2) batch.images[5] = NaN;
    await engine.step(batch, { step, lr: 1e-3 });
    step++;
  }
  const { nonFinite } = await engine.metrics();
  t.deepEqual(nonFinite, { step: 2, tensor: "head.weight" });
  engine.destroy();
});

test.serial("more steps than figures are kept for: none is lost", async (t) => {
  const engine = await open();
  let batch: Batch | undefined;
  for await (const one of batches(0, 1)) batch = one;
  if (!batch) return t.fail("there is a batch");
  for (let step = 0; step < 270; step++) await engine.step(batch, { step, lr: 0 });
  const many = await engine.metrics();
  await engine.step(batch, { step: 0, lr: 0 });
  t.true(Math.abs((await engine.metrics()).loss - many.loss) < 1e-5);
  engine.destroy();
  return undefined;
});

test.serial("a step allocates nothing on the device", async (t) => {
  for (const passes of [1, 2]) {
    const engine = await open({ passes });
    const { gpu } = await device;
    const create = gpu.createBuffer.bind(gpu);
    let made = 0;
    gpu.createBuffer = (descriptor) => {
      made++;
      return create(descriptor);
    };
    for await (const batch of batches(0, 10)) await engine.step(batch, { step: 0, lr: 1e-3 });
    await engine.metrics();
    gpu.createBuffer = create;
    t.is(made, 0);
    engine.destroy();
  }
});

test.serial("steps posted one behind the other, as on a GPU, give the bits of steps waited for", async (t) => {
  const fast = await openTestDevice();
  // Readonly to its users; here it is what makes the embedded adapter pass for a fast one.
  (fast as { software: boolean }).software = false;
  for (const passes of [1, 2]) {
    const [ahead, waiting] = [await DeviceEngine.open(tinyRecipe(), { device: fast, passes }), await open({ passes })];
    await ahead.initialize(({ path }) => Promise.resolve(path === "head.weight" ? start : undefined));
    let step = 0;
    for await (const batch of batches(0, 10)) {
      for (const engine of [ahead, waiting]) await engine.step(batch, { step, lr: 1e-3 });
      step++;
    }
    t.deepEqual(await ahead.readState(), await waiting.readState());
    t.deepEqual(await ahead.metrics(), await waiting.metrics());
    for (const engine of [ahead, waiting]) engine.destroy();
  }
  fast.destroy();
});

test.serial("wrong batches and passes are refused", async (t) => {
  await t.throwsAsync(open({ passes: 3 }), { instanceOf: InputError, message: /does not split into 3/u });
  const definition = { ...tinyRecipe(), manifest: { ...tinyManifest(), data: ["images", "targets", "depths"] } };
  const { gather: _, apply: __, ...graphs } = definition.manifest.graphs;
  const single = { ...definition, manifest: { ...definition.manifest, graphs } };
  await t.throwsAsync(DeviceEngine.open(single, { device: await device, passes: 2 }), {
    instanceOf: InputError, message: /steps of one pass/u,
  });
  const engine = await open({ batch: 8 });
  for await (const batch of batches(0, 1)) {
    await t.throwsAsync(engine.step(batch, { step: 0, lr: 0 }), { instanceOf: InputError, message: /'images'/u });
  }
  engine.destroy();
});
