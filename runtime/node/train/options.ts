/** @file The options of a training run, and which of them it goes on with when it is resumed. */
import { join, resolve } from "node:path";
import type { BadImagePolicy } from "../../data/check.js";
import type { Device } from "../../device.js";
import type { StopSignal } from "../../lifetime.js";
import { InputError } from "../../errors.js";
import type { FamilyName } from "../../manifest.js";
import type { LoadProgress } from "../../pipelines.js";
import type { TrainingPlan } from "../../train/loop.js";
import type { RecipeSelection, RunOptions } from "../../train/run_facts.js";
import type { DataOptions } from "./datasets.js";
import { hasCheckpoints } from "./kept.js";
import { stateHeader } from "./resume.js";

/** Options of a training run; all are optional. */
export interface TrainerOptions extends DataOptions {
  /** Folder of the run (default: `runs/NAME`). `false` writes nothing. */
  readonly out?: string | false;
  /**
   * Resume the run in `out`, or in the folder or checkpoint given here, with the options that it was started with where
   * no others are given. `auto` resumes the run in `out` if there is one, and starts one otherwise.
   */
  readonly resume?: boolean | string;
  /** Resume even with another recipe or other data, and from a folder that another host has locked. */
  readonly force?: boolean;
  /** What the recipe was compiled with, so that the run can be resumed without stating it again. */
  readonly selection?: RecipeSelection;
  /**
   * What to do about images that cannot be read: `error` (default) ends with an error when one is needed; `skip` reads
   * all images first and leaves those out, with a list of them in the run's folder.
   */
  readonly onBadImage?: BadImagePolicy;
  /** Images that were read so, of how many. */
  readonly onCheck?: (done: number, total: number) => void;
  /** Only `evaluate` is going to be called: the training data is not read. */
  readonly evaluateOnly?: boolean;
  /** Checkpoints to start from, by the model's name in the recipe (default: the recipe's). */
  readonly weights?: Readonly<Record<string, string>>;
  /** Use the moving average that was stored with those of models that are trained. */
  readonly ema?: boolean;
  /** Start a trained model's classifier anew where its checkpoint names other classes than the data has. */
  readonly allowHeadMismatch?: boolean;
  /** Part of an adapter's name, or `gpu`, `lavapipe`, `swiftshader` (default: DEITC_ADAPTER, else the best). */
  readonly adapter?: string;
  /** A device of `openDevice`, shared with others; it outlives this. */
  readonly device?: Device;
  /** The kernel family (default: chosen for the adapter). */
  readonly family?: FamilyName;
  /** Validates every call and bounds every access, which is slower (default: only for a folder opened by its path). */
  readonly checked?: boolean;
  /** Fills storage with NaN first, for tests. */
  readonly poison?: boolean;
  /** Images per optimizer step (default: the recipe's). The learning rate is not rescaled. */
  readonly batch?: number;
  /** Minimum number of passes per step. */
  readonly passes?: number;
  /** Optimizer steps of the whole run (default: the recipe's length). */
  readonly steps?: number;
  /** Steps between two records (default: about fifty records per epoch). */
  readonly logEvery?: number;
  /** Steps or seconds between checkpoints, besides the end of each epoch (default: 600 seconds). */
  readonly saveEvery?: TrainingPlan["saveEvery"];
  /** Number of checkpoints kept, and the folder for checkpoints if `out` cannot be written. */
  readonly keep?: number;
  readonly fallback?: string;
  /** Abort it to stop after the current step. `open` ends at once, and rejects with its reason. */
  readonly signal?: StopSignal;
  /** Called as kernels are compiled. */
  readonly onProgress?: (progress: LoadProgress) => void;
  /** Called with a sentence for each note before training. */
  readonly onNote?: (note: string) => void;
}

/** Folder of a run; undefined when nothing is written. */
export const outOf = ({ out }: Pick<TrainerOptions, "out">, recipe: string): string | undefined =>
  (out === false ? undefined : out ?? join("runs", recipe));

/**
 * Where a run is resumed from; undefined when it starts. Throws `InputError` for a run that has no folder.
 * @param out folder of the run; one that has no checkpoints, because its disk was full, may have them in `fallback`
 */
export async function resumedFrom(
  { resume = false, fallback }: Pick<TrainerOptions, "resume" | "fallback">, out: string | undefined,
): Promise<string | undefined> {
  if (resume === false || resume === "") return undefined;
  if (typeof resume === "string" && resume !== "auto") {
    return out !== undefined && resolve(resume) === resolve(out) ? out : resume;
  }
  if (out === undefined) throw new InputError("a run without a folder has nothing to resume from");
  if (await hasCheckpoints(out)) return out;
  if (fallback !== undefined && await hasCheckpoints(fallback)) return fallback;
  return resume === "auto" ? undefined : out;
}

/** What a state keeps of the options. Paths are made absolute: a run may be resumed from another folder. */
export function savedOptions(options: TrainerOptions): RunOptions {
  const { batch, passes, steps, logEvery, saveEvery, keep, fallback, data, evalData, weights, selection } = options;
  const { onBadImage } = options;
  const absolute = (path: string | undefined): string | undefined => (path === undefined ? undefined : resolve(path));
  const files = weights && Object.fromEntries(Object.entries(weights).map(([name, path]) => [name, resolve(path)]));
  return {
    batch, passes, steps, logEvery, saveEvery, keep, fallback: absolute(fallback), data: absolute(data),
    evalData: absolute(evalData), onBadImage, weights: files, selection,
  };
}

/** The options that a run goes on with: those given now, else those that it was started with. */
export async function withSavedOptions(options: TrainerOptions, from: string | undefined): Promise<TrainerOptions> {
  if (from === undefined) return options;
  const saved = (await stateHeader(from))?.run?.options ?? {};
  const now = Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
  return { ...saved, ...now };
}
