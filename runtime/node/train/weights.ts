/** @file The checkpoints that the models of a recipe start from. */
import { isAbsolute, join } from "node:path";
import { InputError } from "../../errors.js";
import { parametersOf } from "../../train/states.js";
import type { StateInfo, TrainingManifest } from "../../training.js";
import { openCheckpoint } from "../../weights/checkpoint.js";
import { matchWeights } from "../../weights/match.js";
import { openFile, type OpenFile } from "../files.js";

/** Where weights come from. */
interface WeightsOptions {
  /** Folder that the recipe's paths start from; the working folder unless given. */
  readonly base?: string;
  /** A checkpoint by the model's name in the recipe, in place of the recipe's or where it has none. */
  readonly weights?: Readonly<Record<string, string>>;
  /** Takes the moving average in a checkpoint of `weights`. */
  readonly ema?: boolean;
  readonly onNote?: (note: string) => void;
}

/** Values by state; the files stay open until `close`, and are opened anew for what is asked for afterwards. */
interface InitialWeights {
  load(state: StateInfo): Promise<Float32Array | undefined>;
  close(): Promise<void>;
}

/**
 * Opens every checkpoint and fits it to its model, as fine-tuning does: a trained model may have another classifier.
 * @throws FileError, WeightsError, and InputError for a model that the recipe does not have
 */
export async function openWeights(
  manifest: TrainingManifest, options: WeightsOptions = {},
): Promise<InitialWeights> {
  const { base, weights = {}, ema, onNote } = options;
  const names = manifest.models.map(({ name }) => name);
  const unknown = Object.keys(weights).find((name) => !names.includes(name));
  if (unknown !== undefined) {
    throw new InputError(`${manifest.name} has no model '${unknown}'`, { help: `its models are ${names.join(", ")}` });
  }
  const files: OpenFile[] = [];
  let closed = false;
  const close = async (): Promise<void> => {
    closed = true;
    for (const file of files.splice(0)) await file.close();
  };
  const loads = new Map<string, () => Promise<Float32Array>>();
  try {
    for (const model of manifest.models) {
      const own = model.weights;
      const given = Object.hasOwn(weights, model.name) ? weights[model.name] : undefined;
      const path = given ?? (own === undefined || base === undefined || isAbsolute(own) ? own : join(base, own));
      if (path === undefined) continue;
      const file = await openFile(path);
      files.push(file);
      const parts = parametersOf(manifest, model);
      const checkpoint = await openCheckpoint(file, given === undefined || ema === undefined ? {} : { ema });
      const { sources, notes } = matchWeights(checkpoint, parts.map(({ parameter }) => parameter), {
        allowHeadMismatch: !model.frozen, seed: manifest.settings.seed,
      });
      for (const note of notes) onNote?.(`${model.name}: ${note}`);
      for (const [i, { state }] of parts.entries()) {
        const source = sources[i];
        // What the file lacks is drawn as if there were none: by the state's own path.
        if (source?.origin === "checkpoint") loads.set(state.path, () => source.load());
      }
    }
  } catch (error) {
    await close();
    throw error;
  }
  return {
    async load(state) {
      const read = loads.get(state.path);
      if (!closed || read === undefined) return read?.();
      const { onNote: _, ...quietly } = options;
      const again = await openWeights(manifest, quietly);
      try {
        return await again.load(state);
      } finally {
        await again.close();
      }
    },
    close,
  };
}
