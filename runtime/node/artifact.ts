/** @file Opens what `deitc compile` wrote, a model or a recipe. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { FORMAT, type Artifact, type Definition } from "../artifact.js";
import { FileError } from "../errors.js";
import { readFileBytes, type FileUrl } from "./files.js";

/** Name of the manifest in its folder. */
const MANIFEST_FILE = "manifest.json";

/** The format number stands for the rest: the compiler wrote the file. */
const isArtifact = (value: unknown): value is Artifact =>
  typeof value === "object" && value !== null && "format" in value && value.format === FORMAT;

const readText = async (file: string): Promise<string> => new TextDecoder().decode(await readFileBytes(file));

/**
 * The model or recipe that `deitc compile` wrote.
 * @param folder its path, or a `file:` URL such as a generated file's own
 * @throws FileError when the manifest is missing, malformed or of another version
 */
export async function openArtifact(folder: string | FileUrl): Promise<Definition> {
  const home = typeof folder === "string" ? folder : fileURLToPath(folder.href);
  const file = join(home, MANIFEST_FILE);
  let manifest: unknown;
  try {
    manifest = JSON.parse(await readText(file));
  } catch (cause) {
    if (cause instanceof FileError) throw cause;
    throw new FileError("it is not JSON", { file, fault: "malformed", cause, help: "compile the folder again" });
  }
  if (!isArtifact(manifest)) {
    throw new FileError("it is not a manifest of this version of deitc", {
      file, fault: "not_recognized", help: "compile the folder again with the deitc that is installed",
    });
  }
  return {
    manifest, wgsl: (graph, family, kernel) => readText(join(home, "kernels", graph, family, `${kernel}.wgsl`)),
  };
}
