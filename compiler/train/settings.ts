/**
 * @file What a recipe says besides its models and its loss, as plain data: what the manifest and the trainer get.
 */
import type { Unit } from "../../dsl/ast.js";

/** A number of images, epochs or steps. */
export interface Count {
  readonly value: number;
  readonly unit: Unit;
}

/** A value in a recipe, as JSON has it. */
export type Argument = number | boolean | string | null | Count | readonly Argument[];
export type Arguments = Readonly<Record<string, Argument>>;

/** A call of the recipe's vocabulary: every parameter of its signature by name, defaults filled in. */
export interface CallSetting {
  readonly name: string;
  readonly arguments: Arguments;
}

export const STEPPINGS = ["epochs", "official", "steps"] as const;
/** When a new learning rate is taken: see `runtime/train/schedule.ts`. */
export type Stepping = (typeof STEPPINGS)[number];

/** The learning rate over time; its height is the optimizer's `lr`. Times in epochs or optimizer steps. */
export type ScheduleSetting = {
  readonly stepping: Stepping;
  readonly warmup: Count;
  readonly warmupLr: number;
} & (
  | { readonly kind: "constant" }
  | { readonly kind: "cosine"; readonly minLr: number }
  | { readonly kind: "step"; readonly every: Count; readonly factor: number }
);

/** A bound on gradients. */
export type ClipSetting =
  /** All gradients by min(1, limit / (norm + 1e-6)). Source: torch.nn.utils.clip_grad_norm_. */
  | { readonly kind: "global_norm"; readonly limit: number }
  /** Every element into ±limit. Source: torch.nn.utils.clip_grad_value_. */
  | { readonly kind: "value"; readonly limit: number }
  /**
   * Each output unit's gradient norm to `factor` times its weights' norm (at least 1e-3). Every parameter is clipped;
   * timm leaves the head's out. Source: Brock et al. 2021, §4.
   */
  | { readonly kind: "adaptive"; readonly factor: number };

/** The members of a recipe that are values, checked. */
export interface RecipeSettings {
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
  readonly schedule: ScheduleSetting;
  readonly clip?: ClipSetting;
  /** Decay of the moving average of weights. */
  readonly ema?: number;
  readonly seed: number;
  readonly precision: "f32" | "mixed";
  /** Ends of parameter paths that are not decayed, besides those the models say. */
  readonly noWeightDecay: readonly string[];
}
