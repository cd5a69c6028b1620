/** @file The checkpoints that the models of a recipe start from. */
import { isAbsolute, join } from "node:path";
import type { Dataset } from "../../data/loader.js";
import { InputError } from "../../errors.js";
import { classesOf } from "../../labels.js";
import { parametersOf } from "../../train/states.js";
import type { StateInfo, TrainingManifest } from "../../training.js";
import { matchWeights, type MatchedWeights } from "../../weights/match.js";
import { isClassifier } from "../../weights/names.js";
import { openCheckpointFile } from "../checkpoint.js";
import type { MatchedClasses } from "../../classes.js";
import { ClassOrder, type SavedClasses } from "./class_order.js";

/** Where weights come from. */
interface WeightsOptions {
  /** Folder that the recipe's paths start from; the working folder unless given. */
  readonly base?: string;
  /** A checkpoint by the model's name in the recipe, in place of the recipe's or where it has none. */
  readonly weights?: Readonly<Record<string, string>>;
  /** Takes the moving average in the checkpoints of `weights` whose models are trained. */
  readonly ema?: boolean;
  /** Lets a trained model's classifier start anew where the names of its checkpoint's classes do not fit. */
  readonly allowHeadMismatch?: boolean;
  /** What the run is resumed from: it replaces the weights of the models that are trained. */
  readonly saved?: SavedClasses;
  readonly onNote?: (note: string) => void;
}

/** What a checkpoint gives a model's classifier: nothing, its values, or whatever tensor it may be. */
function headOf(sources: MatchedWeights["sources"]): "initial" | "loaded" | "unknown" {
  const heads = sources.filter(({ parameter }) => isClassifier(parameter.path));
  if (heads.some(({ origin }) => origin === "initializer")) return "initial";
  return heads.length > 0 ? "loaded" : "unknown";
}

/** Values by state; the files stay open until `close`, and are opened anew for what is asked for afterwards. */
export interface InitialWeights {
  /** The data's classes among those that the weights know. */
  readonly classes: MatchedClasses;
  load(state: StateInfo): Promise<Float32Array | undefined>;
  close(): Promise<void>;
}

/**
 * Opens every checkpoint and fits it to its model, as fine-tuning does: a trained model may have another classifier.
 * Where checkpoints name their classes, those of the data are found among them.
 * @throws FileError, WeightsError, and InputError for a model that the recipe does not have or classes that do not fit
 */
export async function openWeights(
  manifest: TrainingManifest, data: Dataset, options: WeightsOptions = {},
): Promise<InitialWeights> {
  const { base, weights = {}, ema, allowHeadMismatch = false, saved, onNote } = options;
  const names = manifest.models.map(({ name }) => name);
  const unknown = Object.keys(weights).find((name) => !names.includes(name));
  if (unknown !== undefined) {
    throw new InputError(`${manifest.name} has no model '${unknown}'`, { help: `its models are ${names.join(", ")}` });
  }
  const files: (() => Promise<void>)[] = [];
  let closed = false;
  const close = async (): Promise<void> => {
    closed = true;
    for (const closeFile of files.splice(0)) await closeFile();
  };
  const order = new ClassOrder(manifest, data, saved);
  const loads = new Map<string, () => Promise<Float32Array>>();
  try {
    for (const model of manifest.models) {
      if (saved !== undefined && !model.frozen) continue;
      const own = model.weights;
      const given = Object.hasOwn(weights, model.name) ? weights[model.name] : undefined;
      const path = given ?? (own === undefined || base === undefined || isAbsolute(own) ? own : join(base, own));
      if (path === undefined) continue;
      const average = given === undefined || model.frozen ? {} : { ema };
      const { checkpoint, close: closeFile } = await openCheckpointFile(path, average);
      files.push(closeFile);
      const parts = parametersOf(manifest, model);
      const { sources, notes } = matchWeights(checkpoint, parts.map(({ parameter }) => parameter), {
        allowHeadMismatch: !model.frozen, seed: manifest.settings.seed,
      });
      for (const note of notes) onNote?.(`${model.name}: ${note}`);
      const head = headOf(sources);
      const kept = head === "initial" || order.add(model, {
        path, names: classesOf(checkpoint.metadata), dispensable: allowHeadMismatch && head === "loaded",
      });
      if (!kept) onNote?.(`${model.name}: ${path} has other classes: the classifier is left at its initial values`);
      for (const [i, { state, parameter }] of parts.entries()) {
        const source = sources[i];
        if (!kept && isClassifier(parameter.path)) continue;
        // What the file lacks is drawn as if there were none: by the state's own path.
        if (source?.origin === "checkpoint") loads.set(state.path, () => source.load());
      }
    }
    order.end().notes.forEach((note) => onNote?.(note));
  } catch (error) {
    await close();
    throw error;
  }
  return {
    classes: order.end(),
    async load(state) {
      const read = loads.get(state.path);
      if (!closed || read === undefined) return read?.();
      const { onNote: _, ...quietly } = options;
      const again = await openWeights(manifest, data, quietly);
      try {
        return await again.load(state);
      } finally {
        await again.close();
      }
    },
    close,
  };
}
