/** @file What GPUs can do at most: the one list. */

/** A GPU's peaks, as its maker publishes them or as cores times clock give them, without sparsity. */
export interface Gpu {
  readonly name: string;
  /** Operations a second, a multiplication and an addition being two: in f32, and of f16 matrices summed in f32. */
  readonly f32: number;
  readonly f16: number;
  /** Bytes a second. */
  readonly bandwidth: number;
}

const TERA = 1e12;
const gpu = (name: string, f32: number, f16: number, gigabytes: number): Gpu =>
  ({ name, f32: f32 * TERA, f16: f16 * TERA, bandwidth: gigabytes * 1e9 });

export const GPUS: Readonly<Record<string, Gpu>> = {
  h100: gpu("NVIDIA H100 SXM", 66.9, 989.4, 3350),
  a100: gpu("NVIDIA A100 SXM 80 GB", 19.5, 311.9, 2039),
  rtx4090: gpu("NVIDIA GeForce RTX 4090", 82.6, 165.2, 1008),
  rx7900: gpu("AMD Radeon RX 7900 XTX", 61.4, 122.8, 960),
  m4: gpu("Apple M4, 10 cores", 4.3, 4.3, 120),
  arc: gpu("Intel Arc B580", 13.7, 116.7, 456),
};
export const GPU_NAMES: readonly string[] = Object.keys(GPUS);
