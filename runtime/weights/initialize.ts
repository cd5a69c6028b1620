/** @file First values of a parameter, as torch.nn.init draws them, from counter-based random numbers. */

import { InputError } from "../errors.js";
import type { ParameterInfo } from "../manifest.js";
import { randomWords, streamOf, wordToUniform, wordsToNormals, type RandomKey, type Words4 } from "../random.js";
import { elementCount } from "./dtype.js";

/** torch's trunc_normal_ cuts at these values, not at two standard deviations. */
const TRUNCATION = 2;

/** Fills `result` four draws at a time. */
function fillBlocks(result: Float32Array, key: RandomKey, draw: (words: Words4) => readonly number[]): void {
  for (let block = 0; 4 * block < result.length; block++) {
    const drawn = draw(randomWords(key, block));
    for (let lane = 0; lane < 4 && 4 * block + lane < result.length; lane++) {
      result[4 * block + lane] = drawn[lane] ?? 0;
    }
  }
}

/** Four standard normal numbers. */
function normals([a, b, c, d]: Words4): readonly number[] {
  return [...wordsToNormals(a, b), ...wordsToNormals(c, d)];
}

/**
 * A draw from N(0, std²) that may lie beyond ±2 and then is Infinity. Wide distributions seldom land inside; there a
 * uniform draw is accepted by its relative density, which e^-½ of them pass at least.
 */
function attemptInside(key: RandomKey, std: number, index: number, attempt: number): number {
  const block = Math.floor(index / 4);
  const lane = index % 4;
  if (std <= TRUNCATION) {
    const value = std * (normals(randomWords(key, block, attempt))[lane] ?? 0);
    return Math.abs(value) <= TRUNCATION ? value : Infinity;
  }
  // Two words a lane: lanes 2 and 3 take theirs from attempts of their own.
  const words = randomWords(key, block, attempt + (lane < 2 ? 0 : 2 ** 31));
  const value = TRUNCATION * (2 * wordToUniform(words[lane % 2] ?? 0) - 1);
  return wordToUniform(words[2 + (lane % 2)] ?? 0) < Math.exp(-0.5 * (value / std) ** 2) ? value : Infinity;
}

/** Replaces what lies beyond ±2 by later attempts of the same counter. */
function truncate(result: Float32Array, key: RandomKey, std: number): void {
  for (let index = 0; index < result.length; index++) {
    for (let attempt = 1; Math.abs(result[index] ?? 0) > TRUNCATION; attempt++) {
      result[index] = attemptInside(key, std, index, attempt);
    }
  }
}

/**
 * Initial values of a parameter, float32, row-major. They depend on the seed and on the parameter's path alone, not on
 * the others. Throws `InputError` for a seed that is not a non-negative safe integer.
 */
export function initialize(parameter: ParameterInfo, seed: number): Float32Array {
  if (!Number.isSafeInteger(seed) || seed < 0) throw new InputError(`seed must be a non-negative integer, got ${seed}`);
  const { initializer, path, shape } = parameter;
  const result = new Float32Array(elementCount(shape));
  const key: RandomKey = { seed, stream: streamOf(path), step: 0 };
  switch (initializer.kind) {
    case "zeros": return result;
    case "ones": return result.fill(1);
    case "constant": return result.fill(initializer.value);
    case "values":
      if (initializer.values.length !== result.length) {
        throw new InputError(`'${path}' has ${initializer.values.length} values for ${result.length} elements`);
      }
      result.set(initializer.values);
      return result;
    case "uniform":
      fillBlocks(result, key, (words) => words.map((word) => initializer.bound * (2 * wordToUniform(word) - 1)));
      return result;
    case "normal":
    case "trunc_normal": {
      const { std } = initializer;
      fillBlocks(result, key, (words) => normals(words).map((value) => std * value));
      if (initializer.kind === "trunc_normal") truncate(result, key, std);
      return result;
    }
    default: return initializer satisfies never;
  }
}
