/**
 * @file The contract between compiler and trainer: everything a compiled recipe is, but its shaders' text.
 */
import type { Artifact, Definition } from "./artifact.js";
import { InputError } from "./errors.js";
import type { DType, Initializer, Manifest, Preprocess } from "./manifest.js";

/** `manifest.json` of a recipe. */
export interface TrainingManifest extends Artifact {
  /** Everything that lives from step to step. A parameter of a graph below is the state of the same path. */
  readonly states: readonly StateInfo[];
  readonly graphs: TrainingGraphs;
  /** Inputs of the step that the data brings, in the order of the loss: the first is the images. */
  readonly data: readonly string[];
  /** Inputs of the step that are numbers, given anew at every optimizer step: 0-d f32, named `step.NAME`. */
  readonly scalars: readonly ScalarInfo[];
  /** Inputs of the step that are random numbers, uniform in [0, 1), drawn anew for every pass. */
  readonly randoms: readonly RandomInfo[];
  /** Models of the recipe in order; the first that is not frozen is the one evaluated. */
  readonly models: readonly ModelInfo[];
  /** Classes of the prediction, where there are any. */
  readonly classes?: number;
  readonly settings: TrainingSettings;
  /** Digest of everything that decides numbers: a run is resumed only by the recipe that began it. */
  readonly digest: string;
}

export const isTraining = (artifact: Artifact): artifact is TrainingManifest => "settings" in artifact;

/** The recipe that an artifact is. @throws InputError for a model */
export function recipeOf(definition: Definition): Definition<TrainingManifest> {
  const { manifest } = definition;
  if (isTraining(manifest)) return { ...definition, manifest, wgsl: (...kernel) => definition.wgsl(...kernel) };
  throw new InputError(`${manifest.name} is a model, not a recipe`, {
    help: "compile a recipe that trains it: `recipe NAME { student: MODEL … }`",
  });
}

/** The graphs of a recipe by name. */
export interface TrainingGraphs {
  /** The model that is trained, in inference. Its parameters have the paths of the states that they are. */
  readonly infer: Manifest;
  /**
   * One optimizer step on one batch. Outputs: `loss`, `correct` (images predicted right) where there are classes,
   * `grad_norm` where it is computed. Absent where a step takes several passes.
   */
  readonly train?: Manifest;
  /** One pass of several: adds its gradients, times the scalar `share`, to the `gradient/…` states. */
  readonly gather?: Manifest;
  /** After the passes: the optimizer on the sums, which it sets back to zero. Takes scalars alone. */
  readonly apply?: Manifest;
  /**
   * The evaluated model in inference. Inputs: its own, then `labels` (i32 [B]) and `mask` (f32 [B]: 1 for an image,
   * 0 for padding) where it has classes; outputs: its own, then sums over the mask: `loss`, `correct`, `correct5`
   * (more than five classes), `count`. Run with the parameters, or with their averages (`ema/PATH`) in their place.
   */
  readonly evaluate: Manifest;
}

/** What a state is for; a `lane` holds others side by side so that one kernel serves them all. */
export type StateRole = "parameter" | "buffer" | "optimizer" | "ema" | "gradient" | "lane";

/** A tensor that lives from step to step. */
export interface StateInfo {
  /** `blocks.0.norm1.weight`, `adamw.m/blocks.0.norm1.weight`, `ema/blocks.0.norm1.weight`. */
  readonly path: string;
  readonly role: StateRole;
  /** Path of the parameter or buffer it belongs to; its own for those and for lanes. */
  readonly of: string;
  readonly shape: readonly number[];
  readonly dtype: DType;
  /** `copy`: what `of` starts from, whether drawn or loaded. Lanes start as zeros, then hold what lies in them. */
  readonly initial: Initializer | { readonly kind: "copy" };
  /** Whether the optimizer changes it (role `parameter`); whether it is decayed then. */
  readonly trained: boolean;
  readonly decay: boolean;
  /** Position of the lane it lies in, and where it starts there, in elements (a multiple of 64). */
  readonly inside?: { readonly state: number; readonly offset: number };
}

/** A number that the trainer gives anew at every optimizer step: a 0-d f32 input, `step.NAME`. */
export type ScalarInfo =
  /** The scheduled learning rate. */
  | { readonly name: string; readonly kind: "learning_rate" }
  /** 1 − beta^s at step s, counted from 1, computed in float64: in f32, 1 − 0.999 alone is 2e-5 off. */
  | { readonly name: string; readonly kind: "bias_correction"; readonly beta: number }
  /** 1 / passes of a step: the weight of one pass's gradient among those accumulated. */
  | { readonly name: string; readonly kind: "share" };

/** Random numbers the host draws: Philox keyed by seed, stream and step. */
interface RandomInfo {
  /** Name of the input; its shape is the input's. */
  readonly input: string;
  readonly stream: string;
}

/** A model of a recipe. */
export interface ModelInfo {
  readonly name: string;
  readonly model: string;
  readonly doc: string;
  readonly frozen: boolean;
  /** In front of its parameters' paths, without a dot; empty for the first trained one. */
  readonly path: string;
  /** Checkpoint it starts from, as the recipe names it: relative to the recipe's file. */
  readonly weights?: string;
  readonly preprocess?: Preprocess;
}

/** A number of images, epochs or steps. */
export interface Count {
  readonly value: number;
  readonly unit: "images" | "epochs" | "steps";
}

/** A value in a recipe, as JSON has it. */
export type Argument = number | boolean | string | null | Count | readonly Argument[];
export type Arguments = Readonly<Record<string, Argument>>;

/** A call of the recipe's vocabulary: every parameter of its signature by name, defaults filled in. */
export interface CallSetting {
  readonly name: string;
  readonly arguments: Arguments;
}

/** The members of a recipe that are values, checked. */
export interface TrainingSettings {
  readonly data: CallSetting;
  readonly eval?: CallSetting;
  /** Images an optimizer step sees, all passes together. */
  readonly batch: number;
  /** Passes whose gradients one optimizer step averages; the trainer may raise it where a pass does not fit. */
  readonly accumulate: number;
  /** Optimizer steps or epochs. */
  readonly length: Count;
  readonly augment: readonly CallSetting[];
  readonly optimizer: CallSetting;
  /** The learning rate over time; its height is the optimizer's `lr`. */
  readonly schedule: CallSetting;
  /** The bound on gradients, which is part of the graph of a step. */
  readonly clip?: CallSetting;
  /** Decay of the moving average of weights. */
  readonly ema?: number;
  readonly seed: number;
  /** Arithmetic of a step. */
  readonly precision: "f32";
  /** Ends of parameter paths that are not decayed, besides those the models say. */
  readonly noWeightDecay: readonly string[];
}
