/** @file A recipe's settings as what loaders and the learning rate take. */
import { InputError } from "../errors.js";
import type { Preprocess } from "../manifest.js";
import type { Count, TrainingManifest, TrainingSettings } from "../training.js";
import { argumentsOf } from "./arguments.js";
import { augmentationOf, sortAugmentations, type Augmentation } from "./augment.js";
import { schedule, scheduleRecord, STEPPINGS, type Schedule } from "./schedule.js";

/** Optimizer steps of a length; at least one. */
export const stepsOf = ({ value, unit }: Count, stepsPerEpoch: number): number =>
  Math.max(1, Math.round(unit === "steps" ? value : value * stepsPerEpoch));

/** The recipe's learning rate over a run of `steps`. Throws `InputError` for times without meaning. */
export function scheduleOf(settings: TrainingSettings, steps: number, stepsPerEpoch: number): Schedule {
  const how = argumentsOf(settings.schedule);
  const common = {
    lr: argumentsOf(settings.optimizer).number("lr"), length: steps / stepsPerEpoch,
    stepping: how.word("stepping", STEPPINGS), warmup: how.time("warmup", stepsPerEpoch),
    warmupLr: how.number("warmup_lr"),
  };
  const { name: kind } = settings.schedule;
  const { numbers, times } = scheduleRecord(kind);
  const own = Object.fromEntries([
    ...Object.keys(numbers).map((name) => [name, how.number(name)]),
    ...times.map((name) => [name, how.time(name, stepsPerEpoch)]),
  ]) as Readonly<Record<string, number>>;
  return schedule({ ...common, kind, own });
}

/** How images are prepared: as the evaluated model says, normalized as the `augment` list says where it does. */
interface Preparation {
  readonly preprocess: Preprocess;
  readonly augment: readonly Augmentation[];
  /** What is odd, as sentences. */
  readonly notes: readonly string[];
}

/** Throws `InputError` for an augmentation without meaning, and for a model that takes no square RGB images. */
export function preparationOf(manifest: TrainingManifest): Preparation {
  const notes: string[] = [];
  const augment = manifest.settings.augment.map(augmentationOf);
  const normalization = sortAugmentations(augment).normalize;
  const model = manifest.models.find(({ frozen }) => !frozen);
  const own = model?.preprocess ?? plainOf(manifest);
  if (model?.preprocess === undefined && normalization === undefined) {
    notes.push(`\`${model?.model}\` does not say how images are preprocessed: they have its size, with values from ` +
      "0 to 1");
  }
  if (model?.preprocess !== undefined && normalization !== undefined) {
    const { mean, std } = model.preprocess;
    if (JSON.stringify([mean, std]) !== JSON.stringify([normalization.mean, normalization.std])) {
      const rest = "to use the trained model, give it the recipe's";
      notes.push(`the recipe does not normalize images as the \`preprocess\` of \`${model.model}\` does: ${rest}`);
    }
  }
  const { mean, std } = normalization ?? own;
  return { preprocess: { ...own, mean, std }, augment, notes };
}

/** Images of the size of the evaluated model's first input, not normalized. */
function plainOf({ name, graphs: { evaluate } }: TrainingManifest): Preprocess {
  const [, channels, height, width] = evaluate.inputs[0]?.shape ?? [];
  if (channels?.c !== 3 || height === undefined || height.b !== 0 || height.c !== width?.c) {
    throw new InputError(`${name} trains a model that does not take square RGB images: data sets provide no others`);
  }
  return { size: height.c, resize: height.c, mean: [0, 0, 0], std: [1, 1, 1] };
}
