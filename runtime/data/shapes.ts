/**
 * @file A procedural data set: one bright shape of eight kinds before a cluttered ground, 32 × 32 RGB.
 * Every image is a function of (seed, split, index), so it needs no download and no disk, and repeats bit for bit.
 */

import { InputError } from "../errors.js";
import { randomWords, streamOf, type RandomKey } from "../random.js";
import type { Dataset, Sample } from "./loader.js";

/** In the order of their labels. */
export const SHAPE_NAMES = ["circle", "ring", "square", "triangle", "star", "cross", "two bars", "crescent"] as const;

/** In pixels. */
const SIZE = 32;
/** Radius of a shape in pixels, least and greatest; its centre stays this far, at least, from the border. */
const RADIUS = [9, 11.5] as const;
const MARGIN = 1;
/** Least share of the way from the ground's mean level to white that a shape's colour is brighter by. */
const CONTRAST = 0.7;
/** Greatest turn either way, in radians. */
const TURN = Math.PI / 1.3;
/** Cells a side of the ground's texture, coarse and fine, and their amplitudes in levels. */
const COARSE = { cells: 4, amplitude: 20 };
const FINE = { cells: 11, amplitude: 12 };
/** Levels of noise of each pixel. */
const GRAIN = 5;
/** Darker or brighter streaks behind the shape. */
const STREAKS = 2;

/** Which images: the two sequences share no counter, so that no held-out image is ever trained on. */
type ShapesSplit = "train" | "held-out";

/** Options of `shapes`. */
interface ShapesOptions {
  readonly seed?: number;
  /** Images. */
  readonly length: number;
  readonly split: ShapesSplit;
}

/** Bytes in the order drawn, four blocks of words at a time. */
class Draws {
  readonly #key: RandomKey;
  readonly #block: number;
  readonly #bytes = new Uint8Array(16);
  #attempt = 0;
  #at = 16;

  constructor(key: RandomKey, block: number) {
    this.#key = key;
    this.#block = block;
  }

  byte(): number {
    if (this.#at === 16) {
      const words = randomWords(this.#key, this.#block, this.#attempt++);
      for (let i = 0; i < 16; i++) this.#bytes[i] = (words[i >> 2] ?? 0) >>> (8 * (i & 3));
      this.#at = 0;
    }
    return this.#bytes[this.#at++] ?? 0;
  }

  /** In [least, most), 16 bits. */
  uniform(least: number, most: number): number {
    return least + (most - least) * ((this.byte() * 256 + this.byte()) / 65536);
  }
}

/** How far (x, y), in units of the shape's radius, is inside the shape: positive inside. */
type Inside = (x: number, y: number) => number;

/** Inside a convex polygon of `sides`, its corners on the unit circle. */
const polygon = (sides: number): Inside => {
  const sector = (2 * Math.PI) / sides;
  const apothem = Math.cos(sector / 2);
  return (x, y) => {
    const angle = Math.atan2(y, x);
    const folded = angle - sector * Math.floor(angle / sector) - sector / 2;
    return apothem - Math.hypot(x, y) * Math.cos(folded);
  };
};

/** Five points: the distance to the edge between an outer corner and the inner corner beside it. */
const star: Inside = (x, y) => {
  const sector = (2 * Math.PI) / 5;
  const angle = Math.atan2(y, x);
  const folded = Math.abs(angle - sector * Math.round(angle / sector));
  const r = Math.hypot(x, y);
  const [px, py] = [r * Math.cos(folded), r * Math.sin(folded)];
  const inner = 0.42;
  const [cx, cy] = [inner * Math.cos(sector / 2), inner * Math.sin(sector / 2)];
  // Normal of the edge from (1, 0) to (cx, cy), pointing outwards.
  const length = Math.hypot(1 - cx, cy);
  return ((1 - px) * cy - py * (1 - cx)) / length;
};

const box = (x: number, y: number, w: number, h: number): number => Math.min(w - Math.abs(x), h - Math.abs(y));

const figures: Readonly<Record<(typeof SHAPE_NAMES)[number], Inside>> = {
  circle: (x, y) => 0.92 - Math.hypot(x, y),
  ring: (x, y) => { const r = Math.hypot(x, y); return Math.min(0.98 - r, r - 0.58); },
  square: polygon(4),
  triangle: polygon(3),
  star,
  cross: (x, y) => Math.max(box(x, y, 0.95, 0.26), box(x, y, 0.26, 0.95)),
  "two bars": (x, y) => Math.max(box(x, y - 0.55, 0.85, 0.25), box(x, y + 0.55, 0.85, 0.25)),
  crescent: (x, y) => Math.min(0.96 - Math.hypot(x, y), Math.hypot(x - 0.5, y) - 0.78),
};
const inOrder: readonly Inside[] = SHAPE_NAMES.map((name) => figures[name]);

/** Adds smooth noise of `cells` + 1 knots a side, one pattern for each channel, to the ground. */
function addTexture(ground: Float32Array, draws: Draws, { cells, amplitude }: typeof COARSE): void {
  const knots = cells + 1;
  const grey = Float32Array.from({ length: knots * knots }, () => draws.byte() / 127.5 - 1);
  // Colours differ less than brightness, as in photographs.
  const tint = [0.6, 0.6, 0.6].map((least) => draws.uniform(least, 1.4) * amplitude);
  for (let y = 0; y < SIZE; y++) {
    const fy = (y * cells) / SIZE;
    const row = Math.trunc(fy) * knots;
    const v = fy - Math.trunc(fy);
    for (let x = 0; x < SIZE; x++) {
      const fx = (x * cells) / SIZE;
      const at = row + Math.trunc(fx);
      const u = fx - Math.trunc(fx);
      const above = (grey[at] ?? 0) * (1 - u) + (grey[at + 1] ?? 0) * u;
      const below = (grey[at + knots] ?? 0) * (1 - u) + (grey[at + knots + 1] ?? 0) * u;
      const value = above * (1 - v) + below * v;
      const to = (y * SIZE + x) * 3;
      for (let c = 0; c < 3; c++) ground[to + c] = (ground[to + c] ?? 0) + value * (tint[c] ?? 0);
    }
  }
}

/** Adds a straight streak through a random point. */
function addStreak(ground: Float32Array, draws: Draws): void {
  const angle = draws.uniform(0, Math.PI);
  const [nx, ny] = [Math.cos(angle), Math.sin(angle)];
  const offset = nx * draws.uniform(0, SIZE) + ny * draws.uniform(0, SIZE);
  const half = draws.uniform(0.5, 1.4);
  const level = draws.uniform(-45, 30);
  for (let y = 0; y < SIZE; y++) {
    for (let x = 0; x < SIZE; x++) {
      const cover = half + 0.5 - Math.abs(nx * x + ny * y - offset);
      if (cover <= 0) continue;
      const to = (y * SIZE + x) * 3;
      const add = Math.min(1, cover) * level;
      for (let c = 0; c < 3; c++) ground[to + c] = (ground[to + c] ?? 0) + add;
    }
  }
}

/** Draws the shape over the ground, its edges smoothed over a pixel. */
function addShape(ground: Float32Array, draws: Draws, inside: Inside, base: readonly number[]): void {
  const radius = draws.uniform(RADIUS[0], RADIUS[1]);
  const reach = radius + MARGIN;
  const [cx, cy] = [draws.uniform(reach, SIZE - reach), draws.uniform(reach, SIZE - reach)];
  const turn = draws.uniform(-TURN, TURN);
  const [cos, sin] = [Math.cos(turn) / radius, Math.sin(turn) / radius];
  const colour = base.map((level) => level + (255 - level) * draws.uniform(CONTRAST, 1));
  const low = (centre: number): number => Math.max(0, Math.floor(centre - reach));
  const high = (centre: number): number => Math.min(SIZE, Math.ceil(centre + reach) + 1);
  for (let y = low(cy); y < high(cy); y++) {
    for (let x = low(cx); x < high(cx); x++) {
      const [dx, dy] = [x + 0.5 - cx, y + 0.5 - cy];
      const cover = inside(dx * cos + dy * sin, dy * cos - dx * sin) * radius + 0.5;
      if (cover <= 0) continue;
      const share = Math.min(1, cover);
      const to = (y * SIZE + x) * 3;
      for (let c = 0; c < 3; c++) {
        const below = ground[to + c] ?? 0;
        ground[to + c] = below + share * ((colour[c] ?? 0) - below);
      }
    }
  }
}

/** Image `index` of a split, [32, 32, 3] bytes. Its label is `index` mod 8. */
function draw(key: RandomKey, index: number): Uint8ClampedArray {
  const draws = new Draws(key, index);
  const base = [0, 1, 2].map(() => draws.uniform(30, 110));
  const ground = new Float32Array(SIZE * SIZE * 3);
  for (let i = 0; i < ground.length; i++) ground[i] = base[i % 3] ?? 0;
  addTexture(ground, draws, COARSE);
  addTexture(ground, draws, FINE);
  for (let i = 0; i < STREAKS; i++) addStreak(ground, draws);
  addShape(ground, draws, inOrder[index % inOrder.length] ?? star, base);
  for (let pixel = 0; pixel < SIZE * SIZE; pixel++) {
    const grain = (draws.byte() / 127.5 - 1) * GRAIN;
    for (let at = 3 * pixel; at < 3 * pixel + 3; at++) ground[at] = (ground[at] ?? 0) + grain;
  }
  return new Uint8ClampedArray(ground);
}

/** The procedural data set. Throws `InputError` for a length that is not a positive integer. */
export function shapes({ seed = 0, length, split }: ShapesOptions): Dataset {
  if (!Number.isSafeInteger(length) || length < 1 || length > 2 ** 32) {
    throw new InputError(`shapes cannot have ${length} images`);
  }
  const key: RandomKey = { seed, stream: streamOf(`shapes.${split}`), step: 0 };
  const sample = (index: number): Sample => {
    if (!Number.isSafeInteger(index) || index < 0 || index >= length) {
      throw new InputError(`shapes has no image ${index}: there are ${length}`);
    }
    const pixels = { data: draw(key, index), width: SIZE, height: SIZE };
    return { kind: "image", pixels, label: index % SHAPE_NAMES.length };
  };
  return {
    name: `shapes, ${split}`, classes: SHAPE_NAMES, length, image: { size: SIZE, channels: 3 },
    read: (indices) => Promise.resolve(indices.map(sample)),
  };
}
