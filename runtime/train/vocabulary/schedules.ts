/**
 * @file The schedules of the learning rate, each after a linear warm-up. A new one is a
 * record here. Source: timm, CosineLRScheduler and StepLRScheduler; deit/main.py.
 */
import type { Argument, Arguments } from "../../training.js";
import {
  NOT_NEGATIVE, oneOf, SHARE, showArgument, within, type CallFault, type CallRecord, type Range,
} from "./record.js";

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

/** One schedule. */
export interface ScheduleRecord extends CallRecord {
  /** Arguments of its own that are numbers, with their ranges, and those that are times, more than 0. */
  readonly numbers: Readonly<Record<string, Range>>;
  readonly times: readonly string[];
  value(at: Moment): number;
  /** What is odd about it, as a sentence. */
  odd?(plan: Schedule): string | undefined;
}

/** What is wrong with a time: negative, or nothing where there has to be some. */
function time(owner: string, given: Arguments, argument: string, isPositive: boolean): CallFault | undefined {
  const value: Argument | undefined = given[argument];
  const amount = typeof value === "object" && value !== null && "unit" in value ? value.value : NaN;
  if (amount > 0 || (amount === 0 && !isPositive)) return undefined;
  const range = isPositive ? "more than 0" : "at least 0";
  return { text: `\`${argument}\` of \`${owner}\` must be ${range}, got ${showArgument(value)}`, argument };
}

/** What all schedules have: a warm-up, and when a new value is taken. */
const COMMON = {
  warmup: "How long the learning rate rises linearly at the start.",
  warmup_lr: "The learning rate at the first step of the warm-up.",
  stepping: 'Whether the learning rate changes with every step ("steps") or stays for an epoch ("epochs").',
};

/** With the checks and the words for what all schedules have. */
function scheduleRecord(own: Omit<ScheduleRecord, "check">): ScheduleRecord {
  const { name, numbers, times, about } = own;
  return {
    ...own, about: { ...COMMON, ...about },
    check: (given: Arguments): CallFault | undefined =>
      time(name, given, "warmup", false) ?? within(name, given, { warmup_lr: NOT_NEGATIVE, ...numbers })
      ?? times.map((one) => time(name, given, one, true)).find((fault) => fault !== undefined)
      ?? oneOf(name, given, "stepping", STEPPINGS),
  };
}

/** Half a cosine from `lr` at time 0 down to `low` at `end`. */
const halfCosine = (lr: number, low: number, time: number, end: number): number =>
  low + 0.5 * (lr - low) * (1 + Math.cos((Math.PI * time) / end));

/** What is odd about a schedule that is to fall to `min_lr`. */
function oddFall({ lr, own }: Schedule): string | undefined {
  const low = own["min_lr"] ?? 0;
  if (low < lr) return undefined;
  const course = low === lr ? "stays constant" : "rises";
  return `min_lr = ${low} is not below lr = ${lr}: after the warm-up the learning rate ${course}`;
}

/**
 * The cycle that runs at `time`, each `factor` times as long as the one before: its number from 0, and the time since
 * its start.
 */
function cycleAt(
  time: number, first: number, factor: number,
): { readonly cycle: number; readonly since: number; readonly length: number } {
  const start = (i: number): number => first * (factor === 1 ? i : (factor ** i - 1) / (factor - 1));
  const about = factor === 1 ? time / first : Math.log1p((time / first) * (factor - 1)) / Math.log(factor);
  // Rounded, not cut: a logarithm may come out just below the whole number that a border stands for.
  let cycle = Math.round(about);
  if (time < start(cycle)) cycle--;
  return { cycle, since: time - start(cycle), length: first * factor ** cycle };
}

const SCHEDULE_RECORDS: readonly ScheduleRecord[] = [
  scheduleRecord({
    name: "constant", signature: '(warmup = 0 epochs, warmup_lr = 1e-6, stepping = "epochs")',
    numbers: {}, times: [], about: {},
    doc: "The optimizer's learning rate, constant after the warm-up.",
    value: ({ lr }) => lr,
  }),
  scheduleRecord({
    name: "cosine", signature: '(warmup = 5 epochs, warmup_lr = 1e-6, min_lr = 1e-5, stepping = "epochs")',
    numbers: { min_lr: NOT_NEGATIVE }, times: [], about: { min_lr: "The learning rate at the end." },
    doc: "Half a cosine from the optimizer's learning rate to `min_lr` over the whole run. " +
      "Source: Loshchilov & Hutter 2017; timm, CosineLRScheduler.",
    // Not shifted by the warm-up: the cosine runs from time 0.
    value({ time: at, end, lr, own }) {
      return halfCosine(lr, own("min_lr"), Math.min(at, end), end);
    },
    odd: oddFall,
  }),
  scheduleRecord({
    name: "cosine_restarts",
    signature: "(cycle = 10 epochs, factor = 2, decay = 1, warmup = 0 epochs, warmup_lr = 1e-6, min_lr = 1e-5, " +
      'stepping = "epochs")',
    numbers: { factor: { least: 1 }, decay: SHARE, min_lr: NOT_NEGATIVE }, times: ["cycle"],
    about: {
      cycle: "Length of the first cycle.", factor: "How many times as long each cycle is as the one before.",
      decay: "What the learning rate at the start of each cycle is multiplied by for the next.",
      min_lr: "The learning rate at the end of every cycle.",
    },
    doc: "Half a cosine down to `min_lr` again and again: every cycle is `factor` times as long as the one before, " +
      "and starts from `decay` times its learning rate. Source: Loshchilov & Hutter 2017, §3; timm, CosineLRScheduler.",
    value({ time: at, lr, own }) {
      const { cycle, since, length } = cycleAt(at, own("cycle"), own("factor"));
      return halfCosine(lr * own("decay") ** cycle, own("min_lr"), since, length);
    },
    odd: oddFall,
  }),
  scheduleRecord({
    name: "step",
    signature: '(every = 30 epochs, factor = 0.1, warmup = 0 epochs, warmup_lr = 1e-6, stepping = "epochs")',
    numbers: { factor: NOT_NEGATIVE }, times: ["every"],
    about: { every: "Time between two changes.", factor: "What each change multiplies the learning rate by." },
    doc: "Multiplies by `factor` once every `every`. Source: timm, StepLRScheduler.",
    value: ({ time: at, lr, own }) => lr * own("factor") ** Math.floor(at / own("every")),
  }),
];

/** Every schedule by its name. */
export const SCHEDULES: ReadonlyMap<string, ScheduleRecord> = new Map(SCHEDULE_RECORDS.map((one) => [one.name, one]));
