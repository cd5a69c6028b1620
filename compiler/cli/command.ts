/** @file What all commands share: how one is made, and the parsers of their options. */
import { InvalidArgumentError } from "commander";
import type { ExitCode } from "./exit.js";

/** Takes the exit code of a command that ran to its end. */
export type Finish = (code: ExitCode) => void;

/** Help text of examples, one a line. */
export const examples = (...lines: readonly string[]): string => `\nExamples:\n${lines.map((l) => `  ${l}`).join("\n")}`;

/** Option parser: a whole number of at least `least`. */
export const wholeNumber = (least: number) => (text: string): number => {
  const value = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < least) {
    throw new InvalidArgumentError(`A whole number of at least ${least} is needed.`);
  }
  return value;
};

/** Option parser: whole numbers of at least 1, with commas between. */
export const wholeNumbers = (text: string): number[] => text.split(",").map((part) => wholeNumber(1)(part.trim()));

/** Prints a value for programs to read. */
export const printJsonValue = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
