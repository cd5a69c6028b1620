/**
 * @file The images that a run leaves out because they cannot be read: found before it begins, told, and listed in its
 * folder, so that a run that is resumed with the same files need not read them all again.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { anyText, list, object, whole, word } from "../../check/schema.js";
import { badText, checkImages, checkLost, without, type BadImage } from "../../data/check.js";
import { InputError } from "../../errors.js";
import { readFileBytes, writeFileAtomic } from "../files.js";
import type { RecipeData } from "./datasets.js";
import { packData } from "./fingerprint.js";

/** A part of a recipe's data. */
type DataPart = "training" | "evaluation";

/** An image that is left out of a run. */
interface SkippedImage extends BadImage {
  readonly part: DataPart;
}

/** The file of a run's folder. */
interface SkippedList {
  /** Digest of the names and sizes of all images, those left out included. */
  readonly data: string;
  readonly images: readonly SkippedImage[];
}

const FILE = "skipped.json";

const listCheck = object<SkippedList>({
  data: anyText,
  images: list(object<SkippedImage>({
    part: word({ training: true, evaluation: true }), index: whole(0), file: anyText, reason: anyText,
  })),
});

/** The list that an earlier run of the same images left in a folder, where there is one that is whole. */
async function keptList(folder: string | undefined, data: string): Promise<SkippedList | undefined> {
  if (folder === undefined) return undefined;
  try {
    const found: unknown = JSON.parse(new TextDecoder().decode(await readFileBytes(join(folder, FILE))));
    if (listCheck(found) !== undefined) return undefined;
    const kept = found as SkippedList; // the check said so
    return kept.data === data ? kept : undefined;
  } catch {
    // Without it the images are read once more.
    return undefined;
  }
}

/** What is left of the data, and what is told and kept of the rest. */
interface LeftOut {
  readonly data: RecipeData;
  /** Sentences for the user. */
  readonly notes: readonly string[];
  /** Keeps the list in the run's folder. Throws `FileError`. */
  keep(folder: string): Promise<void>;
}

/**
 * Reads every image, and leaves out those that cannot be read.
 * @param parts those that are looked at
 * @param folder of the run, where a list may lie already
 * @throws InputError for a class that is left without images to train on, or a part without any
 */
export async function leaveOut(
  all: RecipeData, parts: readonly DataPart[], folder: string | undefined,
  onProgress?: (done: number, total: number) => void,
): Promise<LeftOut> {
  const digest = createHash("sha256").update(await packData(all)).digest("hex");
  const kept = await keptList(folder, digest);
  const images: SkippedImage[] = [...kept?.images ?? []];
  const total = parts.reduce((sum, part) => sum + all[part].length, 0);
  let before = 0;
  for (const part of kept === undefined ? parts : []) {
    const found = await checkImages(all[part], (done) => onProgress?.(before + done, total));
    if (part === "training") checkLost(all[part], found);
    if (found.bad.length === all[part].length) throw new InputError(`no image of ${all[part].name} can be read`);
    images.push(...found.bad.map((bad) => ({ part, ...bad })));
    before += all[part].length;
  }
  const of = (part: DataPart): readonly SkippedImage[] => images.filter((image) => image.part === part);
  const rest = (part: DataPart): RecipeData["training"] =>
    without(all[part], of(part).map(({ index }) => index));
  const where = folder === undefined || images.length === 0 ? "" : `; they are listed in ${join(folder, FILE)}`;
  return {
    data: { ...all, training: rest("training"), evaluation: rest("evaluation") },
    notes: [
      ...parts.filter((part) => of(part).length > 0)
        .map((part) => `${part} data: ${badText(of(part), all[part].length)}; left out${where}`),
      ...(images.length === 0 ? ["every image can be read: none is left out"] : []),
    ],
    async keep(home) {
      const text = JSON.stringify({ data: digest, images } satisfies SkippedList, undefined, 2);
      await writeFileAtomic(join(home, FILE), [new TextEncoder().encode(`${text}\n`)]);
    },
  };
}
