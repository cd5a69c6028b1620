/**
 * @file The samples of op records as types and as numbers.
 */
import { BATCH, dim } from "../ir/dim.js";
import type { TensorType } from "../ir/graph.js";
import type { OpRecord, OpSample, SampleInput, Tensor } from "../ir/op.js";
import { count } from "./strided.js";

/** Types of a sample's inputs, B symbolic. */
export const sampleTypes = (sample: OpSample): TensorType[] =>
  sample.inputs.map((input) =>
    ({ shape: input.shape.map((s) => (s === "B" ? BATCH : dim(s))), dtype: input.dtype ?? "f32" }));

/**
 * Numbers for a sample's inputs at batch `batch`: f32 values (exact in Float32Array), or whole numbers in Int32Array.
 * The same record, seed and position give the same numbers.
 */
export function sampleTensors(record: OpRecord, sample: OpSample, seed: number, batch = 3): Tensor[] {
  return sample.inputs.map((input, i) => sampleTensor(input, hash(`${record.name}/${seed}/${i}`), batch));
}

function sampleTensor(input: SampleInput, seed: number, batch: number): Tensor {
  const shape = input.shape.map((s) => (s === "B" ? batch : s));
  const size = count(shape);
  if (input.dtype === "bool") {
    return { shape, data: Int32Array.from({ length: size }, (_, i) => Number(unit(seed, i) < 0.5)) };
  }
  const [low, high] = input.range ?? [-2, 2];
  const value = (i: number): number => low + (high - low) * unit(seed, i);
  if (input.dtype === "i32") return { shape, data: Int32Array.from({ length: size }, (_, i) => Math.floor(value(i))) };
  return { shape, data: Float32Array.from({ length: size }, (_, i) => value(i)) };
}

/** Uniform in [0, 1): the murmur3 finaliser of seed and position. */
export function unit(seed: number, i: number): number {
  let h = (seed + Math.imul(i + 1, 0x9e3779b9)) >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return ((h ^ (h >>> 16)) >>> 0) / 2 ** 32;
}

const hash = (text: string): number =>
  [...text].reduce((h, c) => Math.imul(h ^ c.charCodeAt(0), 0x01000193), 0x811c9dc5) >>> 0;
