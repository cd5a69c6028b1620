/**
 * @file Resampling of 8-bit RGB images to Pillow's very pixels: a horizontal pass, then a vertical one, each in fixed
 * point and rounded to 8 bits. Source: Pillow, src/libImaging/Resample.c.
 */

import { InputError } from "../errors.js";

/** An image: RGB, 8 bits, row-major [height, width, 3], without padding. */
export interface Pixels {
  readonly data: Uint8Array | Uint8ClampedArray;
  /** In pixels. */
  readonly width: number;
  readonly height: number;
}

/** A rectangle in pixels. */
export interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** Interpolation kernels, widened when an image shrinks so that nothing aliases. */
export type Filter = "bilinear" | "bicubic";

interface Kernel {
  /** In source pixels at scale 1. */
  readonly support: number;
  weight(distance: number): number;
}

const kernels: Readonly<Record<Filter, Kernel>> = {
  bilinear: { support: 1, weight: (distance) => Math.max(0, 1 - Math.abs(distance)) },
  /** Keys 1981 with a = −0.5. */
  bicubic: {
    support: 2,
    weight(distance) {
      const t = Math.abs(distance);
      if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
      return t < 2 ? ((-0.5 * t + 2.5) * t - 4) * t + 2 : 0;
    },
  },
};

/** Fixed point: weights are multiples of 2^-22, so that 255 · Σ|weight| stays inside 32 bits. */
const PRECISION = 22;
const HALF = 1 << (PRECISION - 1);

/** The weights of outputs `begin` to `end`: `width` of them a row, starting at source index `first`. */
interface Table {
  readonly width: number;
  readonly first: Int32Array;
  readonly count: Int32Array;
  readonly weights: Int32Array;
}

function weightTable(filter: Filter, from: number, to: number, begin: number, end: number): Table {
  const { support, weight } = kernels[filter];
  const scale = from / to;
  const stretch = Math.max(scale, 1);
  const reach = support * stretch;
  const width = Math.ceil(reach) * 2 + 1;
  const rows = end - begin;
  const table = {
    width, first: new Int32Array(rows), count: new Int32Array(rows), weights: new Int32Array(rows * width),
  };
  for (let row = 0; row < rows; row++) {
    const centre = (begin + row + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach + 0.5));
    const count = Math.min(from, Math.trunc(centre + reach + 0.5)) - first;
    const raw = Array.from({ length: count }, (_, k) => weight((k + first - centre + 0.5) / stretch));
    const sum = raw.reduce((a, b) => a + b, 0);
    table.first[row] = first;
    table.count[row] = count;
    raw.forEach((value, k) => {
      const scaled = (value / sum) * 2 ** PRECISION;
      table.weights[row * width + k] = Math.trunc(scaled < 0 ? scaled - 0.5 : scaled + 0.5);
    });
  }
  return table;
}

/** Rows [top, top + rows) of the source, each to the table's columns: [rows, columns, 3]. */
function horizontal(source: Pixels, top: number, rows: number, table: Table): Uint8ClampedArray {
  const { first, count, weights, width } = table;
  const { data } = source;
  const columns = first.length;
  const result = new Uint8ClampedArray(rows * columns * 3);
  let to = 0;
  for (let row = top; row < top + rows; row++) {
    const base = row * source.width * 3;
    for (let column = 0; column < columns; column++) {
      let at = base + (first[column] ?? 0) * 3;
      let [red, green, blue] = [HALF, HALF, HALF];
      const start = column * width;
      const end = start + (count[column] ?? 0);
      for (let k = start; k < end; k++) {
        const weight = weights[k] ?? 0;
        red = (red + Math.imul(weight, data[at] ?? 0)) | 0;
        green = (green + Math.imul(weight, data[at + 1] ?? 0)) | 0;
        blue = (blue + Math.imul(weight, data[at + 2] ?? 0)) | 0;
        at += 3;
      }
      // The clamped array does the last step of Pillow's clip8.
      result[to] = red >> PRECISION;
      result[to + 1] = green >> PRECISION;
      result[to + 2] = blue >> PRECISION;
      to += 3;
    }
  }
  return result;
}

/** The table's rows from [_, stride] bytes, of which the first row is row `top` of the source. */
function vertical(data: Uint8ClampedArray, top: number, stride: number, table: Table): Uint8ClampedArray {
  const rows = table.first.length;
  const result = new Uint8ClampedArray(rows * stride);
  const sums = new Int32Array(stride);
  for (let row = 0; row < rows; row++) {
    sums.fill(HALF);
    let at = ((table.first[row] ?? 0) - top) * stride;
    for (let k = 0; k < (table.count[row] ?? 0); k++) {
      const weight = table.weights[row * table.width + k] ?? 0;
      for (let i = 0; i < stride; i++) sums[i] = ((sums[i] ?? 0) + Math.imul(weight, data[at + i] ?? 0)) | 0;
      at += stride;
    }
    for (let i = 0; i < stride; i++) result[row * stride + i] = (sums[i] ?? 0) >> PRECISION;
  }
  return result;
}

function isWhole(value: number, least: number): boolean {
  return Number.isSafeInteger(value) && value >= least;
}

/** Throws `InputError` unless `box` lies inside an image of that size and is not empty. */
function checkBox(box: Box, width: number, height: number): void {
  const whole = isWhole(box.left, 0) && isWhole(box.top, 0) && isWhole(box.width, 1) && isWhole(box.height, 1);
  if (whole && box.left + box.width <= width && box.top + box.height <= height) return;
  const text = `${box.width} × ${box.height} at (${box.left}, ${box.top})`;
  throw new InputError(`the box ${text} is not inside an image of ${width} × ${height} pixels`);
}

function checkPixels({ data, width, height }: Pixels): void {
  if (isWhole(width, 1) && isWhole(height, 1) && data.length === width * height * 3) return;
  throw new InputError(`${data.length} bytes are not an RGB image of ${width} × ${height} pixels`);
}

/**
 * Resizes to `width` × `height` and returns the part `region` of the result (all of it unless given): the other pixels
 * are never computed. Throws `InputError` for sizes that are not positive integers or a region outside.
 */
export function resize(
  source: Pixels, width: number, height: number, filter: Filter = "bicubic",
  region: Box = { left: 0, top: 0, width, height },
): Pixels {
  checkPixels(source);
  checkBox(region, width, height);
  const across = weightTable(filter, source.width, width, region.left, region.left + region.width);
  const down = weightTable(filter, source.height, height, region.top, region.top + region.height);
  const last = region.height - 1;
  const top = down.first[0] ?? 0;
  const bottom = (down.first[last] ?? 0) + (down.count[last] ?? 0);
  const middle = horizontal(source, top, bottom - top, across);
  return { data: vertical(middle, top, region.width * 3, down), width: region.width, height: region.height };
}

/** A copy of a part of an image. Throws `InputError` when it is not inside. */
export function crop(source: Pixels, box: Box): Pixels {
  checkPixels(source);
  checkBox(box, source.width, source.height);
  const data = new Uint8Array(box.width * box.height * 3);
  for (let row = 0; row < box.height; row++) {
    const start = ((box.top + row) * source.width + box.left) * 3;
    data.set(source.data.subarray(start, start + box.width * 3), row * box.width * 3);
  }
  return { data, width: box.width, height: box.height };
}
