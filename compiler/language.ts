/** @file What the compiler brings to the language: all that programs may call. */
import type { LoadOptions } from "../dsl/resolve.js";
import { FUNCTIONS } from "./elaborate/index.js";
import { OPS } from "./ops/index.js";
import { RECIPE_CALLS } from "./train/vocabulary.js";

/** All that programs may call: what `loadProgram` needs to know of the compiler. */
export function language(): LoadOptions {
  const ops = [...OPS.values()].filter((record) => record.internal !== true).map((record) => record.name);
  return { opNames: new Set([...ops, ...FUNCTIONS.keys()]), calls: RECIPE_CALLS };
}
