/** @file Random erasing of normalized images. Source: Zhong et al. 2020; timm, random_erasing.py. */

import type { Box } from "../image/resize.js";
import { roundHalfEven } from "../image/transform.js";
import type { Draws } from "./draws.js";

/** What a call of `random_erase` says. */
interface EraseOptions {
  readonly probability: number;
  /** `pixel`: a standard normal number for each value; `rand`: one for each channel; `const`: zero. */
  readonly mode: "pixel" | "rand" | "const";
  /** Most boxes of an image. */
  readonly count: number;
}

/** The boxes to erase in an image of that size, in pixels; often none. @param unit draws in [0, 1) */
export function eraseBoxes(
  height: number, width: number, { probability, count }: Pick<EraseOptions, "probability" | "count">,
  unit: () => number,
): Box[] {
  if (unit() > probability) return [];
  const integer = (least: number, most: number): number => least + Math.floor(unit() * (most - least + 1));
  const boxes: Box[] = [];
  const wanted = count === 1 ? 1 : integer(1, count);
  for (let box = 0; box < wanted; box++) {
    for (let attempt = 0; attempt < 10; attempt++) {
      const area = ((0.02 + (1 / 3 - 0.02) * unit()) * height * width) / wanted;
      const [least, most] = [Math.log(0.3), Math.log(1 / 0.3)];
      const aspect = Math.exp(least + (most - least) * unit());
      const h = roundHalfEven(Math.sqrt(area * aspect));
      const w = roundHalfEven(Math.sqrt(area / aspect));
      if (w >= width || h >= height) continue;
      const top = integer(0, height - h);
      boxes.push({ top, left: integer(0, width - w), height: h, width: w });
      break;
    }
  }
  return boxes;
}

/** Erases parts of a normalized image [3, side, side] in place. */
export function randomErase(image: Float32Array, side: number, options: EraseOptions, draws: Draws): void {
  for (const box of eraseBoxes(side, side, options, () => draws.unit())) {
    for (let channel = 0; channel < 3; channel++) {
      const level = options.mode === "rand" ? draws.normal() : 0;
      for (let y = box.top; y < box.top + box.height; y++) {
        const start = (channel * side + y) * side + box.left;
        for (let at = start; at < start + box.width; at++) {
          image[at] = options.mode === "pixel" ? draws.normal() : level;
        }
      }
    }
  }
}
