/**
 * @file A process to be killed. `save FOLDER`: keeps checkpoints as fast as it can. `train FOLDER STEPS`: trains a
 * linear classifier, going on from what the folder has, and kills itself at a random moment of the step after those.
 * `finish FOLDER`: the same, to the end. `limit FOLDER`: saves until the file size limit stops it;
 * `weights FOLDER`: saves what has larger states than that limit, but not larger weights.
 */
import { CheckpointFolder } from "../runtime/node/train/checkpoints.js";
import { loadState } from "../runtime/node/train/resume.js";
import { describeError, FileError } from "../runtime/errors.js";
import { EvaluationLoader, TrainingLoader } from "../runtime/data/loader.js";
import { shapes } from "../runtime/data/shapes.js";
import { train } from "../runtime/train/loop.js";
import { schedule } from "../runtime/train/schedule.js";
import type { TrainingState } from "../runtime/train/state.js";
import { CpuEngine } from "./cpu_engine.js";

/** A state whose tensors say which step they are of. */
export function stateOf(step: number, values = 4096): TrainingState {
  const data = new Float32Array(values).fill(step);
  return {
    recipe: "r", step, records: [], sums: { loss: 0, steps: 0, seconds: 0, total: 0 },
    best: { step, weights: "ema", evaluation: { loss: 1, top1: 0.5, top5: 1, count: 10 } },
    engine: {
      counters: { step }, tensors: [
        { role: "parameter", path: "head.weight", shape: [values], data },
        { role: "ema", path: "head.weight", shape: [values], data },
        { role: "optimizer.m", path: "head.weight", shape: [values], data },
      ],
    },
  };
}

/** Two epochs and a half of a linear classifier on `shapes`. */
export async function trainLinear(
  folder: string, slow: number, told: (step: number) => void = () => undefined,
): Promise<void> {
  const preprocess = { size: 32, resize: 32, mean: [0.5, 0.5, 0.5], std: [0.25, 0.25, 0.25] } as const;
  const training = new TrainingLoader(shapes({ length: 160, split: "train" }), {
    batch: 16, seed: 5, preprocess,
    augment: [
      { kind: "random_crop", size: 32, pad: 2, mode: "constant" }, { kind: "horizontal_flip", probability: 0.5 },
      { kind: "random_erase", probability: 0.5, mode: "pixel", count: 1 },
      { kind: "mixup", alpha: 0.8, probability: 1, switch: 0.5 },
      { kind: "cutmix", alpha: 1, probability: 1, switch: 0.5 }, { kind: "label_smoothing", amount: 0.1 },
    ],
  });
  const evaluation = new EvaluationLoader(shapes({ length: 40, split: "held-out" }), { batch: 16, preprocess });
  const engine = new CpuEngine(8, 3072, { slow });
  const store = await CheckpointFolder.open(folder);
  const resumed = await loadState(folder, { recipe: "linear" }).catch((error: unknown) => {
    if (error instanceof FileError && error.fault === "missing") return undefined;
    throw error;
  });
  if (resumed !== undefined) await store.repair(resumed);
  const plan = {
    recipe: "linear", steps: 25, stepsPerEpoch: training.stepsPerEpoch, batch: 16, logEvery: 3, saveEvery: { steps: 2 },
    schedule: schedule({ kind: "cosine", lr: 1e-3, length: 2.5, warmup: 0.5, own: { min_lr: 1e-5 }, stepping: "steps" }),
  };
  for await (const event of train(plan, { engine, training, evaluation, store }, resumed)) {
    if (event.kind === "step") told(event.step);
  }
  store.close();
}

/** Milliseconds of a step besides its work, so that there is a time to be killed in. */
const SLOW = 12;

async function main([mode, folder = "", steps = "0"]: readonly string[]): Promise<void> {
  if (mode === "train") {
    let left = Number(steps);
    return trainLinear(folder, SLOW, (step) => {
      process.stdout.write(`${step}\n`);
      // Before the next step ends, which waits longer.
      if (--left === 0) setTimeout(() => void process.kill(process.pid, "SIGKILL"), SLOW * Math.random());
    });
  }
  if (mode === "finish") return trainLinear(folder, 0);
  const store = await CheckpointFolder.open(folder);
  if (mode === "limit" || mode === "weights") {
    await store.save(stateOf(1, 1024), "model");
    try {
      await store.save(stateOf(2, mode === "limit" ? 1 << 20 : 50_000), "model");
      process.stdout.write("saved");
    } catch (error) {
      process.stdout.write(`refused: ${describeError(error)}`);
    }
    return undefined;
  }
  const first = (await loadState(folder, { recipe: "r" }).catch(() => undefined))?.state.step ?? 0;
  for (let step = first + 1; ; step++) {
    await store.save(stateOf(step), step % 2 === 0 ? "ema" : undefined);
    process.stdout.write(`${step}\n`);
  }
}

if (process.argv[1]?.endsWith("training_child.js") === true) await main(process.argv.slice(2));
