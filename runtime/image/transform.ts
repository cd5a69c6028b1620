/**
 * @file The evaluation transform: shorter side, centre crop, normalize. Source: torchvision Resize, CenterCrop,
 * ToTensor and Normalize, as deit/datasets.py composes them.
 */

import { InputError } from "../errors.js";
import type { Preprocess } from "../manifest.js";
import { resize, type Box, type Pixels } from "./resize.js";

/** Python's `round`: halves go to the even neighbour. */
export function roundHalfEven(value: number): number {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}

/** The size in pixels after the shorter side has become `side`; the longer one is cut, not rounded. */
export function shorterSideSize(
  { width, height }: { readonly width: number; readonly height: number }, side: number,
): { width: number; height: number } {
  return width <= height
    ? { width: side, height: Math.trunc((side * height) / width) }
    : { width: Math.trunc((side * width) / height), height: side };
}

/** The middle `size` × `size` pixels of an image. */
export function centreBox({ width, height }: { readonly width: number; readonly height: number }, size: number): Box {
  const left = roundHalfEven((width - size) / 2);
  const top = roundHalfEven((height - size) / 2);
  return { left, top, width: size, height: size };
}

/**
 * Writes an image as planar float32 [3, height, width]: (x / 255 − mean) / std, each step rounded to float32 as torch
 * does. Throws `InputError` when `target` has another length.
 */
export function normalize(
  { data, width, height }: Pixels, { mean, std }: Pick<Preprocess, "mean" | "std">,
  target: Float32Array = new Float32Array(3 * width * height),
): Float32Array {
  const plane = width * height;
  if (target.length !== 3 * plane) throw new InputError(`${target.length} values cannot hold [3, ${height}, ${width}]`);
  const { fround } = Math;
  for (const channel of [0, 1, 2] as const) {
    const [centre, scale] = [fround(mean[channel]), fround(std[channel])];
    const level = Float32Array.from({ length: 256 }, (_, x) => fround(fround(x / 255) - centre) / scale);
    for (let i = 0; i < plane; i++) target[channel * plane + i] = level[data[3 * i + channel] ?? 0] ?? 0;
  }
  return target;
}

/** The pixels that `preprocess` normalizes: `size` × `size`. Throws `InputError` when the crop exceeds the resize. */
export function evaluationPixels(image: Pixels, { size, resize: side }: Pick<Preprocess, "size" | "resize">): Pixels {
  if (size > side) throw new InputError(`a crop of ${size} pixels does not fit a shorter side of ${side}`);
  const resized = shorterSideSize(image, side);
  return resize(image, resized.width, resized.height, "bicubic", centreBox(resized, size));
}

/** An image as a model's input [3, size, size], written to `target` if given. Throws `InputError`. */
export function preprocess(image: Pixels, how: Preprocess, target?: Float32Array): Float32Array {
  return normalize(evaluationPixels(image, how), how, target);
}
