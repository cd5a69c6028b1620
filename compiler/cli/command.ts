/** @file What all commands share: how one is made, and the parsers of their options. */
import { InvalidArgumentError, type Command } from "commander";
import type { Precision } from "../../runtime/manifest.js";
import { jsonText, printable } from "../../runtime/text.js";
import type { Plain } from "../elaborate/index.js";
import type { TokenChoice } from "../inspect/tokens.js";
import { OPTIMIZATIONS, type Optimization } from "../optimizations.js";
import type { ExitCode } from "./exit.js";

/** Takes the exit code of a command that ran to its end. */
export type Finish = (code: ExitCode) => void;

/** Help text of examples, one a line. */
export const examples = (...lines: readonly string[]): string =>
  `\nExamples:\n${lines.map((l) => `  ${l}`).join("\n")}`;

/** Option parser: a whole number of at least `least`. */
export const wholeNumber = (least: number) => (text: string): number => {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < least) {
    throw new InvalidArgumentError(`A whole number of at least ${least} is needed.`);
  }
  return value;
};

/** Option parser: a text that is not blank; a blank one is a slip of a script. @param what for the message */
export const named = (what: string) => (text: string): string => {
  if (text.trim() === "") throw new InvalidArgumentError(`${what} is needed.`);
  return text;
};

/** Option parser: a number of at least 0. */
export function amount(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !(value >= 0)) throw new InvalidArgumentError("A number of at least 0 is needed.");
  return value;
}

/** Option parser: whole numbers of at least 1, with commas between. */
export const wholeNumbers = (text: string): number[] => text.split(",").map((part) => wholeNumber(1)(part.trim()));

/** Adds the options that say what of a file is meant, and change the header of its model. */
export const withSelection = (command: Command): Command => command
  .option("--target <name>", "the model or recipe to use, if the .deit file has several: NAME, or RECIPE.MODEL")
  .option("--set <name=value>", "a header parameter's value, e.g. classes=10; may be repeated; of a recipe, in the " +
    "model that it trains", collectOverride);

/** The option of every command that runs a compiled folder. */
export const TRUST = [
  "--trust", "run the kernels of a compiled folder without WebGPU's checks, at full speed: only for a folder whose " +
    "origin you know",
] as const;

const PRECISIONS: readonly Precision[] = ["f32", "f16"];

/** Option parser: a precision. */
export function precision(text: string): Precision {
  const found = PRECISIONS.find((name) => name === text);
  if (!found) throw new InvalidArgumentError(`The precisions are ${PRECISIONS.join(" and ")}.`);
  return found;
}

/** The option of every command that runs a model. */
export const PRECISION = [
  "--precision <name>", "what products are computed in: f32, or f16 with sums in f32 (default: f32)", precision,
] as const;

/** What `--without` and `--no-fuse` ask for. */
export interface LeftOut {
  readonly fuse: boolean;
  readonly without?: readonly Optimization[];
}

/** Adds the options that leave optimizations out. */
export const withLeftOut = (command: Command): Command => command
  .option("--without <list>", `disable optimizations, to find the one that is wrong: ${OPTIMIZATIONS.join(", ")}`,
    optimizations)
  .option("--no-fuse", "compile every op to a kernel of its own: --without fusion");

/** The optimizations to leave out. */
export const leftOut = ({ fuse, without = [] }: LeftOut): readonly Optimization[] =>
  (fuse || without.includes("fusion") ? without : [...without, "fusion"]);

/** Option parser: optimizations with commas between. */
function optimizations(text: string): Optimization[] {
  return text.split(",").map((part) => {
    const found = OPTIMIZATIONS.find((name) => name === part.trim());
    if (!found) throw new InvalidArgumentError(`The optimizations are ${OPTIMIZATIONS.join(", ")}.`);
    return found;
  });
}

/** Option parser: `blocks.*,norm:0,1`. */
export function tokenChoice(text: string): TokenChoice {
  const [, paths, first, second] = /^([^:]+):(\d+),(\d+)$/.exec(text) ?? [];
  if (paths === undefined || first === undefined || second === undefined || Number(first) === Number(second)) {
    throw new InvalidArgumentError("Expected PATHS:ROW,ROW with two different rows, such as 'blocks.*:0,1'.");
  }
  return { paths: paths.split(",").map((path) => path.trim()), rows: [Number(first), Number(second)] };
}

/** Prints a value for programs to read. */
export const printJsonValue = (value: unknown): void => void process.stdout.write(`${jsonText(value, 2)}\n`);

/** Notes, one a line. */
export const noteLines = (notes: readonly string[]): string =>
  notes.map((note) => `note: ${printable(note)}\n`).join("");

/** Option parser, called once a use: `depth=6`, `distilled=true`, `widths=[1,2]` as header parameters. */
function collectOverride(text: string, before: Readonly<Record<string, Plain>> = {}): Record<string, Plain> {
  const match = /^([A-Za-z_]\w*)\s*=(.+)$/s.exec(text);
  const [, name, value] = match ?? [];
  if (name === undefined || value === undefined) throw new InvalidArgumentError("Expected NAME=VALUE.");
  return { ...before, [name]: plain(value.trim()) };
}

function plain(value: string): Plain {
  let parsed: unknown;
  try {
    parsed = JSON.parse(value);
  } catch {
    parsed = undefined;
  }
  if (isPlain(parsed)) return parsed;
  throw new InvalidArgumentError("The value must be a number, true, false, or a list of them in brackets.");
}

const isPlain = (value: unknown): value is Plain =>
  typeof value === "number" || typeof value === "boolean" || (Array.isArray(value) && value.every(isPlain));
