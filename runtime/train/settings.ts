/** @file A recipe's settings as what loaders and the learning rate take. */
import { InputError } from "../errors.js";
import type { Filter } from "../image/resize.js";
import type { Preprocess } from "../manifest.js";
import type { Argument, CallSetting, Count, TrainingManifest, TrainingSettings } from "../training.js";
import type { Augmentation } from "./augment.js";
import { schedule, type Schedule } from "./schedule.js";

/** The arguments of a call, read as what they have to be. */
class Reader {
  readonly #call: CallSetting;

  constructor(call: CallSetting) {
    this.#call = call;
  }

  #fail(name: string, wanted: string): InputError {
    const got = JSON.stringify(this.#call.arguments[name] ?? null);
    return new InputError(`\`${name}\` of \`${this.#call.name}\` is ${wanted}, got ${got}`);
  }

  number(name: string): number {
    const value = this.#call.arguments[name];
    if (typeof value !== "number") throw this.#fail(name, "a number");
    return value;
  }

  flag(name: string): boolean {
    const value = this.#call.arguments[name];
    if (typeof value !== "boolean") throw this.#fail(name, "true or false");
    return value;
  }

  text(name: string): string {
    const value = this.#call.arguments[name];
    if (typeof value !== "string") throw this.#fail(name, "a text");
    return value;
  }

  word<W extends string>(name: string, words: readonly W[]): W {
    const found = words.find((word) => word === this.#call.arguments[name]);
    if (found === undefined) throw this.#fail(name, words.map((word) => `"${word}"`).join(" or "));
    return found;
  }

  /** A list of so many numbers. */
  numbers(name: string, count: number): number[] {
    const value = this.#call.arguments[name];
    const list: readonly Argument[] = isList(value) ? value : [];
    const numbers = list.filter((one) => typeof one === "number");
    if (list.length !== count || numbers.length !== count) throw this.#fail(name, `a list of ${count} numbers`);
    return numbers;
  }
}

/** `Array.isArray` does not narrow readonly arrays. */
const isList = (value: Argument | undefined): value is readonly Argument[] => Array.isArray(value);

/** The arguments of a call. Every method throws `InputError` for an argument that is missing or of another kind. */
export const argumentsOf = (call: CallSetting): Reader => new Reader(call);

const three = ([a = 0, b = 0, c = 0]: readonly number[]): [number, number, number] => [a, b, c];

const FILTERS = ["bicubic", "bilinear"] as const satisfies readonly Filter[];

/** A member of an `augment` list. Throws `InputError` for one that is not known or whose arguments do not fit. */
export function augmentationOf(setting: CallSetting): Augmentation {
  const call = new Reader(setting);
  const pair = (name: string): readonly [number, number] => {
    const [a = 0, b = 0] = call.numbers(name, 2);
    return [a, b];
  };
  const { name } = setting;
  switch (name) {
    case "repeat": return { kind: name, times: call.number("times") };
    case "resize": return { kind: name, size: call.number("size"), interpolation: call.word("interpolation", FILTERS) };
    case "center_crop": return { kind: name, size: call.number("size") };
    case "random_crop": return {
      kind: name, size: call.number("size"), pad: call.number("pad"),
      mode: call.word("mode", ["constant", "reflect"]),
    };
    case "random_resized_crop": return {
      kind: name, size: call.number("size"), scale: pair("scale"), ratio: pair("ratio"),
      interpolation: call.word("interpolation", FILTERS),
    };
    case "horizontal_flip": case "vertical_flip": return { kind: name, probability: call.number("probability") };
    case "color_jitter":
      if (call.number("hue") !== 0) throw new InputError("`color_jitter` changes no hue", { help: "write `hue = 0`" });
      return {
        kind: name, brightness: call.number("brightness"), contrast: call.number("contrast"),
        saturation: call.number("saturation"),
      };
    case "rand_augment": return {
      kind: name, magnitude: call.number("magnitude"), std: call.number("std"), increasing: call.flag("increasing"),
      layers: call.number("layers"),
    };
    case "three_augment": return { kind: name, jitter: call.number("jitter") };
    case "normalize": return { kind: name, mean: three(call.numbers("mean", 3)), std: three(call.numbers("std", 3)) };
    case "random_erase": return {
      kind: name, probability: call.number("probability"), mode: call.word("mode", ["pixel", "rand", "const"]),
      count: call.number("count"),
    };
    case "mixup": case "cutmix": return {
      kind: name, alpha: call.number("alpha"), probability: call.number("probability"), switch: call.number("switch"),
    };
    case "label_smoothing": return { kind: name, amount: call.number("amount") };
    default: throw new InputError(`no augmentation is called \`${name}\``);
  }
}

/** A time in epochs. */
const epochsOf = ({ value, unit }: Count, stepsPerEpoch: number): number =>
  (unit === "steps" ? value / stepsPerEpoch : value);

/** Optimizer steps of a length; at least one. */
export const stepsOf = ({ value, unit }: Count, stepsPerEpoch: number): number =>
  Math.max(1, Math.round(unit === "steps" ? value : value * stepsPerEpoch));

/** The recipe's learning rate over a run of `steps`. Throws `InputError` for times without meaning. */
export function scheduleOf(settings: TrainingSettings, steps: number, stepsPerEpoch: number): Schedule {
  const { schedule: how, optimizer } = settings;
  const common = {
    kind: how.kind, lr: new Reader(optimizer).number("lr"), length: steps / stepsPerEpoch, stepping: how.stepping,
    warmup: epochsOf(how.warmup, stepsPerEpoch), warmupLr: how.warmupLr,
  };
  switch (how.kind) {
    case "constant": return schedule(common);
    case "cosine": return schedule({ ...common, minLr: how.minLr });
    case "step": return schedule({ ...common, every: epochsOf(how.every, stepsPerEpoch), factor: how.factor });
    default: return how satisfies never;
  }
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
  const stated = augment.find((one) => one.kind === "normalize");
  const model = manifest.models.find(({ frozen }) => !frozen);
  const own = model?.preprocess ?? plainOf(manifest);
  if (model?.preprocess === undefined && stated === undefined) {
    notes.push(`\`${model?.model}\` says not how images are prepared: they are its size, with values from 0 to 1`);
  }
  if (model?.preprocess !== undefined && stated !== undefined) {
    const { mean, std } = model.preprocess;
    if (JSON.stringify([mean, std]) !== JSON.stringify([stated.mean, stated.std])) {
      const rest = "to use the trained model, give it the recipe's";
      notes.push(`the recipe normalizes images otherwise than \`${model.model}\` says in its \`preprocess\`: ${rest}`);
    }
  }
  const { mean, std } = stated ?? own;
  return { preprocess: { ...own, mean, std }, augment, notes };
}

/** Images of the size of the evaluated model's first input, not normalized. */
function plainOf({ name, graphs: { evaluate } }: TrainingManifest): Preprocess {
  const [, channels, height, width] = evaluate.inputs[0]?.shape ?? [];
  if (channels?.c !== 3 || height === undefined || height.b !== 0 || height.c !== width?.c) {
    throw new InputError(`${name} trains a model that takes no square RGB images: data sets bring nothing else`);
  }
  return { size: height.c, resize: height.c, mean: [0, 0, 0], std: [1, 1, 1] };
}
