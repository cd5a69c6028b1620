/**
 * @file A recipe compiled: the graphs of its steps and of its evaluation, and everything the trainer has to know.
 */
import type { Diagnostic } from "../../dsl/diagnostics.js";
import type { Program } from "../../dsl/program.js";
import type { Manifest } from "../../runtime/manifest.js";
import type { ModelInfo, StateInfo, TrainingManifest } from "../../runtime/training.js";
import { digestOf } from "../emit/digest.js";
import { printGraph, type Graph } from "../ir/graph.js";
import { OPS } from "../ops/index.js";
import {
  compileElaborated, compileGraph, graphManifest, type Compiled, type CompiledGraph, type CompileOptions,
} from "../pipeline.js";
import { FORMAT, VERSION } from "../emit/version.js";
import { evaluationGraph } from "./evaluation.js";
import { prepareForward, RANDOM } from "./forward.js";
import { elaborateRecipe, type ElaboratedRecipe } from "./recipe.js";
import { accumulationGraphs, scalarInput, trainingGraph, type StepOptions, type TrainingGraph } from "./step.js";

export interface RecipeCompileOptions extends CompileOptions {
  /** False updates every parameter by kernels of its own. Default true. */
  readonly lanes?: boolean;
  /** Names of tensors that a program of its own brings to the loss besides images, labels and targets. */
  readonly others?: readonly string[];
}

export interface CompiledRecipe {
  readonly manifest: TrainingManifest;
  /** Shader text by `GRAPH/FAMILY/KERNEL`. */
  readonly wgsl: ReadonlyMap<string, string>;
  readonly recipe: ElaboratedRecipe;
  readonly graphs: Readonly<Partial<Record<GraphName, CompiledGraph>>> & { readonly infer: Compiled };
}

type GraphName = Exclude<keyof TrainingManifest["graphs"], "infer_f16">;
type StepName = Exclude<GraphName, "infer">;

/** Compiles one recipe of a program for training. @param target its name, where the file has several. */
export function compileRecipe(
  program: Program, target: string | undefined, options: RecipeCompileOptions = {},
): { readonly compiled?: CompiledRecipe; readonly diagnostics: readonly Diagnostic[] } {
  const { recipe, diagnostics } = elaborateRecipe(program, target, { ops: OPS, ...options });
  return recipe ? { compiled: compiledRecipe(recipe, options), diagnostics } : { diagnostics };
}

/** Compiles an elaborated recipe. */
export function compiledRecipe(recipe: ElaboratedRecipe, options: RecipeCompileOptions = {}): CompiledRecipe {
  const how: StepOptions = { prepare: prepareForward, lanes: options.lanes !== false, gradientNorm: true };
  const steps: Partial<Record<GraphName, TrainingGraph>> = recipe.settings.accumulate === 1
    ? { train: trainingGraph(recipe, how) } : accumulationGraphs(recipe, how);
  const sources = new Map<StepName, Graph>(
    Object.entries(steps).map(([name, { graph }]) => [name as StepName, graph])); // its keys are graphs' names
  sources.set("evaluate", evaluationGraph(recipe).graph);
  const title = (name: GraphName): string => `${recipe.name}, ${name}`;
  const infer = compileElaborated(recipe.model, title("infer"), options);
  const others: Partial<Record<StepName, CompiledGraph>> = {};
  const manifests: Partial<Record<GraphName, Manifest>> = { infer: infer.manifest };
  for (const [name, graph] of sources) {
    const compiled = compileGraph(graph, title(name), options);
    others[name] = compiled;
    manifests[name] = graphManifest(recipe.name, compiled);
  }
  const graphs = { infer, ...others };
  const wgsl = new Map(Object.entries(graphs).flatMap(([name, compiled]) =>
    [...compiled.wgsl].map(([kernel, text]) => [`${name}/${kernel}`, text] as const)));
  const manifest = manifestOf(recipe, Object.values(steps),
    manifests as TrainingManifest["graphs"], // infer and evaluate are set
    digestOf([...sources.values()].map(printGraph).join("\n")));
  return { manifest, wgsl, recipe, graphs };
}

function manifestOf(
  recipe: ElaboratedRecipe, steps: readonly TrainingGraph[], graphs: TrainingManifest["graphs"], digest: string,
): TrainingManifest {
  const states = statesOf(steps);
  const inputs = [...new Map(steps.flatMap((step) => [...step.graph.inputs])).keys()];
  const data = steps.flatMap((step) => step.data).filter((name) => !name.startsWith(RANDOM));
  const scalars = new Map(steps.flatMap((step) => step.scalars).map((one) => [scalarInput(one), one]));
  const { name, doc, settings, classes } = recipe;
  return {
    format: FORMAT, compiler: VERSION, name, doc, states, graphs, data,
    scalars: [...scalars.values()],
    randoms: inputs.filter((input) => input.startsWith(RANDOM))
      .map((input) => ({ input, stream: input.slice(RANDOM.length) })),
    models: recipe.instances.map((instance): ModelInfo => ({ ...instance })),
    ...(classes === undefined ? {} : { classes }), settings,
    digest: digestOf(JSON.stringify([settings, digest])),
  };
}

/** The states of all graphs, each once, lanes before what lies in them. */
function statesOf(steps: readonly TrainingGraph[]): StateInfo[] {
  const all = [...new Map(steps.flatMap((step) => step.states).map((state) => [state.path, state])).values()];
  const sorted = [...all.filter((s) => s.role === "lane"), ...all.filter((s) => s.role !== "lane")];
  const position = new Map(sorted.map((state, i) => [state.path, i]));
  const trained = new Map(steps.flatMap((step) => [
    ...step.decayed.map((path) => [path, true] as const), ...step.undecayed.map((path) => [path, false] as const),
  ]));
  return sorted.map(({ inside, ...state }): StateInfo => ({
    ...state, trained: state.role === "parameter" && trained.has(state.path), decay: trained.get(state.path) === true,
    ...(inside ? { inside: { state: position.get(inside.lane) ?? 0, offset: inside.offset } } : {}),
  }));
}
