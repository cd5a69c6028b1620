/**
 * @file From what a command line names to a compiled model or recipe: `FILE.deit`, `FILE.deit:NAME` (a model, a recipe,
 * or `RECIPE.MEMBER`, a model as a recipe has it), or a folder that `deitc compile` wrote. All commands mean the same.
 */
import { statSync } from "node:fs";
import { dirname } from "node:path";
import { diagnose } from "../../dsl/diagnostics.js";
import type { Program } from "../../dsl/program.js";
import type { Artifact, Definition } from "../../runtime/artifact.js";
import type { ModuleDefinition } from "../../runtime/artifact.js";
import type { TrainingDefinition } from "../../runtime/train/programs.js";
import type { CompiledArtifact, Target } from "../artifact.js";
import type { Overrides } from "../elaborate/index.js";
import type { Compiled } from "../pipeline.js";
import type { RecipeCompileOptions } from "../train/compile.js";
import { CommandError, DiagnosticsError, UsageError } from "./exit.js";
import { compiledOr, readProgram } from "./source.js";

/** Which declaration of a file is meant, and with which values in the header of its model. */
export interface Selection {
  readonly target?: string;
  readonly set?: Overrides;
  /** Whether a folder's kernels run without WebGPU's checks, as generated code does. */
  readonly trust?: boolean;
}

/** The parts of `FILE:NAME`; a path with a colon of its own stays whole. @throws UsageError for two names */
export function pathParts(
  path: string, target: string | undefined,
): { readonly file: string; readonly target: string | undefined } {
  const [, file, name] = /^(.+\.deit):(\w+(?:\.\w+)?)$/.exec(path) ?? [];
  if (file === undefined || name === undefined) return { file: path, target };
  if (target !== undefined && target !== name) {
    throw new UsageError(`two targets are given at once: ${name} and ${target}`);
  }
  return { file, target: name };
}

export const isFolder = (path: string): boolean => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;

/** The same for a command that needs the source. @throws CommandError for a compiled folder */
export function sourceParts(
  path: string, target: string | undefined, command: string,
): { readonly file: string; readonly target: string | undefined } {
  if (isFolder(path)) {
    throw new CommandError(`${command} needs a .deit file, and \`${path}\` is a folder`,
      "name a `.deit` file, such as the one that the folder was compiled from");
  }
  return pathParts(path, target);
}

/** The compiled folder at a path. @throws UsageError with a selection: what it holds was chosen when it was compiled */
export async function openFolder(path: string, { target, set, trust = false }: Selection): Promise<Definition> {
  if (target !== undefined) {
    throw new UsageError("--target chooses a model or recipe of a .deit file; a compiled folder has only one");
  }
  if (set !== undefined) {
    throw new UsageError("--set changes a header when a .deit file is compiled; this folder is compiled already",
      "name the .deit file, or compile it again with --set");
  }
  const { openArtifact } = await import("../../runtime/node/artifact.js");
  return { ...await openArtifact(path), checked: !trust };
}

/** What a path names, read and not yet compiled. */
export type ReadArtifact = ReadFolder | ReadSource;

/** A folder that `deitc compile` wrote. */
interface ReadFolder {
  readonly folder: Definition;
  /** What it took to read. */
  readonly seconds: number;
}

/** A source file. */
export interface ReadSource {
  readonly file: string;
  readonly program: Program;
  /** What is meant of it, with the target that the path names. */
  readonly selection: Selection;
  readonly seconds: number;
}

/** Reads what a path names. @throws UsageError, DiagnosticsError, or an error of the folder's files */
export async function readArtifact(path: string, selection: Selection = {}): Promise<ReadArtifact> {
  const start = performance.now();
  const seconds = (): number => (performance.now() - start) / 1000;
  if (isFolder(path)) return { folder: await openFolder(path, selection), seconds: seconds() };
  const { file, target } = pathParts(path, selection.target);
  const program = await readProgram(file);
  return { file, program, selection: { ...selection, ...named(target) }, seconds: seconds() };
}

const optionsOf = ({ set }: Selection, more: RecipeCompileOptions = {}): RecipeCompileOptions =>
  ({ ...more, ...(set === undefined ? {} : { overrides: set }) });

/** Compiles what is named of a program that is read already. @throws DiagnosticsError */
export async function compileProgram(
  program: Program, selection: Selection, options: RecipeCompileOptions = {},
): Promise<CompiledArtifact> {
  const { compileArtifact } = await import("../artifact.js");
  return compiledOr(program, selection.target, optionsOf(selection, options), compileArtifact);
}

/** Compiles the model that is named, of a recipe the one that it trains, for inference. @throws DiagnosticsError */
export async function compileModelOf(
  program: Program, selection: Selection, options: RecipeCompileOptions = {},
): Promise<Compiled> {
  const { compileInference } = await import("../artifact.js");
  return compiledOr(program, selection.target, optionsOf(selection, options), compileInference);
}

/** What was compiled, as it lies in memory. */
export const definitionOf = <A extends Artifact>(
  { manifest, wgsl }: { readonly manifest: A; readonly wgsl: ReadonlyMap<string, string> },
): Definition<A> => ({ manifest, wgsl: (graph, family, kernel) => textOf(wgsl, `${graph}/${family}/${kernel}`) });

/** The same of one graph alone. */
export const moduleOf = ({ manifest, wgsl }: Pick<Compiled, "manifest" | "wgsl">): ModuleDefinition =>
  ({ manifest, wgsl: (family, kernel) => textOf(wgsl, `${family}/${kernel}`) });

function textOf(wgsl: ReadonlyMap<string, string>, name: string): Promise<string> {
  const text = wgsl.get(name);
  return text === undefined ? Promise.reject(new CommandError(`there is no kernel ${name}`)) : Promise.resolve(text);
}

/** A model ready to be loaded. */
interface OpenedModel {
  readonly definition: ModuleDefinition;
  /** Where it was compiled just now. */
  readonly compiled?: Compiled;
  /** What it took to read and to compile. */
  readonly seconds: number;
}

/** The model that was read, of a recipe the one that it trains. @throws DiagnosticsError */
export async function openModel(read: ReadArtifact): Promise<OpenedModel> {
  if ("folder" in read) {
    const { inferenceOf } = await import("../../runtime/artifact.js");
    return { definition: inferenceOf(read.folder), seconds: read.seconds };
  }
  const start = performance.now();
  const compiled = await compileModelOf(read.program, read.selection);
  return { definition: moduleOf(compiled), compiled, seconds: read.seconds + (performance.now() - start) / 1000 };
}

/** A recipe ready to be trained. */
export interface OpenedRecipe {
  readonly definition: TrainingDefinition;
  /** Folder that the paths in the recipe start from. */
  readonly base: string;
  /** What it took to read and to compile. */
  readonly seconds: number;
}

/** The recipe that was read. @throws InputError for a compiled model, DiagnosticsError */
export async function openRecipe(read: ReadArtifact): Promise<OpenedRecipe> {
  const { recipeOf } = await import("../../runtime/training.js");
  if ("folder" in read) return { definition: recipeOf(read.folder), base: ".", seconds: read.seconds };
  const start = performance.now();
  const { file, program, selection } = read;
  const { kind, name } = await targetIn(program, selection.target);
  if (kind !== "recipe") {
    const known = program.recipes.map(({ declaration }) => declaration.name.text);
    const span = { source: program.entry, start: 0, end: 0 };
    throw new DiagnosticsError([diagnose("not_a_recipe", { name, path: program.entry.path, known }, span)]);
  }
  const definition = recipeOf(definitionOf(await compileProgram(program, selection)));
  const seconds = read.seconds + (performance.now() - start) / 1000;
  return { definition, base: dirname(file), seconds };
}

/** Whether a recipe was read; what is there instead can be evaluated as a model. @throws DiagnosticsError */
export async function isRecipe(read: ReadArtifact): Promise<boolean> {
  if ("folder" in read) {
    const { isTraining } = await import("../../runtime/training.js");
    return isTraining(read.folder.manifest);
  }
  return (await targetIn(read.program, read.selection.target)).kind === "recipe";
}

/** What a name stands for in a program. @throws DiagnosticsError where it stands for nothing */
export async function targetIn(program: Program, name: string | undefined): Promise<Target> {
  const { targetOf } = await import("../artifact.js");
  const found = targetOf(program, name);
  if ("code" in found) throw new DiagnosticsError([found]);
  return found;
}

const named = (target: string | undefined): Selection => (target === undefined ? {} : { target });
