/** @file The data sets that a recipe names. */
import { isAbsolute, join } from "node:path";
import { cifar10, cifar100 } from "../../data/cifar.js";
import { imageFolder, type DataFiles, type Split } from "../../data/folder.js";
import type { Dataset } from "../../data/loader.js";
import { shapes } from "../../data/shapes.js";
import { FileError, InputError } from "../../errors.js";
import { argumentsOf } from "../../train/arguments.js";
import type { CallSetting, TrainingManifest } from "../../training.js";
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

/** The part of a data set, and whether the other part comes from elsewhere. */
interface Part {
  readonly split: Split;
  readonly apart: boolean;
}

const prefetchOf = (call: CallSetting): number =>
  ("workers" in call.arguments ? Math.max(1, Math.round(argumentsOf(call).number("workers"))) : PREFETCH);

/** A recipe's path: relative to the recipe, unless one was given in its place. */
function pathOf(call: CallSetting, base: string | undefined, given: string | undefined): string {
  if (given !== undefined) return given;
  const path = argumentsOf(call).text("path");
  return base === undefined || isAbsolute(path) ? path : join(base, path);
}

/** Images in folders. Data of which the other part lies elsewhere is taken whole, unless it has a folder a part. */
async function folder(files: DataFiles, root: string, { split, apart }: Part, seed: number): Promise<Dataset> {
  const names = new Set((await files.entries(root))?.filter((entry) => entry.folder).map(({ name }) => name));
  const divided = names.has("train") || names.has("training");
  if (!apart || divided) return imageFolder(files, root, { split, seed });
  return imageFolder(files, root, { split: "train", valShare: 0 });
}

/** What a data set is opened with. */
interface Request {
  readonly call: CallSetting;
  readonly part: Part;
  /** Where it lies. Throws `InputError` for one whose call names no path. */
  path(): string;
  /** The recipe's. */
  readonly seed: number;
}

/**
 * How each data set is opened. Its signature and its checks are the compiler's, in `train/vocabulary/sources.ts`, by
 * its name.
 */
const SOURCES: Readonly<Record<string, (request: Request) => Dataset | Promise<Dataset>>> = {
  image_folder: ({ path, part, seed }) => folder(diskFiles(), path(), part, seed),
  cifar10: ({ path, part }) => cifar10(diskFiles(), path(), part.split),
  cifar100: ({ path, part }) => cifar100(diskFiles(), path(), part.split),
  shapes({ call, part }) {
    const given = argumentsOf(call);
    const [split, length] = part.split === "train"
      ? ["train" as const, given.number("train")] : ["held-out" as const, given.number("test")];
    return shapes({ seed: given.number("seed"), split, length });
  },
};

async function open(request: Request): Promise<Dataset> {
  const { name } = request.call;
  const source = Object.hasOwn(SOURCES, name) ? SOURCES[name] : undefined;
  if (source === undefined) {
    throw new InputError(`unknown data set \`${name}\``, { help: `use ${Object.keys(SOURCES).join(", ")}` });
  }
  return source(request);
}

/**
 * Opens a recipe's data: `eval` where it is stated, else the other part of `data`.
 * @throws FileError or InputError, also where its classes are not those that the model predicts
 */
export async function openData(
  { settings, classes, name }: TrainingManifest, { base, data, evalData }: DataOptions = {},
): Promise<RecipeData> {
  const held = settings.eval ?? settings.data;
  const apart = settings.eval !== undefined || evalData !== undefined;
  const { seed } = settings;
  const training = await open({
    call: settings.data, part: { split: "train", apart }, path: () => pathOf(settings.data, base, data), seed,
  });
  const other = evalData ?? (settings.eval === undefined ? data : undefined);
  const evaluation = await open({
    call: held, part: { split: "val", apart }, path: () => pathOf(held, base, other), seed,
  });
  if (classes !== undefined && training.classes.length !== classes) {
    const count = training.classes.length;
    throw new InputError(`${training.name} has ${count} classes, but the model of ${name} predicts ${classes}`, {
      help: `give the model ${count} classes`,
    });
  }
  const foreign = evaluation.classes.find((one, label) => one !== training.classes[label]);
  if (foreign !== undefined || evaluation.classes.length !== training.classes.length) {
    const what = foreign === undefined ? "fewer classes" : `the class '${foreign}' where training has another`;
    throw new InputError(`${evaluation.name} has ${what}: its labels would mean something else`, {
      help: "give both the same class folders",
    });
  }
  if (evaluation.length === 0) throw new FileError("there are no images", { file: evaluation.name, fault: "missing" });
  return {
    training, evaluation,
    prefetch: { training: prefetchOf(settings.data), evaluation: prefetchOf(held) },
  };
}

/** Seed of shapes that are drawn for an evaluation: a recipe's unless it says otherwise. */
const SHAPES_SEED = 0;

/**
 * A data set to evaluate on, whole: a folder with a folder of images a class (of one that has parts, the validation
 * part), `cifar10:FOLDER`, `cifar100:FOLDER`, or `shapes:COUNT`, which are drawn and seen by no training.
 * @throws FileError or InputError
 */
export async function openDataset(text: string): Promise<Dataset> {
  const files = diskFiles();
  const [, kind, rest = ""] = /^(cifar10|cifar100|shapes):(.+)$/s.exec(text) ?? [];
  switch (kind) {
    case "cifar10": return cifar10(files, rest, "val");
    case "cifar100": return cifar100(files, rest, "val");
    case "shapes": {
      const length = Number(rest);
      if (!Number.isSafeInteger(length) || length < 1) throw new InputError(`'${rest}' is not a number of shapes`);
      return shapes({ seed: SHAPES_SEED, split: "held-out", length });
    }
    default: return { ...await folder(files, text, { split: "val", apart: true }, 0), name: text };
  }
}
