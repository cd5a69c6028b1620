/** @file The compiler for programs (`deitc/compiler`): read a program, compile a model, emit its module. */
import type { LoadOptions } from "../dsl/resolve.js";
import { FUNCTIONS } from "./elaborate/index.js";
import { OPS } from "./ops/index.js";
import { RECIPE_CALLS } from "./train/vocabulary.js";

export { renderDiagnostic, renderDiagnostics, diagnosticJson } from "../dsl/diagnostics.js";
export type { Diagnostic, DiagnosticJson } from "../dsl/diagnostics.js";
export type { Program } from "../dsl/program.js";
export { loadProgram } from "../dsl/resolve.js";
export type { SourceHost } from "../dsl/resolve.js";
export { compileArtifact, compileInference } from "./artifact.js";
export type { CompiledArtifact } from "./artifact.js";
export { emitArtifact, kernelPath } from "./emit/index.js";
export type { Emittable } from "./emit/index.js";
export { interpret } from "./inspect/interpret.js";
export { compileModel } from "./pipeline.js";
export type { Compiled, CompileOptions, PassRecord } from "./pipeline.js";
export { compileRecipe } from "./train/compile.js";
export type { CompiledRecipe, RecipeCompileOptions } from "./train/compile.js";
export { VERSION } from "./emit/version.js";

/** All that programs may call: what `loadProgram` needs to know of the compiler. */
export function language(): LoadOptions {
  const ops = [...OPS.values()].filter((record) => record.internal !== true).map((record) => record.name);
  return { opNames: new Set([...ops, ...FUNCTIONS.keys()]), calls: RECIPE_CALLS };
}
