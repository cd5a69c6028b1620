/**
 * @file Emission: a compiled model or recipe as the files of a folder that a program can import.
 */
import type { Artifact, StoredArtifact } from "../../runtime/artifact.js";
import { printManifest } from "./manifest.js";
import { printModule } from "./module.js";
import { PACKAGE_FILE, PACKAGE_TEXT } from "./package.js";

/** What emission needs of what was compiled. */
export interface Emittable {
  readonly manifest: Artifact;
  /** Shader text by `GRAPH/FAMILY/KERNEL`. */
  readonly wgsl: ReadonlyMap<string, string>;
}

/** Path of a kernel's shader, relative to the folder. @param name `GRAPH/FAMILY/KERNEL` */
export const kernelPath = (name: string): string => `kernels/${name}.wgsl`;

/** The SHA-256 digest of a text in hexadecimal. */
async function sha256Of(text: string): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * All files of the folder: relative path (with `/`) → text, sorted by path. The same source gives the same bytes.
 * @param print prints the module; the command line does so in a thread of its own
 */
export async function emitArtifact(compiled: Emittable, print = printModule): Promise<ReadonlyMap<string, string>> {
  const { ts, js, dts } = await print(compiled.manifest);
  const sha256: Record<string, string> = {};
  for (const [name, text] of compiled.wgsl) sha256[name] = await sha256Of(text);
  const stored: StoredArtifact = { ...compiled.manifest, sha256 };
  const files = new Map([
    [PACKAGE_FILE, PACKAGE_TEXT], ["index.js", js], ["index.d.ts", dts], ["src/index.ts", ts],
    ["manifest.json", printManifest(stored)],
  ]);
  for (const [name, text] of compiled.wgsl) files.set(kernelPath(name), text);
  return new Map([...files].sort(([x], [y]) => (x < y ? -1 : 1)));
}
