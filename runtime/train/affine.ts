/** @file Affine transforms of 8-bit RGB images to Pillow's very pixels. Source: Pillow, src/libImaging/Geometry.c. */

import type { Pixels } from "../image/resize.js";

/** Where output point (x, y) comes from: (a·x + b·y + c, d·x + e·y + f). */
export type Matrix = readonly [a: number, b: number, c: number, d: number, e: number, f: number];

/** RGB levels of what lies outside the source. */
export type Fill = readonly [number, number, number];

/** Cubic through four neighbours, a = −1. */
function cubic(v1: number, v2: number, v3: number, v4: number, t: number): number {
  return v2 + t * (-v1 + v3 + t * (2 * (v1 - v2) + v3 - v4 + t * (-v1 + v2 - v3 + v4)));
}

/** The image of the same size through `matrix`, bicubic without antialiasing, cut to whole levels. */
export function affine(image: Pixels, [a, b, c, d, e, f]: Matrix, fill: Fill): Pixels {
  const { data, width, height } = image;
  const to = new Uint8ClampedArray(data.length);
  const columns = [0, 0, 0, 0];
  const rows = [0, 0, 0, 0];
  const across = (row: number, channel: number, t: number): number => {
    const tap = (k: number): number => data[row + (columns[k] ?? 0) + channel] ?? 0;
    return cubic(tap(0), tap(1), tap(2), tap(3), t);
  };
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += 3) {
      const sx = a * (x + 0.5) + b * (y + 0.5) + c;
      const sy = d * (x + 0.5) + e * (y + 0.5) + f;
      if (!(sx >= 0 && sx < width && sy >= 0 && sy < height)) {
        for (const channel of [0, 1, 2] as const) to[at + channel] = fill[channel];
        continue;
      }
      const [left, top] = [Math.floor(sx - 0.5), Math.floor(sy - 0.5)];
      for (let k = 0; k < 4; k++) {
        columns[k] = 3 * Math.min(width - 1, Math.max(0, left - 1 + k));
        rows[k] = 3 * width * Math.min(height - 1, Math.max(0, top - 1 + k));
      }
      const [u, v] = [sx - 0.5 - left, sy - 0.5 - top];
      for (let channel = 0; channel < 3; channel++) {
        const line = (k: number): number => across(rows[k] ?? 0, channel, u);
        to[at + channel] = Math.trunc(cubic(line(0), line(1), line(2), line(3), v));
      }
    }
  }
  return { data: to, width, height };
}

/** Horizontal shear by `share` of the height, about the top edge. */
export const shearX = (image: Pixels, share: number, fill: Fill): Pixels =>
  affine(image, [1, share, 0, 0, 1, 0], fill);
/** Vertical shear by `share` of the width, about the left edge. */
export const shearY = (image: Pixels, share: number, fill: Fill): Pixels =>
  affine(image, [1, 0, 0, share, 1, 0], fill);
/** Moves the content left by `share` of the width. */
export const translateX = (image: Pixels, share: number, fill: Fill): Pixels =>
  affine(image, [1, 0, share * image.width, 0, 1, 0], fill);
/** Moves the content up by `share` of the height. */
export const translateY = (image: Pixels, share: number, fill: Fill): Pixels =>
  affine(image, [1, 0, 0, 0, 1, share * image.height], fill);

/** Turns about the centre, the size kept. @param degrees anticlockwise */
export function rotate(image: Pixels, degrees: number, fill: Fill): Pixels {
  const angle = -degrees * (Math.PI / 180);
  // Pillow rounds the matrix so that right angles are exact.
  const round = (value: number): number => Math.round(value * 1e15) / 1e15;
  const [cos, sin] = [round(Math.cos(angle)), round(Math.sin(angle))];
  const [x, y] = [image.width / 2, image.height / 2];
  return affine(image, [cos, sin, cos * -x + sin * -y + x, -sin, cos, -sin * -x + cos * -y + y], fill);
}
