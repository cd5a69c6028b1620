/** @file Writes the pictures of a compiled model or recipe: for each graph its kernels, and its storage over time. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { FamilyName } from "../../runtime/manifest.js";
import { makeFolder } from "../../runtime/node/files.js";
import { isTraining } from "../../runtime/training.js";
import type { CompiledArtifact } from "../artifact.js";
import { drawGraph } from "../inspect/picture.js";
import { drawPlan } from "../inspect/storage.js";
import { passImages } from "./recipe_memory.js";

/**
 * `graph.svg` and `plan-FAMILY.svg`, of several graphs with the graph's name in front; those of the
 * first family that it was compiled for.
 */
export async function writePictures(
  folder: string, { manifest, graphs }: CompiledArtifact, families: readonly FamilyName[],
): Promise<void> {
  await makeFolder(folder);
  const all = Object.entries(graphs);
  const images = isTraining(manifest) ? passImages(manifest) : 1;
  for (const [graph, compiled] of all) {
    const [prefix, name] = all.length > 1 ? [`${graph}-`, `${manifest.name}, ${graph}`] : ["", manifest.name];
    const pictured = { ...compiled, name, images };
    const own = families.filter((family) => compiled.families.has(family));
    for (const first of own.slice(0, 1)) {
      writeFileSync(join(folder, `${prefix}graph.svg`), drawGraph(pictured, first));
    }
    for (const family of own) {
      writeFileSync(join(folder, `${prefix}plan-${family}.svg`), drawPlan(pictured, family));
    }
  }
}
