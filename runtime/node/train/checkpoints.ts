/**
 * @file The checkpoints of a run as they are written, and beside them `last.safetensors` and `best.safetensors`. A
 * checkpoint is written in a hidden folder and renamed as a whole, so that weights and state always belong together,
 * whenever the process is killed.
 */

import { randomUUID } from "node:crypto";
import { copyFile, link, mkdir, readdir, rename, rm, stat, statfs } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { DeitcError, FileError, InputError } from "../../errors.js";
import { Lifetime } from "../../lifetime.js";
import { showBytes } from "../../memory.js";
import type { CheckpointStore, SavedCheckpoint } from "../../train/loop.js";
import { encodeState, encodeWeights, type Best, type TrainingState } from "../../train/state.js";
import { makeFolder, syncFolder, systemWords, writeFileAtomic } from "../files.js";
import { CheckpointWriter, HOME, keptIn, STATE } from "./kept.js";
import { FolderLock } from "./lock.js";
import { loadState, type LoadedState } from "./resume.js";

/** How many checkpoints are kept, and where to go when the folder cannot take one. */
export interface CheckpointOptions {
  /** At least 1; 2 unless given. */
  readonly keep?: number;
  /** A folder on another disk, say: used when saving fails. */
  readonly fallback?: string;
  /** Takes over the lock of a process of which nobody can see whether it still runs. */
  readonly force?: boolean;
}

/** A failed call on a run's folder as an error that says what to do. */
function folderError(path: string, error: unknown): DeitcError {
  if (error instanceof DeitcError && error.cause === undefined) return error;
  const cause = error instanceof DeitcError ? error.cause : error;
  return new FileError(systemWords(cause), { file: path, fault: "unwritable", cause, help: "name another folder" });
}

/** Lets `to` be the file `from`, in one step: as a second name of it, or as a copy where links are not possible. */
async function publish(from: string, to: string): Promise<void> {
  const beside = join(dirname(to), `.${randomUUID()}.partial`);
  try {
    await link(from, beside).catch(() => copyFile(from, beside));
    await rename(beside, to);
  } finally {
    // `rename` does nothing where both names are already the same file.
    await rm(beside, { force: true });
  }
}

/** Removes a folder, renamed first, so that a half-removed one is never found under its name. */
async function discard(path: string): Promise<void> {
  const away = join(dirname(path), `.${randomUUID()}.removed`);
  await rename(path, away);
  await rm(away, { recursive: true, force: true });
}

/** Whether two names are of one file. */
async function isSame(a: string, b: string): Promise<boolean> {
  const [one, other] = await Promise.all([a, b].map((path) => stat(path).catch(() => undefined)));
  return one !== undefined && one.ino === other?.ino && one.dev === other.dev;
}

/** The bytes that a disk has left for this user; undefined where it does not say. */
async function roomAt(path: string): Promise<number | undefined> {
  const found = await statfs(path).catch(() => undefined);
  return found === undefined || found.blocks === 0 ? undefined : found.bavail * found.bsize;
}

/** The checkpoints of one run. One process at a time may write them, until `close`. */
export class CheckpointFolder implements CheckpointStore {
  readonly path: string;
  readonly #keep: number;
  readonly #options: CheckpointOptions;
  readonly #lock: FolderLock;
  readonly #lifetime: Lifetime;

  private constructor(path: string, keep: number, options: CheckpointOptions, lock: FolderLock) {
    [this.path, this.#keep, this.#options, this.#lock] = [path, keep, options, lock];
    this.#lifetime = new Lifetime({
      message: `the run in ${path} was closed: resume it to go on`, free: () => lock.release(),
    });
  }

  /**
   * Makes the folder and locks it, tries that it can be written to, and clears what a killed run left half done. Throws
   * `FileError` before a run rather than at its end.
   */
  static async open(path: string, options: CheckpointOptions = {}): Promise<CheckpointFolder> {
    const { keep = 2, force } = options;
    if (!Number.isSafeInteger(keep) || keep < 1) throw new InputError(`keep must be at least 1, got ${keep}`);
    let lock: FolderLock | undefined;
    try {
      await makeFolder(join(path, HOME));
      lock = await FolderLock.take(path, force);
      await writeFileAtomic(join(path, ".probe"), [new Uint8Array(4096)]);
      await rm(join(path, ".probe"), { force: true });
      for (const inside of [path, join(path, HOME)]) {
        for (const name of await readdir(inside)) {
          if (!/^\.[^/]*\.(partial|removed)$/u.test(name)) continue;
          await rm(join(inside, name), { recursive: true, force: true });
        }
      }
      return new CheckpointFolder(path, keep, options, lock);
    } catch (error) {
      lock?.release();
      throw folderError(path, error);
    }
  }

  /** What is worth saying about the folder as it was found, as sentences. */
  get notes(): readonly string[] {
    return this.#lock.note === undefined ? [] : [this.#lock.note];
  }

  /** Lets other processes write into the folder, as soon as the save under way has ended. */
  close(): void {
    this.#lifetime.close();
  }

  /**
   * Throws `FileError` unless the disk, or the fallback's, has room for a checkpoint.
   * @param bytes of a whole checkpoint
   * @returns a sentence when there is room for one, but not for as many as are kept
   */
  async checkRoom(bytes: number): Promise<string | undefined> {
    const { fallback } = this.#options;
    const room = await roomAt(this.path);
    if (room === undefined) return undefined;
    // A new one is written before the oldest is removed.
    const wanted = Math.max(0, this.#keep + 1 - (await keptIn(this.path)).length) * bytes;
    if (room >= wanted) return undefined;
    const what = `a checkpoint takes ${showBytes(bytes)}, and the disk of ${this.path} has ${showBytes(room)} left`;
    if (room >= bytes) return `${what}: not enough for the ${this.#keep + 1} that there are at most at once`;
    if (fallback !== undefined) {
      await makeFolder(fallback).catch((error: unknown) => { throw folderError(fallback, error); });
      const other = await roomAt(fallback);
      if (other === undefined || other >= bytes) return `${what}: checkpoints will go to ${fallback}`;
    }
    throw new FileError("there is no room for a checkpoint: " +
      `it takes ${showBytes(bytes)}, and the disk has ${showBytes(room)} left`, {
      file: this.path, fault: "unwritable", help: "make room, or choose a folder on another disk with --out",
    });
  }

  /**
   * Makes the folder agree with the state that a run resumes from: newer checkpoints that are damaged are renamed, and
   * `last.safetensors` is what belongs to the state, as after a run that was killed before it gave the file its name.
   * A state from elsewhere changes nothing.
   * @returns sentences about what was done
   */
  async repair({ path, state, damaged }: Pick<LoadedState, "path" | "state" | "damaged">): Promise<readonly string[]> {
    const notes: string[] = [];
    const isOurs = (home: string): boolean => resolve(dirname(home)) === resolve(this.path, HOME);
    const home = dirname(path);
    try {
      for (const bad of damaged.filter(isOurs)) {
        // It may be a hard link to a damaged file.
        for (const which of ["model", "ema"]) {
          const published = join(this.path, "best.safetensors");
          if (!await isSame(join(bad, `${which}.safetensors`), published)) continue;
          await rm(published);
          notes.push(`${published} belonged to the damaged checkpoint and was removed`);
        }
        const aside = `${bad}.damaged`;
        await rm(aside, { recursive: true, force: true });
        await rename(bad, aside);
        notes.push(`the damaged checkpoint was renamed to ${aside}`);
      }
      if (!isOurs(home)) return notes;
      const { step, best } = state;
      await this.#publish(home, best?.step === step ? best.weights : undefined);
      return notes;
    } catch (error) {
      throw folderError(this.path, error);
    }
  }

  async #publish(home: string, best: Best["weights"] | undefined): Promise<void> {
    await publish(join(home, "model.safetensors"), join(this.path, "last.safetensors"));
    if (best !== undefined) await publish(join(home, `${best}.safetensors`), join(this.path, "best.safetensors"));
  }

  /** Removes all but the newest `count`, and older ones of the newest one's step. */
  async #rotate(count: number): Promise<void> {
    const kept = await keptIn(this.path);
    const twice = kept.slice(0, -1).filter(({ step }) => step === kept.at(-1)?.step);
    const once = kept.filter((one) => !twice.includes(one));
    for (const { name } of [...twice, ...once.slice(0, -count)]) await discard(join(this.path, HOME, name));
  }

  async #write(state: TrainingState, best: Best["weights"] | undefined): Promise<string> {
    await this.#lock.check();
    const sequence = ((await keptIn(this.path)).at(-1)?.sequence ?? 0) + 1;
    const home = join(this.path, HOME, `${String(sequence).padStart(6, "0")}-step-${state.step}`);
    const beside = join(this.path, HOME, `.${randomUUID()}.partial`);
    try {
      await mkdir(beside);
      const writer = new CheckpointWriter(beside);
      for (const which of ["model", "ema"] as const) {
        const chunks = encodeWeights(state, which);
        if (chunks !== undefined) await writer.write(`${which}.safetensors`, chunks);
      }
      await writer.write(STATE, encodeState(state));
      await writer.end(state.step);
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
   * tried again; then the fallback folder; then at least the weights are kept. Throws `FileError`, which names what was
   * kept; the last checkpoint is there in any case. Throws `DestroyedError` after `close`.
   */
  save(state: TrainingState, best: Best["weights"] | undefined): Promise<SavedCheckpoint> {
    return this.#lifetime.use(() => this.#save(state, best));
  }

  async #save(state: TrainingState, best: Best["weights"] | undefined): Promise<SavedCheckpoint> {
    let failure: DeitcError;
    try {
      const path = await this.#write(state, best);
      await this.#rotate(this.#keep).catch(() => undefined);
      return { path, notes: [] };
    } catch (error) {
      failure = folderError(this.path, error);
    }
    // Where another training writes, nothing is removed and nothing is written.
    await this.#lock.check();
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
    if (this.#options.fallback !== undefined) {
      try {
        return await this.#saveElsewhere(this.#options.fallback, state, best, failure);
      } catch (error) {
        failure = new FileError(`${systemWords(failure.cause)}, and the fallback failed too: ` +
          `${error instanceof Error ? error.message : String(error)}`, {
          file: this.path, fault: "unwritable", cause: failure.cause, help: "make room on one of the disks",
        });
      }
    }
    throw await this.#weightsOnly(state, failure);
  }

  async #saveElsewhere(
    fallback: string, state: TrainingState, best: Best["weights"] | undefined, failure: DeitcError,
  ): Promise<SavedCheckpoint> {
    const other = await CheckpointFolder.open(fallback, { keep: this.#keep });
    try {
      const { path } = await other.save(state, best);
      return { path, notes: [`${failure.message}; the checkpoint was kept in ${path} instead`] };
    } finally {
      other.close();
    }
  }

  /** Keeps the weights without the state. Returns the failure, with what became of them. */
  async #weightsOnly(state: TrainingState, failure: DeitcError): Promise<DeitcError> {
    const path = join(this.path, `weights-step-${state.step}.safetensors`);
    const kept = (await keptIn(this.path)).at(-1);
    const last = kept === undefined ? "there is no checkpoint to resume from"
      : `the last checkpoint is ${join(this.path, HOME, kept.name)}`;
    const weights = await writeFileAtomic(path, encodeWeights(state, "model") ?? [])
      .then(() => `the weights alone were kept in ${path}`, () => "the weights alone do not fit either");
    return new FileError(`${failure.message.replace(`${this.path}: `, "")}; ${weights}; ${last}`, {
      file: this.path, fault: "unwritable", cause: failure.cause,
      help: `make room on the disk${kept === undefined ? "" : ", then resume from the last checkpoint"}`,
    });
  }

  /** The state kept in a checkpoint of `save`. Throws `FileError`, `WeightsError`. */
  async load(path: string): Promise<TrainingState> {
    const { state } = await loadState(path, { recipe: "", force: true });
    return state;
  }
}
