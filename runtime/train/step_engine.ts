/**
 * @file What a training run drives: the arithmetic of steps, on a device or on a CPU.
 */
import type { Batch } from "../data/loader.js";
import type { NonFinite } from "../trace.js";
import type { EngineState } from "./state.js";

/** Numbers that change from step to step. */
export interface StepScalars {
  /** Optimizer steps done before this one: keys its random numbers. */
  readonly step: number;
  readonly lr: number;
}

/** Means over the steps since they were last asked for. */
export interface StepMetrics {
  readonly loss: number;
  /** Of the last step, before clipping. */
  readonly gradNorm?: number;
  /** Share of the images predicted right, as they were trained on. */
  readonly accuracy?: number;
  /** A value that was not finite: the first such step, counted from 0, and what is so now. */
  readonly nonFinite?: { readonly step: number; readonly tensor: string };
}

/** Sums over the images of a batch whose mask is 1. */
export interface EvaluationSums {
  readonly loss: number;
  readonly top1: number;
  readonly top5: number;
}

/** What does the arithmetic. Calls never overlap. */
export interface StepEngine {
  /** Whether it keeps a moving average of the weights. */
  readonly hasEma: boolean;
  /** One optimizer step; it may still be under way when the promise resolves, but the batch is no longer needed. */
  step(batch: Batch, scalars: StepScalars): Promise<void>;
  /** Waits for the steps so far. */
  metrics(): Promise<StepMetrics>;
  evaluate(batch: Batch, useEma: boolean): Promise<EvaluationSums>;
  readState(): Promise<EngineState>;
  writeState(state: EngineState): Promise<void>;
  /** Goes back to the states of step 0. Absent where that cannot be done. */
  restart?(): Promise<void>;
  /**
   * Does a step, however slowly, up to the first value that is not finite. Absent where it cannot tell.
   * @returns that value; undefined when the step is done and all was finite
   */
  trace?(batch: Batch, scalars: StepScalars): Promise<NonFinite | undefined>;
}
