/**
 * @file Colour operations on 8-bit RGB images that give Pillow's very pixels. Source: Pillow, ImageOps, ImageEnhance,
 * src/libImaging/{Blend,BoxBlur}.c.
 */

import type { Pixels } from "../image/resize.js";

const { fround } = Math;
const like = (image: Pixels): Uint8ClampedArray => new Uint8ClampedArray(image.data.length);
const withData = (image: Pixels, data: Uint8ClampedArray): Pixels => ({ ...image, data });

/** Each value through a table of 256, one for each channel. */
function mapped(image: Pixels, tables: readonly [Uint8Array, Uint8Array, Uint8Array]): Pixels {
  const to = like(image);
  const [red, green, blue] = tables;
  for (let i = 0; i < to.length; i += 3) {
    to[i] = red[image.data[i] ?? 0] ?? 0;
    to[i + 1] = green[image.data[i + 1] ?? 0] ?? 0;
    to[i + 2] = blue[image.data[i + 2] ?? 0] ?? 0;
  }
  return withData(image, to);
}

function mappedAlike(image: Pixels, level: (value: number) => number): Pixels {
  const table = Uint8Array.from({ length: 256 }, (_, value) => level(value));
  return mapped(image, [table, table, table]);
}

/** The brightness of every pixel, [height, width]: ITU-R 601 weights in 16-bit fixed point. */
function luminance({ data, width, height }: Pixels): Uint8Array {
  const result = new Uint8Array(width * height);
  for (let i = 0, at = 0; i < result.length; i++, at += 3) {
    const sum = 19595 * (data[at] ?? 0) + 38470 * (data[at + 1] ?? 0) + 7471 * (data[at + 2] ?? 0);
    result[i] = (sum + 32768) >> 16;
  }
  return result;
}

/** Brightness in all three channels. */
export function grayscale(image: Pixels): Pixels {
  const grey = luminance(image);
  return withData(image, like(image).map((_, at) => grey[Math.trunc(at / 3)] ?? 0));
}

/** `from` + factor · (image − `from`) in float32, clamped and cut to whole levels. */
function away(image: Pixels, factor: number, from: (at: number) => number): Pixels {
  const to = like(image);
  const share = fround(factor);
  for (let at = 0; at < to.length; at++) {
    const base = from(at);
    to[at] = Math.trunc(fround(base + fround(share * ((image.data[at] ?? 0) - base))));
  }
  return withData(image, to);
}

/** Saturation: 0 gives grey, 1 the image. */
export function adjustColor(image: Pixels, factor: number): Pixels {
  const grey = luminance(image);
  return away(image, factor, (at) => grey[Math.trunc(at / 3)] ?? 0);
}

/** Contrast about the mean brightness. */
export function adjustContrast(image: Pixels, factor: number): Pixels {
  const grey = luminance(image);
  const mean = Math.trunc(grey.reduce((sum, value) => sum + value, 0) / grey.length + 0.5);
  return away(image, factor, () => mean);
}

/** Brightness: 0 gives black. */
export function adjustBrightness(image: Pixels, factor: number): Pixels {
  return away(image, factor, () => 0);
}

/** Sharpness: 0 gives the image smoothed by (1 1 1, 1 5 1, 1 1 1) / 13, its border left as it is. */
export function adjustSharpness(image: Pixels, factor: number): Pixels {
  const { data, width, height } = image;
  const smooth = Uint8ClampedArray.from(data);
  const stride = 3 * width;
  for (let y = 1; y < height - 1; y++) {
    for (let at = y * stride + 3; at < (y + 1) * stride - 3; at++) {
      let sum = 4 * (data[at] ?? 0);
      for (const row of [at - stride, at, at + stride]) {
        sum += (data[row - 3] ?? 0) + (data[row] ?? 0) + (data[row + 3] ?? 0);
      }
      smooth[at] = Math.floor(sum / 13 + 0.5);
    }
  }
  return away(image, factor, (at) => smooth[at] ?? 0);
}

/** 255 − v. */
export const invert = (image: Pixels): Pixels => mappedAlike(image, (value) => 255 - value);

/** Inverts the levels from `threshold` up. */
export function solarize(image: Pixels, threshold: number): Pixels {
  return mappedAlike(image, (value) => (value < threshold ? value : 255 - value));
}

/** Adds to the levels below 128. */
export function solarizeAdd(image: Pixels, amount: number): Pixels {
  return mappedAlike(image, (value) => (value < 128 ? Math.min(255, value + amount) : value));
}

/** Keeps the upper `bits` bits. */
export function posterize(image: Pixels, bits: number): Pixels {
  const mask = bits >= 8 ? 255 : 255 & ~(2 ** (8 - bits) - 1);
  return mappedAlike(image, (value) => value & mask);
}

/** How often each level occurs, by channel. */
function histograms({ data }: Pixels): readonly [Uint32Array, Uint32Array, Uint32Array] {
  const counts = [new Uint32Array(256), new Uint32Array(256), new Uint32Array(256)] as const;
  for (let at = 0; at < data.length; at++) {
    const count = counts[(at % 3) as 0 | 1 | 2]; // a remainder of 3
    count[data[at] ?? 0] = (count[data[at] ?? 0] ?? 0) + 1;
  }
  return counts;
}

function autoContrastTable(count: Uint32Array): Uint8Array {
  const low = count.findIndex((n) => n > 0);
  const high = count.findLastIndex((n) => n > 0);
  const scale = 255 / (high - low);
  const offset = -low * scale;
  const level = (value: number): number => Math.min(255, Math.max(0, Math.trunc(value * scale + offset)));
  return Uint8Array.from({ length: 256 }, (_, value) => (high <= low ? value : level(value)));
}

/** Stretches every channel to the full range. */
export function autoContrast(image: Pixels): Pixels {
  const [red, green, blue] = histograms(image);
  return mapped(image, [autoContrastTable(red), autoContrastTable(green), autoContrastTable(blue)]);
}

function equalizeTable(count: Uint32Array): Uint8Array {
  const present = count.filter((n) => n > 0);
  const step = Math.floor((present.reduce((sum, n) => sum + n, 0) - (present.at(-1) ?? 0)) / 255);
  let before = Math.floor(step / 2);
  return Uint8Array.from({ length: 256 }, (_, value) => {
    if (present.length <= 1 || step === 0) return value;
    const level = Math.min(255, Math.floor(before / step));
    before += count[value] ?? 0;
    return level;
  });
}

/** Makes every channel's histogram flat. */
export function equalize(image: Pixels): Pixels {
  const [red, green, blue] = histograms(image);
  return mapped(image, [equalizeTable(red), equalizeTable(green), equalizeTable(blue)]);
}

/** One box blur along a line of `count` pixels, `step` values apart, in 24-bit fixed point; the ends are repeated. */
function boxLine(
  from: Uint8ClampedArray, to: Uint8ClampedArray, start: number, count: number, step: number, radius: number,
): void {
  const whole = Math.trunc(radius);
  const inner = Math.trunc(fround(2 ** 24 / fround(fround(radius * 2) + 1)));
  const outer = Math.trunc((2 ** 24 - (whole * 2 + 1) * inner) / 2);
  const at = (x: number): number => from[start + step * Math.min(count - 1, Math.max(0, x))] ?? 0;
  let sum = 0;
  for (let x = -whole - 1; x < whole; x++) sum += at(x);
  for (let x = 0; x < count; x++) {
    sum += at(x + whole) - at(x - whole - 1);
    const bulk = sum * inner + (at(x - whole - 1) + at(x + whole + 1)) * outer;
    to[start + step * x] = Math.floor((bulk + 2 ** 23) / 2 ** 24);
  }
}

/** A Gaussian blur as three box blurs. @param radius its standard deviation, in pixels */
export function gaussianBlur(image: Pixels, radius: number): Pixels {
  // In float32 at every step, as there: the weights of small radii depend on it.
  const sigma = fround(radius);
  const variance = fround(fround(sigma * sigma) / 3);
  const whole = Math.floor((fround(Math.sqrt(12 * variance + 1)) - 1) / 2);
  const above = fround((2 * whole + 1) * fround(whole * (whole + 1) - fround(3 * variance)));
  const box = fround(whole + fround(above / fround(6 * fround(variance - (whole + 1) ** 2))));
  const { width, height } = image;
  let from: Uint8ClampedArray = Uint8ClampedArray.from(image.data);
  let to = like(image);
  const pass = (lines: number, lineStep: number, count: number, step: number): void => {
    for (let line = 0; line < lines; line++) {
      for (let c = 0; c < 3; c++) boxLine(from, to, line * lineStep + c, count, step, box);
    }
    [from, to] = [to, from];
  };
  for (let i = 0; i < 3; i++) pass(height, 3 * width, width, 3);
  for (let i = 0; i < 3; i++) pass(width, 3, height, 3 * width);
  return withData(image, from);
}
