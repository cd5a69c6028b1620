/**
 * @file Images in folders, one folder a class. The files sit behind an interface, so that this module needs no file
 * system of its own. Source: torchvision, ImageFolder.
 */

import { FileError, ImageError, InputError } from "../errors.js";
import type { Pixels } from "../image/resize.js";
import { streamOf } from "../random.js";
import { counted, printable, someNames } from "../text.js";
import { epochOrder } from "../train/draws.js";
import { mapLimited } from "./limited.js";
import type { Dataset, Sample } from "./loader.js";

/** Something in a folder. */
export interface FolderEntry {
  readonly name: string;
  /** Whether it is a folder, or a link to one. */
  readonly folder: boolean;
  /** Where a link leads that leads nowhere. */
  readonly dangling?: string;
}

/** Folders and files of a data set; paths are joined by `/`. */
export interface DataFiles {
  /** What is in a folder, in any order; undefined when there is no such folder. Throws `FileError`. */
  entries(path: string): Promise<readonly FolderEntry[] | undefined>;
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
  /** Whether a class may have no images, as in data to evaluate on: it is told as a note, not as an error. */
  readonly allowEmpty?: boolean;
}

const EXTENSIONS = [".jpg", ".jpeg", ".png", ".webp", ".gif", ".tif", ".tiff"] as const;
const isImage = (name: string): boolean => EXTENSIONS.some((end) => name.toLowerCase().endsWith(end));
/** Folders that systems and archives leave behind; hidden ones are ignored too. */
const JUNK: ReadonlySet<string> = new Set([
  "__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN", "System Volume Information", "lost+found",
]);
const isIgnored = (name: string): boolean => name.startsWith(".") || JUNK.has(name);
/** What a split's folder is called, in order of preference. */
const splitFolders: Readonly<Record<Split, readonly string[]>> = {
  train: ["train", "training"], val: ["val", "valid", "validation", "test"],
};
/** Files open at a time. */
const OPEN = 16;

const byName = (a: { readonly name: string }, b: { readonly name: string }): number =>
  a.name < b.name ? -1 : a.name > b.name ? 1 : 0;

/** Looks through the folders of a data set, and remembers what it leaves out. */
class Walk {
  readonly #files: DataFiles;
  /** Paths of hidden folders, images and what systems leave behind, and of files in classes that are no images. */
  readonly #ignored: string[] = [];
  readonly #others: string[] = [];

  constructor(files: DataFiles) {
    this.#files = files;
  }

  /** What is in a folder, sorted by name. Throws `FileError` for a folder that is not there. */
  async listed(path: string): Promise<FolderEntry[]> {
    const found = await this.#files.entries(path);
    if (found === undefined) {
      throw new FileError("there is no such folder", { file: path, fault: "missing", help: "check the path" });
    }
    for (const { name, folder } of found) {
      if (isIgnored(name) && (folder || isImage(name))) this.#ignored.push(`${path}/${name}`);
    }
    return found.filter(({ name }) => !isIgnored(name)).toSorted(byName);
  }

  /** Image files below a folder, sorted within each. Links that lead nowhere are among them: reading tells of them. */
  async imagesBelow(path: string): Promise<string[]> {
    const inside: string[][] = [];
    for (const { name, folder } of await this.listed(path)) {
      if (folder) inside.push(await this.imagesBelow(`${path}/${name}`));
      else if (isImage(name)) inside.push([`${path}/${name}`]);
      else this.#others.push(`${path}/${name}`);
    }
    return inside.flat();
  }

  /** Sentences about what was left out. */
  get notes(): readonly string[] {
    const [ignored, others] = [this.#ignored.toSorted(), this.#others];
    return [
      ...(ignored.length === 0 ? [] : [`ignored, as hidden or left by a system: ${someNames(ignored)}`]),
      ...(others.length === 0 ? [] : [
        `${counted(others.length, "file")} not used, as the names do not end in ${EXTENSIONS.join(", ")}: ` +
          someNames(others),
      ]),
    ];
  }
}

/** A file's image, or why it cannot be read. */
async function readFile(files: DataFiles, { path, label }: LabelledFile): Promise<Sample> {
  try {
    return { kind: "image", pixels: await files.decode(await files.read(path), path), label };
  } catch (error) {
    if (!(error instanceof ImageError || error instanceof FileError)) throw error;
    // The message starts with the file, under the name that the disk has for it.
    const reason = error.message.replace(`${printable(error.file)}: `, "");
    return { kind: "broken", name: path, reason, fault: error.fault, label };
  }
}

/** A data set of files with labels; images are decoded when they are read. */
function fileDataset(
  files: DataFiles, labelled: readonly LabelledFile[], about: Pick<Dataset, "name" | "classes" | "notes">,
): Dataset {
  const { name } = about;
  return {
    ...about, length: labelled.length, files: labelled.map(({ path }) => path), image: { size: undefined, channels: 3 },
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
 * missing folder and `InputError` for one without images, or for classes without any.
 */
export async function imageFolder(files: DataFiles, root: string, options: FolderOptions = {}): Promise<Dataset> {
  const { split = "train", valShare = 0.1, seed = 0, allowEmpty = false } = options;
  if (!(valShare >= 0 && valShare < 1)) {
    throw new InputError(`valShare must be at least 0 and less than 1, got ${valShare}`);
  }
  const top = (await new Walk(files).listed(root)).filter(({ folder }) => folder).map(({ name }) => name);
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
  const walk = new Walk(files);
  const own = divided && split === "val";
  const from = own ? `${root}/${other}` : home;
  const entries = await (own ? new Walk(files) : walk).listed(home);
  const classes = entries.filter(({ folder }) => folder).map(({ name }) => name);
  const there = own ? new Set(await classesIn(walk, from, classes, home)) : new Set(classes);
  const labelled: LabelledFile[] = [];
  const empty: string[] = [];
  for (const [label, name] of classes.entries()) {
    const all = there.has(name) ? await walk.imagesBelow(`${from}/${name}`) : [];
    if (all.length === 0) empty.push(name);
    const paths = divided ? all : splitOf(all, split, valShare, seed, name);
    labelled.push(...paths.map((path) => ({ path, label })));
  }
  if (!own && !allowEmpty) refuseEmpty(from, empty, entries.filter(({ dangling }) => dangling !== undefined));
  if (labelled.length === 0) {
    throw new InputError(`${from} contains no images for '${split}'`, {
      help: "put the images of each class in a folder of its own, named like the class",
    });
  }
  const notes = empty.length === 0 ? walk.notes : [...walk.notes, `${from} has no images of ${someNames(empty)}`];
  return fileDataset(files, labelled, { name: printable(`${root}, ${split}`), classes, notes });
}

/** Throws `InputError` for classes without images, as no model can learn them; a link may be one that is lost. */
function refuseEmpty(from: string, empty: readonly string[], lost: readonly FolderEntry[]): void {
  const [link] = lost;
  if (link !== undefined) {
    const target = printable(link.dangling ?? "");
    throw new InputError(`${from}/${printable(link.name)} is a link to '${target}', which does not exist`, {
      help: "repair the link or remove it: it may stand for a class",
    });
  }
  if (empty.length === 0) return;
  const what = empty.length === 1 ? "a class folder without images" : `${empty.length} class folders without images`;
  throw new InputError(`${from} has ${what}: ${someNames(empty)}`, {
    help: `every folder is a class: add images (${EXTENSIONS.join(", ")}) or remove the folder`,
  });
}

/** The classes in `from`. Throws `InputError` for one that `home` does not have: no model could name it. */
async function classesIn(walk: Walk, from: string, classes: readonly string[], home: string): Promise<string[]> {
  const found = (await walk.listed(from)).filter(({ folder }) => folder).map(({ name }) => name);
  const extra = found.filter((name) => !classes.includes(name));
  if (extra.length === 0) return found;
  throw new InputError(`${from} has classes that ${home} does not have: ${someNames(extra)}`, {
    help: `add them to ${home}, or remove them from ${from}`,
  });
}
