/**
 * @file Checkpoints of a run in its folder: `checkpoints/000007-step-120/{model,ema,state}.safetensors`, and beside
 * them `last.safetensors` and `best.safetensors`. A checkpoint is written in a hidden folder and renamed as a whole,
 * so that weights and state always belong together, whenever the process is killed.
 */

import { randomUUID } from "node:crypto";
import { copyFile, link, mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { DeitcError, FileError, InputError, WeightsError } from "../../errors.js";
import type { CheckpointStore, SavedCheckpoint } from "../../train/loop.js";
import {
  decodeState, encodeState, encodeWeights, readStateHeader, type Best, type TrainingState,
} from "../../train/state.js";
import { openFile, writeFileAtomic } from "../files.js";

/** How many checkpoints are kept, and where to go when the folder cannot take one. */
export interface CheckpointOptions {
  /** At least 1; 2 unless given. */
  readonly keep?: number;
  /** A folder on another disk, say: used when saving fails. */
  readonly fallback?: string;
  /** Names of the classes that the weights tell apart: they go into the weights' files. */
  readonly classes?: readonly string[];
}

const HOME = "checkpoints";
const STATE = "state.safetensors";
const pattern = /^(\d{6,})-step-(\d+)$/u;

/** A kept checkpoint. */
interface Kept {
  readonly name: string;
  readonly sequence: number;
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

/** A failed call on `path` as an error that says what to do. */
function folderError(path: string, error: unknown): DeitcError {
  if (error instanceof DeitcError) return error;
  const code = codeOf(error);
  const message = code === "ENOTDIR" || code === "EEXIST" ? "a part of the path is a file, not a folder"
    : code === "EACCES" || code === "EPERM" || code === "EROFS" ? "the folder cannot be written to"
      : code === "ENOSPC" || code === "EDQUOT" ? "no space left on the disk"
        : error instanceof Error ? error.message : String(error);
  return new FileError(message, { file: path, fault: "unreadable", cause: error, help: "name another folder" });
}

/** Oldest first. */
async function keptIn(folder: string): Promise<Kept[]> {
  const names = await readdir(join(folder, HOME)).catch(() => []);
  return names
    .flatMap((name) => {
      const sequence = pattern.exec(name)?.[1];
      return sequence === undefined ? [] : [{ name, sequence: Number(sequence) }];
    })
    .sort((a, b) => a.sequence - b.sequence);
}

/** Whether a run's folder holds checkpoints. */
export const hasCheckpoints = async (folder: string): Promise<boolean> => (await keptIn(folder)).length > 0;

/** Makes a rename in `path` durable where the file system can. */
async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, "r").catch(() => undefined);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}

/** Lets `to` be the file `from`, in one step: as a second name of it, or as a copy where links are not possible. */
async function publish(from: string, to: string): Promise<void> {
  const beside = join(dirname(to), `.${randomUUID()}.partial`);
  try {
    await link(from, beside).catch(() => copyFile(from, beside));
    await rename(beside, to);
  } finally {
    // Renaming one name of a file to another of the same file does nothing at all.
    await rm(beside, { force: true });
  }
}

/** Removes a folder so that what is half removed never bears its name. */
async function discard(path: string): Promise<void> {
  const away = join(dirname(path), `.${randomUUID()}.removed`);
  await rename(path, away);
  await rm(away, { recursive: true, force: true });
}

/** The checkpoints of one run. One process at a time may write them. */
export class CheckpointFolder implements CheckpointStore {
  readonly path: string;
  readonly #keep: number;
  readonly #fallback: string | undefined;
  readonly #classes: readonly string[] | undefined;

  private constructor(path: string, keep: number, { fallback, classes }: CheckpointOptions) {
    [this.path, this.#keep, this.#fallback, this.#classes] = [path, keep, fallback, classes];
  }

  /**
   * Makes the folder, tries that it can be written to, and clears what a killed run left half done. Throws `FileError`
   * before a run rather than at its end.
   */
  static async open(path: string, options: CheckpointOptions = {}): Promise<CheckpointFolder> {
    const { keep = 2 } = options;
    if (!Number.isSafeInteger(keep) || keep < 1) throw new InputError(`keep must be at least 1, got ${keep}`);
    const folder = new CheckpointFolder(path, keep, options);
    try {
      await mkdir(join(path, HOME), { recursive: true });
      await writeFileAtomic(join(path, ".probe"), [new Uint8Array(4096)]);
      await rm(join(path, ".probe"), { force: true });
      for (const inside of [path, join(path, HOME)]) {
        for (const name of await readdir(inside)) {
          if (!/^\.[^/]*\.(partial|removed)$/u.test(name)) continue;
          await rm(join(inside, name), { recursive: true, force: true });
        }
      }
      await folder.#repair();
    } catch (error) {
      throw folderError(path, error);
    }
    return folder;
  }

  /** A run killed between checkpoint and its second names gets them now. */
  async #repair(): Promise<void> {
    const last = (await keptIn(this.path)).at(-1);
    if (last === undefined) return;
    const home = join(this.path, HOME, last.name);
    const file = await openFile(join(home, STATE));
    try {
      const { step, best } = await readStateHeader(file);
      await this.#publish(home, best?.step === step ? best.weights : undefined);
    } catch (error) {
      // A damaged one is told when it is resumed from.
      if (!(error instanceof WeightsError)) throw error;
    } finally {
      await file.close();
    }
  }

  async #publish(home: string, best: Best["weights"] | undefined): Promise<void> {
    await publish(join(home, "model.safetensors"), join(this.path, "last.safetensors"));
    if (best !== undefined) await publish(join(home, `${best}.safetensors`), join(this.path, "best.safetensors"));
  }

  /** Removes all but the newest `count`. */
  async #rotate(count: number): Promise<void> {
    for (const { name } of (await keptIn(this.path)).slice(0, -count)) await discard(join(this.path, HOME, name));
  }

  async #write(state: TrainingState, best: Best["weights"] | undefined): Promise<string> {
    const sequence = ((await keptIn(this.path)).at(-1)?.sequence ?? 0) + 1;
    const home = join(this.path, HOME, `${String(sequence).padStart(6, "0")}-step-${state.step}`);
    const beside = join(this.path, HOME, `.${randomUUID()}.partial`);
    try {
      await mkdir(beside);
      for (const which of ["model", "ema"] as const) {
        const chunks = encodeWeights(state, which, this.#classes);
        if (chunks !== undefined) await writeFileAtomic(join(beside, `${which}.safetensors`), chunks);
      }
      await writeFileAtomic(join(beside, STATE), encodeState(state));
      await rename(beside, home);
    } catch (error) {
      await rm(beside, { recursive: true, force: true }).catch(() => undefined);
      throw folderError(this.path, error);
    }
    await syncFolder(join(this.path, HOME));
    await this.#publish(home, best).catch((error: unknown) => { throw folderError(this.path, error); });
    return home;
  }

  /**
   * Keeps a checkpoint, then removes the oldest. When it fails, the older ones are given up but the last, and it is
   * tried again; then the fallback folder. Throws `FileError`; the last checkpoint is there in any case.
   */
  async save(state: TrainingState, best: Best["weights"] | undefined): Promise<SavedCheckpoint> {
    let failure: DeitcError;
    try {
      const path = await this.#write(state, best);
      await this.#rotate(this.#keep).catch(() => undefined);
      return { path, notes: [] };
    } catch (error) {
      failure = folderError(this.path, error);
    }
    try {
      const before = (await keptIn(this.path)).length;
      await this.#rotate(1);
      if (before > 1) {
        const path = await this.#write(state, best);
        return { path, notes: [`older checkpoints were removed to make room: ${failure.message}`] };
      }
    } catch {
      // The first failure is the one to tell.
    }
    if (this.#fallback === undefined) throw failure;
    const classes = this.#classes;
    const other = await CheckpointFolder.open(this.#fallback, {
      keep: this.#keep, ...(classes === undefined ? {} : { classes }),
    });
    const { path } = await other.save(state, best);
    return { path, notes: [`${failure.message}; the checkpoint was kept in ${path} instead`] };
  }

  /** The state kept in a checkpoint of `save`. Throws `FileError`, `WeightsError`. */
  async load(path: string): Promise<TrainingState> {
    const { state } = await loadState(path, { recipe: "", force: true });
    return state;
  }
}

/** How to load a state. */
export interface LoadStateOptions {
  /** Digest of the recipe that is to go on. */
  readonly recipe: string;
  /** Go on even when the state is of another recipe. */
  readonly force?: boolean;
}

/** A state, where it was, and what is worth saying. */
export interface LoadedState {
  readonly state: TrainingState;
  readonly path: string;
  readonly notes: readonly string[];
}

/** The state files below `path`, best first: a run's folder, one checkpoint's folder, or the file itself. */
async function candidates(path: string): Promise<string[]> {
  const kind = await stat(path).catch(() => undefined);
  if (kind?.isFile() === true) return [path];
  const inside = (await keptIn(path)).map(({ name }) => join(path, HOME, name, STATE)).toReversed();
  if (inside.length > 0) return inside;
  const own = join(path, STATE);
  if ((await stat(own).catch(() => undefined))?.isFile() === true) return [own];
  throw new FileError("there is no checkpoint to resume from", {
    file: path, fault: "missing", help: "name the folder that an earlier run wrote to",
  });
}

/**
 * Loads the newest valid state of a run. Throws `FileError` when it has no state, `WeightsError` when all are
 * damaged, `InputError` when it is of another recipe and `force` is not given.
 */
export async function loadState(path: string, { recipe, force = false }: LoadStateOptions): Promise<LoadedState> {
  const notes: string[] = [];
  let failure: unknown;
  for (const candidate of await candidates(path)) {
    const file = await openFile(candidate);
    let state: TrainingState;
    try {
      state = await decodeState(file);
    } catch (error) {
      if (!(error instanceof WeightsError)) throw error;
      failure ??= error;
      notes.push(`${error.message}: using the checkpoint before it`);
      continue;
    } finally {
      await file.close();
    }
    if (state.recipe !== recipe) {
      if (!force) {
        throw new InputError(`${candidate} belongs to another recipe (${state.recipe}, not ${recipe})`, {
          help: "resume with the recipe that made it, or force it",
        });
      }
      notes.push(`${candidate} belongs to another recipe: resumed by force`);
    }
    return { state, path: candidate, notes };
  }
  throw failure;
}
