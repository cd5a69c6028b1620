/** @file The random numbers of one image in one epoch, and an epoch's order: both are functions of their counters. */

import { randomWords, streamOf, wordsToNormals, wordToUniform, type RandomKey } from "../random.js";

/** Numbers in the order drawn; the same (key, position) gives the same numbers, whatever was drawn elsewhere. */
export class Draws {
  readonly #key: RandomKey;
  readonly #position: number;
  #words: readonly number[] = [];
  #block = 0;

  /** @param position of the image in its epoch, or of the batch. */
  constructor(key: RandomKey, position: number) {
    this.#key = key;
    this.#position = position;
  }

  #word(): number {
    if (this.#words.length === 0) this.#words = randomWords(this.#key, this.#position, this.#block++);
    const [word = 0, ...rest] = this.#words;
    this.#words = rest;
    return word;
  }

  /** In [0, 1), 24 bits. */
  unit(): number {
    return wordToUniform(this.#word());
  }

  /** In [least, most). */
  uniform(least: number, most: number): number {
    return least + (most - least) * this.unit();
  }

  /** A whole number in [0, count). */
  below(count: number): number {
    return Math.floor((this.#word() / 2 ** 32) * count);
  }

  /** True with this probability. */
  chance(probability: number): boolean {
    return this.unit() < probability;
  }

  /** Standard normal. */
  normal(): number {
    return wordsToNormals(this.#word(), this.#word())[0];
  }

  /** Gamma distributed, scale 1. Source: Marsaglia & Tsang 2000. @param shape positive */
  gamma(shape: number): number {
    if (shape < 1) {
      const boosted = this.gamma(shape + 1);
      return boosted * Math.max(this.unit(), 2 ** -25) ** (1 / shape);
    }
    const d = shape - 1 / 3;
    const c = 1 / Math.sqrt(9 * d);
    for (;;) {
      const x = this.normal();
      const v = (1 + c * x) ** 3;
      if (v > 0 && Math.log(Math.max(this.unit(), 2 ** -25)) < 0.5 * x * x + d - d * v + d * Math.log(v)) return d * v;
    }
  }

  /** Beta(a, a) distributed. */
  beta(a: number): number {
    const x = this.gamma(a);
    return x / (x + this.gamma(a));
  }
}

/** A permutation of 0 … length − 1 from seed and epoch. Source: Fisher & Yates, Durstenfeld 1964. */
export function epochOrder(length: number, seed: number, epoch: number): Uint32Array {
  const order = Uint32Array.from({ length }, (_, index) => index);
  const key = { seed, stream: streamOf("order"), step: epoch };
  let words = randomWords(key, 0);
  for (let last = length - 1, drawn = 0; last > 0; last--, drawn++) {
    if (drawn % 4 === 0) words = randomWords(key, drawn / 4);
    const other = Math.floor(((words[drawn % 4] ?? 0) / 2 ** 32) * (last + 1));
    const kept = order[last] ?? 0;
    order[last] = order[other] ?? 0;
    order[other] = kept;
  }
  return order;
}

/**
 * Repeated augmentation: each index `repeats` times in place, dealt to `replicas` ranks, cut to the length of a plain
 * epoch rounded down to 256; a set of fewer than 256 keeps its length. Source: Hoffer et al. 2020; deit/samplers.py.
 */
export function repeatOrder(order: Uint32Array, repeats: number, replicas = 1, rank = 0): Uint32Array {
  const each = Math.ceil((order.length * repeats) / replicas);
  const rounded = order.length < 256 ? order.length : Math.floor(order.length / 256) * 256;
  const kept = Math.min(each, Math.floor(rounded / replicas));
  // Positions past the end wrap to the front: the padding.
  const at = (i: number): number => (rank + i * replicas) % (order.length * repeats);
  return Uint32Array.from({ length: kept }, (_, i) => order[Math.floor(at(i) / repeats)] ?? 0);
}
