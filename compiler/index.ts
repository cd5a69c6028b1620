/** @file The compiler for programs (`deitc/compiler`): read a program, compile a model, emit its module. */
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
export { language } from "./language.js";
export { compileModel } from "./pipeline.js";
export type { Compiled, CompileOptions, PassRecord } from "./pipeline.js";
export { compileRecipe } from "./train/compile.js";
export type { CompiledRecipe, RecipeCompileOptions } from "./train/compile.js";
export { VERSION } from "./emit/version.js";
