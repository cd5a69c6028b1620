/**
 * @file The `augment` list of a recipe: read, sorted by what each member works on, and done to a training image in the
 * order the recipe says. What each does is its record's, in `vocabulary/augmentations.ts`.
 */

import { InputError } from "../errors.js";
import type { Pixels } from "../image/resize.js";
import { normalize } from "../image/transform.js";
import type { Preprocess } from "../manifest.js";
import type { Argument, CallSetting } from "../training.js";
import type { Fill } from "./affine.js";
import { argumentsOf, type Reader } from "./arguments.js";
import type { Draws } from "./draws.js";
import type { MixOptions } from "./mix.js";
import { AUGMENTATIONS, type AugmentationRecord } from "./vocabulary/augmentations.js";

/** A member of a recipe's `augment` list: the call's name, and its arguments. */
export type Augmentation = Readonly<Record<string, Argument>> & { readonly kind: string };

/** Throws `InputError` for an unknown name. */
function recordOf(name: string): AugmentationRecord {
  const record = AUGMENTATIONS.get(name);
  if (record === undefined) throw new InputError(`unknown augmentation \`${name}\``);
  return record;
}

const readerOf = (step: Augmentation): Reader => argumentsOf({ name: step.kind, arguments: step });

/** A member of an `augment` list. Throws `InputError` for one that is not known or whose arguments do not fit. */
export function augmentationOf({ name, arguments: given }: CallSetting): Augmentation {
  const fault = recordOf(name).check?.(given);
  if (fault) throw new InputError(fault.text, fault);
  return { ...given, kind: name };
}

/** An `augment` list sorted by what each member works on. */
export interface Augmentations {
  readonly pixels: readonly Augmentation[];
  readonly normalize: Pick<Preprocess, "mean" | "std"> | undefined;
  readonly numbers: readonly Augmentation[];
  readonly repeat: number;
  readonly mix: MixOptions | undefined;
  readonly smoothing: number;
}

const three = ([a = 0, b = 0, c = 0]: readonly number[]): [number, number, number] => [a, b, c];

/** Sorts a recipe's list. Throws `InputError` when pixels would be changed after `normalize`, or erased before it. */
export function sortAugmentations(list: readonly Augmentation[]): Augmentations {
  const pixels: Augmentation[] = [];
  const numbers: Augmentation[] = [];
  let normalization: Augmentations["normalize"];
  let [repeat, smoothing] = [1, 0];
  const mix = { mixup: 0, cutmix: 0, probability: 1, switch: 0.5 };
  for (const one of list) {
    const [{ stage }, given] = [recordOf(one.kind), readerOf(one)];
    switch (stage) {
      case "order": repeat = given.number("times"); break;
      case "normalize":
        normalization = { mean: three(given.numbers("mean", 3)), std: three(given.numbers("std", 3)) };
        break;
      case "numbers": numbers.push(one); break;
      case "targets": smoothing = given.number("amount"); break;
      case "mix":
        mix[one.kind === "mixup" ? "mixup" : "cutmix"] = given.number("alpha");
        mix.probability = given.number("probability");
        mix.switch = given.number("switch");
        break;
      case "pixels":
        if (normalization !== undefined || numbers.length > 0) {
          throw new InputError(`${one.kind} works on 8-bit pixels: it cannot come after normalize or random_erase`);
        }
        pixels.push(one);
        break;
      default: stage satisfies never;
    }
  }
  const mixes = mix.mixup > 0 || mix.cutmix > 0;
  return { pixels, normalize: normalization, numbers, repeat, smoothing, mix: mixes ? mix : undefined };
}

/** What a training image is turned into. */
interface TrainingTransform {
  readonly pixels: readonly Augmentation[];
  readonly numbers: readonly Augmentation[];
  readonly mean: Preprocess["mean"];
  readonly std: Preprocess["std"];
  /** Side of the result, in pixels. */
  readonly size: number;
}

/** Writes an augmented image, [3, size, size]. Throws `InputError` when the steps do not lead to that size. */
export function augment(image: Pixels, how: TrainingTransform, draws: Draws, target: Float32Array): void {
  const { size, mean } = how;
  const fill: Fill = [Math.round(255 * mean[0]), Math.round(255 * mean[1]), Math.round(255 * mean[2])];
  let result = image;
  for (const step of how.pixels) result = recordOf(step.kind).pixels?.(result, readerOf(step), draws, fill) ?? result;
  if (result.width !== size || result.height !== size) {
    const got = `${result.width} × ${result.height}`;
    throw new InputError(`the augmented images have ${got} pixels, but the model takes ${size}`, {
      help: `add random_resized_crop(${size}) or random_crop(${size}) to augment`,
    });
  }
  normalize(result, how, target);
  for (const step of how.numbers) recordOf(step.kind).numbers?.(target, size, readerOf(step), draws);
}
