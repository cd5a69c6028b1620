/**
 * @file What `deitc compile` makes, whatever it was given: a model is an artifact with one graph, `infer`; a recipe is
 * one with the graphs of its training as well.
 */
import type { FamilyName, Manifest } from "./manifest.js";

/** Of `manifest.json`: changed when an older runtime could not read a newer file, or the other way round. */
export const FORMAT = 2;

/** `manifest.json`. A recipe's is a `TrainingManifest`. */
export interface Artifact {
  readonly format: typeof FORMAT;
  /** Version of the compiler that wrote it. */
  readonly compiler: string;
  /** Name in the `.deit` file. */
  readonly name: string;
  readonly doc: string;
  /** By name; each has kernels of its own, in `kernels/GRAPH/FAMILY`. */
  readonly graphs: {
    /** The model in inference; of a recipe, the model that it trains. */
    readonly infer: Manifest;
  };
}

/** An artifact with its kernels' text. */
export interface Definition<A extends Artifact = Artifact> {
  readonly manifest: A;
  /** Text of `kernels/<graph>/<family>/<kernel>.wgsl`. */
  wgsl(graph: string, family: FamilyName, kernel: string): Promise<string>;
}

/** One graph with its kernels' text: what a session runs. */
export interface ModuleDefinition {
  readonly manifest: Manifest;
  /** Text of the kernel in the family. */
  readonly wgsl: (family: FamilyName, kernel: string) => Promise<string>;
}

/** The model that an artifact infers with. */
export const inferenceOf = (definition: Definition): ModuleDefinition => ({
  manifest: definition.manifest.graphs.infer,
  wgsl: (family, kernel) => definition.wgsl("infer", family, kernel),
});
