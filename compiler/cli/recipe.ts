/** @file What train and eval share: a recipe from a folder or a `.deit` file, and the options of both. */
import { statSync } from "node:fs";
import { dirname } from "node:path";
import { InvalidArgumentError, type Command } from "commander";
import type { FamilyName } from "../../runtime/manifest.js";
import type { TrainingDefinition } from "../../runtime/train/engine.js";
import type { CompiledRecipe } from "../train/compile.js";
import { wholeNumber } from "./command.js";
import { CommandError, UsageError } from "./exit.js";
import { families } from "./model.js";

/** A recipe ready to be trained. */
export interface OpenedRecipe {
  readonly definition: TrainingDefinition;
  /** Folder that the paths in the recipe start from. */
  readonly base: string;
  /** What it took to compile, or to read the folder. */
  readonly seconds: number;
}

/** The recipe of a compiled one as it lies in memory. */
export function definitionOf({ manifest, wgsl }: Pick<CompiledRecipe, "manifest" | "wgsl">): TrainingDefinition {
  return {
    manifest,
    wgsl: (graph, family, kernel) => {
      const text = wgsl.get(`${graph}/${family}/${kernel}`);
      return text === undefined
        ? Promise.reject(new CommandError(`there is no kernel ${graph}/${family}/${kernel}`))
        : Promise.resolve(text);
    },
  };
}

/** Compiles one recipe of a file. @throws DiagnosticsError */
export async function compileRecipeFile(file: string, target: string | undefined): Promise<CompiledRecipe> {
  const { readProgram, refuse, verifiesPasses } = await import("./source.js");
  const [program, { compileRecipe }] = await Promise.all([readProgram(file), import("../train/compile.js")]);
  const { compiled, diagnostics } = compileRecipe(program, target, { verify: verifiesPasses() });
  refuse(diagnostics);
  if (!compiled) throw new CommandError(`${file} was not compiled`);
  return compiled;
}

/** `FILE:NAME` as its parts; a path with a colon of its own stays whole. @throws UsageError for two names */
export function recipeParts(
  path: string, target: string | undefined,
): { readonly file: string; readonly target?: string } {
  const [, file, name] = /^(.+\.deit):(\w+)$/.exec(path) ?? [];
  if (file === undefined || name === undefined) return { file: path, ...(target === undefined ? {} : { target }) };
  if (target !== undefined && target !== name) {
    throw new UsageError(`two targets are given at once: ${name} and ${target}`);
  }
  return { file, target: name };
}

/** A folder that `deitc compile` wrote, or a `.deit` file (`FILE` or `FILE:NAME`), which is compiled in memory. */
export async function openRecipePath(path: string, target?: string): Promise<OpenedRecipe> {
  const start = performance.now();
  const seconds = (): number => (performance.now() - start) / 1000;
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) {
    if (target !== undefined) throw new UsageError("--target chooses a recipe of a .deit file; a folder holds one");
    const { openRecipe } = await import("../../runtime/node/train/module.js");
    return { definition: await openRecipe(path), base: ".", seconds: seconds() };
  }
  const named = recipeParts(path, target);
  const compiled = await compileRecipeFile(named.file, named.target);
  return { definition: definitionOf(compiled), base: dirname(named.file), seconds: seconds() };
}

/** Options of every command that runs a recipe. */
export interface RecipeOptions {
  readonly target?: string;
  readonly data?: string;
  readonly evalData?: string;
  readonly weights?: Readonly<Record<string, string>>;
  readonly adapter?: string;
  readonly family?: FamilyName;
  readonly batch?: number;
  readonly json?: boolean;
}

/** Option parser: one kernel family. */
function oneFamily(text: string): FamilyName {
  const [family, more] = families(text);
  if (family === undefined || more !== undefined) throw new InvalidArgumentError("Expected one family.");
  return family;
}

/** Option parser, called once a use: `teacher=path`. */
function collectWeights(text: string, before: Readonly<Record<string, string>> = {}): Record<string, string> {
  const [, name, path] = /^([A-Za-z_]\w*)=(.+)$/s.exec(text) ?? [];
  if (name === undefined || path === undefined) throw new InvalidArgumentError("Expected NAME=FILE.");
  return { ...before, [name]: path };
}

/** Adds the options of `RecipeOptions`. */
export const withRecipeOptions = (command: Command): Command =>
  command
    .option("--target <recipe>", "the recipe to use, if the .deit file has several")
    .option("--data <path>", "path of the training data (default: the recipe's)")
    .option("--eval-data <path>", "path of the evaluation data (default: the recipe's)")
    .option("--weights <name=file>", "the checkpoint that a model starts from; may be repeated", collectWeights)
    .option("--batch <n>", "images per optimizer step (default: the recipe's); the learning rate is not rescaled",
      wholeNumber(1))
    .option("--adapter <name>", "part of an adapter's name, or gpu, lavapipe, swiftshader (see deitc doctor)")
    .option("--family <name>", "kernels to use: scalar, wide or tiled (default: chosen for the adapter)", oneFamily)
    .option("--json", "print JSON: one event per line, then the outcome");
