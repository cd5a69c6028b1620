/**
 * @file Soft targets, mixup and cutmix over a batch: sample i is mixed with sample B − 1 − i.
 * Source: Zhang et al. 2018; Yun et al. 2019; timm, mixup.py, batch mode.
 */

import { InputError } from "../errors.js";
import type { Box } from "../image/resize.js";
import type { Draws } from "./draws.js";

/** What is mixed; an alpha of 0 turns a kind off. */
export interface MixOptions {
  /** Of Beta(α, α). */
  readonly mixup: number;
  readonly cutmix: number;
  /** That a batch is mixed at all. */
  readonly probability: number;
  /** That it is cutmix where both are on. */
  readonly switch: number;
}

/** What one batch gets: a share of its own images, and the box pasted from the partner when it is cutmix. */
interface Mix {
  /** Share of the own image and target, in [0, 1]. */
  readonly share: number;
  readonly box?: Box;
}

/** Cutmix's box around (y, x), clipped to the image, and the share left to the own image. */
export function cutBox(share: number, side: number, y: number, x: number): Required<Mix> {
  const half = Math.floor(Math.trunc(side * Math.sqrt(1 - share)) / 2);
  const clip = (value: number): number => Math.min(side, Math.max(0, value));
  const [top, bottom, left, right] = [clip(y - half), clip(y + half), clip(x - half), clip(x + half)];
  const box = { left, top, width: right - left, height: bottom - top };
  return { box, share: 1 - (box.width * box.height) / (side * side) };
}

/** Draws a batch's mix; undefined when it is left alone. @param side of the images, in pixels */
export function drawMix(options: MixOptions, side: number, draws: Draws): Mix | undefined {
  const [on, cutting] = [draws.chance(options.probability), draws.chance(options.switch)];
  if (!on || (options.mixup <= 0 && options.cutmix <= 0)) return undefined;
  const cut = options.cutmix > 0 && (options.mixup <= 0 || cutting);
  const share = draws.beta(cut ? options.cutmix : options.mixup);
  return cut ? cutBox(share, side, draws.below(side), draws.below(side)) : { share };
}

/** Mixes images [B, 3, side, side] in place, in float32. Throws `InputError` for an odd batch. */
export function mixImages(images: Float32Array, batch: number, side: number, { share, box }: Mix): void {
  if (batch % 2 !== 0) throw new InputError(`mixup and cutmix need an even batch, got ${batch}`);
  const size = images.length / batch;
  const { fround } = Math;
  const [own, other] = [fround(share), fround(1 - share)];
  const pair = (a: number, b: number): void => {
    const [x, y] = [images[a] ?? 0, images[b] ?? 0];
    images[a] = box === undefined ? fround(x * own) + fround(y * other) : y;
    images[b] = box === undefined ? fround(y * own) + fround(x * other) : x;
  };
  for (let i = 0; i < batch / 2; i++) {
    const [a, b] = [i * size, (batch - 1 - i) * size];
    if (box === undefined) for (let at = 0; at < size; at++) pair(a + at, b + at);
    else {
      for (let row = 0; row < 3 * side; row++) {
        if (row % side < box.top || row % side >= box.top + box.height) continue;
        const start = row * side + box.left;
        for (let at = start; at < start + box.width; at++) pair(a + at, b + at);
      }
    }
  }
}

/** Targets [B, classes]: ε / classes everywhere and 1 − ε more on the label, mixed with the partner's. */
export function softTargets(
  labels: Int32Array, classes: number, smoothing: number, share = 1,
  target: Float32Array = new Float32Array(labels.length * classes),
): Float32Array {
  const { fround } = Math;
  const off = smoothing / classes;
  const on = 1 - smoothing + off;
  const [own, other] = [fround(share), fround(1 - share)];
  const level = (hit: boolean): number => fround(hit ? on : off);
  for (let i = 0; i < labels.length; i++) {
    const partner = labels[labels.length - 1 - i];
    for (let c = 0; c < classes; c++) {
      const first = fround(level(labels[i] === c) * own);
      target[i * classes + c] = first + fround(level(partner === c) * other);
    }
  }
  return target;
}
