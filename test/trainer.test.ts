/** A recipe's settings as a run: data, schedule, folder, resumption, faults. The recipe written by hand, SwiftShader. */
import { mkdir, mkdtemp, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import { DivergedError, type TrainingEvent, type TrainingOutcome } from "../runtime/train/loop.js";
import { FileError, InputError, WeightsError } from "../runtime/errors.js";
import { loadState } from "../runtime/node/train/resume.js";
import { openData } from "../runtime/node/train/datasets.js";
import type { TrainerOptions } from "../runtime/node/train/options.js";
import { Trainer } from "../runtime/node/train/trainer.js";
import { parseMetrics } from "../runtime/train/metrics.js";
import { augmentationOf } from "../runtime/train/augment.js";
import { preparationOf, scheduleOf } from "../runtime/train/settings.js";
import { encodeSafetensors } from "../runtime/weights/safetensors.js";
import type { CallSetting, TrainingSettings } from "../runtime/training.js";
import { openTestDevice } from "./harness.js";
import { CLASSES, FEATURES, tinyManifest, tinyRecipe } from "./tiny_recipe.js";

const device = openTestDevice();
test.after.always(async () => (await device).destroy());
const folder = (): Promise<string> => mkdtemp(join(tmpdir(), "deitc-trainer-"));

const open = async (options: TrainerOptions, changes: Partial<TrainingSettings> = {}): Promise<Trainer> =>
  Trainer.open(tinyRecipe(changes), { device: await device, ...options });

async function finish(trainer: Trainer): Promise<{ events: TrainingEvent[]; outcome: TrainingOutcome }> {
  const events: TrainingEvent[] = [];
  const course = trainer.run();
  for (;;) {
    const { value, done } = await course.next();
    if (done === true) return { events, outcome: value };
    events.push(value);
  }
}

test.serial("a run leaves weights, records and a report, and tells its figures", async (t) => {
  const out = await folder();
  const trainer = await open({ out });
  t.is(trainer.plan.steps, 25);
  t.is(trainer.plan.stepsPerEpoch, 10);
  t.deepEqual(trainer.facts.find(([name]) => name === "trained parameters"), ["trained parameters", "24,576"]);
  const { events, outcome } = await finish(trainer);
  t.true(outcome.finished);
  t.deepEqual((await readdir(out)).sort(),
    ["best.safetensors", "checkpoints", "last.safetensors", "metrics.jsonl", "report.html"]);
  const records = parseMetrics(await readFile(join(out, "metrics.jsonl"), "utf8"));
  t.deepEqual(records, outcome.records);
  const epochs = records.filter((record) => record.kind === "epoch");
  t.is(epochs.length, 3);
  t.true(epochs.every(({ model, ema }) => model?.count === 40 && ema?.count === 40));
  t.true((epochs.at(-1)?.loss ?? 9) < (epochs[0]?.loss ?? 0), "the loss falls");
  t.is(events.filter(({ kind }) => kind === "step").length, 25);
  t.regex(await readFile(join(out, "report.html"), "utf8"), /SwiftShader|llvmpipe|GPU/iu);
  const evaluation = await trainer.evaluate({ ema: true });
  t.deepEqual(evaluation, epochs.at(-1)?.ema);
  await trainer.save(join(out, "mine.safetensors"));
  t.deepEqual((await readFile(join(out, "mine.safetensors"))).subarray(-4 * FEATURES),
    (await readFile(join(out, "last.safetensors"))).subarray(-4 * FEATURES));
  await t.throwsAsync(finish(trainer), { message: /runs only once/u });
  trainer.destroy();
});

test.serial("stopped and resumed ends as one left alone; a folder in use and another recipe are refused", async (t) => {
  const [alone, stopped] = [await folder(), await folder()];
  const whole = await open({ out: alone });
  await finish(whole);
  const controller = new AbortController();
  const first = await open({ out: stopped, signal: controller.signal });
  for await (const event of first.run()) if (event.kind === "step" && event.step === 13) controller.abort();
  await t.throwsAsync(open({ out: stopped }), { instanceOf: InputError, message: /already contains a run/u });
  await t.throwsAsync(open({ out: stopped, resume: true, batch: 8 }), { message: /another recipe: batch 16 → 8$/u });
  const second = await open({ out: stopped, resume: true });
  t.is(second.startStep, 13);
  const [saved, last] = [join(stopped, "saved.safetensors"), join(stopped, "last.safetensors")];
  await second.save(saved);
  t.deepEqual(await readFile(saved), await readFile(last), "what is saved before it goes on is what it goes on from");
  t.true((await finish(second)).outcome.finished);
  await second.save(saved);
  t.deepEqual(await readFile(saved), await readFile(last));
  const recipe = whole.plan.recipe;
  const [got, want] = [await loadState(stopped, { recipe }), await loadState(alone, { recipe })];
  t.deepEqual(got.state.engine, want.state.engine);
  for (const one of [whole, first, second]) one.destroy();
});

test.serial("a run is resumed by any spelling of its folder, and from the fallback where its own has no checkpoint", async (t) => {
  const [out, fallback] = [await folder(), await folder()];
  const first = await open({ out, steps: 2 });
  await finish(first);
  const again = await open({ out, resume: `${out}/` });
  t.is(again.startStep, 2);
  again.destroy();
  // As when the disk of `out` was full from the beginning.
  await rm(fallback, { recursive: true });
  await rename(out, fallback);
  await writeFile(join(fallback, "checkpoints", "000009-step-9"), "not a checkpoint");
  for (const resume of ["auto", true] as const) {
    const other = await open({ out, fallback, resume });
    t.is(other.startStep, 2);
    other.destroy();
    t.true((await readdir(join(fallback, "checkpoints"))).includes("000009-step-9"), "nobody has locked it");
  }
  first.destroy();
});

test.serial("every step that is recorded is recorded once, the last one too, however the run ends", async (t) => {
  /** The records in the file, as `kind step`, which are those the run told of. */
  const recorded = async (out: string, told: readonly TrainingEvent[]): Promise<string[]> => {
    const records = parseMetrics(await readFile(join(out, "metrics.jsonl"), "utf8"));
    const events = told.flatMap((event) => (event.kind === "record" ? [event.record] : []));
    t.deepEqual(records.slice(records.length - events.length), events);
    return records.map(({ kind, step }) => `${kind} ${step}`);
  };
  const EPOCHS = ["step 10", "epoch 10", "step 20", "epoch 20", "step 25", "epoch 25"];
  const whole = await folder();
  const trainer = await open({ out: whole, logEvery: 5 });
  const { events } = await finish(trainer);
  t.deepEqual(await recorded(whole, events), ["step 5", EPOCHS[0], EPOCHS[1], "step 15", ...EPOCHS.slice(2)]);
  // Interrupted within an interval, at a step that is recorded anyway, at the end of an epoch, and at the very end.
  const ends: readonly (readonly [number, readonly string[]])[] = [
    [13, ["step 5", "step 10", "epoch 10", "step 13"]], [15, ["step 5", "step 10", "epoch 10", "step 15"]],
    [20, ["step 5", "step 10", "epoch 10", "step 15", "step 20"]],
    [25, ["step 5", "step 10", "epoch 10", "step 15", "step 20", "epoch 20", "step 25"]],
  ];
  for (const [at, expected] of ends) {
    const out = await folder();
    const controller = new AbortController();
    const first = await open({ out, logEvery: 5, signal: controller.signal });
    const seen: TrainingEvent[] = [];
    for await (const event of first.run()) {
      seen.push(event);
      if (event.kind === "step" && event.step === at) controller.abort();
    }
    t.deepEqual(await recorded(out, seen), expected, `stopped at ${at}`);
    const second = await open({ out, logEvery: 5, resume: true });
    const rest = await finish(second);
    const after = ["step 15", "step 20", "epoch 20", "step 25", "epoch 25"].filter((one) => !expected.includes(one));
    t.deepEqual(await recorded(out, rest.events), [...expected, ...after], `resumed at ${at}`);
    first.destroy();
    second.destroy();
  }
  trainer.destroy();
});

test.serial("a folder that cannot be made is told before anything is compiled; out: false keeps nothing", async (t) => {
  const out = await folder();
  await writeFile(join(out, "file"), "");
  await t.throwsAsync(open({ out: join(out, "file", "run") }), { instanceOf: FileError, message: /is a file/u });
  const trainer = await open({ out: false, steps: 3 });
  t.is((await finish(trainer)).outcome.checkpoint, undefined);
  t.is(trainer.folder, undefined);
  trainer.destroy();
});

test.serial("a run that diverges says where, and what the last good checkpoint is", async (t) => {
  const out = await folder();
  const optimizer = { name: "sgd", arguments: { lr: 1e38, momentum: 0.9, weight_decay: 0, nesterov: false } };
  const schedule = call("constant", { stepping: "steps", warmup: { value: 0, unit: "steps" }, warmup_lr: 0 });
  const trainer = await open({ out, saveEvery: { steps: 1 } }, { optimizer, schedule });
  const error = await t.throwsAsync(finish(trainer), { instanceOf: DivergedError });
  t.regex(error.message, /'error' is the first .*written by the kernel forward.*(checkpoints\/0+\d-step-\d|no checkpoint)/u);
  t.true((await readdir(out)).includes("metrics.jsonl"));
  trainer.destroy();
});

test.serial("weights to start from: those of a file, by the model's name", async (t) => {
  const home = await folder();
  const file = join(home, "start.safetensors");
  const data = Float32Array.from({ length: CLASSES * FEATURES }, (_, i) => Math.cos(i));
  const seen = Float32Array.of(1, 2, 3);
  await writeFile(file, Buffer.concat(encodeSafetensors([
    { name: "head.weight", shape: [CLASSES, FEATURES], data }, { name: "seen", shape: [3], data: seen },
  ])));
  const trainer = await open({ out: false, weights: { student: file } });
  const { tensors } = await trainer.engine.readState();
  t.deepEqual(tensors.filter(({ path, role }) => path === "head.weight" && !role.startsWith("opt")).map((one) => one.data),
    [data, data]);
  t.deepEqual(tensors.find(({ path }) => path === "seen")?.data, seen);
  trainer.destroy();
  await t.throwsAsync(open({ out: false, weights: { teacher: file } }), { message: /no model 'teacher'.*/u });
  await t.throwsAsync(open({ out: false, weights: { student: join(home, "no.pth") } }), { instanceOf: FileError });
  await writeFile(file, Buffer.concat(encodeSafetensors([{ name: "other", shape: [3], data: seen }])));
  await t.throwsAsync(open({ out: false, weights: { student: file } }), { instanceOf: WeightsError });
});

const call = (name: string, args: CallSetting["arguments"]): CallSetting => ({ name, arguments: args });

test("augmentations are read from a recipe, and refused by name", (t) => {
  t.deepEqual(augmentationOf(call("random_resized_crop", {
    size: 32, scale: [0.5, 1], ratio: [0.75, 1.3], interpolation: "bilinear",
  })), { kind: "random_resized_crop", size: 32, scale: [0.5, 1], ratio: [0.75, 1.3], interpolation: "bilinear" });
  const own = { mean: [0.1, 0.2, 0.3], std: [1, 1, 1] };
  t.deepEqual(augmentationOf(call("normalize", { name: "imagenet", ...own })), { kind: "normalize", name: "imagenet", ...own });
  t.throws(() => augmentationOf(call("random_erase", { probability: 1, mode: "hole", count: 1 })), {
    instanceOf: InputError, message: '`mode` of `random_erase` must be "pixel", "rand" or "const", got "hole"',
  });
  t.throws(() => augmentationOf(call("color_jitter", { brightness: 0, contrast: 0, saturation: 0, hue: 0.1 })), {
    message: /`hue` is not available yet/u,
  });
  t.throws(() => augmentationOf(call("warp", {})), { message: /augmentation `warp`/u });
});

test("times in steps and in epochs make the same schedule", (t) => {
  const { settings } = tinyManifest();
  const inSteps = scheduleOf(settings, 25, 10);
  t.deepEqual([inSteps.length, inSteps.warmup, inSteps.lr, inSteps.own], [2.5, 0.5, 1e-3, { min_lr: 1e-5 }]);
  const { name, arguments: given } = settings.schedule;
  const schedule = call(name, { ...given, warmup: { value: 0.5, unit: "epochs" } });
  const inEpochs = scheduleOf({ ...settings, schedule }, 25, 10);
  t.throws(() => scheduleOf({ ...settings, schedule: call("plateau", given) }, 25, 10), { message: /schedule `plateau`/u });
  t.deepEqual(inEpochs, inSteps);
});

test("images are normalized as the recipe says, evaluation included, and said so", (t) => {
  const numbers = { mean: [0.1, 0.2, 0.3], std: [0.5, 0.6, 0.7] };
  const normalize = call("normalize", { name: "imagenet", ...numbers });
  const { preprocess, notes } = preparationOf(tinyManifest({ augment: [normalize] }));
  t.deepEqual(preprocess, { size: 32, resize: 32, mean: [0.1, 0.2, 0.3], std: [0.5, 0.6, 0.7] });
  t.regex(notes.join(), /as the `preprocess` of `linear` does/u);
  t.deepEqual(preparationOf(tinyManifest()).notes, []);
});

/** A folder of pictures of one pixel, by class. */
async function pictures(root: string, classes: Readonly<Record<string, number>>): Promise<void> {
  for (const [name, count] of Object.entries(classes)) {
    await mkdir(join(root, name), { recursive: true });
    for (let i = 0; i < count; i++) await writeFile(join(root, name, `${i}.png`), "");
  }
}

test("image folders: parts, a folder each, and classes that do not fit", async (t) => {
  const root = await folder();
  const eight = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`c${i}`, 10]));
  const { c7: _, ...seven } = eight;
  await pictures(join(root, "plain"), eight);
  await pictures(join(root, "both/train"), eight);
  await pictures(join(root, "both/val"), Object.fromEntries(Object.keys(eight).map((name) => [name, 2])));
  await pictures(join(root, "seven"), seven);
  const data = (path: string): CallSetting => call("image_folder", { path, workers: 2 });
  let noted: readonly string[] = [];
  const sizes = async (changes: Partial<TrainingSettings>): Promise<number[]> => {
    const { training, evaluation } = await openData(tinyManifest(changes), { base: root });
    noted = evaluation.notes ?? [];
    return [training.length, evaluation.length];
  };
  t.deepEqual(await sizes({ data: data("plain") }), [72, 8]);
  t.deepEqual(await sizes({ data: data("both") }), [80, 16]);
  t.deepEqual(await sizes({ data: data("both/train"), eval: data("both/val") }), [80, 16]);
  t.deepEqual(await sizes({ data: data("both"), eval: data("plain") }), [80, 80]);
  t.deepEqual(await sizes({ data: data("plain"), eval: data("seven") }), [80, 70]);
  t.regex(noted.join(), /seven, train has 7 of the 8 classes of \S+plain, train$/u);
  await t.throwsAsync(sizes({ data: data("seven"), eval: data("plain") }), {
    instanceOf: InputError, message: /the classes of \S+plain, train are not those of \S+seven, train\n.*only in \S+plain, train \(1\): 'c7'/su,
  });
  await t.throwsAsync(open({ base: root, out: false }, { data: data("seven") }), {
    instanceOf: InputError, message: /has 7 classes \('c0', .*, 'c6'\), but the model of linear predicts 8/u,
  });
  await t.throwsAsync(sizes({ data: data("nowhere") }), { instanceOf: FileError });
  await t.throwsAsync(sizes({ data: call("shards", { path: "x", workers: 4 }) }), { message: /`shards`/u });
});
