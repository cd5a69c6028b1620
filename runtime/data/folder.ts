/**
 * @file Images in folders, one folder a class. The files sit behind an interface, so that this module needs no file
 * system of its own. Source: torchvision, ImageFolder.
 */

import { FileError, ImageError, InputError } from "../errors.js";
import type { Pixels } from "../image/resize.js";
import { streamOf } from "../random.js";
import { epochOrder } from "../train/draws.js";
import type { Dataset, Sample } from "./loader.js";

/** Folders and files of a data set; paths are joined by `/`. */
export interface DataFiles {
  /** What is in a folder, in any order; undefined when there is no such folder. Throws `FileError`. */
  entries(path: string): Promise<readonly { readonly name: string; readonly folder: boolean }[] | undefined>;
  /** A whole file. Throws `FileError`. */
  read(path: string): Promise<Uint8Array>;
  /** Throws `ImageError`. @param name for messages */
  decode(bytes: Uint8Array, name: string): Promise<Pixels>;
}

/** Which part of a data set. */
export type Split = "train" | "val";

/** An image file and its class. */
interface LabelledFile {
  readonly path: string;
  readonly label: number;
}

export interface FolderOptions {
  readonly split?: Split;
  /** Share of each class kept for `val` where the data set has no folders for it: 0.1 unless given. */
  readonly valShare?: number;
  /** Of the choice of those. */
  readonly seed?: number;
}

const pattern = /\.(jpe?g|png|webp|gif|tiff?)$/iu;
/** What a split's folder is called, in order of preference. */
const splitFolders: Readonly<Record<Split, readonly string[]>> = {
  train: ["train", "training"], val: ["val", "valid", "validation", "test"],
};
/** Files open at a time. */
const OPEN = 16;

const byName = (a: { readonly name: string }, b: { readonly name: string }): number =>
  a.name < b.name ? -1 : a.name > b.name ? 1 : 0;

/** Names and kinds in a folder, sorted, hidden ones left out. */
async function listed(files: DataFiles, path: string): Promise<{ name: string; folder: boolean }[]> {
  const found = await files.entries(path);
  if (found === undefined) {
    throw new FileError("there is no such folder", { file: path, fault: "missing", help: "check the path" });
  }
  return found.filter(({ name }) => !name.startsWith(".")).toSorted(byName);
}

/** Image files below a folder, sorted within each. */
async function imagesBelow(files: DataFiles, path: string): Promise<string[]> {
  const inside: string[][] = [];
  for (const { name, folder } of await listed(files, path)) {
    if (folder) inside.push(await imagesBelow(files, `${path}/${name}`));
    else if (pattern.test(name)) inside.push([`${path}/${name}`]);
  }
  return inside.flat();
}

/** Calls `work` for each item, at most `limit` at a time; results are in the order of the items. */
async function mapLimited<T, R>(
  items: readonly T[], limit: number, work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let at = next++; at < items.length; at = next++) {
      for (const item of items.slice(at, at + 1)) results[at] = await work(item);
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
  return results;
}

/** A file's image, or why it cannot be read. */
async function readFile(files: DataFiles, { path, label }: LabelledFile): Promise<Sample> {
  try {
    return { kind: "image", pixels: await files.decode(await files.read(path), path), label };
  } catch (error) {
    if (!(error instanceof ImageError || error instanceof FileError)) throw error;
    const reason = error.message.replace(`${path}: `, "");
    return { kind: "broken", name: path, reason };
  }
}

/** A data set of files with labels; images are decoded when they are read. */
function fileDataset(
  files: DataFiles, name: string, classes: readonly string[], labelled: readonly LabelledFile[], size?: number,
): Dataset {
  return {
    name, classes, length: labelled.length, files: labelled.map(({ path }) => path), image: { size, channels: 3 },
    read: (indices) => mapLimited(indices, OPEN, async (index) => {
      const file = labelled[index];
      if (file === undefined) throw new InputError(`${name} has no image ${index}: there are ${labelled.length}`);
      return readFile(files, file);
    }),
  };
}

/** The files of a class that belong to a split, chosen by seed and class name, in the order of their names. */
function splitOf(paths: readonly string[], split: Split, share: number, seed: number, name: string): string[] {
  const kept = Math.round(paths.length * share);
  const chosen = new Set(epochOrder(paths.length, seed, streamOf(`split.${name}`)).subarray(0, kept));
  return paths.filter((_, index) => chosen.has(index) === (split === "val"));
}

/**
 * Images of `root`: class folders in `root/train` and `root/val` (or `test`), else class folders in `root` itself, of
 * which a share of each class becomes `val`. Labels follow the sorted names of the folders. Throws `FileError` for a
 * missing folder and `InputError` for one without images.
 */
export async function imageFolder(files: DataFiles, root: string, options: FolderOptions = {}): Promise<Dataset> {
  const { split = "train", valShare = 0.1, seed = 0 } = options;
  if (!(valShare >= 0 && valShare < 1)) {
    throw new InputError(`valShare must be at least 0 and less than 1, got ${valShare}`);
  }
  const top = (await listed(files, root)).filter(({ folder }) => folder).map(({ name }) => name);
  const [train, other] = (["train", "val"] as const)
    .map((kind) => splitFolders[kind].find((name) => top.includes(name)));
  const divided = train !== undefined;
  if (divided && split === "val" && other === undefined) {
    throw new InputError(`${root} has a folder '${train}' but none for validation`, {
      help: `add '${root}/val', or name '${root}/${train}' to split it`,
    });
  }
  // Classes are those of the training folder, so that a class without validation images shifts no label.
  const home = divided ? `${root}/${train}` : root;
  const classes = (await listed(files, home)).filter(({ folder }) => folder).map(({ name }) => name);
  const from = divided && split === "val" ? `${root}/${other}` : home;
  if (from !== home) await checkClasses(files, from, classes, home);
  const labelled: LabelledFile[] = [];
  for (const [label, name] of classes.entries()) {
    if (from !== home && (await files.entries(`${from}/${name}`)) === undefined) continue;
    const all = await imagesBelow(files, `${from}/${name}`);
    const paths = divided ? all : splitOf(all, split, valShare, seed, name);
    labelled.push(...paths.map((path) => ({ path, label })));
  }
  if (labelled.length === 0) {
    throw new InputError(`${from} contains no images for '${split}'`, {
      help: "put the images of each class in a folder of its own, named like the class",
    });
  }
  return fileDataset(files, `${root}, ${split}`, classes, labelled);
}

/** Throws `InputError` for a class that only the validation folder has: no model could name it. */
async function checkClasses(files: DataFiles, from: string, classes: readonly string[], home: string): Promise<void> {
  const extra = (await listed(files, from)).filter(({ name, folder }) => folder && !classes.includes(name));
  if (extra.length === 0) return;
  const names = extra.map(({ name }) => `'${name}'`).join(", ");
  throw new InputError(`${from} has classes that ${home} does not have: ${names}`);
}
