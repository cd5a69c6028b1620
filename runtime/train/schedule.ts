/**
 * @file The learning rate over time: cosine, constant and step, each after a linear warm-up, stepped as the official
 * script or as timm steps it. Time is in epochs. Source: timm, CosineLRScheduler and StepLRScheduler; deit/main.py.
 */

import { InputError } from "../errors.js";

/**
 * When a new value is taken. `epochs`: epoch e trains at value(e). `official`: the scheduler steps after an epoch with
 * that epoch's number, so epoch e trains at value(max(0, e − 1)). `steps`: each optimizer step has its own value, all
 * times multiplied by the steps of an epoch.
 */
export type Stepping = "epochs" | "official" | "steps";
export const STEPPINGS: readonly Stepping[] = ["epochs", "official", "steps"];

/** What a learning rate is computed from; times are in epochs and may be fractions. */
export interface Schedule {
  readonly kind: "cosine" | "constant" | "step";
  /** Reached at the end of the warm-up. */
  readonly lr: number;
  /** Epochs of the whole run: where cosine meets `minLr`. */
  readonly length: number;
  readonly stepping: Stepping;
  /** Epochs from `warmupLr` to the schedule, 0 for none. */
  readonly warmup: number;
  readonly warmupLr: number;
  /** Cosine's end. */
  readonly minLr: number;
  /** Step's epochs between two factors, and the factor. */
  readonly every: number;
  readonly factor: number;
}

/** The defaults are those of `deit/main.py`. Throws `InputError` for times or factors without meaning. */
export function schedule(
  given: Pick<Schedule, "kind" | "lr" | "length"> & Partial<Schedule>,
): Schedule {
  const made: Schedule = {
    stepping: "epochs", warmup: 0, warmupLr: 1e-6, minLr: 1e-5, every: 30, factor: 0.1, ...given,
  };
  if (!(made.lr >= 0 && made.warmupLr >= 0 && made.minLr >= 0)) {
    throw new InputError("a learning rate is negative or not a number");
  }
  if (!(made.length > 0 && made.warmup >= 0 && made.every > 0)) {
    throw new InputError("a schedule needs a positive length, a warm-up of at least 0 and a positive `every`");
  }
  return made;
}

/** The value at time `t` of a run of length `T` and warm-up `W`, all in one unit. */
function valueAt(plan: Schedule, t: number, T: number, W: number, every: number): number {
  if (t < W) return plan.warmupLr + t * ((plan.lr - plan.warmupLr) / W);
  switch (plan.kind) {
    case "constant": return plan.lr;
    case "step": return plan.lr * plan.factor ** Math.floor(t / every);
    // Not shifted by the warm-up: the cosine runs from time 0.
    case "cosine": return t < T ? plan.minLr + 0.5 * (plan.lr - plan.minLr) * (1 + Math.cos((Math.PI * t) / T))
      : plan.minLr;
    default: return plan.kind satisfies never;
  }
}

/** The value at time `epoch`, the schedule's own clock: what a training epoch uses is `learningRate`. */
export function scheduleValue(plan: Schedule, epoch: number): number {
  return valueAt(plan, epoch, plan.length, plan.warmup, plan.every);
}

/** The learning rate of optimizer step `step`, counted from 0, in a run of `stepsPerEpoch` of them an epoch. */
export function learningRate(plan: Schedule, step: number, stepsPerEpoch: number): number {
  const epoch = Math.floor(step / stepsPerEpoch);
  switch (plan.stepping) {
    case "epochs": return scheduleValue(plan, epoch);
    case "official": return scheduleValue(plan, Math.max(0, epoch - 1));
    case "steps": {
      const scale = stepsPerEpoch;
      return valueAt(plan, step, plan.length * scale, plan.warmup * scale, plan.every * scale);
    }
    default: return plan.stepping satisfies never;
  }
}

/** What is odd about a schedule, as a sentence; undefined when nothing is. */
export function scheduleWarning(plan: Schedule): string | undefined {
  if (plan.kind === "cosine" && plan.minLr >= plan.lr) {
    const course = plan.minLr === plan.lr ? "stays constant" : "rises";
    return `min_lr = ${plan.minLr} is not below lr = ${plan.lr}: after the warm-up the learning rate ${course}`;
  }
  if (plan.warmup >= plan.length) {
    return `the warm-up of ${plan.warmup} epochs lasts the whole run of ${plan.length}: lr = ${plan.lr} is not reached`;
  }
  if (plan.warmup > 0 && plan.warmupLr > plan.lr) {
    return `warmup_lr = ${plan.warmupLr} is above lr = ${plan.lr}: the warm-up lowers the learning rate`;
  }
  return undefined;
}
