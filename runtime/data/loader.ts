/**
 * @file Batches of a data set: what batch k of a run holds is a function of (data set, seed, k), so that a resumed run
 * sees the same pixels. A few batches are prepared ahead, so that the device does not wait.
 */

import { ImageError, InputError, type FileFault } from "../errors.js";
import type { Pixels } from "../image/resize.js";
import { normalize, preprocess } from "../image/transform.js";
import type { Preprocess } from "../manifest.js";
import { streamOf } from "../random.js";
import { augment, sortAugmentations, type Augmentation, type Augmentations } from "../train/augment.js";
import { Draws, epochOrder, repeatOrder } from "../train/draws.js";
import { drawMix, mixImages, softTargets } from "../train/mix.js";

/** One image of a data set, or why it cannot be had. */
export type Sample =
  | { readonly kind: "image"; readonly pixels: Pixels; readonly label: number }
  | {
    readonly kind: "broken"; readonly name: string; readonly reason: string; readonly fault: FileFault;
    readonly label: number;
  };

/** An image that was read. */
export type ImageSample = Sample & { readonly kind: "image" };

/** Labelled images, each by its index. */
export interface Dataset {
  /** As messages call it. */
  readonly name: string;
  /** By label. */
  readonly classes: readonly string[];
  /** Images. */
  readonly length: number;
  /** Paths of the images, where each is a file. */
  readonly files?: readonly string[];
  /** Side in pixels when all images are squares of one size. */
  readonly image: { readonly size: number | undefined; readonly channels: 3 };
  /** The images at `indices`, decoded, in that order. */
  read(indices: readonly number[]): Promise<readonly Sample[]>;
  /** Sentences about what was found where it lies. */
  readonly notes?: readonly string[];
}

/** The images at `indices`. Throws `ImageError` for the first that cannot be read. */
export async function readImages(dataset: Dataset, indices: readonly number[]): Promise<readonly ImageSample[]> {
  return (await dataset.read(indices)).map((sample) => {
    if (sample.kind === "image") return sample;
    throw new ImageError(sample.reason, {
      file: sample.name, fault: sample.fault,
      help: "repair or remove the file, or leave out all that cannot be read with --on-bad-image skip (in a program " +
        "`onBadImage: \"skip\"`); --check-data lists them",
    });
  });
}

/** Images and labels of one step. The arrays are used again once the next batch is asked for. */
export interface Batch {
  /** [B, 3, size, size], normalized. */
  readonly images: Float32Array;
  /** [B]; 0 where there is only padding. */
  readonly labels: Int32Array;
  /** [B, classes], smoothed and mixed: a one-hot row where neither is asked for. */
  readonly targets: Float32Array;
  /** [B]: 1 for an image, 0 for padding. */
  readonly mask: Float32Array;
  /** Images that are not padding. */
  readonly count: number;
  /** Whatever else the data brings for a loss, by the name of its parameter: [B, …]. */
  readonly others?: ReadonlyMap<string, Float32Array | Int32Array>;
}

/** Options of both kinds of loaders. */
interface CommonOptions {
  /** Images in a batch. */
  readonly batch: number;
  /** Batches prepared ahead. */
  readonly prefetch?: number;
}

export interface TrainingOptions extends CommonOptions {
  readonly seed: number;
  /** Of the model: its side, mean and std hold unless the list normalizes. */
  readonly preprocess: Pick<Preprocess, "size" | "mean" | "std">;
  readonly augment?: readonly Augmentation[];
}

/** The arrays of batches that are no longer looked at, to be filled again. */
class Arrays {
  readonly #batch: number;
  readonly #size: number;
  readonly #classes: number;
  readonly #free: Batch[] = [];

  constructor(batch: number, size: number, classes: number) {
    [this.#batch, this.#size, this.#classes] = [batch, size, classes];
  }

  take(): Batch {
    const [batch, size, classes] = [this.#batch, this.#size, this.#classes];
    return this.#free.pop() ?? {
      images: new Float32Array(batch * 3 * size * size), labels: new Int32Array(batch),
      targets: new Float32Array(batch * classes), mask: new Float32Array(batch), count: 0,
    };
  }

  giveBack(batch: Batch): void {
    this.#free.push(batch);
  }
}

/** Runs `make` for 0, 1, … ahead of the consumer; results come in order, and so does a failure. */
async function* ahead(
  first: number, end: number, prefetch: number, make: (index: number) => Promise<Batch>, arrays: Arrays,
): AsyncGenerator<Batch, void, undefined> {
  const queue: Promise<Batch>[] = [];
  let next = first;
  const fill = (): void => {
    while (queue.length <= prefetch && next < end) {
      const made = make(next++);
      // Awaited later; until then a failure must not count as unhandled.
      made.catch(() => undefined);
      queue.push(made);
    }
  };
  for (fill(); queue.length > 0; fill()) {
    const batch = await queue.shift();
    if (batch === undefined) return;
    // Before it is given away, so that the work overlaps with the step.
    fill();
    yield batch;
    arrays.giveBack(batch);
  }
}

function checkBatch(batch: number): void {
  if (!Number.isSafeInteger(batch) || batch < 1) throw new InputError(`batch must be at least 1, got ${batch}`);
}

/** Shuffled, augmented batches; the last, partial one of an epoch is dropped. */
export class TrainingLoader {
  readonly dataset: Dataset;
  /** Batches of an epoch. */
  readonly stepsPerEpoch: number;
  readonly #options: TrainingOptions;
  readonly #how: Augmentations;
  readonly #arrays: Arrays;
  #order: { readonly epoch: number; readonly indices: Uint32Array } | undefined;

  /** Throws `InputError` when the data set has not enough images for one batch, or a mix needs an even one. */
  constructor(dataset: Dataset, options: TrainingOptions) {
    checkBatch(options.batch);
    this.dataset = dataset;
    this.#options = options;
    this.#how = sortAugmentations(options.augment ?? []);
    this.#arrays = new Arrays(options.batch, options.preprocess.size, dataset.classes.length);
    if (this.#how.mix !== undefined && options.batch % 2 !== 0) {
      throw new InputError(`mixup and cutmix need an even batch, got ${options.batch}`);
    }
    this.stepsPerEpoch = Math.floor(this.#orderOf(0).length / options.batch);
    if (this.stepsPerEpoch === 0) {
      throw new InputError(`${dataset.name} has ${dataset.length} images: not enough for a batch of ${options.batch}`);
    }
  }

  #orderOf(epoch: number): Uint32Array {
    if (this.#order?.epoch !== epoch) {
      const { length } = this.dataset;
      const order = epochOrder(length, this.#options.seed, epoch);
      const indices = this.#how.repeat > 1 ? repeatOrder(order, this.#how.repeat) : order;
      this.#order = { epoch, indices };
    }
    return this.#order.indices;
  }

  /** The batch of optimizer step `step`, counted from 0 over all epochs. */
  async #make(step: number): Promise<Batch> {
    const { seed, batch, preprocess: wanted } = this.#options;
    const epoch = Math.floor(step / this.stepsPerEpoch);
    const start = (step % this.stepsPerEpoch) * batch;
    const indices = [...this.#orderOf(epoch).subarray(start, start + batch)];
    const samples = await readImages(this.dataset, indices);
    const { size } = wanted;
    const { mean, std } = this.#how.normalize ?? wanted;
    const made = this.#arrays.take();
    const plane = 3 * size * size;
    samples.forEach(({ pixels, label }, i) => {
      const draws = new Draws({ seed, stream: streamOf("augment"), step: epoch }, start + i);
      const target = made.images.subarray(i * plane, (i + 1) * plane);
      try {
        augment(pixels, { pixels: this.#how.pixels, numbers: this.#how.numbers, mean, std, size }, draws, target);
      } catch (cause) {
        if (!(cause instanceof InputError)) throw cause;
        const index = indices[i] ?? 0;
        const name = this.dataset.files?.[index] ?? `image ${index} of ${this.dataset.name}`;
        throw new InputError(`${name}: ${cause.message}`, { cause, help: cause.help });
      }
      made.labels[i] = label;
    });
    made.mask.fill(1);
    const draws = new Draws({ seed, stream: streamOf("mix"), step: epoch }, start);
    const mix = this.#how.mix === undefined ? undefined : drawMix(this.#how.mix, size, draws);
    if (mix !== undefined) mixImages(made.images, batch, size, mix);
    softTargets(made.labels, this.dataset.classes.length, this.#how.smoothing, mix?.share ?? 1, made.targets);
    return { ...made, count: batch };
  }

  /** The batches of steps `first` to `end` − 1, prepared ahead. */
  batches(first: number, end: number): AsyncGenerator<Batch, void, undefined> {
    return ahead(first, end, this.#options.prefetch ?? 3, (step) => this.#make(step), this.#arrays);
  }
}

export interface EvaluationOptions extends CommonOptions {
  /** The evaluation transform: images of the data set's own size are only normalized when they fit the model. */
  readonly preprocess: Preprocess;
}

/** All images in order by the evaluation transform; the last batch is padded and masked. */
export class EvaluationLoader {
  readonly dataset: Dataset;
  /** Batches of one pass. */
  readonly steps: number;
  readonly #options: EvaluationOptions;
  readonly #arrays: Arrays;

  constructor(dataset: Dataset, options: EvaluationOptions) {
    checkBatch(options.batch);
    this.dataset = dataset;
    this.#options = options;
    this.#arrays = new Arrays(options.batch, options.preprocess.size, dataset.classes.length);
    this.steps = Math.ceil(dataset.length / options.batch);
  }

  async #make(step: number): Promise<Batch> {
    const { batch, preprocess: how } = this.#options;
    const first = step * batch;
    const count = Math.min(batch, this.dataset.length - first);
    const samples = await readImages(this.dataset, Array.from({ length: count }, (_, i) => first + i));
    const made = this.#arrays.take();
    const plane = 3 * how.size * how.size;
    made.images.fill(0);
    made.labels.fill(0);
    made.mask.fill(0);
    samples.forEach((sample, i) => {
      const target = made.images.subarray(i * plane, (i + 1) * plane);
      // Data sets of small images have no border to cut off: official code drops resize and crop for them too.
      const fits = this.dataset.image.size === how.size;
      if (fits) normalize(sample.pixels, how, target);
      else preprocess(sample.pixels, how, target);
      made.labels[i] = sample.label;
      made.mask[i] = 1;
    });
    softTargets(made.labels, this.dataset.classes.length, 0, 1, made.targets);
    return { ...made, count };
  }

  /** One pass over the data set, prepared ahead. */
  batches(): AsyncGenerator<Batch, void, undefined> {
    return ahead(0, this.steps, this.#options.prefetch ?? 3, (step) => this.#make(step), this.#arrays);
  }
}
