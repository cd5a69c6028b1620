/**
 * @file Steps of a run done again: what a step started from is gone once the next has begun, and keeping it would cost
 * every step something. The same states, batches and numbers give the same bits, so the fault comes again.
 */
import type { Batch } from "../data/loader.js";
import type { NonFinite } from "../trace.js";
import type { StepEngine } from "./step_engine.js";
import type { StopSignal } from "../lifetime.js";

/** A state of a run that an engine can be put back to. */
export interface GoodState {
  /** Optimizer steps done before it. */
  readonly step: number;
  /** What it is called in messages. */
  readonly name: string;
  restore(): Promise<void>;
}

interface ReplayParts {
  readonly engine: StepEngine;
  readonly training: { batches(first: number, end: number): AsyncIterable<Batch> };
  readonly signal?: StopSignal;
}

/**
 * The first value that is not finite in step `bad` of a run or in the step before it, whose update may have been what
 * made `bad` fail.
 * @returns undefined when the signal was aborted, or when all was finite this time
 */
export async function findNonFinite(
  { engine, training, signal }: ReplayParts, good: GoodState, bad: number, lrOf: (step: number) => number,
): Promise<{ readonly step: number; readonly bad: NonFinite } | undefined> {
  await good.restore();
  let step = good.step;
  for await (const batch of training.batches(good.step, bad + 1)) {
    if (signal?.aborted === true) return undefined;
    const scalars = { step, lr: lrOf(step) };
    if (step < bad - 1) await engine.step(batch, scalars);
    else {
      const found = await engine.trace?.(batch, scalars);
      if (found !== undefined) return { step, bad: found };
    }
    step++;
  }
  return undefined;
}
