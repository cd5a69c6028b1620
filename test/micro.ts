/**
 * @file The golden numbers of the micro models: from the fixtures where they are, else the part of them this project
 * holds.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Tensor } from "../compiler/op.js";
import { generated, integers, parameterValue, readGolden, SHARED } from "./golden.js";

/** Folder of the goldens: all of them with the fixtures, else the copies, which are fewer. */
export const MICRO = SHARED === undefined ? "test/golden/micro" : join(SHARED, "fixtures/micro");

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

// The file is ours; its fields are those its README names.
export const micro = JSON.parse(readFileSync(join(MICRO, "index.json"), "utf8")) as Index;

/** Samples, classes, width of the model. */
export const [BATCH, CLASSES, WIDTH] = [4, 10, 64];

/** Tensors of a golden file by name; undefined where the copies leave it out. */
export function microGolden(file: string | undefined): ReturnType<typeof readGolden> | undefined {
  const path = file === undefined ? undefined : join(MICRO, file);
  return path !== undefined && existsSync(path) ? readGolden(path) : undefined;
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
