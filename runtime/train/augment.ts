/**
 * @file Augmentations: how each is read from a recipe, and what happens to a training image, in the order the recipe
 * says; every draw comes from the image's own numbers. The signatures and the checks are the compiler's, in
 * `train/vocabulary/augmentations.ts`. Source: torchvision, transforms; timm, transforms_factory.py.
 */

import { InputError } from "../errors.js";
import { crop, resize, type Filter, type Pixels } from "../image/resize.js";
import { centreBox, normalize, roundHalfEven, shorterSideSize } from "../image/transform.js";
import type { Preprocess } from "../manifest.js";
import type { CallSetting } from "../training.js";
import type { Fill } from "./affine.js";
import { argumentsOf } from "./arguments.js";
import type { Draws } from "./draws.js";
import { randomErase, type EraseOptions } from "./erase.js";
import type { MixOptions } from "./mix.js";
import { randAugment, type RandAugmentOptions } from "./rand_augment.js";
import { adjustBrightness, adjustColor, adjustContrast, gaussianBlur, grayscale, solarize } from "./recolor.js";

/** On 8-bit pixels. */
export type PixelStep =
  | { readonly kind: "resize"; readonly size: number; readonly interpolation: Filter }
  | { readonly kind: "center_crop"; readonly size: number }
  | { readonly kind: "random_crop"; readonly size: number; readonly pad: number; readonly mode: "constant" | "reflect" }
  | {
    readonly kind: "random_resized_crop"; readonly size: number; readonly interpolation: Filter;
    readonly scale: readonly [number, number]; readonly ratio: readonly [number, number];
  }
  | { readonly kind: "horizontal_flip" | "vertical_flip"; readonly probability: number }
  | {
    readonly kind: "color_jitter"; readonly brightness: number; readonly contrast: number; readonly saturation: number;
  }
  | { readonly kind: "three_augment"; readonly jitter: number }
  | ({ readonly kind: "rand_augment" } & RandAugmentOptions);

/** A member of a recipe's `augment` list: the call's name and its arguments. */
export type Augmentation =
  | PixelStep
  | ({ readonly kind: "normalize" } & Pick<Preprocess, "mean" | "std">)
  | ({ readonly kind: "random_erase" } & EraseOptions)
  | { readonly kind: "repeat"; readonly times: number }
  | { readonly kind: "mixup" | "cutmix"; readonly alpha: number; readonly probability: number; readonly switch: number }
  | { readonly kind: "label_smoothing"; readonly amount: number };

const three = ([a = 0, b = 0, c = 0]: readonly number[]): [number, number, number] => [a, b, c];

const FILTERS = ["bicubic", "bilinear"] as const satisfies readonly Filter[];

/** A member of an `augment` list. Throws `InputError` for one that is not known or whose arguments do not fit. */
export function augmentationOf(setting: CallSetting): Augmentation {
  const call = argumentsOf(setting);
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
      if (call.number("hue") !== 0) {
        throw new InputError("`color_jitter` does not change the hue", { help: "write `hue = 0`" });
      }
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
    default: throw new InputError(`unknown augmentation \`${name}\``);
  }
}

/** An `augment` list sorted by what each member works on. */
export interface Augmentations {
  readonly pixels: readonly PixelStep[];
  readonly normalize: Pick<Preprocess, "mean" | "std"> | undefined;
  readonly erase: readonly EraseOptions[];
  readonly repeat: number;
  readonly mix: MixOptions | undefined;
  readonly smoothing: number;
}

/** Sorts a recipe's list. Throws `InputError` when pixels would be changed after `normalize`, or erased before it. */
export function sortAugmentations(list: readonly Augmentation[]): Augmentations {
  const pixels: PixelStep[] = [];
  const erase: EraseOptions[] = [];
  let normalization: Augmentations["normalize"];
  let [repeat, smoothing] = [1, 0];
  const mix = { mixup: 0, cutmix: 0, probability: 1, switch: 0.5 };
  for (const one of list) {
    switch (one.kind) {
      case "normalize": normalization = one; break;
      case "random_erase": erase.push(one); break;
      case "repeat": repeat = one.times; break;
      case "label_smoothing": smoothing = one.amount; break;
      case "mixup": case "cutmix":
        mix[one.kind] = one.alpha;
        mix.probability = one.probability;
        mix.switch = one.switch;
        break;
      default:
        if (normalization !== undefined || erase.length > 0) {
          throw new InputError(`${one.kind} works on 8-bit pixels: it cannot come after normalize or random_erase`);
        }
        pixels.push(one);
    }
  }
  const mixes = mix.mixup > 0 || mix.cutmix > 0;
  return { pixels, normalize: normalization, erase, repeat, smoothing, mix: mixes ? mix : undefined };
}

/** A border of `pad` pixels: black, or the image mirrored about its edge pixels. */
function padded(image: Pixels, pad: number, mode: "constant" | "reflect"): Pixels {
  const { data, width, height } = image;
  const [w, h] = [width + 2 * pad, height + 2 * pad];
  const to = new Uint8ClampedArray(w * h * 3);
  const mirror = (at: number, count: number): number => {
    const inside = at < 0 ? -at : at;
    return inside < count ? inside : 2 * (count - 1) - inside;
  };
  for (let y = 0; y < h; y++) {
    for (let x = 0; x < w; x++) {
      let [row, column] = [y - pad, x - pad];
      if (mode === "reflect") [row, column] = [mirror(row, height), mirror(column, width)];
      if (row < 0 || row >= height || column < 0 || column >= width) continue;
      for (let c = 0; c < 3; c++) to[(y * w + x) * 3 + c] = data[(row * width + column) * 3 + c] ?? 0;
    }
  }
  return { data: to, width: w, height: h };
}

function randomCrop(image: Pixels, { size, pad, mode }: PixelStep & { kind: "random_crop" }, draws: Draws): Pixels {
  const from = pad > 0 ? padded(image, pad, mode) : image;
  if (from.width < size || from.height < size) {
    throw new InputError(`a crop of ${size} pixels does not fit an image of ${from.width} × ${from.height}`);
  }
  const top = draws.below(from.height - size + 1);
  return crop(from, { top, left: draws.below(from.width - size + 1), width: size, height: size });
}

/** Ten tries for a part of that area and aspect ratio, else the middle; then resized to a square. */
function randomResizedCrop(
  image: Pixels, { size, scale, ratio, interpolation }: PixelStep & { kind: "random_resized_crop" }, draws: Draws,
): Pixels {
  const { width, height } = image;
  for (let attempt = 0; attempt < 10; attempt++) {
    const area = draws.uniform(scale[0], scale[1]) * width * height;
    const aspect = Math.exp(draws.uniform(Math.log(ratio[0]), Math.log(ratio[1])));
    const w = roundHalfEven(Math.sqrt(area * aspect));
    const h = roundHalfEven(Math.sqrt(area / aspect));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    const top = draws.below(height - h + 1);
    const part = crop(image, { top, left: draws.below(width - w + 1), width: w, height: h });
    return resize(part, size, size, interpolation);
  }
  const aspect = Math.min(ratio[1], Math.max(ratio[0], width / height));
  const w = Math.min(width, roundHalfEven(height * aspect));
  const h = Math.min(height, roundHalfEven(width / aspect));
  const box = { left: Math.floor((width - w) / 2), top: Math.floor((height - h) / 2), width: w, height: h };
  return resize(crop(image, box), size, size, interpolation);
}

function flipped({ data, width, height }: Pixels, across: boolean): Pixels {
  const to = new Uint8ClampedArray(data.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = (across ? y * width + (width - 1 - x) : (height - 1 - y) * width + x) * 3;
      for (let c = 0; c < 3; c++) to[(y * width + x) * 3 + c] = data[from + c] ?? 0;
    }
  }
  return { data: to, width, height };
}

/** Brightness, contrast and saturation by factors around 1, in a random order. */
function jittered(image: Pixels, brightness: number, contrast: number, saturation: number, draws: Draws): Pixels {
  const steps: readonly (readonly [number, typeof adjustColor])[] = [
    [brightness, adjustBrightness], [contrast, adjustContrast], [saturation, adjustColor],
  ];
  return steps
    .map(([most, adjust]) => {
      const order = draws.unit();
      return { order, factor: draws.uniform(Math.max(0, 1 - most), 1 + most), most, adjust };
    })
    .sort((a, b) => a.order - b.order)
    .reduce((result, { most, factor, adjust }) => (most > 0 ? adjust(result, factor) : result), image);
}

/** DeiT III's: one of grey, solarize and blur, then jitter. Source: Touvron et al. 2022. */
function threeAugment(image: Pixels, jitter: number, draws: Draws): Pixels {
  const [which, radius] = [draws.below(3), draws.uniform(0.1, 2)];
  const one = which === 0 ? grayscale(image) : which === 1 ? solarize(image, 128) : gaussianBlur(image, radius);
  return jittered(one, jitter, jitter, jitter, draws);
}

function applied(image: Pixels, step: PixelStep, draws: Draws, fill: Fill): Pixels {
  switch (step.kind) {
    case "resize": {
      const to = shorterSideSize(image, step.size);
      return resize(image, to.width, to.height, step.interpolation);
    }
    case "center_crop": return crop(image, centreBox(image, step.size));
    case "random_crop": return randomCrop(image, step, draws);
    case "random_resized_crop": return randomResizedCrop(image, step, draws);
    case "horizontal_flip": case "vertical_flip":
      return draws.chance(step.probability) ? flipped(image, step.kind === "horizontal_flip") : image;
    case "color_jitter": return jittered(image, step.brightness, step.contrast, step.saturation, draws);
    case "three_augment": return threeAugment(image, step.jitter, draws);
    case "rand_augment": return randAugment(image, step, draws, fill);
    default: return step satisfies never;
  }
}

/** What a training image is turned into. */
interface TrainingTransform {
  readonly pixels: readonly PixelStep[];
  readonly erase: readonly EraseOptions[];
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
  for (const step of how.pixels) result = applied(result, step, draws, fill);
  if (result.width !== size || result.height !== size) {
    const got = `${result.width} × ${result.height}`;
    throw new InputError(`the augmented images have ${got} pixels, but the model takes ${size}`, {
      help: `add random_resized_crop(${size}) or random_crop(${size}) to augment`,
    });
  }
  normalize(result, how, target);
  for (const erase of how.erase) randomErase(target, size, erase, draws);
}
