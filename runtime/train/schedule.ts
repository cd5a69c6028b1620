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
  /** The name of a record below. */
  readonly kind: string;
  /** Reached at the end of the warm-up. */
  readonly lr: number;
  /** Epochs of the whole run. */
  readonly length: number;
  readonly stepping: Stepping;
  /** Epochs from `warmupLr` to the schedule, 0 for none. */
  readonly warmup: number;
  readonly warmupLr: number;
  /** The arguments that this schedule has besides, by their names in a recipe. */
  readonly own: Readonly<Record<string, number>>;
}

/** A moment of a run after the warm-up, all times in one unit. */
interface Moment {
  readonly time: number;
  /** When the run ends. */
  readonly end: number;
  readonly lr: number;
  /** An argument of the schedule's own. */
  own(name: string): number;
}

/** One schedule. Its signature and its checks are the compiler's, in `train/vocabulary/schedules.ts`, by its name. */
interface ScheduleRecord {
  /** Arguments of its own, with the defaults of `deit/main.py`. */
  readonly own: Readonly<Record<string, number>>;
  /** Which of them are times. */
  readonly times: readonly string[];
  value(at: Moment): number;
  /** What is odd about it, as a sentence. */
  odd?(plan: Schedule): string | undefined;
}

const SCHEDULES: Readonly<Record<string, ScheduleRecord>> = {
  constant: { own: {}, times: [], value: ({ lr }) => lr },
  step: {
    own: { every: 30, factor: 0.1 }, times: ["every"],
    value: ({ time, lr, own }) => lr * own("factor") ** Math.floor(time / own("every")),
  },
  cosine: {
    own: { min_lr: 1e-5 }, times: [],
    // Not shifted by the warm-up: the cosine runs from time 0.
    value({ time, end, lr, own }) {
      const low = own("min_lr");
      return time < end ? low + 0.5 * (lr - low) * (1 + Math.cos((Math.PI * time) / end)) : low;
    },
    odd({ lr, own }) {
      const low = own["min_lr"] ?? 0;
      if (low < lr) return undefined;
      const course = low === lr ? "stays constant" : "rises";
      return `min_lr = ${low} is not below lr = ${lr}: after the warm-up the learning rate ${course}`;
    },
  },
};

/** The record of a schedule. Throws `InputError` for an unknown name. */
export function scheduleRecord(kind: string): ScheduleRecord {
  const record = Object.hasOwn(SCHEDULES, kind) ? SCHEDULES[kind] : undefined;
  if (record === undefined) throw new InputError(`unknown schedule \`${kind}\``);
  return record;
}

/** The defaults are those of `deit/main.py`. Throws `InputError` for times or numbers without meaning. */
export function schedule(given: Pick<Schedule, "kind" | "lr" | "length"> & Partial<Schedule>): Schedule {
  const { own, times } = scheduleRecord(given.kind);
  const made: Schedule = {
    stepping: "epochs", warmup: 0, warmupLr: 1e-6, ...given, own: { ...own, ...given.own },
  };
  const numbers = Object.entries(made.own);
  const isPositive = numbers.every(([name, value]) => !times.includes(name) || value > 0);
  if (!(made.lr >= 0 && made.warmupLr >= 0 && numbers.every(([, value]) => value >= 0))) {
    throw new InputError("a learning rate is negative or not a number");
  }
  if (!(made.length > 0 && made.warmup >= 0 && isPositive)) {
    throw new InputError("a schedule needs a positive length, a warm-up of at least 0 and positive times");
  }
  return made;
}

/** The value at `time` of a clock that goes `scale` times as fast as one of epochs. */
function valueAt(plan: Schedule, time: number, scale: number): number {
  const warmup = plan.warmup * scale;
  if (time < warmup) return plan.warmupLr + time * ((plan.lr - plan.warmupLr) / warmup);
  const { times, value } = scheduleRecord(plan.kind);
  const own = (name: string): number => (plan.own[name] ?? NaN) * (times.includes(name) ? scale : 1);
  return value({ time, end: plan.length * scale, lr: plan.lr, own });
}

/** The value at time `epoch`, the schedule's own clock: what a training epoch uses is `learningRate`. */
export function scheduleValue(plan: Schedule, epoch: number): number {
  return valueAt(plan, epoch, 1);
}

/** The learning rate of optimizer step `step`, counted from 0, in a run of `stepsPerEpoch` of them an epoch. */
export function learningRate(plan: Schedule, step: number, stepsPerEpoch: number): number {
  const epoch = Math.floor(step / stepsPerEpoch);
  switch (plan.stepping) {
    case "epochs": return scheduleValue(plan, epoch);
    case "official": return scheduleValue(plan, Math.max(0, epoch - 1));
    case "steps": return valueAt(plan, step, stepsPerEpoch);
    default: return plan.stepping satisfies never;
  }
}

/** What is odd about a schedule, as a sentence; undefined when nothing is. */
export function scheduleWarning(plan: Schedule): string | undefined {
  const own = scheduleRecord(plan.kind).odd?.(plan);
  if (own !== undefined) return own;
  if (plan.warmup >= plan.length) {
    return `the warm-up of ${plan.warmup} epochs lasts the whole run of ${plan.length}: lr = ${plan.lr} is not reached`;
  }
  if (plan.warmup > 0 && plan.warmupLr > plan.lr) {
    return `warmup_lr = ${plan.warmupLr} is above lr = ${plan.lr}: the warm-up lowers the learning rate`;
  }
  return undefined;
}
