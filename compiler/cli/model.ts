/** @file What predict, bench and verify share: a model from a folder or a `.deit` file, and its weights' options. */
import { statSync } from "node:fs";
import { InvalidArgumentError, type Command } from "commander";
import type { FamilyName, Manifest } from "../../runtime/manifest.js";
import { TARGET_NAMES } from "../targets/index.js";
import type { LoadOptions } from "../../runtime/node/module.js";
import type { ModuleDefinition } from "../../runtime/session.js";
import type { Compiled } from "../pipeline.js";
import { named, wholeNumber } from "./command.js";
import { CommandError, UsageError } from "./exit.js";

/** A module ready to be loaded. */
interface OpenedModel {
  readonly definition: ModuleDefinition;
  /** Where it was compiled just now. */
  readonly compiled?: Compiled;
  /** What it took to compile, or to read the folder. */
  readonly seconds: number;
}

/** The module of a compiled model as it lies in memory. */
export function definitionOf({ manifest, wgsl }: Pick<Compiled, "manifest" | "wgsl">): ModuleDefinition {
  return {
    manifest,
    wgsl: (family, kernel) => {
      const text = wgsl.get(`${family}/${kernel}`);
      return text === undefined
        ? Promise.reject(new CommandError(`there is no kernel ${family}/${kernel}`))
        : Promise.resolve(text);
    },
  };
}

/** A folder that `deitc compile` wrote, or a `.deit` file, which is compiled in memory. */
export async function openModel(path: string, target?: string): Promise<OpenedModel> {
  const start = performance.now();
  const seconds = (): number => (performance.now() - start) / 1000;
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
    if (target !== undefined) throw new UsageError("--target chooses a model of a .deit file; a folder holds one");
    const { openModule } = await import("../../runtime/node/module.js");
    return { definition: await openModule(path), seconds: seconds() };
  }
  const { compileFile } = await import("./source.js");
  const compiled = await compileFile(path, target);
  return { definition: definitionOf(compiled), compiled, seconds: seconds() };
}

/** Options of every command that runs a model. */
export interface RunOptions {
  readonly target?: string;
  readonly weights?: string;
  readonly randomWeights?: boolean;
  readonly seed: number;
  readonly ema?: boolean;
  readonly allowHeadMismatch?: boolean;
  readonly adapter?: string;
  readonly json?: boolean;
}

/** Adds the options of `RunOptions`. */
export const withRunOptions = (command: Command): Command =>
  command
    .option("--target <model>", "the model to use, if the .deit file has several")
    .option("--weights <file>", "a checkpoint: .safetensors, .pth, .pt, .th or .bin")
    .option("--ema", "use the moving average of the weights, which training stores in the checkpoint")
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

/** Option parser: kernel families with commas between. */
export function families(text: string): FamilyName[] {
  return text.split(",").map((part): FamilyName => {
    const found = TARGET_NAMES.find((name) => name === part.trim());
    if (found === undefined) throw new InvalidArgumentError(`The families are ${TARGET_NAMES.join(", ")}.`);
    return found;
  });
}
