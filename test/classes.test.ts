/**
 * Classes by name: what a checkpoint calls its classes against what data calls them, in evaluation, when a run is
 * resumed, for teachers and in fine-tuning; and where a run's averages and files are found. A linear classifier of
 * colours, generated folders, SwiftShader.
 */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import sharp from "sharp";
import { openRecipe, readArtifact } from "../compiler/cli/artifact.js";
import { summary } from "../compiler/cli/commands/train.js";
import { resumeCommand } from "../compiler/cli/resumption.js";
import { matchClasses, type MatchOptions, type ModelClasses } from "../runtime/classes.js";
import { InputError } from "../runtime/errors.js";
import { openCheckpointFile } from "../runtime/node/checkpoint.js";
import { Trainer } from "../runtime/node/train/trainer.js";
import { classesOf } from "../runtime/labels.js";
import { encodeSafetensors } from "../runtime/weights/safetensors.js";
import { inside, type Outcome } from "./cli_process.js";

const home = mkdtempSync(join(tmpdir(), "deitc-classes-"));
test.after.always(() => rmSync(home, { recursive: true, force: true }));
process.env["DEITC_ADAPTER"] ??= "swiftshader";
const run = (...args: readonly string[]): Promise<Outcome> => inside(home, args);

// ---- The decision ----

const DATA = { name: "photos", classes: ["ant", "bee", "cat"] };
const match = (names: readonly string[] | undefined, how: Partial<ModelClasses> & MatchOptions = {}, data = DATA) =>
  matchClasses({ owner: "a.safetensors", count: names?.length ?? 3, names, ...how }, data, how);

test("classes are found by name, in any order and among more", (t) => {
  t.deepEqual(match(["ant", "bee", "cat"]), { places: [0, 1, 2], names: ["ant", "bee", "cat"], notes: [] });
  t.deepEqual(match(["cat", "ant", "bee"]), { places: [1, 2, 0], names: ["cat", "ant", "bee"], notes: [] });
  const among = match(["dog", "cat", "bee", "ant"]);
  t.deepEqual(among.places, [3, 2, 1]);
  t.deepEqual(among.names, ["dog", "cat", "bee", "ant"]);
  t.deepEqual(among.notes, ["photos has 3 of the 4 classes of a.safetensors"]);
  t.deepEqual(match(["e\u0301lan"], {}, { name: "photos", classes: ["\u00e9lan"] }).places, [0], "accents stored otherwise");
});

test("names that do not fit are an error with both lists", (t) => {
  const error = t.throws(() => match(["ant", "bee", "dog"], { help: "or rest" }), { instanceOf: InputError });
  t.is(error.message, [
    "the classes of photos are not those of a.safetensors", "  photos (3): 'ant', 'bee', 'cat'",
    "  a.safetensors (3): 'ant', 'bee', 'dog'", "  only in photos (1): 'cat'", "  only in a.safetensors (1): 'dog'",
  ].join("\n"));
  t.is(error.help, "name the classes of the data as a.safetensors does; or rest");
  t.is(error.code, "input");
  const forged = t.throws(() => match(["ant"], { owner: "a\nerror: forged" }, { ...DATA, name: "b\nerror: forged" }));
  t.notRegex(forged.message, /^error/mu, "a name begins no line of its own");
  t.throws(() => match(["ant", "bee", "cat", "cat"]), { instanceOf: InputError }, "one name for two classes");
  t.throws(() => match(["ant", "bee"]), { message: /only in photos \(1\): 'cat'$/u });
  const many = Array.from({ length: 1000 }, (_, i) => `class ${i} of many`);
  const long = t.throws(() => match(many, {}, { name: "photos", classes: many.map((name) => `${name}!`) }));
  t.true(long.message.length < 1500, `${long.message.length} characters`);
  t.regex(long.message, /photos \(1000\): 'class 0 of many!', .*'class 11 of many!' and 988 more$/mu);
});

test("without names the numbers have to be equal", (t) => {
  t.deepEqual(match(undefined), { places: [0, 1, 2], names: DATA.classes, notes: [] });
  t.throws(() => match(undefined, { count: 4 }), {
    instanceOf: InputError, message: "photos has 3 classes ('ant', 'bee', 'cat'), but a.safetensors predicts 4",
  });
  const folders = { ...DATA, files: ["photos/ant/0.png"] };
  const help = (count: number): string => t.throws(() => match(undefined, { count }, folders), { instanceOf: InputError }).help ?? "";
  t.is(help(2), "give the model 3 classes, or the data those that the model knows: remove the folders that are none");
  t.is(help(4), "give the model 3 classes, or the data those that the model knows");
  t.deepEqual(match(["0", "1", "2"]).names, DATA.classes, "numbers are no names");
  t.deepEqual(match(["ant", "bee", "dog"], {}, { name: "x", classes: ["0", "1", "2"] }).places, [0, 1, 2]);
  t.deepEqual(match(["0", "1", "2"], {}, { name: "x", classes: ["2", "1"] }).places, [2, 1], "numbers that are names");
});

test("names that only the model states may be others than all of the data's", (t) => {
  const { places, names, notes } = match(["tench", "goldfish", "shark"], { stated: true });
  t.deepEqual([places, names], [[0, 1, 2], DATA.classes]);
  t.regex(notes.join(), /photos names none of its classes as a\.safetensors does: they are taken in their order/u);
  t.throws(() => match(["ant", "bee", "dog"], { stated: true }), { message: /only in photos \(1\): 'cat'/u });
  t.throws(() => match(["ant", "b", "c", "d"], { stated: true }), { message: /are not those of/u });
  t.throws(() => match(["tench", "goldfish", "shark"]), { message: /are not those of/u }, "a checkpoint's names");
});

test("by force, what does not fit takes the places that are left", (t) => {
  const { places, names, notes } = match(["cat", "dog", "ant"], { force: true });
  t.deepEqual([places, names], [[2, 1, 0], ["cat", "bee", "ant"]]);
  t.regex(notes.join(), /taken by force: 'bee' for 'dog'/u);
  t.throws(() => match(["ant", "dog"], { force: true }), { instanceOf: InputError });
});

// ---- A classifier ----

const COLOURS: Readonly<Record<string, readonly [number, number, number]>> =
  { ant: [220, 40, 40], bee: [40, 220, 40], cat: [40, 40, 220], dog: [220, 220, 40] };
const NAMES = Object.keys(COLOURS);
const MODEL = `import { linear } from "deitc/nn.deit"
import { cross_entropy, hard_distillation } from "deitc/losses.deit"
model plain(classes = 4, preprocess = [8, 8, [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]]) {
  input images: [B, 3, 8, 8]
  head = linear(mean(images, axis = [2, 3]), classes)
  output logits = head
}
recipe base {
  student: plain
  data = image_folder("data")
  batch = 8 images
  length = 40 steps
  optimizer = adamw(lr = 0.1)
  schedule = constant()
  ema = 0.9
  loss(images: [B, 3, H, W], labels: i32[B]) { return cross_entropy(student(images).logits, labels) }
}
recipe taught extends base {
  teacher: plain frozen from "taught.safetensors"
  loss(images: [B, 3, H, W]) { return hard_distillation(student(images).logits, teacher(images).logits) }
}
recipe few extends base { student: plain { classes = 2 }  data = image_folder("part") }
recipe elsewhere extends base { data = image_folder("renamed") }
`;

/** The names of the classes in a checkpoint. */
async function namesIn(file: string): Promise<readonly string[] | undefined> {
  const { checkpoint, close } = await openCheckpointFile(join(home, file));
  await close();
  return classesOf(checkpoint.metadata);
}

/** A copy of a checkpoint whose classes are in the order `order`: what a run on folders so sorted would have left. */
async function reordered(from: string, to: string, order: readonly number[]): Promise<void> {
  const { checkpoint, close } = await openCheckpointFile(join(home, from));
  const tensors = await Promise.all([...checkpoint.tensors].map(async ([name, tensor]) => {
    const bytes = await tensor.read();
    const row = bytes.length / order.length;
    const moved = order.map((at) => bytes.slice(at * row, (at + 1) * row));
    return { name, shape: tensor.shape, data: new Float32Array(new Uint8Array(Buffer.concat(moved)).buffer) };
  }));
  await close();
  const classes = JSON.stringify(order.map((at) => NAMES[at]));
  writeFileSync(join(home, to), Buffer.concat(encodeSafetensors(tensors, { classes })));
}

/** The classes in an order that no sorting gives. */
const MOVED = [2, 0, 3, 1];

test.before(async () => {
  for (const [c, [name, colour]] of Object.entries(COLOURS).entries()) {
    mkdirSync(join(home, "data", name), { recursive: true });
    for (let i = 0; i < 20; i++) {
      const [r = 0, g = 0, b = 0] = colour.map((value, k) => value + ((7 * i + 13 * c + 5 * k) % 31) - 15);
      await sharp({ create: { width: 8, height: 8, channels: 3, background: { r, g, b } } })
        .png().toFile(join(home, "data", name, `${i}.png`));
    }
  }
  cpSync(join(home, "data"), join(home, "renamed"), { recursive: true });
  renameSync(join(home, "renamed/ant"), join(home, "renamed/zebra"));
  for (const name of ["dog", "cat"]) cpSync(join(home, "data", name), join(home, "part", name), { recursive: true });
  writeFileSync(join(home, "m.deit"), MODEL);
  const trained = await run("train", "m.deit:base", "--out", "run");
  if (trained.code !== 0) throw new Error(trained.err);
  await reordered("run/last.safetensors", "moved.safetensors", MOVED);
  cpSync(join(home, "moved.safetensors"), join(home, "taught.safetensors"));
});

const LISTS = /the classes of renamed\S* (train )?are not those of (run\/best|moved|taught)\.safetensors\n.*'bee', 'cat', 'dog', 'zebra'\n.*'ant'/u;

test.serial("eval: a renamed class is an error, a part of the classes and another order are right", async (t) => {
  for (const what of ["m.deit:base", "m.deit:plain"]) {
    const wrong = await run("eval", what, "run/best.safetensors", "--data", "renamed");
    t.is(wrong.code, 1, wrong.out);
    t.regex(wrong.err, LISTS);
    t.regex(wrong.err, /help: name the classes of the data as run\/best\.safetensors does/u);
    for (const [file, data] of [["run/best", "data"], ["run/best", "part"], ["moved", "data"], ["moved", "part"]]) {
      const found = await run("eval", what, `${file}.safetensors`, "--data", data ?? "", "--json");
      t.is(found.code, 0, found.err);
      t.is((JSON.parse(found.out) as { top1: number }).top1, 1, `${what} ${file} ${data}`);
    }
  }
  t.regex((await run("eval", "m.deit:plain", "run/best.safetensors", "--data", "part")).out,
    /note: plain: part has 2 of the 4 classes of run\/best\.safetensors/u);
  const part = await run("eval", "m.deit:base", "run/best.safetensors", "--eval-data", "part", "--json");
  t.is((JSON.parse(part.out) as { top1: number; count: number }).count, 40);
});

test.serial("eval: models with their classes in different orders agree, and a class that the data lacks has a name", async (t) => {
  // The colour of `ant` in the folder of `cat`: both models see an `ant`, which is no class of the data.
  mkdirSync(join(home, "odd/cat"), { recursive: true });
  mkdirSync(join(home, "odd/dog"));
  cpSync(join(home, "data/ant/0.png"), join(home, "odd/cat/0.png"));
  cpSync(join(home, "data/dog/0.png"), join(home, "odd/dog/0.png"));
  const found = await run("eval", "--data", "odd", "--compare", "a=m.deit:plain,run/last.safetensors",
    "--compare", "b=m.deit:plain,moved.safetensors", "--json", "--predictions", "odd.jsonl");
  t.is(found.code, 0, found.err);
  const report = JSON.parse(found.out) as {
    classes: string[]; heads: { top1: number; loss: number }[]; disagreement: { fractions: number[][] };
  };
  t.deepEqual(report.classes, ["cat", "dog", "ant", "bee"]);
  t.deepEqual(report.heads.map(({ top1 }) => top1), [0.5, 0.5]);
  t.true(Math.abs((report.heads[0]?.loss ?? 0) - (report.heads[1]?.loss ?? 9)) < 1e-6);
  t.deepEqual(report.disagreement.fractions, [[0, 0.5, 0.5], [0.5, 0, 0], [0.5, 0, 0]]);
  const lines = readFileSync(join(home, "odd.jsonl"), "utf8").trimEnd().split("\n").map((line) => JSON.parse(line) as object);
  t.like(lines, [
    { label: 0, predicted: { "a.logits": 2, "b.logits": 2 } }, { label: 1, predicted: { "a.logits": 1, "b.logits": 1 } },
  ]);
});

test.serial("eval: --labels names the model's classes as the data does; a checkpoint without names goes by number", async (t) => {
  writeFileSync(join(home, "names.txt"), "zebra\nbee\ncat\ndog\n");
  const named = await run("eval", "m.deit:plain", "run/best.safetensors", "--data", "renamed", "--labels", "names.txt", "--json");
  t.is((JSON.parse(named.out) as { top1: number }).top1, 1, named.err);
  const { checkpoint, close } = await openCheckpointFile(join(home, "run/best.safetensors"));
  const tensors = await Promise.all([...checkpoint.tensors].map(async ([name, tensor]) =>
    ({ name, shape: tensor.shape, data: new Float32Array((await tensor.read()).buffer) })));
  await close();
  writeFileSync(join(home, "nameless.safetensors"), Buffer.concat(encodeSafetensors(tensors)));
  const plain = await run("eval", "m.deit:plain", "nameless.safetensors", "--data", "data", "--json");
  t.is((JSON.parse(plain.out) as { top1: number }).top1, 1, plain.err);
  const few = await run("eval", "m.deit:plain", "nameless.safetensors", "--data", "part");
  t.is(few.code, 1);
  t.regex(few.err, /part has 2 classes \('cat', 'dog'\), but plain predicts 4/u);
});

test.serial("images that cannot be read are left out, a class without images keeps its place, all by name", async (t) => {
  cpSync(join(home, "part"), join(home, "worn"), { recursive: true });
  mkdirSync(join(home, "worn/ant"));
  writeFileSync(join(home, "worn/cat/0.png"), "no image");
  const SKIP = ["--on-bad-image", "skip"] as const;
  for (const file of ["run/best", "moved"]) {
    const found = await run("eval", "m.deit:plain", `${file}.safetensors`, "--data", "worn", ...SKIP, "--json");
    t.is(found.code, 0, found.err);
    t.like(JSON.parse(found.out) as object, {
      top1: 1, count: 39, classes: ["ant", "cat", "dog", "bee"], notes: [
        "worn has no images of 'ant'", `plain: worn has 3 of the 4 classes of ${file}.safetensors`,
      ],
      skipped: [{ file: "worn/cat/0.png", reason: "not an image, or of an unsupported format" }],
    });
    const held = await run("eval", "m.deit:base", `${file}.safetensors`, "--eval-data", "worn", ...SKIP);
    t.regex(held.out, /^note: worn, train has 3 of the 4 classes of data, train$/mu, held.err);
    t.regex(held.out, /100\.00 % of 39 images correct/u);
  }
  const tuned = await run("train", "m.deit:base", "--out", "worn-run", "--eval-data", "worn", "--steps", "9", "--weights",
    "student=moved.safetensors", ...SKIP, "--json");
  t.like(firstEpoch(tuned), { top1: 1, count: 39 }, tuned.err);
  t.deepEqual(await namesIn("worn-run/last.safetensors"), MOVED.map((at) => NAMES[at] ?? ""));
  const resumed = await run("train", "m.deit:base", "--out", "worn-run", "--resume", "--steps", "18", "--json");
  t.like(firstEpoch(resumed), { top1: 1, count: 39 }, resumed.err);
  // The class that has lost its images is told by its name, though the labels are those of the training data.
  for (let i = 0; i < 20; i++) writeFileSync(join(home, `worn/cat/${i}.png`), "");
  const checked = await run("train", "m.deit:base", "--eval-data", "worn", "--check-data");
  t.regex(checked.out, /^worn, train: no image of 'cat' can be read$/mu);
});

/** The accuracies of a run's first epoch, and its notes. */
const firstEpoch = ({ out }: Outcome): { top1: number } | undefined =>
  out.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line) as
    { kind: string; record?: { kind: string; model?: { top1: number } } })
    .find(({ record }) => record?.kind === "epoch")?.record?.model;

test.serial("resume: a renamed class is refused, and by force it keeps its place", async (t) => {
  cpSync(join(home, "run"), join(home, "resumed"), { recursive: true });
  const args = ["train", "m.deit:base", "--out", "resumed", "--data", "renamed", "--resume", "--steps", "50"];
  const refused = await run(...args);
  t.is(refused.code, 1);
  t.regex(refused.err, /the data is not what .* was trained on: class 'ant' was renamed to 'zebra'/u);
  const forced = await run(...args, "--force", "--json");
  t.is(forced.code, 0, forced.err);
  t.is(firstEpoch(forced)?.top1, 1);
  t.deepEqual(await namesIn("resumed/last.safetensors"), ["zebra", "bee", "cat", "dog"]);
});

test.serial("fine-tuning: names that fit are matched, others an error unless the classifier starts anew", async (t) => {
  const tune = (weights: string, out: string, ...more: readonly string[]): Promise<Outcome> =>
    run("train", "m.deit:base", "--out", out, "--steps", "9", "--weights", `student=${weights}`, ...more);
  t.is(firstEpoch(await tune("moved.safetensors", "tuned", "--json"))?.top1, 1, "nothing is unlearned");
  const order = MOVED.map((at) => NAMES[at] ?? "");
  t.deepEqual(await namesIn("tuned/last.safetensors"), order);
  t.is(firstEpoch(await run("train", "m.deit:base", "--out", "tuned", "--resume", "--steps", "18", "--json"))?.top1, 1);
  t.deepEqual(await namesIn("tuned/last.safetensors"), order, "the order is part of the state");

  const wrong = await tune("run/best.safetensors", "other", "--data", "renamed");
  t.is(wrong.code, 1, wrong.out);
  t.regex(wrong.err, LISTS);
  t.regex(wrong.err, /start the classifier anew: `train … --allow-head-mismatch`/u);
  const anew = await tune("run/best.safetensors", "other", "--data", "renamed", "--allow-head-mismatch");
  t.is(anew.code, 0, anew.err);
  t.regex(anew.out, /note: student: run\/best\.safetensors has other classes: the classifier is left at its initial values/u);
  t.deepEqual(await namesIn("other/last.safetensors"), ["bee", "cat", "dog", "zebra"]);

  // Another number of classes: a new classifier, whatever they are called.
  const few = await run("train", "m.deit:few", "--steps", "9", "--weights", "student=run/best.safetensors");
  t.is(few.code, 0, few.err);
  t.regex(few.out, /'head\.weight' has 4 classes in the file, 2 in the model: left at its initial values/u);
  t.deepEqual(await namesIn("runs/few/last.safetensors"), ["cat", "dog"]);
});

test.serial("training from nothing has the data's classes, as many as the model predicts", async (t) => {
  const part = await run("train", "m.deit:base", "--data", "part");
  t.is(part.code, 1);
  t.regex(part.err, /part, train has 2 classes \('cat', 'dog'\), but the model of base predicts 4[^]*give the model 2 classes/u);
});

test.serial("teachers: the student has the teacher's order; other names and two orders are errors", async (t) => {
  const taught = await run("train", "m.deit:taught", "--out", "student", "--json");
  t.is(taught.code, 0, taught.err);
  t.deepEqual(await namesIn("student/last.safetensors"), MOVED.map((at) => NAMES[at] ?? ""));
  const found = await run("eval", "m.deit:plain", "student/best.safetensors", "--data", "data", "--json");
  t.is((JSON.parse(found.out) as { top1: number }).top1, 1, found.err);
  t.regex((await run("train", "m.deit:taught", "--data", "renamed", "--out", "x")).err, LISTS);
  const two = await run("train", "m.deit:taught", "--out", "x", "--weights", "student=run/last.safetensors");
  t.is(two.code, 1);
  t.regex(two.err, /class 0 is 'cat' in .*taught\.safetensors and 'ant' in run\/last\.safetensors: the models of a recipe are/u);
});

test.serial("--ema finds the averages of a run, and says where it looked", async (t) => {
  const accuracy = async (what: string, file: string): Promise<number> => {
    const found = await run("eval", what, file, "--ema", "--json");
    t.is(found.code, 0, found.err);
    return (JSON.parse(found.out) as { loss: number }).loss;
  };
  const records = readFileSync(join(home, "run/metrics.jsonl"), "utf8").trimEnd().split("\n")
    .map((line) => JSON.parse(line) as { ema?: { loss: number } });
  const want = records.at(-1)?.ema?.loss ?? NaN;
  const homes = "run/checkpoints/000005-step-40";
  const plain = await run("eval", "m.deit:base", "run/last.safetensors", "--json");
  t.true(Math.abs((JSON.parse(plain.out) as { loss: number }).loss - want) > 1e-3, "the average is something else");
  for (const file of ["run/last.safetensors", `${homes}/model.safetensors`, `${homes}/ema.safetensors`]) {
    const got = await accuracy("m.deit:base", file);
    t.true(Math.abs(got - want) < 1e-6, `${file}: ${got}, ${want}`);
  }
  const model = await run("eval", "m.deit:plain", "run/last.safetensors", "--ema", "--data", "data");
  t.regex(model.out, new RegExp(`note: plain: used the moving average of the weights, ${homes}/ema\\.safetensors`, "u"));
  const predicted = await run("predict", "m.deit:plain", "--weights", "run/last.safetensors", "--ema", "data/ant/0.png");
  t.regex(predicted.out, /used the moving average of the weights/u);
  const converted = await run("convert", "--ema", "run/last.safetensors", "average.safetensors");
  t.is(converted.code, 0, converted.err);
  t.deepEqual(readFileSync(join(home, "average.safetensors")).subarray(-64), readFileSync(join(home, homes, "ema.safetensors")).subarray(-64));

  mkdirSync(join(home, "alone"));
  cpSync(join(home, "run/last.safetensors"), join(home, "alone/last.safetensors"));
  const lost = await run("eval", "m.deit:base", "alone/last.safetensors", "--ema");
  t.is(lost.code, 1);
  t.regex(lost.err, /error\[weights_not_recognized\]: alone\/last\.safetensors: .*has only the weights, of step 40; looked for alone\/ema\.safetensors and for a checkpoint of step 40 in alone\/checkpoints/u);
  // The average of another step is not taken for it.
  cpSync(join(home, "run/checkpoints/000004-step-36/ema.safetensors"), join(home, "alone/ema.safetensors"));
  t.regex((await run("eval", "m.deit:base", "alone/last.safetensors", "--ema")).err, /looked for alone\/ema\.safetensors/u);
  // A teacher is used as it is: this one has no average.
  const given = await run("eval", "m.deit:taught", "run/last.safetensors", "--ema", "--weights", "teacher=nameless.safetensors");
  t.is(given.code, 0, given.err);
});

test.serial("the files of a run are named where they lie", async (t) => {
  const recipe = await openRecipe(await readArtifact(join(home, "m.deit"), { target: "base" }));
  const [out, fallback] = ["lost", "spare"].map((name) => join(home, name));
  const trainer = await Trainer.open(recipe.definition, { base: recipe.base, out, fallback, steps: 18 });
  const course = trainer.run();
  const first = await course.next();
  t.not(first.done, true);
  // From here on, the folder cannot be written to.
  rmSync(join(out ?? "", "checkpoints"), { recursive: true });
  writeFileSync(join(out ?? "", "checkpoints"), "");
  let outcome = await course.next();
  while (outcome.done !== true) outcome = await course.next();
  const text = await summary(trainer, outcome.value);
  trainer.destroy();
  t.regex(text, new RegExp(`best: .*: ${fallback}/best\\.safetensors\\nlast: ${fallback}/last\\.safetensors\\nreport: ${out}/report\\.html$`, "u"));
  for (const [, file = ""] of text.matchAll(/: (\/\S+)$/gmu)) t.true(readFileSync(file).length > 0, file);
  const again = await resumeCommand("m.deit", {}, out ?? "", outcome.value.checkpoint ?? "");
  t.regex(again, /^deitc train m\.deit --out \S+\/lost --resume \S+\/spare\/checkpoints\/000002-step-18$/u);
  rmSync(join(out ?? "", "checkpoints"));
  const resumed = await run("train", "m.deit:base", "--out", out ?? "", "--resume", outcome.value.checkpoint ?? "");
  t.is(resumed.code, 0, resumed.err);
  t.regex(resumed.out, new RegExp(`best: .*: ${fallback}/best\\.safetensors\\nlast: ${fallback}/last`, "u"));
});

test.serial("a run that goes on elsewhere names the best weights where it was resumed from", async (t) => {
  const moved = await run("train", "m.deit:base", "--resume", "run", "--out", "onward", "--steps", "40");
  t.is(moved.code, 0, moved.err);
  t.regex(moved.out, /best: .*: \S*run\/best\.safetensors$/mu);
  t.regex(moved.out, /last: \S*run\/last\.safetensors$/mu);
});
