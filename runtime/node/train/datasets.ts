/** @file The data sets that a recipe names. */
import { isAbsolute, join } from "node:path";
import type { Dataset } from "../../data/loader.js";
import { matchClasses, relabelled } from "../../classes.js";
import { FileError, InputError } from "../../errors.js";
import { argumentsOf } from "../../train/arguments.js";
import type { CallSetting, TrainingManifest } from "../../training.js";
import { openFolder, SOURCES, type Request } from "../../train/vocabulary/sources.js";
import { diskFiles } from "./files.js";

/** Data to train on and to evaluate with; batches of each prepared ahead. */
export interface RecipeData {
  readonly training: Dataset;
  readonly evaluation: Dataset;
  readonly prefetch: { readonly training: number; readonly evaluation: number };
}

/** Where data lies. */
export interface DataOptions {
  /** Folder that the recipe's paths start from; the working folder unless given. */
  readonly base?: string;
  /** Path of the training data and of the evaluation data, in place of the recipe's. */
  readonly data?: string;
  readonly evalData?: string;
}

/** Batches prepared ahead unless the recipe says. */
const PREFETCH = 3;

const prefetchOf = (call: CallSetting): number =>
  ("workers" in call.arguments ? Math.max(1, Math.round(argumentsOf(call).number("workers"))) : PREFETCH);

/** A recipe's path: relative to the recipe, unless one was given in its place. */
function pathOf(call: CallSetting, base: string | undefined, given: string | undefined): string {
  if (given !== undefined) return given;
  const path = argumentsOf(call).text("path");
  return base === undefined || isAbsolute(path) ? path : join(base, path);
}

type Part = Pick<Request, "split" | "apart" | "seed" | "path">;

async function open(call: CallSetting, part: Part): Promise<Dataset> {
  const source = SOURCES.get(call.name);
  if (source?.open === undefined) {
    const known = [...SOURCES.values()].filter((one) => one.open).map(({ name }) => name);
    throw new InputError(`unknown data set \`${call.name}\``, { help: `use ${known.join(", ")}` });
  }
  return source.open({ ...part, given: argumentsOf(call), files: diskFiles() });
}

/**
 * Opens a recipe's data: `eval` where it is stated, else the other part of `data`. The labels of both are the classes
 * of the training data.
 * @throws FileError or InputError, also where the evaluation data has classes that the training data does not have
 */
export async function openData(
  { settings }: Pick<TrainingManifest, "settings">, { base, data, evalData }: DataOptions = {},
): Promise<RecipeData> {
  const held = settings.eval ?? settings.data;
  const apart = settings.eval !== undefined || evalData !== undefined;
  const { seed } = settings;
  const training = await open(settings.data, {
    split: "train", apart, seed, path: () => pathOf(settings.data, base, data),
  });
  const other = evalData ?? (settings.eval === undefined ? data : undefined);
  const found = await open(held, { split: "val", apart, seed, path: () => pathOf(held, base, other) });
  const own = { owner: training.name, count: training.classes.length, names: training.classes };
  const matched = matchClasses(own, found);
  const evaluation = { ...relabelled(found, matched), notes: [...found.notes ?? [], ...matched.notes] };
  if (evaluation.length === 0) throw new FileError("there are no images", { file: evaluation.name, fault: "missing" });
  return {
    training, evaluation,
    prefetch: { training: prefetchOf(settings.data), evaluation: prefetchOf(held) },
  };
}

/**
 * A data set to evaluate on, whole: a folder with a folder of images a class (of one that has parts, the validation
 * part), or another source by its name, as `cifar10:FOLDER` or `shapes:COUNT`.
 * @throws FileError or InputError
 */
export async function openDataset(text: string): Promise<Dataset> {
  const files = diskFiles();
  const [, name = "", rest = ""] = /^(\w+):(.+)$/s.exec(text) ?? [];
  const source = SOURCES.get(name)?.heldOut;
  if (source) return source(files, rest);
  return { ...await openFolder(files, text, { split: "val", apart: true, seed: 0 }), name: text };
}
