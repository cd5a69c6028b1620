/**
 * @file Emission: a compiled model as the files of a folder that a program can import.
 */
import type { Manifest } from "../../runtime/manifest.js";
import type { TrainingManifest } from "../../runtime/training.js";
import { printManifest, printTrainingManifest } from "./manifest.js";
import { printModule } from "./module.js";
import { PACKAGE_FILE, PACKAGE_TEXT } from "./package.js";
import { printRecipe } from "./recipe.js";

/** What emission needs of a compiled model. */
export interface Emittable {
  readonly manifest: Manifest;
  /** Shader text by `family/kernel`. */
  readonly wgsl: ReadonlyMap<string, string>;
}

/** What emission needs of a compiled recipe. */
export interface EmittableRecipe {
  readonly manifest: TrainingManifest;
  /** Shader text by `graph/family/kernel`. */
  readonly wgsl: ReadonlyMap<string, string>;
}

/** Path of a kernel's shader, relative to the folder. @param name `family/kernel`, for recipes `graph/family/kernel` */
export const kernelPath = (name: string): string => `kernels/${name}.wgsl`;

/**
 * All files of a compiled model: relative path (with `/`) → text, sorted by path. The same model gives the same bytes.
 * @param print prints the module; the command line does so in a thread of its own
 */
export async function emitModule(
  compiled: Emittable, print = printModule,
): Promise<ReadonlyMap<string, string>> {
  const { ts, js, dts } = await print(compiled.manifest);
  const files = new Map([
    [PACKAGE_FILE, PACKAGE_TEXT], ["index.js", js], ["index.d.ts", dts], ["src/index.ts", ts],
    ["manifest.json", printManifest(compiled.manifest)],
  ]);
  for (const [name, text] of compiled.wgsl) files.set(kernelPath(name), text);
  return new Map([...files].sort(([x], [y]) => (x < y ? -1 : 1)));
}

/** All files of a compiled recipe, likewise. @param print prints the module */
export async function emitRecipe(
  compiled: EmittableRecipe, print = printRecipe,
): Promise<ReadonlyMap<string, string>> {
  const { ts, js, dts } = await print(compiled.manifest);
  const files = new Map([
    [PACKAGE_FILE, PACKAGE_TEXT], ["index.js", js], ["index.d.ts", dts], ["src/index.ts", ts],
    ["training.json", printTrainingManifest(compiled.manifest)],
  ]);
  for (const [name, text] of compiled.wgsl) files.set(kernelPath(name), text);
  return new Map([...files].sort(([x], [y]) => (x < y ? -1 : 1)));
}
