/**
 * @file CIFAR-10 and CIFAR-100, as binary batches or as folders of image files. Source: Krizhevsky 2009; the format
 * section of https://www.cs.toronto.edu/~kriz/cifar.html.
 */

import { FileError, InputError } from "../errors.js";
import { imageFolder, type DataFiles, type Split } from "./folder.js";
import type { Dataset, Sample } from "./loader.js";

/** Pixels a side. */
const SIDE = 32;
const PLANE = SIDE * SIDE;

/** Where the records of a variant are, and what a record looks like. */
interface Variant {
  readonly name: string;
  /** Label bytes before the pixels; the last is the class. */
  readonly labelBytes: number;
  /** The archive's own folder, entered when it is there. */
  readonly folder: string;
  readonly files: Readonly<Record<Split, readonly string[]>>;
  /** Class names, one a line. */
  readonly names: string;
  readonly classes: number;
}

const variants: Readonly<Record<"cifar10" | "cifar100", Variant>> = {
  cifar10: {
    name: "CIFAR-10", labelBytes: 1, folder: "cifar-10-batches-bin", names: "batches.meta.txt", classes: 10,
    files: { train: [1, 2, 3, 4, 5].map((n) => `data_batch_${n}.bin`), val: ["test_batch.bin"] },
  },
  cifar100: {
    name: "CIFAR-100", labelBytes: 2, folder: "cifar-100-binary", names: "fine_label_names.txt", classes: 100,
    files: { train: ["train.bin"], val: ["test.bin"] },
  },
};

/** Records of one file, still encoded. */
interface Records {
  readonly bytes: Uint8Array;
  readonly count: number;
}

async function recordsOf(files: DataFiles, path: string, { labelBytes, classes }: Variant): Promise<Records> {
  const bytes = await files.read(path);
  const record = labelBytes + 3 * PLANE;
  if (bytes.length === 0 || bytes.length % record !== 0) {
    const message = `${bytes.length} bytes are not a multiple of the record size, ${record}`;
    throw new FileError(message, { file: path, fault: "truncated", help: "unpack the archive again" });
  }
  const count = bytes.length / record;
  for (let i = 0; i < count; i++) {
    const label = bytes[i * record + labelBytes - 1] ?? 0;
    if (label >= classes) {
      throw new FileError(`record ${i} has label ${label}, but there are ${classes} classes`, {
        file: path, fault: "malformed",
      });
    }
  }
  return { bytes, count };
}

/** Image `index` of a file: planes become pixels. */
function sampleOf({ bytes }: Records, index: number, labelBytes: number): Sample {
  const start = index * (labelBytes + 3 * PLANE) + labelBytes;
  const data = new Uint8ClampedArray(3 * PLANE);
  for (let channel = 0; channel < 3; channel++) {
    for (let i = 0; i < PLANE; i++) data[3 * i + channel] = bytes[start + channel * PLANE + i] ?? 0;
  }
  return { kind: "image", pixels: { data, width: SIDE, height: SIDE }, label: bytes[start - 1] ?? 0 };
}

/** Class names from their file, or numbers where it is not there. */
async function namesOf(files: DataFiles, path: string, classes: number): Promise<string[]> {
  try {
    const text = new TextDecoder().decode(await files.read(path));
    const names = text.split(/\r?\n/u).map((line) => line.trim()).filter((line) => line !== "");
    if (names.length === classes) return names;
    throw new FileError(`${names.length} class names, not ${classes}`, { file: path, fault: "malformed" });
  } catch (error) {
    if (!(error instanceof FileError && error.fault === "missing")) throw error;
    return Array.from({ length: classes }, (_, label) => String(label));
  }
}

async function binary(files: DataFiles, root: string, split: Split, variant: Variant): Promise<Dataset> {
  const parts: Records[] = [];
  for (const file of variant.files[split]) parts.push(await recordsOf(files, `${root}/${file}`, variant));
  const length = parts.reduce((sum, { count }) => sum + count, 0);
  const name = `${variant.name}, ${split}`;
  const sample = (index: number): Sample => {
    let left = index;
    for (const part of parts) {
      if (left >= 0 && left < part.count) return sampleOf(part, left, variant.labelBytes);
      left -= part.count;
    }
    throw new InputError(`${name} has no image ${index}: there are ${length}`);
  };
  return {
    name, classes: await namesOf(files, `${root}/${variant.names}`, variant.classes), length,
    image: { size: SIDE, channels: 3 }, read: (indices) => Promise.resolve(indices.map(sample)),
  };
}

async function cifar(files: DataFiles, root: string, split: Split, variant: Variant): Promise<Dataset> {
  for (const home of [root, `${root}/${variant.folder}`]) {
    const found = await files.entries(home);
    if (found?.some(({ name }) => variant.files[split].includes(name))) return binary(files, home, split, variant);
  }
  const found = await files.entries(root);
  if (!found?.some(({ name, folder }) => folder && name === "train")) {
    const help = `unpack the binary version into it, or folders 'train' and 'test' with one folder per class`;
    throw new FileError(`${variant.name} not found`, { file: root, fault: "missing", help });
  }
  const images = await imageFolder(files, root, { split });
  if (images.classes.length !== variant.classes) {
    throw new InputError(`${root} has ${images.classes.length} classes, ${variant.name} ${variant.classes}`);
  }
  return { ...images, name: `${variant.name}, ${split}`, image: { size: SIDE, channels: 3 } };
}

/**
 * CIFAR-10 below `root`: `data_batch_1.bin` … and `test_batch.bin`, or `train/<class>/…` and `test/<class>/…`.
 * Throws `FileError` or `InputError`.
 */
export const cifar10 = (files: DataFiles, root: string, split: Split): Promise<Dataset> =>
  cifar(files, root, split, variants.cifar10);

/** CIFAR-100 with its fine labels, laid out likewise (`train.bin`, `test.bin`). Throws `FileError` or `InputError`. */
export const cifar100 = (files: DataFiles, root: string, split: Split): Promise<Dataset> =>
  cifar(files, root, split, variants.cifar100);
