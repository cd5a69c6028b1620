/**
 * @file The schedules of the learning rate. What one's value is over time is under the same name in
 * `runtime/train/schedule.ts`.
 */
import { STEPPINGS, type Argument, type Arguments } from "../settings.js";
import {
  NOT_NEGATIVE, oneOf, showArgument, within, type CallFault, type CallRecord, type Range,
} from "./record.js";

/** What is wrong with a time: negative, or nothing where there has to be some. */
function time(owner: string, given: Arguments, argument: string, isPositive: boolean): CallFault | undefined {
  const value: Argument | undefined = given[argument];
  const amount = typeof value === "object" && value !== null && "unit" in value ? value.value : NaN;
  if (amount > 0 || (amount === 0 && !isPositive)) return undefined;
  const range = isPositive ? "more than 0" : "at least 0";
  return { text: `\`${argument}\` of \`${owner}\` must be ${range}, got ${showArgument(value)}`, argument };
}

/** What is wrong with a schedule: in what all have, in numbers of its own, or in times of its own. */
const check = (
  name: string, ranges: Readonly<Record<string, Range>> = {}, times: readonly string[] = [],
) => (given: Arguments): CallFault | undefined =>
  time(name, given, "warmup", false) ?? within(name, given, { warmup_lr: NOT_NEGATIVE, ...ranges })
  ?? times.map((one) => time(name, given, one, true)).find((fault) => fault !== undefined)
  ?? oneOf(name, given, "stepping", STEPPINGS);

const SCHEDULE_RECORDS: readonly CallRecord[] = [
  {
    name: "constant", signature: '(warmup = 0 epochs, warmup_lr = 1e-6, stepping = "epochs")',
    doc: "The optimizer's learning rate, constant after the warm-up.",
    check: check("constant"),
  },
  {
    name: "cosine", signature: '(warmup = 5 epochs, warmup_lr = 1e-6, min_lr = 1e-5, stepping = "epochs")',
    doc: "Half a cosine from the optimizer's learning rate to `min_lr` over the whole run. " +
      "Source: Loshchilov & Hutter 2017; timm, CosineLRScheduler.",
    check: check("cosine", { min_lr: NOT_NEGATIVE }),
  },
  {
    name: "step", doc: "Multiplies by `factor` once every `every`. Source: timm, StepLRScheduler.",
    signature: '(every = 30 epochs, factor = 0.1, warmup = 0 epochs, warmup_lr = 1e-6, stepping = "epochs")',
    check: check("step", { factor: NOT_NEGATIVE }, ["every"]),
  },
];

/** Every schedule by its name. */
export const SCHEDULES: ReadonlyMap<string, CallRecord> = new Map(SCHEDULE_RECORDS.map((one) => [one.name, one]));
