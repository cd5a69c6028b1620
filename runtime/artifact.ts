/**
 * @file What `deitc compile` makes, whatever it was given: a model is an artifact with one graph, `infer`; a recipe is
 * one with the graphs of its training as well.
 */
import { InputError } from "./errors.js";
import type { FamilyName, Manifest, Precision } from "./manifest.js";

/** Of `manifest.json`: changed when an older runtime could not read a newer file, or the other way round. */
export const FORMAT = 3;

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
    /** The same with f16 products, where it was compiled for them. */
    readonly infer_f16?: Manifest;
  };
}

/** An artifact as it lies in a folder: with the SHA-256 digest of each kernel's text, by `GRAPH/FAMILY/KERNEL`. */
export interface StoredArtifact extends Artifact {
  readonly sha256: Readonly<Record<string, string>>;
}

/** `GRAPH/FAMILY/KERNEL` of every kernel, in order. */
export const kernelsOf = ({ graphs }: Artifact): string[] =>
  Object.entries<Manifest>(graphs).flatMap(([graph, { families }]) =>
    Object.entries(families).flatMap(([family, { kernels }]) =>
      kernels.map(({ name }) => `${graph}/${family}/${name}`)));

/** An artifact with its kernels' text. */
export interface Definition<A extends Artifact = Artifact> {
  readonly manifest: A;
  /** Data from elsewhere: a device opened for it validates calls and bounds accesses unless its user says otherwise. */
  readonly checked?: boolean;
  /** Text of `kernels/<graph>/<family>/<kernel>.wgsl`. */
  wgsl(graph: string, family: FamilyName, kernel: string): Promise<string>;
}

/** One graph with its kernels' text: what a session runs. */
export interface ModuleDefinition {
  readonly manifest: Manifest;
  /** What its products are computed in; f32 unless it says otherwise. */
  readonly precision?: Precision;
  /** As that of the artifact. */
  readonly checked?: boolean;
  /** Text of the kernel in the family. */
  readonly wgsl: (family: FamilyName, kernel: string) => Promise<string>;
}

/** Name of the graph of inference in a precision. */
export const inferenceGraph = (precision: Precision = "f32"): "infer" | "infer_f16" =>
  (precision === "f32" ? "infer" : "infer_f16");

/** The model that an artifact infers with. @throws InputError for a precision that it was not compiled for */
export function inferenceOf(definition: Definition, precision: Precision = "f32"): ModuleDefinition {
  const { checked, manifest: { name, graphs } } = definition;
  const graph = inferenceGraph(precision);
  const manifest = graphs[graph];
  if (!manifest) {
    throw new InputError(`${name} was not compiled for ${precision}`, {
      help: `compile it again with \`--precision f32,${precision}\``,
    });
  }
  return { manifest, precision, checked, wgsl: (family, kernel) => definition.wgsl(graph, family, kernel) };
}
