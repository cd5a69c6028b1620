/// <reference lib="esnext.disposable" preserve="true" />
/** @file The core of the runtime (`deitc/runtime/core`): WebGPU alone, fit for a browser. */
export { inferenceOf } from "./artifact.js";
export type { Artifact, Definition, ModuleDefinition } from "./artifact.js";
export * from "./errors.js";
export type * from "./manifest.js";
export { adapterName, chooseFamily, Device, isSoftware, limitsOf } from "./device.js";
export type { LimitName, Limits } from "./device.js";
export { largestBatch, planMemory, showBytes, showShape } from "./memory.js";
export type { MemoryLimits, MemoryPlan, MemoryUse } from "./memory.js";
export type { KernelSource, LoadProgress } from "./pipelines.js";
export type { Numbers } from "./program.js";
export type { Profile, ProfileRow } from "./profile.js";
export { Session } from "./session.js";
export type { InferOptions, ParameterSource, SessionOptions, Tensors } from "./session.js";
export { classNames, topK } from "./labels.js";
export type { ScoredClass } from "./labels.js";
export { evaluationPixels, normalize, preprocess } from "./image/transform.js";
export type { Pixels } from "./image/resize.js";
