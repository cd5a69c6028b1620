/** @file Where the files of a run lie: in its folder, or elsewhere where that could not be written to. */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { DeitcError } from "../../errors.js";
import { readSafetensors } from "../../weights/safetensors.js";
import { openFile } from "../files.js";

/** What a run has left, as far as it is there. */
export interface RunFiles {
  /** The best weights, those of the last checkpoint, and the report. */
  readonly best?: string;
  readonly last?: string;
  readonly report?: string;
}

/** Weights as the metadata of their file describes them. */
interface Described {
  readonly step: number;
  readonly weights: "model" | "ema";
}

/** The first of `folders` that has these weights under this name, as the path of the file; undefined for none. */
export async function publishedIn(
  folders: readonly string[], name: "best" | "last", { step, weights }: Described,
): Promise<string | undefined> {
  for (const folder of folders) {
    const path = join(folder, `${name}.safetensors`);
    try {
      await using file = await openFile(path);
      const { metadata } = await readSafetensors(file);
      if (metadata.get("step") === String(step) && metadata.get("weights") === weights) return path;
    } catch (error) {
      if (!(error instanceof DeitcError)) throw error;
    }
  }
  return undefined;
}

/** Whether there is a file of this name. */
export const isThere = async (path: string): Promise<boolean> =>
  (await stat(path).catch(() => undefined))?.isFile() === true;
