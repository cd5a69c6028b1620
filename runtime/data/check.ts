/**
 * @file Every image of a data set decoded once, before anything depends on it: which cannot be read, and the data set
 * without those. What is left out is left out before images are counted, split into epochs and shuffled, so that a run
 * over the rest is like a run over a folder that never had them.
 */

import { InputError } from "../errors.js";
import { counted, printable, someNames } from "../text.js";
import { mapLimited } from "./limited.js";
import type { Dataset } from "./loader.js";

/**
 * What to do about an image that cannot be read: end with an error when it is needed, or leave all such images out
 * from the beginning. Nothing takes the place of one: a neighbour that counts twice would be a change of the data too.
 */
export const BAD_IMAGE_POLICIES = ["error", "skip"] as const;
export type BadImagePolicy = (typeof BAD_IMAGE_POLICIES)[number];

/** An image that cannot be read. */
export interface BadImage {
  /** In its data set. */
  readonly index: number;
  /** Its file. */
  readonly file: string;
  readonly reason: string;
}

/** What is found by reading every image. */
export interface DataCheck {
  readonly bad: readonly BadImage[];
  /** Classes that have images, none of which can be read. */
  readonly lost: readonly string[];
}

/** Images decoded at a time. */
const AT_ONCE = 16;

/** Decodes every image. @param onProgress images done, of how many */
export async function checkImages(
  dataset: Dataset, onProgress: (done: number, total: number) => void = () => undefined,
): Promise<DataCheck> {
  const { length, classes } = dataset;
  const bad: BadImage[] = [];
  const [good, hurt] = [new Set<number>(), new Set<number>()];
  let done = 0;
  await mapLimited(Array.from({ length }, (_, index) => index), AT_ONCE, async (index) => {
    const [sample] = await dataset.read([index]);
    if (sample?.kind === "image") good.add(sample.label);
    if (sample?.kind === "broken") {
      hurt.add(sample.label);
      bad.push({ index, file: sample.name, reason: sample.reason });
    }
    onProgress(++done, length);
  });
  // In the order of the data set, whichever was decoded first.
  bad.sort((a, b) => a.index - b.index);
  return { bad, lost: classes.filter((_, label) => hurt.has(label) && !good.has(label)) };
}

/** Throws `InputError` where leaving images out leaves a class without any. */
export function checkLost({ name }: Dataset, { lost }: DataCheck): void {
  if (lost.length === 0) return;
  throw new InputError(`${name}: no image of ${someNames(lost)} can be read`, {
    help: "repair its images, or remove its folder, and one class of the model with it",
  });
}

/** A data set without the images at `indices`. */
export function without(dataset: Dataset, indices: readonly number[]): Dataset {
  if (indices.length === 0) return dataset;
  const { length, files } = dataset;
  const out = new Set(indices);
  const kept = Array.from({ length }, (_, index) => index).filter((index) => !out.has(index));
  return {
    ...dataset, length: kept.length,
    // Beyond the end it stays beyond the end, for the data set to refuse.
    read: (wanted) => dataset.read(wanted.map((index) => kept[index] ?? length + index)),
    ...(files === undefined ? {} : { files: kept.map((index) => files[index] ?? "") }),
  };
}

/** Files that a note names. */
const SHOWN = 3;

/** `2 of 36 images cannot be read: a.jpg (the file is empty), b.jpg (…)`, the first few by name. */
export function badText(bad: readonly BadImage[], total: number): string {
  const shown = bad.slice(0, SHOWN).map(({ file, reason }) => `${printable(file)} (${printable(reason)})`).join(", ");
  const rest = bad.length > SHOWN ? ` and ${bad.length - SHOWN} more` : "";
  return `${bad.length} of ${counted(total, "image")} cannot be read${shown === "" ? "" : `: ${shown}${rest}`}`;
}
