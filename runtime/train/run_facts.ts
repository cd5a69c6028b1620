/** @file What a state remembers of its run besides numbers: settings, options and data, to compare and to repeat. */
import { check, finite, isObject, object, optional, record, text, whole, word } from "../check/schema.js";
import type { BadImagePolicy } from "../data/check.js";

/** The options that a run was started with and that it goes on with; paths are absolute. */
export interface RunOptions {
  readonly batch?: number;
  readonly passes?: number;
  readonly steps?: number;
  readonly logEvery?: number;
  readonly saveEvery?: { readonly steps?: number; readonly seconds?: number };
  readonly keep?: number;
  readonly fallback?: string;
  readonly data?: string;
  readonly evalData?: string;
  readonly onBadImage?: BadImagePolicy;
  readonly weights?: Readonly<Record<string, string>>;
  /** Which declaration of the recipe's file was compiled, and with which values in the header of its model. */
  readonly selection?: RecipeSelection;
}

/** A value of a header parameter. */
type Value = number | boolean | string | null | readonly Value[];

/** What a command line said besides the recipe's file. */
export interface RecipeSelection {
  readonly target?: string;
  readonly set?: Readonly<Record<string, Value>>;
}

/** What a state says of its run. */
export interface RunFacts {
  readonly options: RunOptions;
  /** Everything in the recipe that is a value, by its place: `optimizer.lr` is `0.001`. */
  readonly settings: Readonly<Record<string, string>>;
  /** Optimizer steps that were planned. */
  readonly steps: number;
}

const setCheck = check<NonNullable<RecipeSelection["set"]>>("values by their names", isObject);
const optionsCheck = object<RunOptions>({
  batch: optional(whole(1)), passes: optional(whole(1)), steps: optional(whole(1)), logEvery: optional(whole(1)),
  saveEvery: optional(object<NonNullable<RunOptions["saveEvery"]>>({
    steps: optional(whole(1)), seconds: optional(finite),
  })),
  keep: optional(whole(1)), fallback: optional(text), data: optional(text), evalData: optional(text),
  onBadImage: optional(word({ error: true, skip: true })), weights: optional(record(text, text)),
  selection: optional(object<RecipeSelection>({ target: optional(text), set: optional(setCheck) })),
});

/** What a state says of its run, as it is read. */
export const runCheck = object<RunFacts>({ options: optionsCheck, settings: record(text, text), steps: whole(0) });

/** A value as a list of leaves by their places. */
export function flatten(value: unknown, place = ""): Record<string, string> {
  if (typeof value !== "object" || value === null) return { [place]: JSON.stringify(value) ?? "none" };
  const inside = Object.entries(value);
  if (inside.length === 0) return { [place]: "none" };
  return Object.assign({}, ...inside.map(([name, item]) =>
    flatten(item, place === "" ? name : `${place}.${name}`))) as Record<string, string>;
}

/** What differs between two sets of settings: `optimizer.lr 0.001 → 0.002`. */
export function differences(
  before: Readonly<Record<string, string>>, now: Readonly<Record<string, string>>,
): string[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(now)])];
  return names.filter((name) => before[name] !== now[name])
    .map((name) => `${name} ${before[name] ?? "(none)"} → ${now[name] ?? "(none)"}`);
}
