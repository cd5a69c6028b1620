/**
 * @file What recipes are written with: the members they have, and the families of calls that stand in them. The calls
 * themselves are the compiler's, which gives the language their signatures, as it does with ops.
 */
import type { Unit } from "./ast.js";

/** What a call in a recipe stands for. */
export type CallFamily = "source" | "optimizer" | "schedule" | "clip" | "augmentation";

/**
 * Signatures of calls, by family and name. A default tells a parameter's type and unit; an untyped parameter without
 * default takes a string.
 */
export type RecipeCalls = Readonly<Record<CallFamily, Readonly<Record<string, string>>>>;

/** What a member's value is. */
export type Accepts =
  | { readonly is: "quantity"; readonly units: readonly Unit[] }
  /** A number in [least, most], or in [least, most) where `open`; `whole`: without fraction. */
  | {
    readonly is: "number"; readonly least: number; readonly most: number; readonly open?: boolean;
    readonly whole?: boolean;
  }
  /** One of these words, unquoted. */
  | { readonly is: "word"; readonly words: readonly string[] }
  /** A call of a family; with `list`, a list of them. */
  | { readonly is: "call"; readonly of: CallFamily; readonly list?: boolean }
  | { readonly is: "strings" };

/** The numbers that a member takes, in words. */
export const rangeText = ({ least, most, open, whole }: Extract<Accepts, { is: "number" }>): string =>
  `${whole === true ? "a whole number" : "a number"} ` +
  (open === true ? `of at least ${least} and below ${most}` : `between ${least} and ${most}`);

/** A member every recipe may have. */
export interface MemberRule {
  readonly doc: string;
  readonly accepts: Accepts;
  /** Shown as the fix when a required member is missing, and where a value is of the wrong kind. */
  readonly example: string;
  readonly required?: boolean;
  /** What holds without it, in words or as it would be written; for members that are not required. */
  readonly without?: string;
}

/**
 * The members of a recipe, by name. Other `NAME = value` are the recipe's own constants; `NAME: model` its instances.
 */
export const members: Readonly<Record<string, MemberRule>> = {
  data: {
    doc: "The training data.",
    accepts: { is: "call", of: "source" },
    example: 'data = image_folder("data/imagenet")',
    required: true,
  },
  eval: {
    doc: "The data it is evaluated on after each epoch.",
    accepts: { is: "call", of: "source" },
    example: 'eval = image_folder("data/val")',
    without: "the part of `data` that is kept for evaluation",
  },
  batch: {
    doc: "Images per optimizer step.",
    accepts: { is: "quantity", units: ["images"] },
    example: "batch = 1024 images",
    required: true,
  },
  accumulate: {
    doc: "Passes per optimizer step; their gradients are summed. Where a pass does not fit the device, there are " +
      "more of them, unless batch norm takes its statistics over a pass.",
    accepts: { is: "quantity", units: ["steps"] },
    example: "accumulate = 4 steps",
    without: "1 step, and a batch that does not fit the device is an error",
  },
  length: {
    doc: "Length of the training, in epochs or optimizer steps.",
    accepts: { is: "quantity", units: ["epochs", "steps"] },
    example: "length = 300 epochs",
    required: true,
  },
  augment: {
    doc: "Augmentations of the images, in order.",
    accepts: { is: "call", of: "augmentation", list: true },
    example: "augment = [horizontal_flip(0.5)]",
    without: "none",
  },
  optimizer: {
    doc: "The optimizer.",
    accepts: { is: "call", of: "optimizer" },
    example: "optimizer = adamw(lr = 1e-3)",
    required: true,
  },
  schedule: {
    doc: "The learning rate over time.",
    accepts: { is: "call", of: "schedule" },
    example: "schedule = cosine(warmup = 5 epochs)",
    without: "constant(), without a warm-up",
  },
  clip: {
    doc: "How gradients are clipped.",
    accepts: { is: "call", of: "clip" },
    example: "clip = global_norm(1.0)",
    without: "no clipping",
  },
  ema: {
    doc: "Decay of the moving average of the weights.",
    accepts: { is: "number", least: 0, most: 1 },
    example: "ema = 0.9999",
    without: "no moving average",
  },
  drop_path: {
    doc: "Stochastic-depth rate of the trained models, where their headers have one.",
    accepts: { is: "number", least: 0, most: 1, open: true },
    example: "drop_path = 0.1",
    without: "what the models state",
  },
  no_weight_decay: {
    doc: "Parameters without weight decay, by the end of their path, in addition to those the models exclude.",
    accepts: { is: "strings" },
    example: 'no_weight_decay = ["bias", "gamma"]',
    without: "only those that the models exclude",
  },
  seed: {
    doc: "Seed of all random numbers.",
    accepts: { is: "number", least: 0, most: 2 ** 32 - 1, whole: true },
    example: "seed = 0",
    without: "0",
  },
  precision: {
    doc: "Number format of a step.",
    accepts: { is: "word", words: ["f32", "mixed"] },
    example: "precision = f32",
    without: "f32",
  },
};
