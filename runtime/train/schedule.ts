/**
 * @file The learning rate over time, by the recipe's schedule after a linear warm-up, stepped as the official script or
 * as timm steps it. Time is in epochs. Source: timm, Scheduler; deit/main.py.
 */

import { InputError } from "../errors.js";
import { SCHEDULES, type Schedule, type ScheduleRecord } from "./vocabulary/schedules.js";

export { STEPPINGS, type Schedule, type Stepping } from "./vocabulary/schedules.js";

/** The record of a schedule. Throws `InputError` for an unknown name. */
export function scheduleRecord(kind: string): ScheduleRecord {
  const record = SCHEDULES.get(kind);
  if (record === undefined) throw new InputError(`unknown schedule \`${kind}\``);
  return record;
}

/** Throws `InputError` for times or numbers without meaning. */
export function schedule(given: Pick<Schedule, "kind" | "lr" | "length"> & Partial<Schedule>): Schedule {
  const { times, numbers: named } = scheduleRecord(given.kind);
  const made: Schedule = { stepping: "epochs", warmup: 0, warmupLr: 1e-6, own: {}, ...given };
  const missing = [...Object.keys(named), ...times].find((name) => made.own[name] === undefined);
  if (missing !== undefined) throw new InputError(`the schedule \`${given.kind}\` needs \`${missing}\``);
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
