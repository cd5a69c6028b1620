/** @file A run's folder as it begins or goes on: locked, with room, and with the state that it resumes from. */
import { InputError } from "../../errors.js";
import { learningRate } from "../../train/schedule.js";
import type { TrainingPlan } from "../../train/loop.js";
import type { TrainingState } from "../../train/state.js";
import { scheduleOf } from "../../train/settings.js";
import type { StateRole, TrainingManifest } from "../../training.js";
import { CheckpointFolder } from "./checkpoints.js";
import { dataDifferences } from "./fingerprint.js";
import { hasCheckpoints } from "./kept.js";
import type { TrainerOptions } from "./options.js";
import { loadState, stateHeader, type LoadedState } from "./resume.js";

/** Where a run writes, and where it is resumed from. */
export interface Places extends Omit<TrainerOptions, "out"> {
  readonly out: string | undefined;
  readonly from: string | undefined;
}

/** What a run writes into and goes on from; `store` is to be closed. */
interface OpenedFolder {
  readonly store: CheckpointFolder | undefined;
  readonly resumed: LoadedState | undefined;
}

/**
 * Opens a run's folder. Throws `FileError`, `WeightsError`, and `InputError` for a folder that holds a run which is not
 * resumed, and for a state that does not belong to what is to be trained.
 */
export async function openRunFolder(
  manifest: TrainingManifest, places: Places, plan: TrainingPlan,
): Promise<OpenedFolder> {
  const { out, from, force, keep, fallback, onNote = () => undefined } = places;
  if (from !== undefined && await stateHeader(from) === undefined) await load(manifest, places, plan, from);
  const store = out === undefined ? undefined : await CheckpointFolder.open(out, { keep, fallback, force });
  try {
    store?.notes.forEach(onNote);
    if (out !== undefined && from !== out && await hasCheckpoints(out)) {
      throw new InputError(`${out} already contains a run`, {
        help: "resume it with --resume (in a program `resume: true`), or choose another folder",
      });
    }
    const start = from === undefined ? undefined : await newest(from, fallback, onNote);
    const resumed = start === undefined ? undefined : await load(manifest, places, plan, start);
    if (resumed !== undefined) (await store?.repair(resumed))?.forEach(onNote);
    const odd = await store?.checkRoom(checkpointBytes(manifest));
    if (odd !== undefined) onNote(odd);
    return { store, resumed };
  } catch (error) {
    store?.close();
    throw error;
  }
}

/** The fallback folder where a run went on when its own could not be written, else its own. */
async function newest(from: string, fallback: string | undefined, onNote: (note: string) => void): Promise<string> {
  if (fallback === undefined) return from;
  const [own, other] = await Promise.all([from, fallback].map(stateHeader));
  if (other === undefined || other.step <= (own?.step ?? -1)) return from;
  onNote(`the newest checkpoint is in ${fallback}: it is resumed from`);
  return fallback;
}

async function load(
  manifest: TrainingManifest, { force = false, onNote = () => undefined }: Places, plan: TrainingPlan, from: string,
): Promise<LoadedState> {
  const loaded = await loadState(from, { recipe: plan.recipe, force, settings: plan.about?.run?.settings });
  loaded.notes.forEach(onNote);
  sameData(loaded, plan, force, onNote);
  const longer = lengthNote(manifest, loaded.state, plan);
  if (longer !== undefined) onNote(longer);
  return loaded;
}

/** Throws `InputError` when the images or classes are not those of the state, unless forced. */
function sameData(
  { path, state }: LoadedState, { about }: TrainingPlan, force: boolean, onNote: (note: string) => void,
): void {
  if (state.data === undefined || about?.data === undefined) return;
  const differences = dataDifferences(state.data, about.data);
  if (differences.length === 0) return;
  const text = differences.join("; ");
  if (!force) {
    throw new InputError(`the data is not what ${path} was trained on: ${text}`, {
      help: "restore the data, or use --force (in a program `force: true`) to go on with the new",
    });
  }
  onNote(`the data has changed, and training goes on with the new by force: ${text}`);
}

/** What another number of steps does, as a sentence. Throws `InputError` for one that is below what is done. */
function lengthNote(
  { settings }: TrainingManifest, { step, run }: TrainingState, { steps, stepsPerEpoch, schedule }: TrainingPlan,
): string | undefined {
  if (run === undefined || run.steps === steps) return undefined;
  if (steps < step) {
    throw new InputError(`${step} steps are done already: the run cannot end after ${steps}`, {
      help: `give at least ${step} steps`,
    });
  }
  const before = learningRate(scheduleOf(settings, run.steps, stepsPerEpoch), step, stepsPerEpoch);
  const now = learningRate(schedule, step, stepsPerEpoch);
  const rate = before === now ? "the learning rate is the same"
    : `the schedule has the new length: the learning rate of the next step is ${now.toPrecision(4)}, ` +
      `and would have been ${before.toPrecision(4)}`;
  return `the run is now ${steps} steps long, ${run.steps} were planned; ${rate}`;
}

/** Roles of states that a checkpoint holds. */
const KEPT: readonly StateRole[] = ["parameter", "buffer", "optimizer", "ema"];

/** Bytes of a checkpoint without its records: the state, and the weights and their average once more. */
function checkpointBytes({ states }: TrainingManifest): number {
  const bytes = (roles: readonly StateRole[]): number => states.filter(({ role }) => roles.includes(role))
    .reduce((sum, { shape }) => sum + 4 * shape.reduce((a, b) => a * b, 1), 0);
  return bytes(KEPT) + bytes(["parameter", "buffer", "ema"]);
}
