/**
 * @file The data sets that a recipe names. What reads one is under the same name in `runtime/node/train/datasets.ts`.
 */
import type { Arguments } from "../settings.js";
import { COUNT, notYet, numberOf, within, type CallFault, type CallRecord } from "./record.js";

/** A data set, with what is known of it before it is read. */
interface SourceRecord extends CallRecord {
  /** How many classes it has, where their number is fixed. */
  readonly classes?: number;
  /** The side of its square images in pixels, where all have the same. */
  readonly side?: number;
  /** How many images there are to train on, where their number is fixed. */
  images?(given: Arguments): number;
}

const workers = (owner: string) => (given: Arguments): CallFault | undefined =>
  within(owner, given, { workers: COUNT });

const SOURCE_RECORDS: readonly SourceRecord[] = [
  {
    name: "image_folder", signature: "(path, workers = 4)", check: workers("image_folder"),
    doc: "Images in one folder per class, with or without folders for the splits above. Source: torchvision, " +
      "ImageFolder.",
  },
  {
    name: "cifar10", signature: "(path)", classes: 10, side: 32, images: () => 50000,
    doc: "CIFAR-10 in its binary form. Source: Krizhevsky 2009.",
  },
  {
    name: "cifar100", signature: "(path)", classes: 100, side: 32, images: () => 50000,
    doc: "CIFAR-100 in its binary form. Source: Krizhevsky 2009.",
  },
  {
    name: "shards", signature: "(path, workers = 4)",
    doc: "Images packed in archives that are read sequentially. Source: WebDataset.",
    check: () => notYet("`shards(…)`", "this version reads images from folders",
      "unpack them and write `image_folder(\"…\")`"),
  },
  {
    name: "shapes", signature: "(seed = 0, train = 20000, test = 2000)", classes: 8, side: 32,
    images: (given) => numberOf(given["train"]),
    doc: "Bright shapes of eight kinds on a cluttered background, generated on the fly. Source: ours.",
    check: (given) => within("shapes", given,
      { seed: { least: 0, most: 2 ** 32 - 1, whole: true }, train: COUNT, test: COUNT }),
  },
];

/** Every data set by its name. */
export const SOURCES: ReadonlyMap<string, SourceRecord> = new Map(SOURCE_RECORDS.map((one) => [one.name, one]));
