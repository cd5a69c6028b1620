/**
 * @file The data sets that a recipe names. A new one is a record here, and what reads it in `runtime/data/`.
 */
import { cifar10, cifar100 } from "../../data/cifar.js";
import { imageFolder, type DataFiles, type Split } from "../../data/folder.js";
import { fashionMnist, mnist } from "../../data/idx.js";
import type { Dataset } from "../../data/loader.js";
import { shapes } from "../../data/shapes.js";
import { InputError } from "../../errors.js";
import type { Arguments } from "../../training.js";
import type { Reader } from "../arguments.js";
import { COUNT, notYet, numberOf, within, type CallFault, type CallRecord } from "./record.js";

/** What a data set is opened with. */
export interface Request {
  readonly given: Reader;
  readonly files: DataFiles;
  /** Which part of it, and whether the other part comes from elsewhere. */
  readonly split: Split;
  readonly apart: boolean;
  /** Where it lies. Throws `InputError` for one whose call names no path. */
  path(): string;
  /** The recipe's. */
  readonly seed: number;
}

/** A data set, with what is known of it before it is read. */
interface SourceRecord extends CallRecord {
  /** How many classes it has, where their number is fixed. */
  readonly classes?: number;
  /** The side of its square images in pixels, where all have the same. */
  readonly side?: number;
  /** How many images there are to train on, where their number is fixed. */
  images?(given: Arguments): number;
  /** Absent for one that cannot be read yet, which `check` says. */
  open?(request: Request): Dataset | Promise<Dataset>;
  /** What `NAME:TEXT` names on a command line: all of a data set's images that no training sees. */
  heldOut?(files: DataFiles, text: string): Dataset | Promise<Dataset>;
}

/** Images in folders. Data of which the other part lies elsewhere is taken whole, unless it has a folder a part. */
export async function openFolder(
  files: DataFiles, root: string, { split, apart, seed }: Pick<Request, "split" | "apart" | "seed">,
): Promise<Dataset> {
  const names = new Set((await files.entries(root))?.filter((entry) => entry.folder).map(({ name }) => name));
  const divided = names.has("train") || names.has("training");
  if (!apart || divided) return imageFolder(files, root, { split, seed });
  return imageFolder(files, root, { split: "train", valShare: 0, allowEmpty: split === "val" });
}

/** Seed of shapes that are drawn for an evaluation: a recipe's unless it says otherwise. */
const SHAPES_SEED = 0;

const workers = (owner: string) => (given: Arguments): CallFault | undefined =>
  within(owner, given, { workers: COUNT });

const PATH = { path: "The folder of the data, relative to the recipe's." };
const WORKERS = { workers: "Batches that are prepared ahead of the step that needs them." };

/** A known data set, in a folder of files of its own form. */
const inFiles = (
  name: string, { classes, side, images }: { readonly classes: number; readonly side: number; readonly images: number },
  open: (files: DataFiles, path: string, split: Split) => Promise<Dataset>, doc: string,
): SourceRecord => ({
  name, signature: "(path)", classes, side, doc, about: PATH, images: () => images,
  open: ({ files, path, split }) => open(files, path(), split), heldOut: (files, path) => open(files, path, "val"),
});

const SOURCE_RECORDS: readonly SourceRecord[] = [
  {
    name: "image_folder", signature: "(path, workers = 4)", check: workers("image_folder"),
    doc: "Images in one folder per class, with or without folders for the splits above. Hidden folders are no " +
      "classes. Source: torchvision, ImageFolder.",
    about: { ...PATH, ...WORKERS },
    open: (request) => openFolder(request.files, request.path(), request),
  },
  inFiles("cifar10", { classes: 10, side: 32, images: 50000 }, cifar10,
    "CIFAR-10 in its binary form. Source: Krizhevsky 2009."),
  inFiles("cifar100", { classes: 100, side: 32, images: 50000 }, cifar100,
    "CIFAR-100 in its binary form. Source: Krizhevsky 2009."),
  inFiles("mnist", { classes: 10, side: 28, images: 60000 }, mnist,
    "Handwritten digits in their IDX files, as images of three equal channels. Source: LeCun et al. 1998."),
  inFiles("fashion_mnist", { classes: 10, side: 28, images: 60000 }, fashionMnist,
    "Pictures of clothes, in the form of MNIST. Source: Xiao et al. 2017."),
  {
    name: "shards", signature: "(path, workers = 4)",
    doc: "Images packed in archives that are read sequentially. Source: WebDataset.", about: { ...PATH, ...WORKERS },
    check: () => notYet("`shards(…)`", "this version reads images from folders",
      "unpack them and write `image_folder(\"…\")`"),
  },
  {
    name: "shapes", signature: "(seed = 0, train = 20000, test = 2000)", classes: 8, side: 32,
    images: (given) => numberOf(given["train"]),
    doc: "Bright shapes of eight kinds on a cluttered background, generated on the fly. Source: ours.",
    about: { seed: "Seed of the images.", train: "Images to train on.", test: "Images to evaluate on." },
    check: (given) => within("shapes", given,
      { seed: { least: 0, most: 2 ** 32 - 1, whole: true }, train: COUNT, test: COUNT }),
    open: ({ given, split }) => shapes({
      seed: given.number("seed"),
      ...(split === "train" ? { split, length: given.number("train") }
        : { split: "held-out", length: given.number("test") }),
    }),
    heldOut(_, text) {
      const length = Number(text);
      if (!Number.isSafeInteger(length) || length < 1) throw new InputError(`'${text}' is not a number of shapes`);
      return shapes({ seed: SHAPES_SEED, split: "held-out", length });
    },
  },
];

/** Every data set by its name. */
export const SOURCES: ReadonlyMap<string, SourceRecord> = new Map(SOURCE_RECORDS.map((one) => [one.name, one]));
