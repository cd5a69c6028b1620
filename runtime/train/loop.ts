/**
 * @file The course of a training run, for any engine that can do a step: learning rate, evaluation, checkpoints, stop
 * and resumption. It does not depend on a device, file or terminal: it reports what happens as events.
 */

import type { Batch } from "../data/loader.js";
import { DeitcError, DestroyedError } from "../errors.js";
import { isBetter, type EpochRecord, type Evaluation, type MetricsRecord, type StepRecord } from "./metrics.js";
import type { NonFinite } from "../trace.js";
import { learningRate, type Schedule } from "./schedule.js";
import { findNonFinite, type GoodState } from "./replay.js";
import type { StepEngine } from "./step_engine.js";
import type { Best, EpochSums, TrainingState } from "./state.js";
import type { StopSignal } from "../lifetime.js";

/** Where checkpoints go. */
export interface CheckpointStore {
  /** Keeps a state. @param best which weights of it are the best so far. Throws when it could not be kept. */
  save(state: TrainingState, best: Best["weights"] | undefined): Promise<SavedCheckpoint>;
  /** What was kept under a path of `save`. */
  load?(path: string): Promise<TrainingState>;
}

export interface SavedCheckpoint {
  /** The path that a later run resumes from. */
  readonly path: string;
  /** Notes as sentences, for example that it was saved in another folder. */
  readonly notes: readonly string[];
}

/** What is to be done. */
export interface TrainingPlan {
  /** Digest of the recipe. */
  readonly recipe: string;
  readonly schedule: Schedule;
  /** Optimizer steps of the whole run, and of an epoch. */
  readonly steps: number;
  readonly stepsPerEpoch: number;
  /** Images of an optimizer step. */
  readonly batch: number;
  /** Steps between two records. */
  readonly logEvery: number;
  /** A checkpoint is kept at the end of each epoch, and besides after so many steps or seconds. */
  readonly saveEvery?: { readonly steps?: number; readonly seconds?: number };
  /** What its states say of it. */
  readonly about?: Pick<TrainingState, "run" | "data" | "classes">;
}

/** What a run works with. */
export interface TrainingParts {
  readonly engine: StepEngine;
  readonly training: { batches(first: number, end: number): AsyncIterable<Batch> };
  readonly evaluation?: { readonly steps: number; batches(): AsyncIterable<Batch> };
  readonly store?: CheckpointStore;
  /** Abort it to stop after the current step. */
  readonly signal?: StopSignal;
  /** Seconds, for throughput. */
  readonly clock?: () => number;
}

/** What happens, as it happens. */
export type TrainingEvent =
  | { readonly kind: "record"; readonly record: MetricsRecord }
  | { readonly kind: "step"; readonly step: number; readonly lr: number }
  | { readonly kind: "evaluating"; readonly weights: Best["weights"]; readonly done: number; readonly total: number }
  | { readonly kind: "saved"; readonly path: string; readonly step: number; readonly best: boolean }
  | { readonly kind: "warning"; readonly text: string };

/** How a run ended. */
export interface TrainingOutcome {
  /** False when it was stopped before its last step, or before the evaluation after it. */
  readonly finished: boolean;
  readonly step: number;
  readonly records: readonly MetricsRecord[];
  readonly best: Best | undefined;
  /** The last checkpoint, to resume from. */
  readonly checkpoint: string | undefined;
}

/** What is known of a value that is not finite: all of it, or the tensor it was noticed in. */
export type BadValue = NonFinite | string | undefined;

/** The loss or a tensor is no longer finite; nothing of it was saved. */
export class DivergedError extends DeitcError {
  override readonly name = "DivergedError";
  /** Optimizer step, counted from 0. */
  readonly step: number;
  readonly tensor: string | undefined;
  /** The first value that was not finite, where it was found. */
  readonly found: NonFinite | undefined;
  readonly checkpoint: string | undefined;
  constructor(step: number, bad: BadValue, checkpoint: string | undefined) {
    const from = checkpoint === undefined
      ? "no checkpoint was kept before it" : `the last good checkpoint is ${checkpoint}`;
    const found = typeof bad === "string" ? undefined : bad;
    const then = checkpoint === undefined ? "then train again" : "then resume from the checkpoint";
    super("diverged", "input", `training diverged at step ${step}: ${badWords(bad)}; ${from}`, {
      help: found?.kind === "input"
        ? `check what the data provides as '${found.tensor}' at this step: no setting will fix this`
        : `lower the learning rate, lengthen the warm-up or clip the gradients, ${then}`,
    });
    [this.step, this.found, this.checkpoint] = [step, found, checkpoint];
    this.tensor = typeof bad === "string" ? bad : bad?.tensor;
  }
}

/** `'head.weight' is the first tensor that is not finite (parameter: NaN at 5, written by NAME, dispatch 3 of 9)`. */
function badWords(bad: BadValue): string {
  if (bad === undefined) return "the loss is not finite";
  if (typeof bad === "string") return `'${bad}' is the first tensor that is not finite`;
  const { tensor, kind, index, value, by } = bad;
  const writer = by === undefined ? (kind === "input" ? "as the data provided it" : "before the step")
    : `written by the kernel ${by.kernel}, dispatch ${by.dispatch} of ${by.of}`;
  return `'${tensor}' is the first tensor that is not finite (${kind}: ${value} at ${index}, ${writer})`;
}

/** Seconds of training that are kept before an evaluation begins, which may be long. */
const KEPT_BEFORE_EVALUATION = 30;

const systemClock = (): number => performance.now() / 1000;

/** One run; its methods are the parts of `train`. */
class Run {
  readonly #plan: TrainingPlan;
  readonly #parts: TrainingParts;
  readonly #records: MetricsRecord[] = [];
  readonly #clock: () => number;
  #best: Best | undefined;
  #checkpoint: string | undefined;
  #step = 0;
  /** Steps of the interval since the last record, and when it began. */
  #interval = 0;
  #began: number;
  #savedAt: number;
  #sums: EpochSums = { loss: 0, steps: 0, seconds: 0, total: 0 };
  /** Checkpoints in a row that could not be kept. */
  #failures = 0;
  /** The newest state that can be gone back to. */
  #good: GoodState | undefined;

  constructor(plan: TrainingPlan, parts: TrainingParts) {
    [this.#plan, this.#parts, this.#clock] = [plan, parts, parts.clock ?? systemClock];
    this.#began = this.#savedAt = this.#clock();
    const { engine } = parts;
    if (engine.restart) this.#good = { step: 0, name: "its beginning", restore: async () => engine.restart?.() };
  }

  async resume(state: TrainingState, from: string | undefined): Promise<void> {
    await this.#parts.engine.writeState(state.engine);
    this.#records.push(...state.records);
    [this.#step, this.#best, this.#sums, this.#checkpoint] = [state.step, state.best, state.sums, from];
    const { engine } = this.#parts;
    // Whoever resumed holds the state as long as the run lasts.
    this.#good = {
      step: state.step, name: from ?? "where it was resumed", restore: () => engine.writeState(state.engine),
    };
  }

  #lr(step: number): number {
    return learningRate(this.#plan.schedule, step, this.#plan.stepsPerEpoch);
  }

  /** Closes the interval: waits for its steps and checks that they are finite. */
  async #measure(): Promise<StepRecord | undefined> {
    if (this.#interval === 0) return undefined;
    const { loss, gradNorm, accuracy, nonFinite } = await this.#parts.engine.metrics();
    if (nonFinite !== undefined || !Number.isFinite(loss)) {
      throw new DivergedError(nonFinite?.step ?? this.#step - 1, nonFinite?.tensor, this.#checkpoint);
    }
    const now = this.#clock();
    const seconds = now - this.#began;
    const { loss: sum, steps, seconds: before, total } = this.#sums;
    this.#sums = {
      loss: sum + loss * this.#interval, steps: steps + this.#interval,
      seconds: before + seconds, total: total + seconds,
    };
    const record: StepRecord = {
      kind: "step", step: this.#step, epoch: this.#step / this.#plan.stepsPerEpoch, lr: this.#lr(this.#step - 1), loss,
      ...(gradNorm === undefined ? {} : { gradNorm }), ...(accuracy === undefined ? {} : { accuracy }),
      imagesPerSecond: (this.#interval * this.#plan.batch) / Math.max(seconds, 1e-9), seconds: this.#sums.total,
    };
    [this.#interval, this.#began] = [0, now];
    this.#records.push(record);
    return record;
  }

  get #isStopped(): boolean {
    return this.#parts.signal?.aborted === true;
  }

  /** Evaluates, where there is something to evaluate, unless it is stopped. */
  async *#evaluate(weights: Best["weights"]): AsyncGenerator<TrainingEvent, Evaluation | "stopped" | undefined> {
    const { engine, evaluation } = this.#parts;
    if (evaluation === undefined || (weights === "ema" && !engine.hasEma)) return undefined;
    let [loss, top1, top5, count, done] = [0, 0, 0, 0, 0];
    for await (const batch of evaluation.batches()) {
      if (this.#isStopped) return "stopped";
      const sums = await engine.evaluate(batch, weights === "ema");
      [loss, top1, top5, count] = [loss + sums.loss, top1 + sums.top1, top5 + sums.top5, count + batch.count];
      yield { kind: "evaluating", weights, done: ++done, total: evaluation.steps };
    }
    if (count === 0) return undefined;
    return { loss: loss / count, top1: top1 / count, top5: top5 / count, count };
  }

  /**
   * Ends an epoch: evaluates, records. Returns which weights are the best so far, if they are this epoch's. Nothing is
   * changed when it is stopped.
   */
  async *#endEpoch(): AsyncGenerator<TrainingEvent, Best["weights"] | "stopped" | undefined> {
    const model = yield* this.#evaluate("model");
    if (model === "stopped") return model;
    const ema = yield* this.#evaluate("ema");
    if (ema === "stopped") return ema;
    const { loss, steps, seconds, total } = this.#sums;
    const record: EpochRecord = {
      kind: "epoch", epoch: Math.ceil(this.#step / this.#plan.stepsPerEpoch), step: this.#step,
      lr: this.#lr(this.#step - 1), loss: loss / Math.max(1, steps),
      imagesPerSecond: (steps * this.#plan.batch) / Math.max(seconds, 1e-9), seconds: total,
      ...(model === undefined ? {} : { model }), ...(ema === undefined ? {} : { ema }),
    };
    this.#records.push(record);
    this.#sums = { loss: 0, steps: 0, seconds: 0, total };
    yield { kind: "record", record };
    let found: Best["weights"] | undefined;
    for (const [weights, evaluation] of [["model", model], ["ema", ema]] as const) {
      if (evaluation === undefined || !isBetter(evaluation, this.#best?.evaluation)) continue;
      this.#best = { step: this.#step, weights, evaluation };
      found = weights;
    }
    return found;
  }

  /** Keeps a checkpoint. One failure is a warning where the run goes on; the next one, and one at its end, an error. */
  async *#save(best: Best["weights"] | undefined, last: boolean): AsyncGenerator<TrainingEvent, void> {
    const { store, engine } = this.#parts;
    if (store === undefined) return;
    const { recipe } = this.#plan;
    const kept = await engine.readState();
    // The losses so far were finite; what the last update made of the weights shows only in the next one.
    const bad = kept.tensors.find(({ data }) => !data.every(Number.isFinite));
    if (bad !== undefined) throw new DivergedError(this.#step - 1, bad.path, this.#checkpoint);
    const state: TrainingState = {
      recipe, step: this.#step, engine: kept, records: [...this.#records], sums: this.#sums,
      best: this.#best, ...this.#plan.about,
    };
    try {
      const { path, notes } = await store.save(state, best);
      this.#checkpoint = path;
      this.#failures = 0;
      if (store.load) {
        const restore = async (): Promise<void> => {
          const saved = await store.load?.(path);
          if (saved !== undefined) await engine.writeState(saved.engine);
        };
        this.#good = { step: this.#step, name: path, restore };
      }
      for (const text of notes) yield { kind: "warning", text };
      yield { kind: "saved", path, step: this.#step, best: best !== undefined };
    } catch (error) {
      if (last || !(error instanceof DeitcError) || error instanceof DestroyedError) throw error;
      if (++this.#failures > 1) {
        yield { kind: "warning", text: `training stops at step ${this.#step}: two checkpoints in a row were not kept` };
        throw error;
      }
      const before = this.#checkpoint === undefined ? "none was kept before" : `the last one is ${this.#checkpoint}`;
      const text = `no checkpoint at step ${this.#step}: ${error.message}; ${before}; training goes on, and stops if ` +
        "the next one cannot be kept either";
      yield { kind: "warning", text };
    }
    // Also after a failure: it is not tried again at every step.
    this.#savedAt = this.#clock();
  }

  #isDue(): boolean {
    const { steps, seconds } = this.#plan.saveEvery ?? {};
    return (steps !== undefined && this.#step % steps === 0) ||
      (seconds !== undefined && this.#clock() - this.#savedAt >= seconds);
  }

  /** Records, evaluates and saves what is due. Returns whether the run ends here because it was asked to stop. */
  async *#afterStep(): AsyncGenerator<TrainingEvent, boolean> {
    const stopping = this.#isStopped;
    const { steps, stepsPerEpoch, logEvery } = this.#plan;
    const last = this.#step === steps;
    const epochEnds = last || this.#step % stepsPerEpoch === 0;
    const due = epochEnds || stopping || this.#isDue();
    if (due || this.#step % logEvery === 0) {
      const record = await this.#measure();
      if (record !== undefined) yield { kind: "record", record };
    }
    if (epochEnds) yield* this.#afterEpoch();
    else if (due) yield* this.#save(undefined, stopping);
    // What came between is no training time.
    if (this.#interval === 0) this.#began = this.#clock();
    // Asked later than this, it stops after the next step, unless this one was saved already.
    return stopping || (epochEnds && this.#isStopped);
  }

  /** Evaluates and keeps a checkpoint. A run that is stopped keeps one first, and evaluates when it is resumed. */
  async *#afterEpoch(): AsyncGenerator<TrainingEvent, void> {
    if (!this.#isStopped) {
      if (this.#isDue() || this.#clock() - this.#savedAt >= KEPT_BEFORE_EVALUATION) yield* this.#save(undefined, false);
      const best = yield* this.#endEpoch();
      if (best !== "stopped") return yield* this.#save(best, this.#step === this.#plan.steps || this.#isStopped);
    }
    yield* this.#save(undefined, true);
  }

  /** Whether the steps of an epoch are done, but not its evaluation. */
  get #isEvaluationLeft(): boolean {
    const { steps, stepsPerEpoch } = this.#plan;
    const ends = this.#step > 0 && (this.#step >= steps || this.#step % stepsPerEpoch === 0);
    return ends && !this.#records.some(({ kind, step }) => kind === "epoch" && step === this.#step);
  }

  /** The steps from the newest good state up to the one that was bad, again, to find the tensor that was first. */
  async *#explained(error: DivergedError): AsyncGenerator<TrainingEvent, DivergedError> {
    const good = this.#good;
    if (good === undefined || this.#parts.engine.trace === undefined) return error;
    const steps = good.step < error.step ? `steps ${good.step} to ${error.step} are` : "it is";
    const text = `step ${error.step} is not finite; ${steps} repeated from ${good.name} to find out why`;
    yield { kind: "warning", text };
    try {
      const found = await findNonFinite(this.#parts, good, error.step, (step) => this.#lr(step));
      if (found !== undefined) return new DivergedError(found.step, found.bad, error.checkpoint);
      if (!this.#isStopped) {
        yield { kind: "warning", text: "all values were finite this time: the device or the data is nondeterministic" };
      }
      return error;
    } catch (failure) {
      if (!(failure instanceof DeitcError)) throw failure;
      yield { kind: "warning", text: `repeating failed: ${failure.message}` };
      return error;
    }
  }

  async *#steps(): AsyncGenerator<TrainingEvent, void> {
    const { engine, training } = this.#parts;
    const { steps } = this.#plan;
    for await (const batch of training.batches(this.#step, steps)) {
      const lr = this.#lr(this.#step);
      await engine.step(batch, { step: this.#step, lr });
      this.#step++;
      this.#interval++;
      yield { kind: "step", step: this.#step, lr };
      if (yield* this.#afterStep()) break;
    }
  }

  async *go(): AsyncGenerator<TrainingEvent, TrainingOutcome> {
    const { steps } = this.#plan;
    if (!this.#isStopped) {
      this.#began = this.#savedAt = this.#clock();
      try {
        if (this.#isEvaluationLeft) yield* this.#afterEpoch();
        if (this.#step < steps && !this.#isStopped) yield* this.#steps();
      } catch (error) {
        throw error instanceof DivergedError ? yield* this.#explained(error) : error;
      }
    }
    const [step, records, best, checkpoint] = [this.#step, this.#records, this.#best, this.#checkpoint];
    return { finished: step >= steps && !this.#isEvaluationLeft, step, records, best, checkpoint };
  }
}

/**
 * Trains, from the beginning or from a state. The same plan, engine and batches give the same weights bit for bit, in
 * one go or resumed. Throws `DivergedError`, and what engine, data or the last checkpoint throw.
 * @param resumed a state, and the path it came from, for messages
 */
export async function* train(
  plan: TrainingPlan, parts: TrainingParts, resumed?: { readonly state: TrainingState; readonly path?: string },
): AsyncGenerator<TrainingEvent, TrainingOutcome> {
  const run = new Run(plan, parts);
  if (resumed !== undefined) await run.resume(resumed.state, resumed.path);
  return yield* run.go();
}
