/**
 * @file What recipes are written with: the members they have, and the calls that stand in them, as signatures.
 * A default tells a parameter's type and unit; an untyped parameter without default takes a string.
 */
import type { Unit } from "./ast.js";

/** What a member's value is. */
export type Accepts =
  | { readonly is: "quantity"; readonly units: readonly Unit[] }
  /** A number in [least, most]; `whole`: without fraction. */
  | { readonly is: "number"; readonly least: number; readonly most: number; readonly whole?: boolean }
  /** One of these words, unquoted. */
  | { readonly is: "word"; readonly words: readonly string[] }
  /** A call of one of `calls`; with `list`, a list of them. */
  | { readonly is: "call"; readonly calls: Readonly<Record<string, string>>; readonly list?: boolean }
  | { readonly is: "strings" };

/** A member every recipe may have. */
export interface MemberRule {
  readonly doc: string;
  readonly accepts: Accepts;
  /** Shown as the fix when a required member is missing, and where a value is of the wrong kind. */
  readonly example: string;
  readonly required?: boolean;
}

const sources: Readonly<Record<string, string>> = {
  image_folder: "(path, workers = 4)",
  cifar10: "(path)",
  cifar100: "(path)",
  shards: "(path, workers = 4)",
  shapes: "(seed = 0, train = 20000, test = 2000)",
};

const optimizers: Readonly<Record<string, string>> = {
  adamw: "(lr: real, weight_decay = 0.05, betas = [0.9, 0.999], eps = 1e-8)",
  sgd: "(lr: real, momentum = 0.9, weight_decay = 0, nesterov = false)",
  lamb: "(lr: real, weight_decay = 0.02, betas = [0.9, 0.999], eps = 1e-6)",
};

const schedules: Readonly<Record<string, string>> = {
  constant: '(warmup = 0 epochs, warmup_lr = 1e-6, stepping = "epochs")',
  cosine: '(warmup = 5 epochs, warmup_lr = 1e-6, min_lr = 1e-5, stepping = "epochs")',
  step: '(every = 30 epochs, factor = 0.1, warmup = 0 epochs, warmup_lr = 1e-6, stepping = "epochs")',
};

const clips: Readonly<Record<string, string>> = {
  global_norm: "(limit: real)",
  value: "(limit: real)",
  adaptive: "(factor: real)",
};

const augmentations: Readonly<Record<string, string>> = {
  repeat: "(times: int)",
  resize: '(size: int, interpolation = "bicubic")',
  center_crop: "(size: int)",
  random_crop: '(size: int, pad = 4, mode = "constant")',
  random_resized_crop: '(size: int, scale = [0.08, 1], ratio = [0.75, 1.3333333333333333], interpolation = "bicubic")',
  horizontal_flip: "(probability = 0.5)",
  vertical_flip: "(probability = 0.5)",
  color_jitter: "(brightness = 0.3, contrast = 0.3, saturation = 0.3, hue = 0)",
  rand_augment: "(magnitude = 9, std = 0.5, increasing = true, layers = 2)",
  three_augment: "(jitter = 0.3)",
  normalize: '(name = "imagenet", mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225])',
  random_erase: '(probability = 0.25, mode = "pixel", count = 1)',
  mixup: "(alpha = 0.8, probability = 1, switch = 0.5)",
  cutmix: "(alpha = 1, probability = 1, switch = 0.5)",
  label_smoothing: "(amount = 0.1)",
};

/**
 * The members of a recipe, by name. Other `NAME = value` are the recipe's own constants; `NAME: model` its instances.
 */
export const members: Readonly<Record<string, MemberRule>> = {
  data: {
    doc: "What it is trained on.",
    accepts: { is: "call", calls: sources },
    example: 'data = image_folder("data/imagenet")',
    required: true,
  },
  eval: {
    doc: "What it is evaluated on after each epoch.",
    accepts: { is: "call", calls: sources },
    example: 'eval = image_folder("data/val")',
  },
  batch: {
    doc: "Images an optimizer step sees.",
    accepts: { is: "quantity", units: ["images"] },
    example: "batch = 1024 images",
    required: true,
  },
  accumulate: {
    doc: "Passes whose gradients one optimizer step sums.",
    accepts: { is: "quantity", units: ["steps"] },
    example: "accumulate = 4 steps",
  },
  length: {
    doc: "How long it trains, in epochs or optimizer steps.",
    accepts: { is: "quantity", units: ["epochs", "steps"] },
    example: "length = 300 epochs",
    required: true,
  },
  augment: {
    doc: "What happens to the images, in order.",
    accepts: { is: "call", calls: augmentations, list: true },
    example: "augment = [horizontal_flip(0.5)]",
  },
  optimizer: {
    doc: "How gradients become updates.",
    accepts: { is: "call", calls: optimizers },
    example: "optimizer = adamw(lr = 1e-3)",
    required: true,
  },
  schedule: {
    doc: "The learning rate over time; constant without.",
    accepts: { is: "call", calls: schedules },
    example: "schedule = cosine(warmup = 5 epochs)",
  },
  clip: {
    doc: "A bound on gradients.",
    accepts: { is: "call", calls: clips },
    example: "clip = global_norm(1.0)",
  },
  ema: {
    doc: "Decay of the moving average of weights.",
    accepts: { is: "number", least: 0, most: 1 },
    example: "ema = 0.9999",
  },
  drop_path: {
    doc: "Stochastic-depth rate of the trained models, where their headers have one.",
    accepts: { is: "number", least: 0, most: 1 },
    example: "drop_path = 0.1",
  },
  no_weight_decay: {
    doc: "Parameters left out of weight decay, by the end of their path, besides those the models say.",
    accepts: { is: "strings" },
    example: 'no_weight_decay = ["dist_token"]',
  },
  seed: {
    doc: "What all random numbers derive from.",
    accepts: { is: "number", least: 0, most: 2 ** 32 - 1, whole: true },
    example: "seed = 0",
  },
  precision: {
    doc: "Arithmetic of a step.",
    accepts: { is: "word", words: ["f32", "mixed"] },
    example: "precision = f32",
  },
};
