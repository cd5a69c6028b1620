/**
 * @file The golden numbers of the micro models.
 */
import type { Tensor } from "../compiler/ir/op.js";
import {
  generated, goldenFile, goldenIndex, integers, parameterValue, readGolden, type GoldenTensors,
} from "./golden.js";

export interface GradientGolden {
  readonly config: string;
  readonly loss: string;
  readonly loss_f64: number;
  readonly grad_norm_f64: number;
  readonly file: string;
  /** Lengths of gradients by `grad.KEY`, where `file` has none. */
  readonly grad_l2?: Readonly<Record<string, number>>;
}
export interface TrainingGolden {
  readonly config: string;
  readonly opt: string;
  readonly lr: number;
  readonly steps: number;
  readonly no_decay: readonly string[];
  readonly losses_f64: readonly number[];
  readonly grad_norm_before_clip_f64: readonly number[];
  readonly final_l2: Readonly<Record<string, number>>;
  readonly file?: string;
}
interface Index {
  readonly prefix: string;
  readonly mix_targets: readonly (readonly number[])[];
  readonly bce_targets: readonly (readonly number[])[];
  readonly gradients: Readonly<Record<string, GradientGolden>>;
  readonly training: Readonly<Record<string, TrainingGolden>>;
}

export const micro = goldenIndex<Index>("micro/index.json");

/** Samples, classes, width of the model. */
export const [BATCH, CLASSES, WIDTH] = [4, 10, 64];

/** Where a file of the micro models is; undefined where this clone has none of that name. */
export const microFile = (file: string | undefined): string | undefined =>
  (file === undefined ? undefined : goldenFile(`micro/${file}`));

/** Tensors of such a file by name. */
export function microGolden(file: string | undefined): GoldenTensors | undefined {
  const path = microFile(file);
  return path === undefined ? undefined : readGolden(path);
}

/** What the losses of the micro recipes ask for, by name. @param binary targets mixed without smoothing, 0 and 1. */
export function microData(binary = false): ReadonlyMap<string, Tensor> {
  const shape = [BATCH, CLASSES];
  const image = [BATCH, 3, 32, 32];
  return new Map<string, Tensor>([
    ["images", { shape: image, data: generated(`${micro.prefix}input`, BATCH * 3 * 32 * 32, 0, 1) }],
    ["labels", { shape: [BATCH], data: integers(`${micro.prefix}labels`, BATCH, CLASSES) }],
    ["targets", { shape, data: Float32Array.from((binary ? micro.bce_targets : micro.mix_targets).flat()) }],
    ["teacher", { shape, data: generated(`${micro.prefix}teacher`, BATCH * CLASSES, 0, 3) }],
  ]);
}

/** A parameter as it is before the first step. */
export const microParameter = (path: string, shape: readonly number[]): Tensor =>
  ({ shape, data: parameterValue(micro.prefix, path, shape) });
