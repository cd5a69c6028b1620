/** @file What `deitc explain` knows about a file or a compiled folder. */
import type { Artifact, Definition } from "../../runtime/artifact.js";
import type { FamilyName, Manifest } from "../../runtime/manifest.js";
import type { CompiledArtifact } from "../artifact.js";
import type { Selection } from "./artifact.js";
import { CommandError } from "./exit.js";

/** What of a model or recipe is shown. */
export interface ExplainOptions extends Selection {
  readonly family: readonly FamilyName[];
  readonly kernel?: string;
  readonly memory?: boolean;
  readonly parameters?: boolean;
  readonly svg?: string;
  readonly json?: boolean;
  /** Name of a GPU whose least times are told, other peaks than its own in TFLOP/s and GB/s, and images at once. */
  readonly gpu?: string;
  readonly peak?: number;
  readonly bandwidth?: number;
  readonly batch: number;
}

/** What is explained: as it was just compiled, or a folder, of which less is known. */
export interface Explained extends Definition {
  readonly compiled?: CompiledArtifact;
  /** The loss of a recipe as its file has it. */
  readonly loss?: string;
}

/** What only a `.deit` file tells: a folder has the kernels, but not how they were made. @throws CommandError */
export function compiledOf({ compiled, manifest }: Explained, what: string): CompiledArtifact {
  if (compiled) return compiled;
  throw new CommandError(`${what} needs the source of ${manifest.name}, not a compiled folder`, "name the .deit file");
}

/** A kernel of an artifact. */
interface ListedKernel {
  readonly graph: string;
  readonly family: string;
  /** `GRAPH/FAMILY/KERNEL`. */
  readonly id: string;
  readonly name: string;
  /** Paths of what it computes. */
  readonly paths: readonly string[];
}

/** All kernels of an artifact. */
export const kernelsOf = (artifact: Artifact): readonly ListedKernel[] =>
  graphsOf(artifact).flatMap(([graph, { families }]) => Object.entries(families).flatMap(
    ([family, { kernels, programs: { prepare, run } }]) => kernels.map(({ name }, i) => ({
      graph, family, id: `${graph}/${family}/${name}`, name,
      paths: [...prepare, ...run].filter(({ kernel }) => kernel === i).map(({ path }) => path),
    }))));

/** The graphs of an artifact by name. */
export const graphsOf = ({ graphs }: Artifact): (readonly [string, Manifest])[] => Object.entries(graphs);
