/** @file What a run reports: one record per interval and one per epoch, written as JSON lines. */

import { anyNumber, finite, object, optional, placeOf, variants, whole, word, type Check } from "../check/schema.js";
import { InputError } from "../errors.js";

/** Figures of one pass over the evaluation data. */
export interface Evaluation {
  /** Mean over its images. */
  readonly loss: number;
  /** Shares in [0, 1]. */
  readonly top1: number;
  readonly top5: number;
  /** Images. */
  readonly count: number;
}

/** An interval of optimizer steps. */
export interface StepRecord {
  readonly kind: "step";
  /** Optimizer steps done. */
  readonly step: number;
  /** Epochs done, with the fraction. */
  readonly epoch: number;
  /** Of the last step. */
  readonly lr: number;
  /** Mean over the interval. */
  readonly loss: number;
  /** Global norm of the last step's gradients, before clipping. */
  readonly gradNorm?: number;
  /** Accuracy on the interval's images as they were trained on: augmented, and before each step. */
  readonly accuracy?: number;
  readonly imagesPerSecond: number;
  /** Training time since the run began, without evaluation, over all resumptions. */
  readonly seconds: number;
}

/** An epoch, or what was trained of the last one. */
export interface EpochRecord {
  readonly kind: "epoch";
  /** Counted from 1. */
  readonly epoch: number;
  readonly step: number;
  readonly lr: number;
  /** Mean over its steps. */
  readonly loss: number;
  readonly imagesPerSecond: number;
  readonly seconds: number;
  /** Of the trained weights, and of their moving average. */
  readonly model?: Evaluation;
  readonly ema?: Evaluation;
}

export type MetricsRecord = StepRecord | EpochRecord;

/** A record as one line of JSON, without its end; numbers that are not finite become null. */
export function metricsLine(record: MetricsRecord): string {
  return JSON.stringify(record);
}

/** NaN where it was not finite when it was written. */
const NUMBER: Check<number> = (value) => (Number.isNaN(value) ? undefined : anyNumber(value));

/** An evaluation as it is read back. */
export const evaluationCheck = object<Evaluation>({ loss: NUMBER, top1: NUMBER, top5: NUMBER, count: whole(0) });

const common = { step: whole(0), epoch: finite, lr: finite, loss: NUMBER, imagesPerSecond: NUMBER, seconds: finite };
const recordCheck = variants<MetricsRecord>({
  step: object<StepRecord>({
    kind: word({ step: 0 }), ...common, gradNorm: optional(NUMBER), accuracy: optional(NUMBER),
  }),
  epoch: object<EpochRecord>({
    kind: word({ epoch: 0 }), ...common, model: optional(evaluationCheck), ema: optional(evaluationCheck),
  }),
});

/** Reads JSON lines back; null becomes NaN. Throws `InputError` naming the line that is not a record. */
export function parseMetrics(text: string, file = "metrics"): MetricsRecord[] {
  const records: MetricsRecord[] = [];
  for (const [at, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    let value: unknown;
    try {
      value = JSON.parse(line, (_, item: unknown) => (item === null ? Number.NaN : item));
    } catch {
      value = undefined;
    }
    const found = recordCheck(value);
    if (found) {
      throw new InputError(`${file}: line ${at + 1} is not a record of a run: ${placeOf(found)} ${found.message}`);
    }
    records.push(value as MetricsRecord); // recordCheck found nothing else
  }
  return records;
}

/** Whether `a` is better: a higher accuracy, else a lower loss; a loss that is not a number is never better. */
export function isBetter(a: Evaluation, b: Evaluation | undefined): boolean {
  if (!Number.isFinite(a.loss)) return false;
  if (b === undefined) return true;
  return a.top1 === b.top1 ? a.loss < b.loss : a.top1 > b.top1;
}
