/** @file Reads what `deitc compile` wrote into a folder: the manifest, and the text of each kernel. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { FileError } from "../errors.js";
import { readFileBytes } from "./files.js";

const readText = async (file: string): Promise<string> => new TextDecoder().decode(await readFileBytes(file));

/** A folder that `deitc compile` wrote. */
interface CompiledFolder<M> {
  readonly manifest: M;
  /** The text of a kernel. @param path folders below `kernels`, then the kernel's name */
  wgsl(...path: string[]): Promise<string>;
}

/**
 * @param folder a path, or a `file:` URL such as a generated file's own @param name of the manifest
 * @param is whether JSON is the manifest of this version
 * @throws FileError when the manifest is missing, malformed or of another version
 */
export async function openCompiled<M>(
  folder: string | URL, name: string, what: "model" | "recipe", is: (value: unknown) => value is M,
): Promise<CompiledFolder<M>> {
  const home = typeof folder === "string" ? folder : fileURLToPath(folder);
  const file = join(home, name);
  let manifest: unknown;
  try {
    manifest = JSON.parse(await readText(file));
  } catch (cause) {
    if (cause instanceof FileError) throw cause;
    throw new FileError("it is not JSON", { file, fault: "malformed", cause, help: `compile the ${what} again` });
  }
  if (!is(manifest)) {
    throw new FileError(`it is not a ${what} of this version of deitc`, {
      file, fault: "not-recognized", help: `compile the ${what} again with the deitc that is installed`,
    });
  }
  return { manifest, wgsl: (...path) => readText(`${join(home, "kernels", ...path)}.wgsl`) };
}
