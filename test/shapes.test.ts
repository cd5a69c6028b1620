/** The checkpoint that ships: right about shapes it never saw, with the names of its classes; and the recipe it is of. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import test from "ava";
import sharp from "sharp";
import { openRecipe, readArtifact } from "../compiler/cli/artifact.js";
import { SHAPE_NAMES, shapes } from "../runtime/data/shapes.js";
import { labelsIn } from "../runtime/labels.js";
import { load, preprocess, topK, type Pixels } from "../runtime/node/index.js";
import { Trainer } from "../runtime/node/train/trainer.js";
import { memoryAccess } from "../runtime/weights/access.js";
import { encodeSafetensors, readSafetensors } from "../runtime/weights/safetensors.js";
import { deitc } from "./cli_process.js";
import { compileFile, openTestDevice, sourceOf } from "./harness.js";

const FILE = resolve("models/shapes.deit");
const WEIGHTS = resolve("models/deit_shapes.safetensors");
const folder = mkdtempSync(join(tmpdir(), "deitc-shapes-"));
const device = openTestDevice();
test.after.always(async () => {
  (await device).destroy();
  rmSync(folder, { recursive: true, force: true });
});

/** Held-out shapes: no training draws them, and the recipe's evaluation draws those of seed 0 alone. */
async function unseen(length: number, seed: number): Promise<{ pixels: Pixels; name: string }[]> {
  const data = shapes({ length, seed, split: "held-out" });
  const samples = await data.read(Array.from({ length }, (_, i) => i));
  return samples.map((sample) => {
    if (sample.kind === "broken") throw new Error(sample.reason);
    return { pixels: sample.pixels, name: data.classes[sample.label] ?? "" };
  });
}

const metadataOf = async (bytes: Uint8Array): Promise<ReadonlyMap<string, string>> =>
  (await readSafetensors(memoryAccess("weights", bytes))).metadata;

test.serial("the shipped checkpoint is right about 19 of 20 unseen shapes, and names them", async (t) => {
  const definition = sourceOf(compileFile("models/shapes.deit", "deit_shapes"));
  const how = definition.manifest.preprocess;
  if (!how) return t.fail("the model says how images become inputs");
  const [count, batch] = [400, 50];
  const samples = await unseen(count, 2025);
  const session = await load(definition, { device: await device, weights: WEIGHTS, batch });
  t.deepEqual(session.labels, SHAPE_NAMES);
  let right = 0;
  for (let first = 0; first < count; first += batch) {
    const part = samples.slice(first, first + batch);
    const images = Float32Array.from(part.flatMap(({ pixels }) => [...preprocess(pixels, how)]));
    const { prediction = new Float32Array() } = await session.infer({ images });
    right += part.filter(({ name }, i) => topK(prediction.subarray(8 * i, 8 * i + 8), 1, session.labels)[0]?.label === name).length;
  }
  session.destroy();
  t.log(`${right} of ${count}`);
  t.true(right >= 0.95 * count, `${right} of ${count}`);
});

/** A star as a drawing program makes it: flat colours, five times the side that the model reads. */
function drawing(): Buffer {
  const points = Array.from({ length: 10 }, (_, i) => {
    const [angle, radius] = [(Math.PI * (i - 2.5)) / 5, i % 2 === 0 ? 52 : 22];
    return `${(80 + radius * Math.cos(angle)).toFixed(2)},${(80 + radius * Math.sin(angle)).toFixed(2)}`;
  });
  return Buffer.from(`<svg xmlns="http://www.w3.org/2000/svg" width="160" height="160"><rect width="160" height="160"
    fill="#46505a"/><polygon points="${points.join(" ")}" fill="#f2f0e6"/></svg>`);
}

test.serial("predict names what PNG files show: a shape of each class, and a drawing", async (t) => {
  const files = SHAPE_NAMES.map((name) => `${name}.png`);
  for (const { pixels: { data, width, height }, name } of await unseen(SHAPE_NAMES.length, 0)) {
    await sharp(data, { raw: { width, height, channels: 3 } }).png().toFile(join(folder, `${name}.png`));
  }
  await sharp(drawing()).png().toFile(join(folder, "drawing.png"));
  const line = ["predict", FILE, "--weights", WEIGHTS, ...files, "drawing.png", "--generated-shapes", "8"];
  const { code, out, err } = await deitc(folder, [...line, "--json", "--top", "1"]);
  t.is(code, 0, err);
  interface Told { images: { drawn?: string; classes: { label: string; score: number }[] }[] }
  const { images } = JSON.parse(out) as Told; // the command's own form
  t.deepEqual(images.map(({ classes }) => classes[0]?.label), [...SHAPE_NAMES, "star", ...SHAPE_NAMES]);
  t.deepEqual(images.slice(9).map(({ drawn }) => drawn), [...SHAPE_NAMES]);
  t.true(images.slice(0, 9).every((image) => !("drawn" in image)), "what a file shows is not known");
  // A file of the same pixels is the same input.
  t.deepEqual(images.slice(0, 8).map(({ classes }) => classes), images.slice(9).map(({ classes }) => classes));
});

test.serial("predict puts drawn shapes in a table, their number right below it", async (t) => {
  const line = ["predict", FILE, "--weights", WEIGHTS, "--generated-shapes", "20", "--seed", "3"];
  const { code, out, err } = await deitc(folder, line);
  t.is(code, 0, err);
  const rows = [...out.matchAll(/^shape \d+ \(seed 3\) +(\S.*?)  +(\S.*?)  +\d+\.\d\d %$/gmu)];
  t.is(rows.length, 20);
  t.regex(out, new RegExp(`^${rows.filter(([, drawn, best]) => drawn === best).length} of 20 correct$`, "mu"));
  const many = await deitc(folder, [...line.slice(0, -3), "1001"]);
  t.is(many.code, 2);
  t.regex(many.err, /at most 1000 shapes/u);
});

test("class names that do not fit the model, or are none, are left alone", (t) => {
  const manifest = { outputs: [{ name: "prediction", shape: [{ b: 1, c: 0 }, { b: 0, c: 2 }], dtype: "f32" }] } as const;
  const read = (text: string): readonly string[] | undefined => labelsIn(new Map([["classes", text]]), manifest);
  t.deepEqual(read('["cat", "dog"]'), ["cat", "dog"]);
  t.deepEqual(read('["\\u001b[2J", "a\\nb"]'), ["\ufffd[2J", "a\ufffdb"]);
  for (const text of ['["cat"]', '["cat", 7]', "cat, dog", "", "null", '{"0": "cat", "1": "dog"}']) {
    t.is(read(text), undefined, text);
  }
  t.is(labelsIn(new Map(), manifest), undefined);
});

test.serial("a checkpoint without names is printed with numbers", async (t) => {
  const from = await readSafetensors(memoryAccess("weights", readFileSync(WEIGHTS)));
  const tensors = await Promise.all(from.tensors.map(async ({ name, shape, dtype, read }) =>
    ({ name, shape, data: { dtype, bytes: await read() } })));
  const session = await load(sourceOf(compileFile("models/shapes.deit", "deit_shapes")), {
    device: await device, weights: Buffer.concat(encodeSafetensors(tensors)),
  });
  t.is(session.labels, undefined);
  t.is(topK([0, 0, 0, 5, 0, 0, 0, 0], 1, session.labels)[0]?.label, "class 3");
  session.destroy();
});

test.serial("the recipe learns from its first steps on, and gives the same bytes again, class names in them", async (t) => {
  const { definition } = await openRecipe(await readArtifact(FILE, { target: "shapes" }));
  // Not the shared device: its checks take longer than the training.
  const adapter = process.env["DEITC_ADAPTER"] ?? "swiftshader";
  const files: Buffer[] = [];
  for (const out of [join(folder, "one"), join(folder, "two")]) {
    const trainer = await Trainer.open(definition, { adapter, out, batch: 16, steps: 40, logEvery: 10 });
    const losses: number[] = [];
    for await (const event of trainer.run()) {
      if (event.kind === "record" && event.record.kind === "step") losses.push(event.record.loss);
    }
    await trainer.save(join(out, "saved.safetensors"));
    trainer.destroy();
    t.log(losses.map((loss) => loss.toFixed(3)).join(" "));
    t.is(losses.length, 4);
    // Eight classes told by chance alone are worth ln 8 = 2.08.
    t.true((losses[3] ?? 9) < (losses[0] ?? 0) - 0.05 && (losses[3] ?? 9) < 2.03, losses.join(" "));
    files.push(readFileSync(join(out, "best.safetensors")));
    const saved = await metadataOf(readFileSync(join(out, "saved.safetensors")));
    t.deepEqual(JSON.parse(saved.get("classes") ?? ""), [...SHAPE_NAMES]);
  }
  const [one = Buffer.of(1), two = Buffer.of(2)] = files;
  t.true(one.equals(two));
  const [told, shipped] = [await metadataOf(one), await metadataOf(readFileSync(WEIGHTS))];
  t.deepEqual([...told.keys()], ["format", "step", "recipe", "weights", "classes"]);
  t.is(told.get("classes"), shipped.get("classes"));
});
