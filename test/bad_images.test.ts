/** Folders of images with faults: what is a class, what is told, and training and evaluation without what is bad. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import sharp from "sharp";
import { checkImages, without } from "../runtime/data/check.js";
import { imageFolder, type FolderOptions } from "../runtime/data/folder.js";
import { EvaluationLoader, TrainingLoader, type Dataset } from "../runtime/data/loader.js";
import { ImageError, InputError } from "../runtime/errors.js";
import { loadState } from "../runtime/node/train/resume.js";
import { diskFiles } from "../runtime/node/train/files.js";
import { deitc, SMALL, type Outcome } from "./cli_process.js";

const home = mkdtempSync(join(tmpdir(), "deitc-bad-images-"));
test.after.always(() => rmSync(home, { recursive: true, force: true }));

const CLASSES = ["ant", "bee", "cow"] as const;
const picture = (red: number, green: number): Promise<Buffer> =>
  sharp({ create: { width: 32, height: 32, channels: 3, background: { r: red, g: green, b: 9 } } }).png().toBuffer();

/** Class folders in `train` and `val`, five images each. */
async function images(name: string): Promise<string> {
  const root = join(home, name);
  for (const part of ["train", "val"]) for (const [label, folder] of CLASSES.entries()) {
    mkdirSync(join(root, part, folder), { recursive: true });
    for (let i = 0; i < 5; i++) writeFileSync(join(root, part, folder, `${i}.png`), await picture(80 * label, 9 * i));
  }
  return root;
}

const open = (root: string, options: FolderOptions = {}): Promise<Dataset> => imageFolder(diskFiles(), root, options);
const half = { size: 32, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] } as const;

test("folders that systems leave behind are no classes, and are told", async (t) => {
  const root = await images("junk");
  for (const name of ["__MACOSX", "@eaDir", ".ipynb_checkpoints", "bee/.thumbs"]) {
    mkdirSync(join(root, "train", name));
    writeFileSync(join(root, "train", name, "x.png"), "no image");
  }
  for (const name of ["._0.png", ".DS_Store", "notes.txt", "old.bmp"]) writeFileSync(join(root, "train/ant", name), "x");
  const { classes, length, notes } = await open(root);
  t.deepEqual([classes, length], [CLASSES, 15]);
  t.deepEqual(notes, [
    `ignored, as hidden or left by a system: '${root}/train/.ipynb_checkpoints', '${root}/train/@eaDir', ` +
      `'${root}/train/__MACOSX' and 2 more`,
    `2 files not used, as the names do not end in .jpg, .jpeg, .png, .webp, .gif, .tif, .tiff: ` +
      `'${root}/train/ant/notes.txt', '${root}/train/ant/old.bmp'`,
  ]);
});

test("a class without images is an error to train on, and a note to evaluate on", async (t) => {
  const root = await images("empty");
  mkdirSync(join(root, "train/dodo"));
  mkdirSync(join(root, "train/yak"));
  writeFileSync(join(root, "train/yak/a.bmp"), "x");
  const two = { instanceOf: InputError, message: `${root}/train has 2 class folders without images: 'dodo', 'yak'` };
  t.regex((await t.throwsAsync(open(root), two)).help ?? "", /\.jpg, .*remove the folder/u);
  const lenient = await open(root, { allowEmpty: true });
  t.deepEqual([lenient.classes.length, lenient.notes?.at(-1)], [5, `${root}/train has no images of 'dodo', 'yak'`]);
  rmSync(join(root, "train/yak"), { recursive: true });
  rmSync(join(root, "train/dodo"), { recursive: true });
  rmSync(join(root, "val/bee"), { recursive: true });
  t.deepEqual((await open(root, { split: "val" })).notes, [`${root}/val has no images of 'bee'`]);
});

test("links are followed; one that leads nowhere is told with its target", async (t) => {
  const root = await images("links");
  symlinkSync(join(root, "val/cow"), join(root, "train/elk.d"));
  t.deepEqual((await open(root)).classes, ["ant", "bee", "cow", "elk.d"]);
  symlinkSync("/nowhere/x.png", join(root, "train/bee/9.png"));
  const { bad } = await checkImages(await open(root));
  t.deepEqual(bad, [{
    index: 10, file: `${root}/train/bee/9.png`, reason: "this is a link to '/nowhere/x.png', which does not exist",
  }]);
  symlinkSync("/nowhere/zebra", join(root, "train/zebra"));
  await t.throwsAsync(open(root), {
    instanceOf: InputError, message: `${root}/train/zebra is a link to '/nowhere/zebra', which does not exist`,
  });
});

/** A folder of which three images are bad: one empty, one cut short, one no image. */
async function faulty(name: string): Promise<string> {
  const root = await images(name);
  writeFileSync(join(root, "train/ant/3.png"), "");
  const path = join(root, "train/cow/0.png");
  writeFileSync(path, readFileSync(path).subarray(0, 60));
  writeFileSync(join(root, "val/bee/1.png"), "no image");
  return root;
}

test("every bad image is found; one that is needed is an error that says how to go on", async (t) => {
  const root = await faulty("check");
  const [train, val] = [await open(root), await open(root, { split: "val" })];
  let seen = 0;
  const { bad, lost } = await checkImages(train, (done, total) => { if (total === 15) seen = Math.max(seen, done); });
  t.is(seen, 15);
  t.deepEqual(bad.map(({ index, file }) => [index, file]), [[3, `${root}/train/ant/3.png`], [10, `${root}/train/cow/0.png`]]);
  t.is(bad[0]?.reason, "the file is empty");
  t.deepEqual(lost, []);
  const loaders = [
    new TrainingLoader(train, { batch: 15, seed: 0, preprocess: half }).batches(0, 1),
    new EvaluationLoader(val, { batch: 4, preprocess: { ...half, resize: 32 } }).batches(),
  ];
  const names = [/train\/(ant\/3|cow\/0)\.png: \w/u, /val\/bee\/1\.png: not an image/u];
  for (const [i, loader] of loaders.entries()) {
    const read = async (): Promise<void> => { for await (const { count } of loader) t.true(count > 0); };
    const error = await t.throwsAsync(read(), { instanceOf: ImageError, message: names[i] ?? /^$/u });
    t.regex(error.help ?? "", /repair or remove the file, .*--on-bad-image skip .*--check-data/u);
  }
});

test("without its bad images a folder is like one that never had them", async (t) => {
  const root = await faulty("without");
  const all = await open(root);
  const left = without(all, (await checkImages(all)).bad.map(({ index }) => index));
  for (const path of ["ant/3.png", "cow/0.png"]) rmSync(join(root, "train", path));
  const clean = await open(root);
  t.deepEqual([left.length, left.files, left.classes], [clean.length, clean.files, clean.classes]);
  const how = { batch: 4, seed: 3, preprocess: half };
  const batches = async (data: Dataset): Promise<unknown[]> => {
    const found: unknown[] = [];
    for await (const { images: pixels, labels } of new TrainingLoader(data, how).batches(0, 6)) {
      found.push([pixels.slice(), labels.slice()]);
    }
    return found;
  };
  t.is(new TrainingLoader(left, how).stepsPerEpoch, 3);
  t.deepEqual(await batches(left), await batches(clean));
});

const RECIPE = `import { cross_entropy } from "deitc/losses.deit"
${SMALL}recipe r {
  student: small
  data = image_folder("d")
  batch = 4 images
  length = 2 epochs
  optimizer = adamw(lr = 1e-3)
  schedule = constant()
  loss(images: [B, 3, H, W], labels: i32[B]) { return cross_entropy(student(images).prediction, labels) }
}
`;

test.serial("the command line checks data, and trains, resumes and evaluates without what is bad", async (t) => {
  const root = await faulty("run/d");
  const folder = join(root, "..");
  writeFileSync(join(folder, "r.deit"), RECIPE);
  const run = (...args: readonly string[]): Promise<Outcome> => deitc(folder, args);
  const checked = await run("train", "r.deit", "--check-data");
  t.is(checked.code, 1, checked.err);
  t.deepEqual(checked.out.split("\n").map((line) => line.replace(/(cow\/0\.png: ).*/u, "$1…")), [
    "bad: d/train/ant/3.png: the file is empty", "bad: d/train/cow/0.png: …",
    "bad: d/val/bee/1.png: not an image, or of an unsupported format",
    "3 of 30 images cannot be read (d, train: 2 of 15, 3 classes; d, val: 1 of 15, 3 classes)", "",
  ]);
  const refused = await run("train", "r.deit", "--out", "refused");
  t.is(refused.code, 1);
  t.regex(refused.err, /error\[image_\w+\]: d\/train\/(ant\/3|cow\/0)\.png: .*\n {2}help: repair or remove the file/u);
  const SKIP = ["--on-bad-image", "skip"] as const;
  const alone = await run("train", "r.deit", "--out", "alone", ...SKIP);
  t.is(alone.code, 0, alone.err);
  t.regex(alone.out, /^data +d, train, 13 images\nevaluated on +d, val, 14 images$/mu);
  t.regex(alone.out, /^length +6 steps, 3 per epoch$/mu);
  t.regex(alone.out, /^note: training data: 2 of 15 images cannot be read: d\/train\/ant\/3\.png \(the file is empty\), .*; left out; they are listed in alone\/skipped\.json$/mu);
  t.regex(alone.out, / of 14 held-out images/u);
  const list = JSON.parse(readFileSync(join(folder, "alone/skipped.json"), "utf8")) as { images: { part: string; file: string }[] };
  t.deepEqual(list.images.map(({ part, file }) => [part, file]), [
    ["training", "d/train/ant/3.png"], ["training", "d/train/cow/0.png"], ["evaluation", "d/val/bee/1.png"],
  ]);
  // The policy is kept with the run's options.
  t.is((await run("train", "r.deit", "--out", "halved", "--steps", "2", ...SKIP)).code, 0);
  const kept = join(folder, "halved/skipped.json");
  writeFileSync(kept, readFileSync(kept, "utf8").replace("the file is empty", "as the list says"));
  const resumed = await run("train", "r.deit", "--out", "halved", "--steps", "6", "--resume");
  t.is(resumed.code, 0, resumed.err);
  t.regex(resumed.out, /2 of 15 images cannot be read: d\/train\/ant\/3\.png \(as the list says\)/u);
  const [got, want] = await Promise.all(["halved", "alone"].map((name) => loadState(join(folder, name), { recipe: "", force: true })));
  t.deepEqual([got?.state.step, got?.state.engine], [6, want?.state.engine]);
  const best = ["alone/best.safetensors"] as const;
  const plain = await run("eval", "r.deit", ...best);
  t.regex(plain.err, /error\[image_not_recognized\]: d\/val\/bee\/1\.png/u);
  const found = await run("eval", "r.deit", ...best, ...SKIP);
  t.regex(found.out, / of 14 images correct/u);
});

test.serial("a list that does not belong to the images is not used; a class may not be lost", async (t) => {
  const root = await faulty("lost/d");
  const folder = join(root, "..");
  writeFileSync(join(folder, "r.deit"), RECIPE);
  const run = (...args: readonly string[]): Promise<Outcome> => deitc(folder, ["train", "r.deit", "--on-bad-image", "skip", ...args]);
  t.is((await run("--steps", "2")).code, 0);
  writeFileSync(join(root, "val/cow/2.png"), "bad too");
  const changed = await run("--resume");
  t.is(changed.code, 1);
  t.regex(changed.err, /the data is not what .* was trained on: evaluation data: 1 image removed: 'cow\/2\.png'/u);
  for (let i = 0; i < 5; i++) writeFileSync(join(root, `train/bee/${i}.png`), "");
  const lost = await run("--out", "other");
  t.is(lost.code, 1);
  t.regex(lost.err, /error\[input\]: d, train: no image of 'bee' can be read/u);
});

test("data of evaluations alone is checked too", async (t) => {
  const root = await faulty("eval");
  const { code, out } = await deitc(home, ["eval", "--data", root, "--check-data", "--json"]);
  t.is(code, 1);
  const [found] = JSON.parse(out) as { images: number; bad: { file: string; reason: string }[]; lost: string[] }[];
  t.is(found?.images, 15);
  t.deepEqual(found?.bad, [{ file: `${root}/val/bee/1.png`, reason: "not an image, or of an unsupported format" }]);
  const wrong = await deitc(home, ["train", "r.deit", "--on-bad-image", "replace"]);
  t.is(wrong.code, 2);
  t.regex(wrong.err, /Expected error or skip/u);
});
