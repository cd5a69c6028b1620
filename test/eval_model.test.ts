/**
 * `deitc eval` with models: published weights on real images against PyTorch's numbers, and small models whose every
 * figure the test works out by itself. Embedded adapter unless DEITC_ADAPTER names another.
 */
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import test from "ava";
import sharp from "sharp";
import { packageFolder } from "../compiler/cli/package.js";
import { disagreement, spread } from "../runtime/evaluate.js";
import { load, loadImages } from "../runtime/node/index.js";
import { encodeSafetensors } from "../runtime/weights/safetensors.js";
import { deitc, small, type Outcome } from "./cli_process.js";
import {
  argMax, generated, goldenFile, goldenIndex, goldenTest, maxAbs, readGolden, relativeL2, sharedData,
} from "./golden.js";
import { compileFile, openTestDevice, sourceOf } from "./harness.js";

const home = mkdtempSync(join(tmpdir(), "deitc-eval-"));
test.after.always(() => rmSync(home, { recursive: true, force: true }));
const run = (...args: readonly string[]): Promise<Outcome> => deitc(home, ["eval", ...args]);

/** What `--json` prints. */
interface Report {
  readonly count: number;
  readonly top1: number;
  readonly loss: number;
  readonly heads: readonly { readonly model: string; readonly head: string; readonly top1: number; readonly loss: number }[];
  readonly disagreement: { readonly names: readonly string[]; readonly fractions: readonly (readonly number[])[] };
  readonly tokens: readonly { readonly model: string; readonly layers: readonly { readonly layer: string; readonly cosine: number }[] }[];
}
const parsed = ({ out }: Outcome): Report => JSON.parse(out) as Report;
/** Lines of `--predictions`. */
const lines = (file: string): { file: string; label: number; predicted: unknown }[] =>
  readFileSync(join(home, file), "utf8").trimEnd().split("\n")
    .map((line) => JSON.parse(line) as { file: string; label: number; predicted: unknown });
const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
const crossEntropy = (logits: readonly number[], label: number): number => {
  const most = Math.max(...logits);
  return most + Math.log(logits.reduce((sum, x) => sum + Math.exp(x - most), 0)) - (logits[label] ?? NaN);
};

const model = join(packageFolder(), "models/cifar_resnet.deit");
const published = {
  checkpoint: sharedData("cifar10-resnet/resnet20-12fca82f.th"), logits: goldenFile("cifar/logits.safetensors"),
  images: goldenFile("cifar/images"),
};

const publishedTitle = "published weights, real images: PyTorch's logits, classes, accuracy and loss";
goldenTest(publishedTitle, published, async (t, found) => {
  const weights = resolve(found.checkpoint);
  const photo = (file: string): string => join(found.images, basename(file));
  const index = goldenIndex<{ classes: string[]; images: { file: string; source: string; label: number }[] }>(
    "cifar/index.json",
  );
  const goldens = readGolden(found.logits);
  const want = goldens.get("resnet20.logits_f64")?.data ?? new Float64Array();
  const told = goldens.get("resnet20.pred")?.data ?? new Uint8Array();
  const rows = index.images.map((_, i) => [...want.subarray(10 * i, 10 * i + 10)]);

  const compiled = compileFile("models/cifar_resnet.deit", "cifar_resnet20");
  const { preprocess } = compiled.manifest;
  if (!preprocess) return t.fail("the model says how images are prepared");
  const device = await openTestDevice();
  try {
    const images = await loadImages(index.images.map(({ file }) => photo(file)), preprocess);
    const session = await load(sourceOf(compiled), { device, weights, batch: rows.length, poison: true });
    const { logits = new Float32Array() } = await session.infer({ images });
    session.destroy();
    const [rel, max] = [relativeL2(logits, want), maxAbs(logits, want)];
    t.log(`logits: relative ${rel.toExponential(1)}, greatest difference ${max.toExponential(1)}`);
    t.true(rel <= 1e-5 && max <= 1e-3, `${rel}, ${max}`);
    for (const [i, { source, label }] of index.images.entries()) {
      const golden = told[1000 * label + Number.parseInt(basename(source), 10)];
      t.deepEqual([argMax(logits.subarray(10 * i, 10 * i + 10)), argMax(rows[i] ?? [])], [golden, golden], source);
    }
  } finally {
    device.destroy();
  }

  for (const { file, source, label } of index.images) {
    const folder = join(home, "cifar", index.classes[label] ?? "");
    mkdirSync(folder, { recursive: true });
    copyFileSync(photo(file), join(folder, basename(source)));
  }
  // Every third image, which are the first of each class; the last batch is a part of one.
  const ran = await run(`${model}:cifar_resnet20`, weights, "--data", "cifar", "--limit", "10", "--batch", "4",
    "--json", "--predictions", "classes.jsonl");
  t.is(ran.code, 0, ran.err);
  const report = parsed(ran);
  const part = index.images.flatMap(({ source, label }, i) => (i % 3 === 0
    ? [{ file: join("cifar", index.classes[label] ?? "", basename(source)), label, row: rows[i] ?? [] }] : []));
  t.is(report.count, 10);
  t.is(report.top1, mean(part.map(({ row, label }) => Number(argMax(row) === label))));
  t.true(Math.abs(report.loss - mean(part.map(({ row, label }) => crossEntropy(row, label)))) < 1e-5);
  t.deepEqual(lines("classes.jsonl"), part.map(({ file, label, row }) => ({ file, label, predicted: argMax(row) })));
});

const MODELS = `import { linear } from "deitc/nn.deit"
block scale(x: [B, N, D]) -> [B, N, D] {
  param gain: [D] ~ ones
  param bias: [D] ~ zeros
  return x * gain + bias
}
/// Sees an image's mean colour.
model plain(preprocess = [4, 4, [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]]) {
  input images: [B, 3, 4, 4]
  head = linear(mean(images, axis = [2, 3]), 3)
  output logits = head
}
/// Two tokens, each with a head of its own, over two layers.
model twin(preprocess = [4, 4, [0.5, 0.5, 0.5], [0.25, 0.25, 0.25]]) {
  input images: [B, 3, 4, 4]
  param tokens: [1, 2, 3] ~ zeros
  x = expand(tokens, [B, 2, 3]) + reshape(mean(images, axis = [2, 3]), [B, 1, 3])
  for k in 0..2 { x = scale(x) as "layers.{k}" }
  head = linear(x[:, 0], 3)
  head_dist = linear(x[:, 1], 3)
  output logits = head
  output logits_dist = head_dist
  output prediction = (head + head_dist) / 2
}
`;
const SHAPES: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>> = {
  plain: { "head.weight": [3, 3], "head.bias": [3] },
  twin: {
    tokens: [1, 2, 3], "layers.0.gain": [3], "layers.0.bias": [3], "layers.1.gain": [3], "layers.1.bias": [3],
    "head.weight": [3, 3], "head.bias": [3], "head_dist.weight": [3, 3], "head_dist.bias": [3],
  },
};
const parameter = (of: string, path: string): Float32Array =>
  generated(`${of} ${path}`, (SHAPES[of]?.[path] ?? []).reduce((n, d) => n * d, 1), 0.1, 1);
const apply = (of: string, path: string, x: readonly number[]): number[] => {
  const [w, b] = [parameter(of, `${path}.weight`), parameter(of, `${path}.bias`)];
  return [0, 1, 2].map((o) => x.reduce((sum, v, i) => sum + v * (w[3 * o + i] ?? NaN), b[o] ?? NaN));
};
const softmax = (x: readonly number[]): number[] => {
  const sum = x.reduce((s, v) => s + Math.exp(v), 0);
  return x.map((v) => Math.exp(v) / sum);
};
const plus = (a: readonly number[], b: readonly number[]): number[] => a.map((v, i) => v + (b[i] ?? NaN));
const cosine = (a: readonly number[], b: readonly number[]): number => {
  const dot = (x: readonly number[], y: readonly number[]): number => x.reduce((s, v, i) => s + v * (y[i] ?? NaN), 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
};

/** Everything that the two models give for one colour. */
function worked(colour: readonly number[]): { scores: number[][]; cosines: number[] } {
  const v = colour.map((c) => (c / 255 - 0.5) / 0.25);
  const tokens = parameter("twin", "tokens");
  let pair = [0, 1].map((row) => plus(v, [...tokens.subarray(3 * row, 3 * row + 3)]));
  const cosines = [cosine(pair[0] ?? [], pair[1] ?? [])];
  for (const layer of ["layers.0", "layers.1"]) {
    const [gain, bias] = [parameter("twin", `${layer}.gain`), parameter("twin", `${layer}.bias`)];
    pair = pair.map((x) => x.map((value, d) => value * (gain[d] ?? NaN) + (bias[d] ?? NaN)));
    cosines.push(cosine(pair[0] ?? [], pair[1] ?? []));
  }
  const [one, other] = [apply("twin", "head", pair[0] ?? []), apply("twin", "head_dist", pair[1] ?? [])];
  const half = plus(one, other).map((x) => x / 2);
  return { scores: [apply("plain", "head", v), one, other, half, plus(softmax(one), softmax(other)), half], cosines };
}

const CLASSES = ["ash", "birch", "cedar"];
const COLOURS = CLASSES.map((name) => Array.from({ length: 9 }, (_, i) =>
  [...generated(`colour ${name} ${i}`, 3, 127.5, 127)].map(Math.round)));

/** Images of one colour each, the models, and their checkpoints. */
test.before(async () => {
  writeFileSync(join(home, "models.deit"), MODELS);
  for (const [name, shapes] of Object.entries(SHAPES)) {
    const tensors = Object.entries(shapes).map(([path, shape]) => ({ name: path, shape, data: parameter(name, path) }));
    writeFileSync(join(home, `${name}.safetensors`), Buffer.concat(encodeSafetensors(tensors)));
  }
  for (const [label, name] of CLASSES.entries()) {
    mkdirSync(join(home, "trees", name), { recursive: true });
    for (const [i, [r = 0, g = 0, b = 0]] of (COLOURS[label] ?? []).entries()) {
      // One is larger than the model's input: it is scaled down, and keeps its colour.
      const side = i === 4 ? 7 : 4;
      await sharp({ create: { width: side, height: side, channels: 3, background: { r, g, b } } })
        .png().toFile(join(home, "trees", name, `${i}.png`));
    }
  }
});

const COMPARE = [
  "--data", "trees", "--compare", "models.deit:plain,plain.safetensors", "--compare", "two=models.deit:twin,twin.safetensors",
];

test.serial("heads, fusions, disagreement and tokens of two models are what they are by hand", async (t) => {
  const found = await run(...COMPARE, "--batch", "8", "--json", "--svg", "picture.svg", "--predictions", "trees.jsonl");
  t.is(found.code, 0, found.err);
  const report = parsed(found);
  const images = COLOURS.flatMap((colours, label) => colours.map((colour) => ({ label, ...worked(colour) })));
  const heads = ["logits", "logits", "logits_dist", "logit mean", "softmax sum", "prediction"];
  const names = ["truth", "plain", ...heads.slice(1).map((head) => `two ${head}`)];
  const told = [images.map(({ label }) => label), ...heads.map((_, h) => images.map(({ scores }) => argMax(scores[h] ?? [])))];
  const margin = Math.min(...images.flatMap(({ scores }) => scores.map((row) => {
    const [first = 0, second = 0] = row.toSorted((a, b) => b - a);
    return first - second;
  })));
  t.true(margin > 1e-4, `no image stands between two classes: ${margin}`);

  t.is(report.count, 27);
  t.deepEqual(report.heads.map(({ model: of, head }) => [of, head]), heads.map((head, h) => [h === 0 ? "plain" : "two", head]));
  const share = (a: readonly number[] = [], b: readonly number[] = []): number =>
    a.filter((x, i) => x !== b[i]).length / images.length;
  t.deepEqual(report.disagreement, { names, fractions: told.map((a) => told.map((b) => share(a, b))) });
  t.true(new Set(report.disagreement.fractions.flat()).size > 6, "the models differ from the truth and each other");
  for (const [h, { top1, loss }] of report.heads.entries()) {
    t.is(top1, images.filter(({ label }, i) => told[h + 1]?.[i] === label).length / images.length);
    const want = mean(images.map(({ scores, label }) => (heads[h] === "softmax sum"
      ? -Math.log((scores[h]?.[label] ?? NaN) / 2) : crossEntropy(scores[h] ?? [], label))));
    t.true(Math.abs(loss - want) < 1e-5, `${heads[h] ?? ""}: ${loss}, ${want}`);
  }
  t.deepEqual(report.tokens.map((course) => [course.model, course.layers.map(({ layer }) => layer)]),
    [["two", ["input", "layers.0", "layers.1"]]]);
  for (const [k, { cosine: got }] of report.tokens[0]?.layers.entries() ?? []) {
    t.true(Math.abs(got - mean(images.map(({ cosines }) => cosines[k] ?? NaN))) < 1e-6);
  }
  t.deepEqual(lines("trees.jsonl").map(({ predicted }) => predicted), images.map((_, i) => Object.fromEntries(
    heads.map((head, h) => [`${h === 0 ? "plain" : "two"}.${head}`, told[h + 1]?.[i]]))));
  const picture = readFileSync(join(home, "picture.svg"), "utf8");
  t.regex(picture, /^<svg[^]*two softmax sum[^]*<\/svg>\n$/);
  t.notRegex(picture, /NaN|undefined|Infinity/);
});

test.serial("tables for people, chosen heads, named tokens, and fewer images", async (t) => {
  const found = await run(
    ...COMPARE, "--heads", "plain.logits,prediction", "--tokens", "layers.*:1,0", "--limit", "6");
  t.is(found.code, 0, found.err);
  t.regex(found.out, /^6 images of trees, 3 classes\n/);
  // Every fourth or fifth image: two of each class.
  const chosen = [0, 4, 9, 13, 18, 22].map((i) => ({ label: Math.floor(i / 9), ...worked(COLOURS.flat()[i] ?? []) }));
  const right = [0, 5].map((h) => chosen.filter(({ label, scores }) => argMax(scores[h] ?? []) === label).length);
  const row = (name: string, head: string, n = 0): RegExp =>
    new RegExp(`^${name} +${head} +${n} +${((100 * n) / 6).toFixed(2)} % `, "m");
  t.regex(found.out, row("plain", "logits", right[0]));
  t.regex(found.out, row("two", "prediction", right[1]));
  t.notRegex(found.out, /logits_dist|softmax sum|input/);
  const cosines = [1, 2].map((k) => mean(chosen.map((one) => one.cosines[k] ?? NaN)).toFixed(4));
  t.regex(found.out, new RegExp(`^after +two\\nlayers\\.0 +${cosines[0] ?? ""}\\nlayers\\.1 +${cosines[1] ?? ""}\\n`, "m"));
});

test.serial("what cannot be evaluated is one error", async (t) => {
  small(home);
  mkdirSync(join(home, "mixed/a"), { recursive: true });
  mkdirSync(join(home, "mixed/b"));
  for (const file of ["a/1.png", "b/1.png"]) copyFileSync(join(home, "trees/ash/0.png"), join(home, "mixed", file));
  copyFileSync(join(home, "trees/ash/1.png"), join(home, "mixed/a/2.png"));
  mkdirSync(join(home, "torn"));
  for (const name of CLASSES) {
    mkdirSync(join(home, "torn", name));
    writeFileSync(join(home, "torn", name, "1.png"), readFileSync(join(home, "trees/ash/4.png")).subarray(0, 60));
  }
  writeFileSync(join(home, "huge.safetensors"), Buffer.concat(encodeSafetensors([
    { name: "head.weight", shape: [3, 3], data: new Float32Array(9).fill(3e38) },
    { name: "head.bias", shape: [3], data: new Float32Array(3) },
  ])));
  writeFileSync(join(home, "two.txt"), "ash\nbirch\n");
  writeFileSync(join(home, "other.txt"), "birch\noak\ncedar\n");
  const plain = ["models.deit:plain", "plain.safetensors"];
  const cases: readonly (readonly [readonly string[], number, RegExp])[] = [
    [[...plain, "--data", "nowhere"], 1, /file_missing.*nowhere/s],
    [["models.deit:oak", "plain.safetensors", "--data", "trees"], 1, /unknown_target.*oak/s],
    [["forest.deit", "plain.safetensors", "--data", "trees"], 1, /file_not_found.*forest\.deit/s],
    [["models.deit:plain", "lost.safetensors", "--data", "trees"], 1, /file_missing.*lost\.safetensors/s],
    [["models.deit:plain", "twin.safetensors", "--data", "trees"], 1, /weights_mismatch/],
    [[...plain, "--data", "mixed"], 1, /mixed has 2 classes \('\w+', '\w+'\), but plain predicts 3/],
    [["small.deit", "x.pth", "--data", "trees"], 1, /small is not an image classifier/],
    [[...COMPARE, "--heads", "logits,verdict"], 1, /no model has a head 'verdict'.*plain\.logits, two\.logits, two\.logits_dist/s],
    [[...COMPARE, "--tokens", "stages.*:0,1"], 1, /no model has a tensor.*stages/s],
    [[...COMPARE, "--tokens", "layers.*:0,2"], 1, /layers\.0 of twin is \[B, 2, 3\]: there is no token 2/],
    [[...COMPARE, "--compare", "plain=models.deit:plain,plain.safetensors"], 2, /two models are called plain/],
    [[...plain, "--data", "trees", "--labels", "two.txt"], 1, /two\.txt: has 2 names, the model predicts 3 classes/],
    [[...plain, "--data", "trees", "--labels", "other.txt"], 1, /trees are not those of other\.txt\n.*only in trees \(1\): 'ash'/s],
    [[...plain, "--data", "torn"], 1, /error\[image_malformed\]: torn\/ash\/1\.png: cannot be decoded: .*header$/m],
    [[...plain, "--data", "torn", "--on-bad-image", "skip"], 1, /no image of torn can be read/],
    [["models.deit:plain", "huge.safetensors", "--data", "trees"], 1, /plain gives logits that are not finite for trees\/\w+\/\d\.png/],
    [[...plain, "--data", "trees", "--svg", "no/such/folder.svg"], 1, /file_missing.*no\/such/s],
    [plain, 2, /no images given.*--data/s],
    [["models.deit:plain"], 2, /name a checkpoint/],
    [[], 2, /name a model or a recipe/],
    [[...COMPARE, "--set", "classes=4"], 2, /--set is for one model, and 2 are compared/],
    [["models.deit", "plain.safetensors", ...COMPARE, "--target", "twin"], 2,
      /--target is for one model, and 3 are compared.*FILE\.deit:NAME/s],
    [[...plain, "--data", "shapes:4", "--predictions", "x.jsonl"], 2, /--predictions lists files/],
    [[join(packageFolder(), "models/shapes.deit"), "x.safetensors", "--limit", "5"], 2, /--limit is for models/],
    [[join(packageFolder(), "models/shapes.deit"), "x.safetensors", "--labels", "two.txt"], 2, /--labels is for models/],
  ];
  // Two at a time: most of it is a process that starts.
  await Promise.all([0, 1].map(async (lane) => {
    for (const [args, code, says] of cases.filter((_, i) => i % 2 === lane)) {
      const found = await run(...args);
      t.is(found.code, code, `${args.join(" ")}\n${found.err}`);
      t.regex(found.err, says);
      t.is(found.err.match(/^error/gm)?.length, 1, found.err);
      t.notRegex(found.err + found.out, /at .*\.(js|ts):\d/);
    }
  }));
});

test("a part of the data is spread evenly, and predictors are compared by image", async (t) => {
  const asked: number[] = [];
  const whole = {
    name: "ten", classes: ["a"], length: 10, files: [..."abcdefghij"], image: { size: 4, channels: 3 } as const,
    read: (indices: readonly number[]) => {
      asked.push(...indices);
      return Promise.resolve([]);
    },
  };
  const part = spread(whole, 4);
  await part.read([0, 1, 2, 3]);
  t.deepEqual(asked, [0, 2, 5, 7]);
  t.deepEqual([part.length, part.files], [4, ["a", "c", "f", "h"]]);
  t.is(spread(whole, 10), whole);
  t.is(disagreement(Int32Array.of(0, 1, 2), Int32Array.of(0, 2, 2)), 1 / 3);
});
