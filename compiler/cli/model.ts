/** @file What predict, bench and verify share: which model, its weights and its adapter. */
import { InvalidArgumentError, type Command } from "commander";
import type { FamilyName, Manifest } from "../../runtime/manifest.js";
import { TARGET_NAMES } from "../targets/index.js";
import type { LoadOptions } from "../../runtime/node/module.js";
import type { Selection } from "./artifact.js";
import { named, wholeNumber, withSelection } from "./command.js";
import { UsageError } from "./exit.js";

/** Options of every command that runs a model. */
export interface RunOptions extends Selection {
  readonly weights?: string;
  readonly randomWeights?: boolean;
  readonly seed: number;
  readonly ema?: boolean;
  readonly allowHeadMismatch?: boolean;
  readonly adapter?: string;
  readonly json?: boolean;
}

/** The option `--ema`, for the commands that have it. */
export const EMA = [
  "--ema", "use the moving average of the weights, which training stores in the checkpoint or in a file beside it",
] as const;

/** Adds the options of `RunOptions`. */
export const withRunOptions = (command: Command): Command =>
  withSelection(command)
    .option("--weights <file>", "a checkpoint: .safetensors, .pth, .pt, .th or .bin")
    .option(...EMA)
    .option("--allow-head-mismatch", "keep the initial values of a classifier whose class count differs")
    .option("--random-weights", "untrained weights, drawn from --seed")
    .option("--seed <n>", "seed for random numbers", wholeNumber(0), 0)
    .option("--adapter <name>", "part of an adapter's name, or gpu, lavapipe, swiftshader (see deitc doctor)",
      named("An adapter's name"))
    .option("--json", "print JSON");

/** The weights and the adapter that the options name; notes are collected. */
export function loadOptions(options: RunOptions, notes: string[]): LoadOptions {
  const { weights, randomWeights, seed, ema, allowHeadMismatch, adapter } = options;
  if (weights !== undefined && randomWeights) {
    throw new UsageError("give either --weights or --random-weights, not both");
  }
  return {
    ...(weights === undefined ? {} : { weights }),
    ...(randomWeights ? { randomWeights: { seed } } : {}),
    ...(ema === undefined ? {} : { ema }),
    ...(allowHeadMismatch === undefined ? {} : { allowHeadMismatch }),
    ...(adapter === undefined ? {} : { adapter }),
    onNote: (note) => void notes.push(note),
  };
}

/** Says which weights were used, never posing untrained ones as a model. */
export const weightsWords = ({ weights, seed }: RunOptions): string =>
  weights === undefined
    ? `random weights (seed ${seed}): the model is untrained, its predictions are meaningless`
    : `weights ${weights}`;

/** Dispatches of one forward, by family. */
export const stepCounts = ({ families: all }: Manifest): Readonly<Record<FamilyName, number>> =>
  Object.fromEntries(Object.entries(all).map(([name, { programs }]) => [name, programs.run.length]));

/** What `--family` takes, for its help. */
export const FAMILY_LIST = TARGET_NAMES.join(",");

/** Option parser: kernel families with commas between. */
export function families(text: string): FamilyName[] {
  return text.split(",").map((part): FamilyName => {
    const found = TARGET_NAMES.find((name) => name === part.trim());
    if (found === undefined) throw new InvalidArgumentError(`The families are ${TARGET_NAMES.join(", ")}.`);
    return found;
  });
}
