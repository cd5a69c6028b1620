/**
 * @file A call of the recipe's vocabulary as a record, and how the arguments of one are checked. An optimizer, a
 * schedule, a clip, a source or an augmentation is one record: the language gets its signature from it, the compiler
 * its checks, the trainer what it does. Records of what the trainer does are here, those of what becomes kernels
 * (optimizers and clips) are the compiler's.
 */
import type { Argument, Arguments } from "../../training.js";

/** What is wrong with a call whose arguments are of the right types. */
export interface CallFault {
  readonly text: string;
  readonly help?: string;
  /** The argument at fault; the whole call without. */
  readonly argument?: string;
}

/** One call of the vocabulary. */
export interface CallRecord {
  readonly name: string;
  /**
   * Its parameters in the language's own syntax. A default tells a parameter's type and unit; an untyped parameter
   * without default takes a string.
   */
  readonly signature: string;
  /** One or two sentences with the source. */
  readonly doc: string;
  /** What each parameter means, by its name; the signature says its unit and default. */
  readonly about: Readonly<Record<string, string>>;
  /** What is wrong with arguments of the signature's types; undefined for nothing. */
  check?(given: Arguments): CallFault | undefined;
}

/** The bounds of a number. Without `below` and `most` it has none above. */
export interface Range {
  readonly least: number;
  readonly below?: number;
  readonly most?: number;
  readonly whole?: boolean;
}

/** A share of one: 0 and 1 included. */
export const SHARE: Range = { least: 0, most: 1 };
/** A number of things of which there is at least one. */
export const COUNT: Range = { least: 1, whole: true };
export const NOT_NEGATIVE: Range = { least: 0 };

function showRange({ least, below, most, whole }: Range): string {
  const kind = whole === true ? "a whole number of " : "";
  if (most !== undefined) return `${whole === true ? "a whole number " : ""}between ${least} and ${most}`;
  return `${kind}at least ${least}${below === undefined ? "" : ` and below ${below}`}`;
}

/** The fault of a number outside its range. @param argument where it stands, if its own name is not that */
export function outside(
  owner: string, name: string, value: Argument | undefined, range: Range, argument: string = name,
): CallFault | undefined {
  const { least, below = Infinity, most = Number.MAX_VALUE, whole } = range;
  const fits = typeof value === "number" && value >= least && value < below && value <= most
    && (whole !== true || Number.isInteger(value));
  return fits ? undefined
    : { text: `\`${name}\` of \`${owner}\` must be ${showRange(range)}, got ${showArgument(value)}`, argument };
}

/** The fault of the first argument that is outside its range. */
export function within(
  owner: string, given: Arguments, ranges: Readonly<Record<string, Range>>,
): CallFault | undefined {
  for (const [name, range] of Object.entries(ranges)) {
    const fault = outside(owner, name, given[name], range);
    if (fault) return fault;
  }
  return undefined;
}

/** The fault of an argument that is not one of `words`. */
export function oneOf(
  owner: string, given: Arguments, argument: string, words: readonly string[],
): CallFault | undefined {
  if (words.some((word) => word === given[argument])) return undefined;
  const known = words.map((word) => `"${word}"`);
  const listed = `${known.slice(0, -1).join(", ")} or ${known.at(-1) ?? ""}`;
  return { text: `\`${argument}\` of \`${owner}\` must be ${listed}, got ${showArgument(given[argument])}`, argument };
}

/** The fault of an argument that is no list of so many numbers in that range. */
export function numbersIn(
  owner: string, given: Arguments, argument: string, count: number, range: Range,
): CallFault | undefined {
  const list = listOf(given[argument]);
  if (list.length !== count || list.some((one) => typeof one !== "number")) {
    const text = `\`${argument}\` of \`${owner}\` must be a list of ${count} numbers, got ` +
      showArgument(given[argument]);
    return { text, argument };
  }
  for (const [i, one] of list.entries()) {
    const fault = outside(owner, `${argument}[${i}]`, one, range, argument);
    if (fault) return fault;
  }
  return undefined;
}

/** The items of a list, none for anything else. */
export const listOf = (x: Argument | undefined): readonly Argument[] =>
  (Array.isArray(x) ? (x as readonly Argument[]) : []); // isArray loses readonly

/** A number, NaN for anything else. */
export const numberOf = (x: Argument | undefined): number => (typeof x === "number" ? x : NaN);

/** An argument as the language has it. */
export function showArgument(value: Argument | undefined): string {
  if (value === undefined || value === null) return "nothing";
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value !== "object") return String(value);
  return "unit" in value ? `${value.value} ${value.unit}` : `[${[...value].map(showArgument).join(", ")}]`;
}

/** The fault of what the language knows and this version does not do. @param help what to write instead */
export const notYet = (what: string, instead: string, help: string, argument?: string): CallFault =>
  ({ text: `${what} is not available yet: ${instead}`, help, argument });
