/** @file Opens what `deitc compile` wrote, a model or a recipe. */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { FORMAT, type Artifact, type Definition, type StoredArtifact } from "../artifact.js";
import { artifactFault } from "../check/artifact.js";
import { isObject, placeOf } from "../check/schema.js";
import { FileError } from "../errors.js";
import { openFile, type FileUrl } from "./files.js";

/** Name of the manifest in its folder. */
const MANIFEST_FILE = "manifest.json";
/** Bytes of a manifest and of a kernel's text, far above those of the largest models. */
const MOST_MANIFEST_BYTES = 2 ** 28;
const MOST_KERNEL_BYTES = 2 ** 24;
const COMPILE_AGAIN = "compile the folder again";

async function readBytes(file: string, most: number): Promise<Uint8Array> {
  await using open = await openFile(file);
  if (open.size <= most) return open.read(0, open.size);
  throw new FileError(`it has ${open.size} bytes, more than the ${most} that such a file may have`, {
    file, fault: "malformed", help: COMPILE_AGAIN,
  });
}

/** A manifest, all of it checked. */
async function readManifest(file: string): Promise<StoredArtifact> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(await readBytes(file, MOST_MANIFEST_BYTES)));
  } catch (cause) {
    if (cause instanceof FileError) throw cause;
    throw new FileError("it is not JSON", { file, fault: "malformed", cause, help: COMPILE_AGAIN });
  }
  if (!isObject(value) || value["format"] !== FORMAT) {
    throw new FileError("it is not a manifest of this version of deitc", {
      file, fault: "not_recognized", help: "compile the folder again with the deitc that is installed",
    });
  }
  const found = artifactFault(value);
  if (found) {
    throw new FileError(`${placeOf(found)} ${found.message}`, { file, fault: "malformed", help: COMPILE_AGAIN });
  }
  return value as unknown as StoredArtifact; // artifactFault found nothing else
}

/**
 * The model or recipe that `deitc compile` wrote. A path names data from anywhere: its kernels run with WebGPU's checks
 * unless the user says otherwise. A URL is given by the generated code in the same folder, which is trusted as code is.
 * @param folder its path, or a `file:` URL such as a generated file's own
 * @throws FileError when the manifest or a kernel is missing, malformed or of another version
 */
export async function openArtifact(folder: string | FileUrl): Promise<Definition> {
  const isData = typeof folder === "string";
  const home = isData ? folder : fileURLToPath(folder.href);
  const { sha256, ...manifest } = await readManifest(join(home, MANIFEST_FILE));
  return {
    manifest: manifest satisfies Artifact, checked: isData,
    async wgsl(graph, family, kernel) {
      const file = join(home, "kernels", graph, family, `${kernel}.wgsl`);
      const bytes = await readBytes(file, MOST_KERNEL_BYTES);
      const digest = createHash("sha256").update(bytes).digest("hex");
      const wanted = sha256[`${graph}/${family}/${kernel}`];
      if (digest === wanted) return new TextDecoder().decode(bytes);
      throw new FileError(`its SHA-256 digest is ${digest}, but ${MANIFEST_FILE} says ${wanted}`, {
        file, fault: "malformed", help: "it was changed after it was compiled: compile the folder again",
      });
    },
  };
}
