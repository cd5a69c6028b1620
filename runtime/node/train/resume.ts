/** @file Which state a run resumes from: the newest whose files are all as they were written. */
import { stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { FileError, InputError, WeightsError } from "../../errors.js";
import { differences } from "../../train/run_facts.js";
import { decodeState, readStateHeader, type TrainingState } from "../../train/state.js";
import { openFile } from "../files.js";
import { defectOf, HOME, INDEX, keptIn, STATE } from "./kept.js";

/** How to load a state. */
export interface LoadStateOptions {
  /** Digest of the recipe that is to go on. */
  readonly recipe: string;
  /** Its settings by name, so that a refusal can say what differs. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Go on even when the state is of another recipe. */
  readonly force?: boolean;
}

/** A state, where it was, and what is worth saying. */
export interface LoadedState {
  readonly state: TrainingState;
  readonly path: string;
  readonly notes: readonly string[];
  /** Folders of newer checkpoints that are damaged. */
  readonly damaged: readonly string[];
}

const isFile = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined))?.isFile() === true;

/** A state file, and the folder of the checkpoint that it is part of; none for a file on its own. */
interface Candidate {
  readonly file: string;
  readonly home: string | undefined;
}

/** The states below `path`, best first: in a run's folder, one checkpoint's folder, or the file itself. */
async function candidates(path: string): Promise<readonly Candidate[]> {
  if (await isFile(path)) {
    const home = dirname(path);
    const whole = basename(path) === STATE && await isFile(join(home, INDEX));
    return [{ file: path, home: whole ? home : undefined }];
  }
  const inside = (await keptIn(path)).map(({ name }) => join(path, HOME, name)).toReversed();
  if (inside.length > 0) return inside.map((home) => ({ file: join(home, STATE), home }));
  if (await isFile(join(path, STATE))) return [{ file: join(path, STATE), home: path }];
  throw new FileError("there is no checkpoint to resume from", {
    file: path, fault: "missing", help: "name the folder that an earlier run wrote to",
  });
}

/** Reads a candidate. Returns what is wrong with it, as a sentence, when it is damaged. */
async function read({ file: path, home }: Candidate): Promise<TrainingState | string> {
  const defect = home === undefined ? undefined : await defectOf(home);
  if (defect !== undefined) return defect;
  const file = await openFile(path);
  try {
    return await decodeState(file);
  } catch (error) {
    if (!(error instanceof WeightsError)) throw error;
    // A file that was named is an error; among several checkpoints, the next one is tried.
    if (home === undefined) throw error;
    return error.message;
  } finally {
    await file.close();
  }
}

/**
 * What the newest readable state below `path` says of its run, before its tensors are read and verified.
 * @returns undefined if no state below it can be read
 */
export async function stateHeader(path: string): Promise<Awaited<ReturnType<typeof readStateHeader>> | undefined> {
  for (const { file: one } of await candidates(path).catch(() => [])) {
    const file = await openFile(one).catch(() => undefined);
    const header = file && await readStateHeader(file).catch(() => undefined);
    await file?.close();
    if (header !== undefined) return header;
  }
  return undefined;
}

/**
 * Loads the newest sound state of a run. Throws `FileError` when it has no state, `WeightsError` when all are damaged,
 * `InputError` when it is of another recipe and `force` is not given.
 */
export async function loadState(
  path: string, { recipe, settings, force = false }: LoadStateOptions,
): Promise<LoadedState> {
  const [notes, damaged]: [string[], string[]] = [[], []];
  for (const candidate of await candidates(path)) {
    const state = await read(candidate);
    const { file, home } = candidate;
    if (typeof state === "string") {
      notes.push(state);
      if (home !== undefined) damaged.push(home);
      continue;
    }
    const told = notes.map((defect) => `${defect}: the checkpoint before it is used`);
    if (home === undefined) told.push(`${file} has no checksum beside it: its values were not verified`);
    if (state.recipe !== recipe) told.push(otherRecipe(file, state, recipe, settings, force));
    return { state, path: file, notes: told, damaged };
  }
  throw new WeightsError(`no checkpoint is sound: ${notes.join("; ")}`, {
    file: path, fault: "malformed", help: "start again in another folder; the weights in this one may be damaged too",
  });
}

/** Says what differs. Throws `InputError` unless forced. */
function otherRecipe(
  file: string, { recipe: before, run }: TrainingState, now: string,
  settings: Readonly<Record<string, string>> | undefined, force: boolean,
): string {
  const changed = run === undefined || settings === undefined ? [] : differences(run.settings, settings);
  const what = changed.length > 0 ? changed.join(", ")
    : run === undefined || settings === undefined ? `${before} → ${now}`
      : "no setting differs, so it is the loss, a model's structure or the version of deitc";
  if (force) return `the recipe is not the one that made ${file}; it was resumed by force with these changes: ${what}`;
  throw new InputError(`${file} belongs to another recipe: ${what}`, {
    help: "resume with the recipe that made it, or use --force (in a program `force: true`) to go on with the changes",
  });
}
