import { copyFile, mkdir, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "ava";
import sharp from "sharp";
import { cifar10, cifar100 } from "../runtime/data/cifar.js";
import { fashionMnist, mnist } from "../runtime/data/idx.js";
import { imageFolder } from "../runtime/data/folder.js";
import {
  EvaluationLoader, TrainingLoader, type Batch, type Dataset, type TrainingOptions,
} from "../runtime/data/loader.js";
import { SHAPE_NAMES, shapes } from "../runtime/data/shapes.js";
import { FileError, InputError } from "../runtime/errors.js";
import { diskFiles } from "../runtime/node/train/files.js";
import { epochOrder } from "../runtime/train/draws.js";
import { goldenFile, goldenIndex, goldenTest, maxAbs, readGolden } from "./golden.js";

const folder = (): Promise<string> => mkdtemp(join(tmpdir(), "deitc-data-"));
const files = diskFiles("/");
const half = { mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] } as const;

async function pixelsOf(dataset: Dataset, indices: readonly number[]): Promise<{ data: string; label: number }[]> {
  return (await dataset.read(indices)).map((sample) => {
    if (sample.kind === "broken") throw new Error(sample.reason);
    return { data: Buffer.from(sample.pixels.data).toString("base64"), label: sample.label };
  });
}
const range = (length: number, from = 0): number[] => Array.from({ length }, (_, i) => from + i);

test("shapes are functions of seed, split and index", async (t) => {
  const one = shapes({ length: 1000, split: "train" });
  t.deepEqual(one.classes, SHAPE_NAMES);
  const first = await pixelsOf(one, range(1000));
  t.deepEqual(await pixelsOf(shapes({ length: 1000, split: "train" }), [999, 3]), [first[999], first[3]]);
  const held = await pixelsOf(shapes({ length: 1000, split: "held-out" }), range(1000));
  const other = await pixelsOf(shapes({ length: 1000, split: "train", seed: 1 }), range(1000));
  t.is(new Set([...first, ...held, ...other].map(({ data }) => data)).size, 3000);
  t.deepEqual(first.slice(0, 9).map(({ label }) => label), [0, 1, 2, 3, 4, 5, 6, 7, 0]);
  t.throws(() => shapes({ length: 0, split: "train" }), { instanceOf: InputError });
});

/** Accuracy on unseen images of a linear classifier of all pixels, trained by gradient descent with momentum. */
async function linearProbe(images: number, passes: number): Promise<number> {
  const read = async (split: "train" | "held-out", length: number): Promise<{ x: Float32Array; y: number }[]> => {
    const samples = await shapes({ length, split }).read(range(length));
    return samples.flatMap((s) => (s.kind === "image"
      ? [{ x: Float32Array.from(s.pixels.data, (value) => value / 64 - 2), y: s.label }] : []));
  };
  const [train, held] = [await read("train", images), await read("held-out", 1000)];
  const [classes, features] = [8, 3073];
  const weight = new Float32Array(classes * features);
  const scores = (x: Float32Array): number[] => range(classes).map((c) => {
    let sum = weight[c * features + 3072] ?? 0;
    for (let i = 0; i < 3072; i++) sum += (weight[c * features + i] ?? 0) * (x[i] ?? 0);
    return sum;
  });
  for (let pass = 0; pass < passes; pass++) {
    const rate = 4e-4 * (1 - pass / passes);
    for (const index of epochOrder(images, 1, pass)) {
      const { x, y } = train[index] ?? { x: new Float32Array(), y: 0 };
      const found = scores(x);
      const top = Math.max(...found);
      const powers = found.map((score) => Math.exp(score - top));
      const total = powers.reduce((a, b) => a + b);
      powers.forEach((power, c) => {
        const step = rate * (power / total - (c === y ? 1 : 0));
        const row = weight.subarray(c * features, (c + 1) * features);
        for (let i = 0; i < 3072; i++) row[i] = (row[i] ?? 0) - step * (x[i] ?? 0);
        row[3072] = (row[3072] ?? 0) - step;
      });
    }
  }
  const right = held.filter(({ x, y }) => { const s = scores(x); return s.indexOf(Math.max(...s)) === y; });
  return right.length / held.length;
}

test("a linear probe of shapes learns something and stays under 50 %", async (t) => {
  const accuracy = await linearProbe(4000, 5);
  t.log(`linear probe: ${(100 * accuracy).toFixed(1)} %`);
  t.true(accuracy > 0.2 && accuracy < 0.5, String(accuracy));
});

/** A folder of four IDX files of grey images: image i of a split is all i, its label is i modulo 10. */
async function idxFolder(change: (name: string, bytes: Buffer) => Buffer = (_, bytes) => bytes): Promise<string> {
  const root = await folder();
  const word = (...values: number[]): Buffer => Buffer.concat(values.map((v) => Buffer.from([v >>> 24, v >>> 16, v >>> 8, v])));
  for (const [stem, count] of [["train", 13], ["t10k", 4]] as const) {
    const images = Buffer.concat([word(0x803, count, 28, 28), ...range(count).map((i) => Buffer.alloc(784, i))]);
    const labels = Buffer.concat([word(0x801, count), Buffer.from(range(count).map((i) => i % 10))]);
    for (const [name, bytes] of [[`${stem}-images-idx3-ubyte`, images], [`${stem}-labels-idx1-ubyte`, labels]] as const) {
      await writeFile(join(root, name), change(name, bytes));
    }
  }
  return root;
}

test("MNIST is read from its IDX files, as three equal channels", async (t) => {
  const root = await idxFolder();
  const [train, val] = [await mnist(files, root, "train"), await fashionMnist(files, root, "val")];
  t.deepEqual([train.length, val.length, train.image.size], [13, 4, 28]);
  t.deepEqual([train.classes[7], val.classes[0]], ["7", "T-shirt/top"]);
  const [last] = await train.read([12]);
  if (last?.kind !== "image") return t.fail();
  t.is(last.label, 2);
  t.deepEqual([last.pixels.width, last.pixels.height, last.pixels.data.length], [28, 28, 2352]);
  t.true(last.pixels.data.every((value) => value === 12));
  const fault = async (change: (name: string, bytes: Buffer) => Buffer): Promise<string> => {
    const error = await t.throwsAsync(async () => mnist(files, await idxFolder(change), "train"), { instanceOf: FileError });
    return error?.message ?? "";
  };
  t.regex(await fault((_, bytes) => bytes.subarray(0, -1)), /10207 bytes, but its header says 10208/u);
  t.regex(await fault((_, bytes) => Buffer.concat([Buffer.from([0x1f, 0x8b]), bytes])), /gzip archive/u);
  t.regex(await fault((name, bytes) => (name.includes("labels") ? Buffer.from([...bytes].fill(11, 8)) : bytes)), /image 0 has label 11, but there are 10 classes/u);
  t.regex(await fault((name, bytes) => (name.includes("labels") ? Buffer.from([0, 0, 8, 1, 0, 0, 0, 1, 5]) : bytes)), /1 labels, but 13 images/u);
  t.regex(await fault((_, bytes) => Buffer.from([0, 0, 13, 3, ...bytes.subarray(4)])), /not an IDX file of unsigned bytes in 3 dimensions/u);
  await t.throwsAsync(async () => mnist(files, await folder(), "train"), { instanceOf: FileError, message: /no file train-images-idx3-ubyte/u });
  return undefined;
});

test("an epoch's order is a permutation, its own for each epoch and seed", (t) => {
  for (const length of [1, 2, 7, 1000]) {
    t.deepEqual([...epochOrder(length, 3, 1)].sort((a, b) => a - b), range(length));
  }
  const orders = ([[3, 1], [3, 2], [4, 1]] as const)
    .map(([seed, epoch]) => epochOrder(1000, seed, epoch).join(","));
  t.is(new Set(orders).size, 3);
  t.deepEqual(epochOrder(1000, 3, 1).join(","), orders[0]);
  // Each place holds each index about equally often.
  const firsts = new Array<number>(10).fill(0);
  for (let epoch = 0; epoch < 4000; epoch++) {
    const first = epochOrder(10, 0, epoch)[0] ?? 0;
    firsts[first] = (firsts[first] ?? 0) + 1;
  }
  t.true(firsts.every((count) => Math.abs(count - 400) < 90), firsts.join());
});

const options: TrainingOptions = {
  batch: 8, seed: 9, preprocess: { size: 32, ...half }, augment: [
    { kind: "random_crop", size: 32, pad: 4, mode: "reflect" }, { kind: "horizontal_flip", probability: 0.5 },
    { kind: "rand_augment", magnitude: 9, std: 0.5, increasing: true, layers: 2 },
    { kind: "three_augment", jitter: 0.3 },
    { kind: "random_erase", probability: 0.5, mode: "pixel", count: 1 },
    { kind: "mixup", alpha: 0.8, probability: 1, switch: 0.5 },
    { kind: "cutmix", alpha: 1, probability: 1, switch: 0.5 },
    { kind: "label_smoothing", amount: 0.1 },
  ],
};
const copy = ({ images, labels, targets }: Batch): unknown => [images.slice(), labels.slice(), targets.slice()];

async function collect(batches: AsyncIterable<Batch>): Promise<unknown[]> {
  const all: unknown[] = [];
  for await (const batch of batches) all.push(copy(batch));
  return all;
}

test("batch k is the same however the run came there", async (t) => {
  const data = shapes({ length: 30, split: "train" });
  const loader = new TrainingLoader(data, options);
  t.is(loader.stepsPerEpoch, 3);
  const whole = await collect(loader.batches(0, 8));
  t.is(new Set(whole.map((batch) => JSON.stringify(batch))).size, 8);
  for (const first of [1, 3, 5]) {
    const prefetch = first;
    const rest = await collect(new TrainingLoader(data, { ...options, prefetch }).batches(first, 8));
    t.deepEqual(rest, whole.slice(first));
  }
  const other = await collect(new TrainingLoader(data, { ...options, seed: 10 }).batches(0, 1));
  t.notDeepEqual(other[0], whole[0]);
});

test("an epoch has every image once, targets sum to one", async (t) => {
  const data = shapes({ length: 24, split: "train" });
  const plain = new TrainingLoader(data, { batch: 8, seed: 0, preprocess: { size: 32, ...half } });
  const labels: number[] = [];
  for await (const batch of plain.batches(0, 3)) labels.push(...batch.labels);
  t.deepEqual(labels.sort(), range(24).map((i) => Math.floor(i / 3)));
  for await (const { targets } of new TrainingLoader(data, options).batches(0, 3)) {
    for (const row of range(8)) {
      const sum = targets.subarray(row * 8, row * 8 + 8).reduce((a, b) => a + b, 0);
      t.true(Math.abs(sum - 1) < 1e-6);
    }
  }
  t.throws(() => new TrainingLoader(data, { ...options, batch: 7 }), { message: /even/u });
  t.throws(() => new TrainingLoader(data, { ...options, batch: 64 }), { message: /not enough/u });
});

test("evaluation sees every image once, the last batch padded and masked", async (t) => {
  const data = shapes({ length: 19, split: "held-out" });
  const loader = new EvaluationLoader(data, { batch: 8, preprocess: { size: 32, resize: 36, ...half } });
  const labels: number[] = [];
  const counts: number[] = [];
  for await (const { images, labels: own, mask, count } of loader.batches()) {
    counts.push(count);
    own.forEach((label, i) => { if (mask[i] === 1) labels.push(label); });
    if (count < 8) t.true(images.subarray(count * 3072).every((value) => value === 0));
  }
  t.deepEqual(counts, [8, 8, 3]);
  t.deepEqual(labels, range(19).map((i) => i % 8));
});

async function jpeg(path: string, red: number, size = 40): Promise<void> {
  const image = sharp({ create: { width: size, height: size, channels: 3, background: { r: red, g: 9, b: 9 } } });
  await writeFile(path, await image.jpeg().toBuffer());
}

async function classFolders(root: string, names: readonly string[], each: number): Promise<void> {
  for (const [label, name] of names.entries()) {
    await mkdir(join(root, name), { recursive: true });
    for (const i of range(each)) await jpeg(join(root, name, `${String(i).padStart(3, "0")}.jpg`), 40 * label + 20);
  }
}

test("class folders: sorted names are labels, a split by share keeps every image once", async (t) => {
  const root = await folder();
  await classFolders(root, ["dog", "Ape", "cat"], 10);
  await writeFile(join(root, "cat", "notes.txt"), "no image");
  await writeFile(join(root, ".hidden"), "");
  const train = await imageFolder(files, root, { valShare: 0.3, seed: 4 });
  const val = await imageFolder(files, root, { valShare: 0.3, seed: 4, split: "val" });
  t.deepEqual(train.classes, ["Ape", "cat", "dog"]);
  t.deepEqual([train.length, val.length], [21, 9]);
  const [one] = await train.read([0]);
  t.is(one?.kind === "image" ? one.label : -1, 0);
  t.deepEqual((await imageFolder(files, root, { valShare: 0.3, seed: 4 })).length, 21);
  await t.throwsAsync(imageFolder(files, join(root, "none")), { instanceOf: FileError });
  await t.throwsAsync(imageFolder(files, join(root, "cat")), { instanceOf: InputError, message: /no images/u });
});

test("folders train and val are the splits; classes are those of train", async (t) => {
  const root = await folder();
  await classFolders(join(root, "train"), ["a", "b", "c"], 3);
  await classFolders(join(root, "val"), ["b", "c"], 2);
  const val = await imageFolder(files, root, { split: "val" });
  t.deepEqual([val.length, val.classes.length], [4, 3]);
  const [first] = await val.read([0]);
  t.is(first?.kind === "image" ? first.label : -1, 1);
  await classFolders(join(root, "val"), ["z"], 1);
  await t.throwsAsync(imageFolder(files, root, { split: "val" }), { message: /'z'/u });
});

test("a picture that is smaller than a crop ends the run by its name", async (t) => {
  const root = await folder();
  await classFolders(root, ["a", "b"], 2);
  await jpeg(join(root, "b", "001.jpg"), 7, 20);
  const data = await imageFolder(files, root, { valShare: 0 });
  const batches = async (set: Dataset): Promise<void> => {
    const loader = new TrainingLoader(set, {
      batch: 4, seed: 1, preprocess: { size: 32, ...half },
      augment: [{ kind: "random_crop", size: 32, pad: 0, mode: "constant" }],
    });
    for await (const { count } of loader.batches(0, 1)) t.is(count, 4);
  };
  const error = await t.throwsAsync(batches(data), { instanceOf: InputError });
  t.is(error?.message, `${join(root, "b", "001.jpg")}: a crop of 32 pixels does not fit an image of 20 × 20`);
  t.regex(error?.help ?? "", /random_resized_crop/u);
  const { files: _, ...nameless } = data;
  await t.throwsAsync(batches(nameless), { message: /^image 3 of .+: a crop of 32 pixels does not fit/u });
});

test("CIFAR's binary batches, of ten classes and of a hundred", async (t) => {
  const root = await folder();
  const record = (labels: readonly number[], seed: number): Buffer => Buffer.from([
    ...labels, ...range(3072).map((i) => (i * 31 + seed) & 255),
  ]);
  const home = join(root, "cifar-10-batches-bin");
  await mkdir(home);
  for (const n of range(5, 1)) {
    await writeFile(join(home, `data_batch_${n}.bin`), Buffer.concat([record([n], n), record([9], 0)]));
  }
  await writeFile(join(home, "test_batch.bin"), record([4], 8));
  await writeFile(join(home, "batches.meta.txt"), `${range(10).map((n) => `class ${n}`).join("\n")}\n\n`);
  const train = await cifar10(files, root, "train");
  t.is(train.length, 10);
  t.is(train.classes[3], "class 3");
  const [sample] = await train.read([4]);
  if (sample?.kind !== "image") return t.fail();
  t.is(sample.label, 3);
  t.deepEqual([...sample.pixels.data.subarray(0, 6)], [0, 1024, 2048, 1, 1025, 2049].map((i) => (i * 31 + 3) & 255));
  t.is((await cifar10(files, home, "val")).length, 1);
  const other = join(root, "hundred");
  await mkdir(other);
  await writeFile(join(other, "train.bin"), Buffer.concat([record([1, 99], 0), record([2, 5], 1)]));
  const hundred = await cifar100(files, other, "train");
  t.deepEqual((await pixelsOf(hundred, [0, 1])).map(({ label }) => label), [99, 5]);
  await writeFile(join(other, "train.bin"), record([1, 100], 0));
  await t.throwsAsync(cifar100(files, other, "train"), { instanceOf: FileError, message: /label 100/u });
  await writeFile(join(other, "train.bin"), record([1, 9], 0).subarray(1));
  await t.throwsAsync(cifar100(files, other, "train"), { instanceOf: FileError, message: /not a multiple of the record size/u });
  await t.throwsAsync(cifar10(files, other, "train"), { instanceOf: FileError, message: /not found/u });
  return undefined;
});

const cifar = { images: goldenFile("cifar/images"), tensors: goldenFile("cifar/logits.safetensors") };
goldenTest("CIFAR's class folders give the decoded JPEG pixels", cifar, async (t, { images, tensors }) => {
  const root = await folder();
  const { classes } = goldenIndex<{ classes: string[] }>("cifar/index.json");
  for (const split of ["train", "test"]) {
    for (const name of classes) {
      await mkdir(join(root, split, name), { recursive: true });
      for (const i of range(3)) {
        await copyFile(join(images, `${name}_000${i}.jpg`), join(root, split, name, `000${i}.jpg`));
      }
    }
  }
  const data = await cifar10(files, root, "val");
  t.deepEqual(data.classes, classes);
  const want = readGolden(tensors).get("pixels_u8")?.data ?? [];
  const samples = await data.read(range(30));
  const got = Buffer.concat(samples.map((s) => (s.kind === "image" ? Buffer.from(s.pixels.data) : Buffer.alloc(0))));
  t.is(got.length, 30 * 3072);
  t.is(maxAbs(got, want), 0);
});
