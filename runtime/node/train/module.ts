/** @file Loads a compiled recipe in Node: the folder that `deitc compile` wrote. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { FileError } from "../../errors.js";
import type { TrainingDefinition } from "../../train/engine.js";
import type { TrainingManifest } from "../../training.js";
import { readFileBytes, type FileUrl } from "../files.js";

/** Name of a recipe's manifest in its folder. */
const TRAINING_FILE = "training.json";

/** The format number stands for the rest: the compiler wrote the file. */
const isTrainingManifest = (value: unknown): value is TrainingManifest =>
  typeof value === "object" && value !== null && "format" in value && value.format === 1 && "graphs" in value;

const readText = async (file: string): Promise<string> => new TextDecoder().decode(await readFileBytes(file));

/**
 * The recipe that `deitc compile` wrote into `folder` (a path, or a `file:` URL such as a generated file's own).
 * @throws FileError when its manifest is missing, malformed or of another version
 */
export async function openRecipe(folder: string | FileUrl): Promise<TrainingDefinition> {
  const home = typeof folder === "string" ? folder : fileURLToPath(folder.href);
  const file = join(home, TRAINING_FILE);
  let manifest: unknown;
  try {
    manifest = JSON.parse(await readText(file));
  } catch (cause) {
    if (cause instanceof FileError) throw cause;
    throw new FileError("it is not JSON", { file, fault: "malformed", cause, help: "compile the recipe again" });
  }
  if (!isTrainingManifest(manifest)) {
    throw new FileError("it is not a recipe of this version of deitc", {
      file, fault: "not-recognized", help: "compile the recipe again with the deitc that is installed",
    });
  }
  return {
    manifest, wgsl: (graph, family, kernel) => readText(join(home, "kernels", graph, family, `${kernel}.wgsl`)),
  };
}
