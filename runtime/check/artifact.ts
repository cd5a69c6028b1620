/** @file Whether `manifest.json` is one: everything in it is looked at before anything of it is used. */
import { FORMAT, kernelsOf, type Artifact, type StoredArtifact } from "../artifact.js";
import type { Manifest } from "../manifest.js";
import { isTraining, type TrainingGraphs, type TrainingManifest } from "../training.js";
import { graph, identifier } from "./manifest.js";
import { graphReferences } from "./references.js";
import {
  check, inside, isObject, lines, matching, object, optional, record, says, text, type Check, type Fault, type Fields,
} from "./schema.js";
import { trainingFields, trainingReferences } from "./training.js";

const common: Pick<Fields<StoredArtifact>, "format" | "compiler" | "name" | "doc" | "sha256"> = {
  format: check<typeof FORMAT>(String(FORMAT), (value) => value === FORMAT), compiler: text, name: identifier,
  doc: lines,
  sha256: record(text, matching("a SHA-256 digest in hexadecimal", /^[0-9a-f]{64}$/u)),
};

const model: Check<StoredArtifact> = object<StoredArtifact>({
  ...common, graphs: object<Artifact["graphs"]>({ infer: graph }),
});

const recipe: Check<StoredArtifact & TrainingManifest> = object<StoredArtifact & TrainingManifest>({
  ...common, ...trainingFields,
  graphs: object<TrainingGraphs>({
    infer: graph, train: optional(graph), gather: optional(graph), apply: optional(graph), evaluate: graph,
  }),
});

/** Every kernel has a digest. */
function digestsFault(artifact: StoredArtifact): Fault | undefined {
  const missing = kernelsOf(artifact).find((name) => !Object.hasOwn(artifact.sha256, name));
  return missing === undefined ? undefined : inside("sha256", inside(missing, says("is missing")));
}

/** The first fault of a manifest that was read from a file; undefined for a `StoredArtifact`. */
export function artifactFault(value: unknown): Fault | undefined {
  const trains = isObject(value) && "settings" in value;
  const found = (trains ? recipe : model)(value);
  if (found) return found;
  const artifact = value as StoredArtifact; // as the checks above say
  for (const [name, one] of Object.entries<Manifest>(artifact.graphs)) {
    const wrong = graphReferences(one);
    if (wrong) return inside("graphs", inside(name, wrong));
  }
  return digestsFault(artifact) ?? (isTraining(artifact) ? trainingReferences(artifact) : undefined);
}
