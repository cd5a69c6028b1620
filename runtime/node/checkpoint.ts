/** @file Checkpoints by their paths, and the moving averages that a training run keeps in files beside the weights. */
import { dirname, join } from "node:path";
import { DeitcError, WeightsError } from "../errors.js";
import { printable } from "../text.js";
import { openCheckpoint, type Checkpoint, type CheckpointOptions } from "../weights/checkpoint.js";
import { openFile, type OpenFile } from "./files.js";
import { HOME, keptIn } from "./train/kept.js";

/** A checkpoint, whose files are open until `close`. */
interface OpenedCheckpoint {
  readonly checkpoint: Checkpoint;
  readonly close: () => Promise<void>;
}

/** What two files of a training run have in common where one is the average of the other: names in their metadata. */
const ORIGIN = ["recipe", "step"] as const;

/**
 * Opens a checkpoint. With `ema`, the moving average: that in a PyTorch file; for weights of a training run, the file
 * with the average of the same step, in the same folder or among the run's checkpoints.
 * @throws FileError, WeightsError, also where there is no average, saying where it was looked for
 */
export async function openCheckpointFile(
  path: string, { ema }: Pick<CheckpointOptions, "ema"> = {},
): Promise<OpenedCheckpoint> {
  const files: OpenFile[] = [];
  const close = async (): Promise<void> => {
    for (const file of files.splice(0)) await file.close();
  };
  try {
    const file = await openFile(path);
    files.push(file);
    const averageOf = (weights: Checkpoint): Promise<Checkpoint> => averageBeside(weights, files);
    return { checkpoint: await openCheckpoint(file, { averageOf, ...(ema === undefined ? {} : { ema }) }), close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** The average of weights in a file of its own, which goes to `files`. */
async function averageBeside({ file: path, metadata }: Checkpoint, files: OpenFile[]): Promise<Checkpoint> {
  const folder = dirname(path);
  const step = metadata.get("step");
  const kept = (await keptIn(folder)).filter((one) => String(one.step) === step).toReversed();
  const places = [folder, ...kept.map(({ name }) => join(folder, HOME, name))].map((at) => join(at, "ema.safetensors"));
  for (const place of places) {
    const file = await openFile(place).catch(missing);
    const average = file && await openCheckpoint(file).catch(missing);
    if (average && ORIGIN.every((name) => average.metadata.get(name) === metadata.get(name))) {
      files.push(file);
      return { ...average, notes: [`used the moving average of the weights, ${place}`] };
    }
    await file?.close();
  }
  const [what, home] = step === undefined ? ["", ""]
    : [`, of step ${step}`, ` and for a checkpoint of step ${step} in ${join(folder, HOME)}`];
  const looked = `looked for ${places.join(", ")}${kept.length > 0 ? "" : home}`;
  const message = `the moving average was asked for, but the file has only the weights${what}; ${looked}`;
  throw new WeightsError(printable(message), {
    file: path, fault: "not_recognized",
    help: "name weights whose checkpoint the run still keeps, such as its last.safetensors; " +
      "a recipe without `ema` has no average",
  });
}

/** What cannot be read is no average. */
function missing(error: unknown): undefined {
  if (!(error instanceof DeitcError)) throw error;
}
