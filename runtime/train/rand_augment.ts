/**
 * @file RandAugment with timm's magnitudes. Source: Cubuk et al. 2020; timm, auto_augment.py
 * (`rand-m9-mstd0.5-inc1`).
 */

import type { Pixels } from "../image/resize.js";
import { rotate, shearX, shearY, translateX, translateY, type Fill } from "./affine.js";
import type { Draws } from "./draws.js";
import {
  adjustBrightness, adjustColor, adjustContrast, adjustSharpness, autoContrast, equalize, invert, posterize, solarize,
  solarizeAdd,
} from "./recolor.js";

/** What a call of `rand_augment` says. */
interface RandAugmentOptions {
  /** Of 10. */
  readonly magnitude: number;
  /** Of the magnitude's normal distribution. */
  readonly std: number;
  /** Whether a greater magnitude means a stronger effect in all operations. */
  readonly increasing: boolean;
  /** Operations drawn for an image; each runs with probability ½. */
  readonly layers: number;
}

/** One operation: its argument at a level in [0, 10], and what it does with it. */
interface RandAugmentOp {
  readonly name: string;
  /** @param negate what the fair coin of a signed operation fell to */
  argument(level: number, negate: boolean): number;
  apply(image: Pixels, argument: number, fill: Fill): Pixels;
}

const none = (): number => 0;
const signed = (most: number) => (level: number, negate: boolean): number => {
  const value = (level / 10) * most;
  return negate ? -value : value;
};
const enhance = (level: number, negate: boolean): number => {
  const value = (level / 10) * 0.9;
  return Math.max(0.1, 1 + (negate ? -value : value));
};
/** Without sign: from .1 to 1.9. */
const enhancePlain = (level: number): number => (level / 10) * 1.8 + 0.1;
const threshold = (level: number): number => Math.min(256, Math.trunc((level / 10) * 256));

/** The fifteen operations in timm's order. */
export function randAugmentOps(increasing: boolean): readonly RandAugmentOp[] {
  const suffix = increasing ? "Increasing" : "";
  const factor = increasing ? enhance : enhancePlain;
  const bits = (level: number): number => Math.trunc((level / 10) * 4);
  return [
    { name: "AutoContrast", argument: none, apply: autoContrast },
    { name: "Equalize", argument: none, apply: equalize },
    { name: "Invert", argument: none, apply: invert },
    { name: "Rotate", argument: signed(30), apply: rotate },
    { name: `Posterize${suffix}`, argument: (level) => (increasing ? 4 - bits(level) : bits(level)), apply: posterize },
    {
      name: `Solarize${suffix}`, apply: solarize,
      argument: (level) => (increasing ? 256 - threshold(level) : threshold(level)),
    },
    { name: "SolarizeAdd", argument: (level) => Math.min(128, Math.trunc((level / 10) * 110)), apply: solarizeAdd },
    { name: `Color${suffix}`, argument: factor, apply: adjustColor },
    { name: `Contrast${suffix}`, argument: factor, apply: adjustContrast },
    { name: `Brightness${suffix}`, argument: factor, apply: adjustBrightness },
    { name: `Sharpness${suffix}`, argument: factor, apply: adjustSharpness },
    { name: "ShearX", argument: signed(0.3), apply: shearX },
    { name: "ShearY", argument: signed(0.3), apply: shearY },
    { name: "TranslateXRel", argument: signed(0.45), apply: translateX },
    { name: "TranslateYRel", argument: signed(0.45), apply: translateY },
  ];
}

/** Applies `layers` operations drawn with replacement. @param fill of what comes from outside the image */
export function randAugment(image: Pixels, options: RandAugmentOptions, draws: Draws, fill: Fill): Pixels {
  const ops = randAugmentOps(options.increasing);
  let result = image;
  for (let layer = 0; layer < options.layers; layer++) {
    const op = ops[draws.below(ops.length)];
    const applied = draws.chance(0.5);
    const level = Math.min(10, Math.max(0, options.magnitude + options.std * draws.normal()));
    const negate = draws.chance(0.5);
    if (applied && op !== undefined) result = op.apply(result, op.argument(level, negate), fill);
  }
  return result;
}
