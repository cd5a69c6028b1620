/** @file Loads a compiled recipe in Node: the folder that `deitc compile` wrote. */
import type { TrainingDefinition } from "../../train/engine.js";
import type { TrainingManifest } from "../../training.js";
import { openCompiled } from "../manifest.js";

/** The format number stands for the rest: the compiler wrote the file. */
const isTrainingManifest = (value: unknown): value is TrainingManifest =>
  typeof value === "object" && value !== null && "format" in value && value.format === 1 && "graphs" in value;

/**
 * The recipe that `deitc compile` wrote into `folder` (a path, or a `file:` URL such as a generated file's own).
 * @throws FileError when its manifest is missing, malformed or of another version
 */
export async function openRecipe(folder: string | URL): Promise<TrainingDefinition> {
  const { manifest, wgsl } = await openCompiled(folder, "training.json", "recipe", isTrainingManifest);
  return { manifest, wgsl };
}
