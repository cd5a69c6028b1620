/**
 * @file Images and labels in IDX files, as MNIST and Fashion-MNIST have them: grey images of 28 × 28 pixels, which
 * become three equal channels. Source: LeCun et al. 1998, http://yann.lecun.com/exdb/mnist; Xiao et al. 2017.
 */

import { FileError } from "../errors.js";
import type { DataFiles, Split } from "./folder.js";
import type { Dataset, Sample } from "./loader.js";

/** Pixels a side. */
const SIDE = 28;
const PLANE = SIDE * SIDE;
/** What the files of a split start with. */
const STEM: Readonly<Record<Split, string>> = { train: "train", val: "t10k" };
/** Bytes of unsigned bytes in so many dimensions start with 0, 0, 8 and their number. */
const BYTES = 8;

/** A data set of this form, and its class names. */
interface Variant {
  readonly name: string;
  readonly classes: readonly string[];
}

const MNIST: Variant = { name: "MNIST", classes: Array.from({ length: 10 }, (_, digit) => String(digit)) };
const FASHION: Variant = {
  name: "Fashion-MNIST",
  classes: ["T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"],
};

/** The bytes of an IDX file after its header. Throws `FileError` unless it has those sizes after its first. */
async function idxOf(files: DataFiles, path: string, rest: readonly number[]): Promise<Uint8Array> {
  const bytes = await files.read(path);
  const malformed = (what: string, help?: string): FileError =>
    new FileError(what, { file: path, fault: "malformed", help });
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) throw malformed("this is a gzip archive", "unpack it with gunzip");
  const [dimensions, view] = [1 + rest.length, new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)];
  const header = 4 + 4 * dimensions;
  if (bytes.length < header || view.getUint32(0) !== (BYTES << 8) + dimensions) {
    throw malformed(`this is not an IDX file of unsigned bytes in ${dimensions} dimensions`);
  }
  const sizes = Array.from({ length: dimensions }, (_, i) => view.getUint32(4 + 4 * i));
  if (rest.some((size, i) => size !== sizes[i + 1])) {
    throw malformed(`its items are ${sizes.slice(1).join(" × ")}, not ${rest.join(" × ")}`);
  }
  const wanted = header + sizes.reduce((product, size) => product * size, 1);
  if (bytes.length !== wanted) {
    const text = `it has ${bytes.length} bytes, but its header says ${wanted}`;
    throw new FileError(text, { file: path, fault: "truncated", help: "unpack the archive again" });
  }
  return bytes.subarray(header);
}

/** The file of a split in a folder, under either of the names it goes by. */
async function pathOf(files: DataFiles, root: string, names: readonly string[], variant: Variant): Promise<string> {
  const found = await files.entries(root);
  const name = names.find((one) => found?.some((entry) => entry.name === one));
  if (name !== undefined) return `${root}/${name}`;
  const packed = found?.some((entry) => names.some((one) => entry.name === `${one}.gz`));
  throw new FileError(`${variant.name} has no file ${names[0]} here`, {
    file: root, fault: "missing", help: packed ? "unpack the files with gunzip" : "put its four files into this folder",
  });
}

async function idx(files: DataFiles, root: string, split: Split, variant: Variant): Promise<Dataset> {
  const file = (kind: string): Promise<string> =>
    pathOf(files, root, ["-", "."].map((dot) => `${STEM[split]}-${kind.replace("-", dot)}-ubyte`), variant);
  const [imagePath, labelPath] = [await file("images-idx3"), await file("labels-idx1")];
  const [images, labels] = [await idxOf(files, imagePath, [SIDE, SIDE]), await idxOf(files, labelPath, [])];
  const length = labels.length;
  const bad = labels.findIndex((label) => label >= variant.classes.length);
  if (images.length !== length * PLANE || bad >= 0) {
    const what = bad < 0 ? `there are ${length} labels, but ${images.length / PLANE} images`
      : `image ${bad} has label ${labels[bad]}, but there are ${variant.classes.length} classes`;
    throw new FileError(what, { file: labelPath, fault: "malformed" });
  }
  const sample = (index: number): Sample => {
    const plane = images.subarray(index * PLANE, (index + 1) * PLANE);
    const data = Uint8ClampedArray.from({ length: 3 * PLANE }, (_, i) => plane[Math.floor(i / 3)] ?? 0);
    return { kind: "image", pixels: { data, width: SIDE, height: SIDE }, label: labels[index] ?? 0 };
  };
  return {
    name: `${variant.name}, ${split}`, classes: variant.classes, length, image: { size: SIDE, channels: 3 },
    read: (indices) => Promise.resolve(indices.map(sample)),
  };
}

/**
 * MNIST in `root`: `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the two of `t10k`, unpacked.
 * Throws `FileError`.
 */
export const mnist = (files: DataFiles, root: string, split: Split): Promise<Dataset> =>
  idx(files, root, split, MNIST);

/** Fashion-MNIST, in files of the same names. Throws `FileError`. */
export const fashionMnist = (files: DataFiles, root: string, split: Split): Promise<Dataset> =>
  idx(files, root, split, FASHION);
