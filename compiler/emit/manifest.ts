/**
 * @file `manifest.json`: the plan of a compiled model or recipe as text, the same bytes for the same plan.
 */
import type { Artifact } from "../../runtime/artifact.js";
import { printJson, type Json } from "./json.js";

/** Keys in the order of runtime/manifest.ts: what says what a thing is comes before what it holds. */
const ORDER = [
  "format", "compiler", "kind", "name", "path", "index", "kernel", "shape", "size", "dtype", "sameAs",
  "trained", "decay", "resize", "mean", "std", "doc", "b", "c", "per",
  "bindings", "grid", "workgroupSize", "workgroupBytes", "features",
  "inputs", "outputs", "parameters", "initializer", "preprocess", "classNames", "families",
  "kernels", "slots", "programs", "prepare", "run", "copies",
  // Of a recipe.
  "role", "of", "data", "models", "classes", "scalars", "randoms", "settings", "states", "graphs",
  "infer", "train", "gather", "apply", "evaluate",
];

/** The manifest as JSON text ending in a newline; `JSON.parse` gives the same manifest back, bit for bit. */
export function printManifest(manifest: Artifact): string {
  // A manifest is plain data through and through; its interfaces lack the index signature that Json asks for.
  return printJson(manifest as unknown as Json, ORDER);
}
