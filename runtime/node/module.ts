/** @file Loads a compiled model in Node: its weights in any form, the adapter by name. */
import type { Device } from "../device.js";
import { InputError } from "../errors.js";
import { labelsIn, predictedClasses } from "../labels.js";
import type { StopSignal } from "../lifetime.js";
import type { FamilyName, Manifest, Precision } from "../manifest.js";
import type { LoadProgress } from "../pipelines.js";
import type { ModuleDefinition } from "../artifact.js";
import { Session, type ParameterSource, type Tensors } from "../session.js";
import { memoryAccess } from "../weights/access.js";
import { openCheckpoint } from "../weights/checkpoint.js";
import { initialize } from "../weights/initialize.js";
import { matchWeights } from "../weights/match.js";
import { openDevice } from "./adapters.js";
import { openCheckpointFile } from "./checkpoint.js";

/** Options for loading a generated class. Either `weights` or `randomWeights` is required. */
export interface LoadOptions {
  /**
   * A checkpoint's path (`.safetensors`, `.pth`, `.pt`, `.th`) or its bytes, or values by parameter path. A checkpoint
   * is adapted to the model as for fine-tuning; `onNote` is called with what was done.
   */
  readonly weights?: string | Uint8Array | ReadonlyMap<string, Float32Array>;
  /** Use the moving average of the weights: that in the file, or that which the run kept beside it. */
  readonly ema?: boolean;
  /** Keep the initial values of a classifier whose class count differs from the checkpoint's. */
  readonly allowHeadMismatch?: boolean;
  /** Class names in the order of the logits (default: those of the checkpoint, else those that the model states). */
  readonly labels?: readonly string[];
  /** Random weights of an untrained model, instead of `weights`. */
  readonly randomWeights?: { readonly seed: number };
  /** Maximum number of images per call of `infer` (default: 1). */
  readonly batch?: number;
  /** Part of an adapter's name, or `gpu`, `lavapipe`, `swiftshader` (default: DEITC_ADAPTER, else the best). */
  readonly adapter?: string;
  /** A device of `openDevice`, shared with other models; it outlives this one. */
  readonly device?: Device;
  /**
   * What products are computed in (default: `f32`). `f16` is for adapters with the feature `shader-f16`, and needs a
   * folder that was compiled for it; products are summed in f32.
   */
  readonly precision?: Precision;
  /** The kernel family (default: chosen for the adapter). */
  readonly family?: FamilyName;
  /**
   * Validates every call and bounds every access, which is slower (default: only for a folder that `openArtifact` was
   * given the path of, since its kernels may come from anyone). Has no effect on a `device` that is given.
   */
  readonly checked?: boolean;
  /** Fills storage with NaN first, for tests. */
  readonly poison?: boolean;
  /** Called as kernels are compiled, weights are uploaded, and what depends on them alone is computed. */
  readonly onProgress?: (progress: LoadProgress) => void;
  /** Ends the load, which then rejects with its reason. */
  readonly signal?: StopSignal;
  /** Called with a sentence for each change made to fit a checkpoint, such as a resampled position embedding. */
  readonly onNote?: (note: string) => void;
}

/** Where parameters come from, and what to do when all were read. */
interface OpenSource {
  readonly source: ParameterSource;
  readonly labels?: readonly string[];
  readonly close?: () => Promise<void>;
}

/**
 * Loads a module with its weights onto a device. `destroy()` the result, or use `await using`.
 * @throws InputError without weights, or for a wrong number of labels; FileError and WeightsError for the weights;
 * AdapterError, OutOfMemoryError.
 */
export async function load<
  Inputs extends object = Tensors,
  Outputs extends object = Readonly<Record<string, Float32Array>>,
>(definition: ModuleDefinition, options: LoadOptions): Promise<Session<Inputs, Outputs>> {
  const { batch, family, poison, onProgress, signal } = options;
  const { precision = "f32" } = definition;
  if (options.precision !== undefined && options.precision !== precision) {
    throw new InputError(`the precision ${options.precision} is asked for, but ${definition.manifest.name} was ` +
      `opened in ${precision}`, { help: `open it with \`inferenceOf(artifact, "${options.precision}")\`` });
  }
  const classes = predictedClasses(definition.manifest);
  if (options.labels !== undefined && options.labels.length !== classes) {
    const { name } = definition.manifest;
    throw new InputError(`${name} predicts ${classes ?? "no"} classes, got ${options.labels.length} labels`);
  }
  const { source, labels: own, close } = await openSource(definition.manifest, options);
  const labels = options.labels ?? own;
  let opened: Device | undefined;
  try {
    const { checked = definition.checked ?? false } = options;
    const device = options.device ?? (opened = await openDevice({ ...options, checked }));
    const ownsDevice = opened !== undefined;
    return await Session.load<Inputs, Outputs>(definition, {
      device, ownsDevice, weights: source, labels, batch, family, poison, onProgress, signal,
    });
  } catch (error) {
    opened?.destroy();
    throw error;
  } finally {
    await close?.();
  }
}

/** The parameters' source that the options name. */
async function openSource(manifest: Manifest, options: LoadOptions): Promise<OpenSource> {
  const { weights, randomWeights } = options;
  if (weights !== undefined && randomWeights !== undefined) {
    throw new InputError("give either `weights` or `randomWeights`, not both");
  }
  if (randomWeights !== undefined) return { source: (info) => initialize(info, randomWeights.seed) };
  if (weights === undefined) {
    throw new InputError(`${manifest.name} needs weights`, {
      help: "give { weights: \"model.safetensors\" } or, for an untrained model, { randomWeights: { seed: 0 } }",
    });
  }
  if (typeof weights === "string" || weights instanceof Uint8Array) return fromCheckpoint(manifest, weights, options);
  return fromMap(manifest, weights);
}

/** The tensors of a checkpoint, read one by one when they are asked for. */
async function fromCheckpoint(
  manifest: Manifest,
  weights: string | Uint8Array,
  { ema, allowHeadMismatch, onNote }: LoadOptions,
): Promise<OpenSource> {
  const { checkpoint, close } = typeof weights === "string" ? await openCheckpointFile(weights, { ema })
    : {
      checkpoint: await openCheckpoint(memoryAccess("the weights given", weights), { ema }),
      close: () => Promise.resolve(),
    };
  try {
    const { sources, notes } = matchWeights(checkpoint, manifest.parameters, { allowHeadMismatch });
    for (const note of notes) onNote?.(note);
    const labels = labelsIn(checkpoint.metadata, manifest);
    // One source a parameter, in the manifest's order.
    return { source: (info, index) => sources[index]?.load() ?? initialize(info, 0), labels, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Values by path. Tables computed from dimensions are no weights and may be left out. */
function fromMap(manifest: Manifest, weights: ReadonlyMap<string, Float32Array>): OpenSource {
  const list = (paths: readonly string[]): string => {
    const more = paths.length > 5 ? ` and ${paths.length - 5} more` : "";
    return paths.slice(0, 5).map((name) => `'${name}'`).join(", ") + more;
  };
  const needed = manifest.parameters.filter((info) => info.trained || info.initializer.kind !== "values");
  const missing = needed.map((info) => info.path).filter((name) => !weights.has(name));
  if (missing.length > 0) throw new InputError(`the weights lack ${list(missing)}`);
  const known = new Set(manifest.parameters.map((info) => info.path));
  const unknown = [...weights.keys()].filter((name) => !known.has(name));
  if (unknown.length > 0) throw new InputError(`${manifest.name} has no parameter ${list(unknown)}`);
  return { source: (info) => weights.get(info.path) ?? initialize(info, 0) };
}
