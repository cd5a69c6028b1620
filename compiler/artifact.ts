/**
 * @file Compiles what a name stands for: a model, a recipe, or one model of a recipe; for a folder, or for inference
 * alone.
 */
import { diagnose, type Diagnostic } from "../dsl/diagnostics.js";
import type { Source } from "../dsl/ast.js";
import type { Program } from "../dsl/program.js";
import type { Artifact } from "../runtime/artifact.js";
import type { Precision } from "../runtime/manifest.js";
import type { TrainingManifest } from "../runtime/training.js";
import { FORMAT, VERSION } from "./emit/version.js";
import { OPS } from "./ops/index.js";
import {
  compileAs, compileModel, type Compilation, type Compiled, type CompiledGraph, type CompileOptions,
} from "./pipeline.js";
import { compileRecipe, type CompiledRecipe, type RecipeCompileOptions } from "./train/compile.js";
import { elaborateMember } from "./train/recipe.js";

/** What a name on the command line stands for. */
export type Target =
  | { readonly kind: "model"; readonly name: string }
  | { readonly kind: "recipe"; readonly name: string }
  /** `RECIPE.MEMBER`: a model as a recipe has it, with the overrides given there. */
  | { readonly kind: "member"; readonly recipe: string; readonly name: string };

/** A model or a recipe, compiled. */
export interface CompiledArtifact {
  readonly manifest: Artifact | TrainingManifest;
  /** Shader text by `GRAPH/FAMILY/KERNEL`. */
  readonly wgsl: ReadonlyMap<string, string>;
  /** By name. */
  readonly graphs: Readonly<Record<string, CompiledGraph>> & {
    readonly infer: Compiled; readonly infer_f16?: Compiled;
  };
  /** Where it is a recipe. */
  readonly recipe?: CompiledRecipe["recipe"];
}

export interface ArtifactOptions extends RecipeCompileOptions {
  /** Precisions of inference besides f32. */
  readonly precisions?: readonly Precision[];
}

/** What of a file a name may stand for. */
interface Declarations {
  readonly entry: Source;
  readonly models: readonly Named[];
  readonly recipes: readonly Named[];
}

interface Named {
  readonly declaration: { readonly name: { readonly text: string } };
}

const namesOf = (list: readonly Named[]): readonly string[] => list.map(({ declaration }) => declaration.name.text);

/**
 * What `name` stands for in the entry file of a program. Without a name: the file's recipe, else its model, where there
 * is just one.
 */
export function targetOf(declarations: Declarations, name: string | undefined): Target | Diagnostic {
  const { entry, models: allModels, recipes: allRecipes } = declarations;
  const [models, recipes] = [namesOf(allModels), namesOf(allRecipes)];
  const known = [...recipes, ...models];
  const start = { source: entry, start: 0, end: 0 };
  const { path } = entry;
  if (name === undefined) {
    const [only, more] = recipes.length > 0 ? recipes : models;
    if (only === undefined || more !== undefined) return diagnose("ambiguous_target", { path, known }, start);
    return { kind: recipes.length > 0 ? "recipe" : "model", name: only };
  }
  if (recipes.includes(name)) return { kind: "recipe", name };
  if (models.includes(name)) return { kind: "model", name };
  const [recipe, member, more] = name.split(".");
  if (recipe !== undefined && member !== undefined && more === undefined && recipes.includes(recipe)) {
    return { kind: "member", recipe, name: member };
  }
  return diagnose("unknown_target", { name, path, known }, start);
}

/** Compiles all of what `name` stands for. */
export function compileArtifact(
  program: Program, name: string | undefined, options: ArtifactOptions = {},
): { readonly compiled?: CompiledArtifact; readonly diagnostics: readonly Diagnostic[] } {
  const target = targetOf(program, name);
  if ("code" in target) return { diagnostics: [target] };
  if (target.kind === "recipe") {
    const { compiled, diagnostics } = compileRecipe(program, target.name, options);
    return compiled ? { compiled: withHalves(compiled, program, target, options), diagnostics } : { diagnostics };
  }
  const { compiled: infer, diagnostics } = compileTarget(program, target, options);
  if (!infer) return { diagnostics };
  const { model, manifest } = infer;
  const artifact = {
    manifest: { format: FORMAT, compiler: VERSION, name: model.name, doc: model.doc, graphs: { infer: manifest } },
    wgsl: prefixed("infer", infer), graphs: { infer },
  };
  return { compiled: withHalves(artifact, program, target, options), diagnostics };
}

/** Kernels' text by the graph's name as well. */
const prefixed = (graph: string, { wgsl }: CompiledGraph): ReadonlyMap<string, string> =>
  new Map([...wgsl].map(([kernel, text]) => [`${graph}/${kernel}`, text]));

/** The artifact with the graph of inference in f16, where it is wanted. */
function withHalves(
  artifact: CompiledArtifact, program: Program, target: Target, options: ArtifactOptions,
): CompiledArtifact {
  const made = options.precisions?.includes("f16")
    ? compileTarget(program, target, { ...options, precision: "f16" }).compiled : undefined;
  if (!made) return artifact;
  const graph = "infer_f16" satisfies keyof Artifact["graphs"];
  const { manifest, wgsl, graphs } = artifact;
  return {
    ...artifact, manifest: { ...manifest, graphs: { ...manifest.graphs, [graph]: made.manifest } },
    wgsl: new Map([...wgsl, ...prefixed(graph, made)]), graphs: { ...graphs, [graph]: made },
  };
}

/** Compiles the model that `name` stands for, of a recipe the one that it trains, for inference. */
export function compileInference(
  program: Program, name: string | undefined, options: CompileOptions = {},
): Compilation {
  const target = targetOf(program, name);
  return "code" in target ? { diagnostics: [target] } : compileTarget(program, target, options);
}

function compileTarget(program: Program, target: Target, options: CompileOptions): Compilation {
  if (target.kind === "model") return compileModel(program, target.name, options);
  const [recipe, member] = target.kind === "recipe" ? [target.name] : [target.recipe, target.name];
  const { overrides } = options;
  return compileAs(program, options, () =>
    elaborateMember(program, recipe, member, { ops: OPS, ...(overrides ? { overrides } : {}) }));
}
