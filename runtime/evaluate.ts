/**
 * @file Models on labelled images: how often each head is right, and how alike two tokens are, all models in one pass
 * over the data. Images are decoded and prepared while the device runs.
 */
import { readImages, type Dataset, type ImageSample } from "./data/loader.js";
import { InputError } from "./errors.js";
import { evaluationPixels, normalize } from "./image/transform.js";
import type { Preprocess } from "./manifest.js";
import type { Session } from "./session.js";

/** One way to predict a class: an output [B, classes], or several of them fused. */
export interface Head {
  readonly name: string;
  /** Outputs of the model, one or more. */
  readonly outputs: readonly string[];
  /** Of several: the mean of their logits, or the sum of their softmaxes. Source: Touvron et al. 2021, §4. */
  readonly fusion: "logits" | "softmax";
}

/** An output [B, 2, D] that holds two tokens of a layer. */
export interface TokenPair {
  readonly layer: string;
  readonly output: string;
}

/** A loaded model and what of it is looked at. */
export interface Subject {
  readonly name: string;
  readonly session: Session;
  readonly preprocess: Preprocess;
  readonly heads: readonly Head[];
  readonly tokens: readonly TokenPair[];
  /**
   * By the position of a logit: the class in the figures. Classes of the data are called by their labels, others by
   * numbers above (default: the logits are the data's classes in order).
   */
  readonly classes?: readonly number[];
}

/** What a head predicted. Shares are in [0, 1], the loss is the mean cross entropy. */
export interface HeadFigures {
  readonly model: string;
  readonly head: string;
  readonly top1: number;
  readonly top5: number;
  readonly loss: number;
  /** Class of every image, as in `Subject.classes`. */
  readonly predicted: Int32Array;
}

/** Mean cosine of the angle between two tokens after a layer. */
interface Similarity {
  readonly model: string;
  readonly layer: string;
  readonly cosine: number;
}

export interface Figures {
  /** Images that were evaluated. */
  readonly count: number;
  /** Class of every image. */
  readonly labels: Int32Array;
  /** In the order of the subjects and of their heads. */
  readonly heads: readonly HeadFigures[];
  readonly similarities: readonly Similarity[];
}

export interface EvaluateOptions {
  /** Images a call of the models takes; every session was loaded for as many at least. */
  readonly batch: number;
  /** Images done, of how many. */
  readonly onProgress?: (done: number, total: number) => void;
}

/** Batches whose images are decoded ahead of the device. */
const PREFETCH = 3;
/** Models of so few pixels have no border to crop: official code drops resize and crop for them. */
const SMALL = 32;

/** The first `count` of images spread evenly over a data set, so that no class is left out; all where it has fewer. */
export function spread(dataset: Dataset, count: number): Dataset {
  const { length, files } = dataset;
  if (count >= length) return dataset;
  const at = (index: number): number => Math.floor((index * length) / count);
  return {
    ...dataset, length: count, read: (indices) => dataset.read(indices.map(at)),
    ...(files === undefined ? {} : { files: Array.from({ length: count }, (_, i) => files[at(i)] ?? "") }),
  };
}

/**
 * Runs all models over all images.
 * @throws InputError for logits that are not finite, ImageError for an image that cannot be read; whatever the sessions
 * throw
 */
export async function evaluate(
  dataset: Dataset, subjects: readonly Subject[], { batch, onProgress }: EvaluateOptions,
): Promise<Figures> {
  const tally = new Tally(dataset, subjects);
  const inputs = new Inputs(dataset, subjects, batch);
  let running: Promise<readonly Outputs[]> | undefined;
  let shown: Chunk | undefined;
  const settle = async (): Promise<void> => {
    const results = await running;
    if (!results || !shown) return;
    for (const [i, outputs] of results.entries()) tally.add(i, shown, outputs);
    onProgress?.(Math.min(shown.first + batch, dataset.length), dataset.length);
  };
  for await (const chunk of chunks(dataset, batch)) {
    // Prepared while the device runs the batch before; it gets this one before that one's results are looked at.
    const tensors = inputs.prepare(chunk.images);
    const before = running;
    await before;
    const next = launch(subjects, tensors);
    next.catch(() => undefined);
    await settle();
    [running, shown] = [next, chunk];
  }
  await settle();
  return tally.figures();
}

type Outputs = Readonly<Record<string, Float32Array>>;

/** Images that follow each other in the data set. */
interface Chunk {
  /** Index of the first. */
  readonly first: number;
  readonly images: readonly ImageSample[];
}

/** Decoded images in order, a batch at a time, some batches ahead. */
async function* chunks(dataset: Dataset, batch: number): AsyncGenerator<Chunk, void, undefined> {
  const queue: { readonly first: number; readonly images: Promise<readonly ImageSample[]> }[] = [];
  let next = 0;
  const fill = (): void => {
    while (queue.length <= PREFETCH && next < dataset.length) {
      const first = next;
      next = Math.min(first + batch, dataset.length);
      const images = readImages(dataset, Array.from({ length: next - first }, (_, i) => first + i));
      // Awaited later; until then a failure must not count as unhandled.
      images.catch(() => undefined);
      queue.push({ first, images });
    }
  };
  for (fill(); queue.length > 0; fill()) {
    const head = queue.shift();
    if (head !== undefined) yield { first: head.first, images: await head.images };
  }
}

const launch = (subjects: readonly Subject[], tensors: readonly Float32Array[]): Promise<Outputs[]> =>
  Promise.all(subjects.map(({ session }, i) => {
    const [input] = session.manifest.inputs;
    return session.infer({ [input?.name ?? ""]: tensors[i] ?? new Float32Array() });
  }));

/** The models' inputs of one batch after the other, by each model's own transform; equal transforms are done once. */
class Inputs {
  readonly #dataset: Dataset;
  readonly #hows: readonly Preprocess[];
  /** Two of each: one may still be on its way to the device. */
  readonly #arrays: readonly (readonly [Float32Array, Float32Array])[];
  #turn: 0 | 1 = 0;

  constructor(dataset: Dataset, subjects: readonly Subject[], batch: number) {
    this.#dataset = dataset;
    this.#hows = subjects.map(({ preprocess }) => preprocess);
    const texts = this.#hows.map((how) => JSON.stringify(how));
    const made = this.#hows.map(({ size }, i): readonly [Float32Array, Float32Array] | undefined => {
      const length = batch * 3 * size * size;
      return texts.indexOf(texts[i] ?? "") === i ? [new Float32Array(length), new Float32Array(length)] : undefined;
    });
    this.#arrays = texts.map((text) => made[texts.indexOf(text)] ?? [new Float32Array(), new Float32Array()]);
  }

  prepare(images: readonly ImageSample[]): readonly Float32Array[] {
    const turn = this.#turn;
    this.#turn = turn === 0 ? 1 : 0;
    const done = new Set<Float32Array>();
    return this.#hows.map((how, m) => {
      const array = this.#arrays[m]?.[turn] ?? new Float32Array();
      const plane = 3 * how.size * how.size;
      const used = array.subarray(0, images.length * plane);
      if (done.has(array)) return used;
      done.add(array);
      images.forEach(({ pixels }, i) => {
        const { width, height } = pixels;
        const exact = width === how.size && height === how.size;
        const whole = how.resize === how.size || how.size <= SMALL || this.#dataset.image.size === how.size;
        const target = used.subarray(i * plane, (i + 1) * plane);
        normalize(exact && whole ? pixels : evaluationPixels(pixels, how), how, target);
      });
      return used;
    });
  }
}

/** Sums over images of one head. */
interface HeadSums {
  readonly head: Head;
  readonly predicted: Int32Array;
  right: number;
  amongFive: number;
  loss: number;
}

/** Counts what the models gave. */
class Tally {
  readonly #dataset: Dataset;
  readonly #subjects: readonly Subject[];
  readonly #labels: Int32Array;
  readonly #sums: readonly (readonly HeadSums[])[];
  readonly #cosines: readonly Float64Array[];
  /** By subject: the class of each logit, and the logit of each label. */
  readonly #classes: readonly (readonly number[])[];
  readonly #logits: readonly (readonly number[])[];
  readonly #scores: readonly Float64Array[];
  #count = 0;

  constructor(dataset: Dataset, subjects: readonly Subject[]) {
    [this.#dataset, this.#subjects] = [dataset, subjects];
    this.#labels = new Int32Array(dataset.length).fill(-1);
    this.#sums = subjects.map(({ heads }) => heads.map((head) => (
      { head, predicted: new Int32Array(dataset.length).fill(-1), right: 0, amongFive: 0, loss: 0 })));
    this.#cosines = subjects.map(({ tokens }) => new Float64Array(tokens.length));
    const all = dataset.classes.map((_, label) => label);
    this.#classes = subjects.map(({ classes = all }) => classes);
    this.#logits = this.#classes.map((classes) => all.map((label) => classes.indexOf(label)));
    this.#scores = this.#classes.map((classes) => new Float64Array(classes.length));
  }

  /** @param subject its position  @param outputs of the images of `chunk`, in their order */
  add(subject: number, { first, images }: Chunk, outputs: Outputs): void {
    if (subject === 0) {
      this.#count += images.length;
      images.forEach(({ label }, i) => { this.#labels[first + i] = label; });
    }
    const { name = "", tokens = [] } = this.#subjects[subject] ?? {};
    const scores = this.#scores[subject] ?? new Float64Array();
    const classes = scores.length;
    for (const sums of this.#sums[subject] ?? []) {
      const logits = sums.head.outputs.map((output) => outputs[output] ?? new Float32Array());
      images.forEach(({ label }, i) => {
        const index = first + i;
        const rows = logits.map((all) => all.subarray(i * classes, (i + 1) * classes));
        if (!logProbabilities(rows, sums.head.fusion, scores)) {
          const file = this.#dataset.files?.[index] ?? `image ${index}`;
          throw new InputError(`${name} gives logits that are not finite for ${file} (${sums.head.name})`);
        }
        const [best, own] = [greatest(scores), this.#logits[subject]?.[label] ?? label];
        sums.predicted[index] = this.#classes[subject]?.[best] ?? best;
        sums.right += best === own ? 1 : 0;
        sums.amongFive += rankOf(own, scores) < 5 ? 1 : 0;
        sums.loss -= scores[own] ?? 0;
      });
    }
    const cosines = this.#cosines[subject];
    tokens.forEach(({ output }, k) => {
      if (cosines) cosines[k] = (cosines[k] ?? 0) + sumOfCosines(outputs[output] ?? new Float32Array(), images.length);
    });
  }

  figures(): Figures {
    const count = this.#count;
    const heads = this.#subjects.flatMap(({ name }, m) => (this.#sums[m] ?? []).map((sums): HeadFigures => ({
      model: name, head: sums.head.name, top1: sums.right / count, top5: sums.amongFive / count,
      loss: sums.loss / count, predicted: sums.predicted,
    })));
    const similarities = this.#subjects.flatMap(({ name, tokens }, m) => tokens.map(({ layer }, k): Similarity => (
      { model: name, layer, cosine: (this.#cosines[m]?.[k] ?? NaN) / count })));
    return { count, labels: this.#labels, heads, similarities };
  }
}

/** Writes log-probabilities of one image to `target`; false when they are not numbers. */
function logProbabilities(
  rows: readonly Float32Array[], fusion: Head["fusion"], target: Float64Array,
): boolean {
  const share = 1 / rows.length;
  target.fill(0);
  if (fusion === "logits") {
    for (const row of rows) for (let c = 0; c < target.length; c++) target[c] = (target[c] ?? 0) + (row[c] ?? NaN);
    const normalizer = logSumExp(target, share);
    for (let c = 0; c < target.length; c++) target[c] = (target[c] ?? 0) * share - normalizer;
    return Number.isFinite(normalizer);
  }
  let finite = true;
  for (const row of rows) {
    const normalizer = logSumExp(row, 1);
    finite &&= Number.isFinite(normalizer);
    for (let c = 0; c < target.length; c++) target[c] = (target[c] ?? 0) + Math.exp((row[c] ?? NaN) - normalizer);
  }
  for (let c = 0; c < target.length; c++) target[c] = Math.log((target[c] ?? 0) * share);
  return finite;
}

/** log Σ exp(scale · x), shifted by the greatest so that nothing overflows. */
function logSumExp(x: Float32Array | Float64Array, scale: number): number {
  let [most, sum] = [-Infinity, 0];
  for (const value of x) most = Math.max(most, scale * value);
  for (const value of x) sum += Math.exp(scale * value - most);
  return most + Math.log(sum);
}

/** Position of the greatest; the first of equal ones. */
function greatest(x: Float64Array): number {
  let best = 0;
  for (let i = 1; i < x.length; i++) if ((x[i] ?? NaN) > (x[best] ?? NaN)) best = i;
  return best;
}

/** How many come before `label`, equal ones by position. */
function rankOf(label: number, x: Float64Array): number {
  const own = x[label] ?? NaN;
  let rank = 0;
  for (let i = 0; i < x.length; i++) {
    const other = x[i] ?? NaN;
    if (other > own || (other === own && i < label)) rank++;
  }
  return rank;
}

/** Sum over images of the cosine between their two tokens. @param pairs [images, 2, D] */
function sumOfCosines(pairs: Float32Array, images: number): number {
  const width = pairs.length / images / 2;
  let sum = 0;
  for (let i = 0; i < images; i++) {
    let [dot, first, second] = [0, 0, 0];
    for (let d = 0; d < width; d++) {
      const a = pairs[2 * i * width + d] ?? NaN;
      const b = pairs[(2 * i + 1) * width + d] ?? NaN;
      dot += a * b;
      first += a * a;
      second += b * b;
    }
    sum += dot / Math.sqrt(first * second);
  }
  return sum;
}

/** Share of images that two predictors classify differently. */
export function disagreement(a: Int32Array, b: Int32Array): number {
  let differing = 0;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) differing++;
  return differing / a.length;
}
