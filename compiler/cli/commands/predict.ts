/** @file `deitc predict`: images in, the best classes out. */
import { Command } from "commander";
import type { Pixels } from "../../../runtime/image/resize.js";
import type { Manifest, Preprocess, TensorInfo } from "../../../runtime/manifest.js";
import type { ScoredClass } from "../../../runtime/labels.js";
import type { Session } from "../../../runtime/session.js";
import { printable } from "../../../runtime/text.js";
import { parameterCount } from "../../emit/facts.js";
import { examples, noteLines, printJsonValue, TRUST, wholeNumber, type Finish } from "../command.js";
import { CommandError, Exit, UsageError } from "../exit.js";
import { openModel, readArtifact } from "../artifact.js";
import { LABELS, readLabels } from "../labels.js";
import { loadOptions, weightsWords, withRunOptions, type RunOptions } from "../model.js";
import { Progress, showSeconds, withLoading, withStatus } from "../progress.js";
import { showCount, table } from "../table.js";

interface Options extends RunOptions {
  readonly top: number;
  readonly batch?: number;
  readonly labels?: string;
  readonly generatedPhoto?: boolean;
  readonly generatedShapes?: number;
}

/** The images of a call. */
interface Decoded {
  readonly names: readonly string[];
  /** Of each: the class that it was drawn as, where that is known. */
  readonly drawn: readonly (string | undefined)[];
  /** [images, 3, size, size]. */
  readonly pixels: Float32Array;
}

/** What is told of an image. */
interface Row {
  readonly image: string;
  readonly drawn?: string;
  readonly classes: readonly ScoredClass[];
}

/** Images at once unless told. */
const MOST_AT_ONCE = 8;
/** All images are in memory together. */
const MOST_SHAPES = 1000;

export const predictCommand = (finish: Finish): Command =>
  withRunOptions(new Command("predict")
    .description("Classifies images with a compiled model, or with a .deit file compiled on the fly.")
    .argument("<model>", "FILE.deit, FILE.deit:NAME, or a folder that deitc compile wrote")
    .argument("[images...]", "JPEG, PNG or WebP files")
    .option("--generated-photo", "classify a generated photo (depends on --seed)")
    .option("--generated-shapes <n>", "classify n generated shapes that training never sees (depends on --seed)",
      wholeNumber(1))
    .option("--top <n>", "how many classes to print", wholeNumber(1), 5)
    .option(...LABELS)
    .option(...TRUST)
    .option("--batch <n>", `images at once (default: all, at most ${MOST_AT_ONCE})`, wholeNumber(1)))
    .addHelpText("after", examples(
      "deitc predict out/deit_ti --weights deit_tiny_patch16_224-a1311bcf.pth photo.jpg",
      "deitc predict models/deit_ti.deit --random-weights --generated-photo",
      "deitc predict models/shapes.deit --weights models/deit_shapes.safetensors --generated-shapes 5",
    ))
    .action(async (model: string, images: string[], options: Options) => {
      await predict(model, images, options);
      finish(Exit.done);
    });

async function predict(path: string, images: readonly string[], options: Options): Promise<void> {
  if (options.weights === undefined && !options.randomWeights) {
    throw new UsageError(
      "no weights given", "name a checkpoint with --weights FILE, or use an untrained model with --random-weights",
    );
  }
  if (images.length === 0 && !options.generatedPhoto && options.generatedShapes === undefined) {
    throw new UsageError("name an image, or add --generated-photo or --generated-shapes N");
  }
  if ((options.generatedShapes ?? 0) > MOST_SHAPES) {
    throw new UsageError(`at most ${MOST_SHAPES} shapes can be generated`);
  }
  const notes: string[] = [];
  const how = loadOptions(options, notes);
  const { definition, seconds: compiling } = await openModel(await readArtifact(path, options));
  const { manifest } = definition;
  const { preprocess, output, classes } = imageModel(manifest);
  const labels = options.labels === undefined ? {} : { labels: await readLabels(options.labels, classes) };
  const decoded = await timed(() => withStatus("decoding", () => decode(images, options, preprocess)));
  const batch = options.batch ?? Math.min(decoded.value.names.length, MOST_AT_ONCE);
  const [{ load }, { adapterName }] = await Promise.all([
    import("../../../runtime/node/module.js"), import("../../../runtime/device.js"),
  ]);
  const loaded = await timed(() => withLoading("loading", (onProgress) =>
    load(definition, { ...how, ...labels, batch, onProgress })));
  const session = loaded.value;
  try {
    const { topK } = await import("../../../runtime/labels.js");
    const inferred = await timed(() => inferAll(session, manifest, decoded.value.pixels, output.name, batch));
    const { names, drawn } = decoded.value;
    const rows = names.map((image, i): Row => ({
      image, ...(drawn[i] === undefined ? {} : { drawn: drawn[i] }),
      classes: topK(inferred.value.subarray(i * classes, (i + 1) * classes), options.top, session.labels),
    }));
    const seconds = { decode: decoded.seconds, compile: compiling, load: loaded.seconds, infer: inferred.seconds };
    const run = {
      adapter: adapterName(session.device.info), software: session.device.software, family: session.family, batch,
    };
    if (options.json) {
      const weights = options.weights ?? { random: true, seed: options.seed };
      printJsonValue({ model: manifest.name, weights, ...run, seconds, notes, images: rows });
    } else process.stdout.write(report(manifest, options, notes, rows, run, seconds));
  } finally {
    session.destroy();
  }
}

/** The parts of a manifest that a classifier of images has. @throws CommandError for another kind of model */
function imageModel(manifest: Manifest): { preprocess: Preprocess; output: TensorInfo; classes: number } {
  const { preprocess, outputs, inputs, name } = manifest;
  const output = outputs.find((o) => o.name === "prediction") ?? outputs[0];
  const classes = output?.shape.length === 2 ? (output.shape[1]?.c ?? 0) : 0;
  if (!preprocess || inputs.length !== 1 || !output || classes < 1) {
    throw new CommandError(
      `${name} is not an image classifier`,
      "predict needs a model with `preprocess`, one input and a `prediction` [B, classes]",
    );
  }
  return { preprocess, output, classes };
}

interface Timed<T> {
  readonly value: T;
  readonly seconds: number;
}

async function timed<T>(work: () => Promise<T>): Promise<Timed<T>> {
  const start = performance.now();
  const value = await work();
  return { value, seconds: (performance.now() - start) / 1000 };
}

/** All images as one block. @throws ImageError or FileError naming the first broken one */
async function decode(paths: readonly string[], options: Options, how: Preprocess): Promise<Decoded> {
  const [{ decodeImage, loadImages }, { preprocess }, { generatedPhoto, generatedShapes }] = await Promise.all([
    import("../../../runtime/node/images.js"), import("../../../runtime/image/transform.js"), import("../photo.js"),
  ]);
  const files = await loadImages(paths, how);
  const made: { readonly name: string; readonly pixels: Pixels; readonly drawn?: string }[] = [];
  const { seed, generatedShapes: count } = options;
  if (options.generatedPhoto) {
    const name = `generated photo (seed ${seed})`;
    made.push({ name, pixels: await decodeImage(await generatedPhoto(seed), name) });
  }
  if (count !== undefined) made.push(...await generatedShapes(count, seed));
  const plane = 3 * how.size * how.size;
  const pixels = new Float32Array(files.length + made.length * plane);
  pixels.set(files);
  made.forEach((one, i) => pixels.set(preprocess(one.pixels, how), files.length + i * plane));
  return {
    names: [...paths, ...made.map(({ name }) => name)],
    drawn: [...paths.map(() => undefined), ...made.map(({ drawn }) => drawn)], pixels,
  };
}

/** The rows of one output for all images, batch by batch. */
async function inferAll(
  session: Session, manifest: Manifest, pixels: Float32Array, output: string, batch: number,
): Promise<Float32Array> {
  const input = manifest.inputs[0]?.name ?? "";
  const size = (manifest.inputs[0]?.shape ?? []).slice(1).reduce((n, d) => n * d.c, 1);
  const images = pixels.length / size;
  const progress = new Progress("inferring", images, "images");
  const parts: Float32Array[] = [];
  for (let first = 0; first < images; first += batch) {
    const count = Math.min(batch, images - first);
    const onProgress = (done: number, total: number): void =>
      progress.update(first + Math.floor((count * done) / total));
    const results = await session.infer(
      { [input]: pixels.subarray(first * size, (first + count) * size) }, { onProgress },
    );
    parts.push(results[output] ?? new Float32Array());
  }
  progress.end();
  const all = new Float32Array(parts.reduce((n, part) => n + part.length, 0));
  parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
  return all;
}

function report(
  manifest: Manifest, options: Options, notes: readonly string[],
  rows: readonly Row[],
  run: { adapter: string; software: boolean; family: string; batch: number }, seconds: Readonly<Record<string, number>>,
): string {
  const head = `${manifest.name}, ${showCount(parameterCount(manifest))} parameters, ${weightsWords(options)}\n`;
  const percent = (score: number): string => `${(100 * score).toFixed(2)} %`;
  const tables = rows.filter(({ drawn }) => drawn === undefined).map(({ image, classes }) => {
    const lines = classes.map((c, i) => [`  ${i + 1}`, percent(c.score), String(c.index), c.label]);
    return `\n${printable(image)}\n${table(lines, [1, 2])}`;
  });
  const known = rows.filter(({ drawn }) => drawn !== undefined);
  if (known.length > 0) {
    const lines = known.map(({ image, drawn = "", classes: [best] }) =>
      [image, drawn, best?.label ?? "", percent(best?.score ?? 0)]);
    const right = known.filter(({ drawn, classes: [best] }) => best?.label === drawn).length;
    tables.push(`\n${table([["image", "drawn as", "predicted", "score"], ...lines], [3])}` +
      `${right} of ${known.length} correct\n`);
  }
  const software = run.software ? " (software: no GPU is used)" : "";
  const adapter = `\n${run.adapter}${software}, ${run.family} kernels, batch ${run.batch}\n`;
  const times = `${Object.entries(seconds).map(([stage, s]) => `${stage} ${showSeconds(s)}`).join("   ")}\n`;
  return `${head}${noteLines(notes)}${tables.join("")}${adapter}${times}`;
}
