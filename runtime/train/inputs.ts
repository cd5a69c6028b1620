/** @file What a pass of a step is fed with: data, numbers of the step, and random numbers that are functions of it. */
import type { Batch } from "../data/loader.js";
import { InputError } from "../errors.js";
import type { TensorInfo } from "../manifest.js";
import { elementsAt, showShape } from "../memory.js";
import type { Program } from "../program.js";
import { fillUniform, streamOf } from "../random.js";
import type { ScalarInfo, TrainingManifest } from "../training.js";
import type { Numbers } from "../transfer.js";

/** Where a step is. */
interface StepPosition {
  /** Optimizer steps done before it. */
  readonly step: number;
  readonly lr: number;
  /** Which pass of how many. */
  readonly pass: number;
  readonly passes: number;
}

/** A tensor of a batch by its name in a loss. The first of the loss's is the images, whatever it is called. */
export function tensorOf(batch: Batch, name: string, first: boolean): Numbers | undefined {
  const other = batch.others?.get(name);
  if (other !== undefined) return other;
  switch (name) {
    case "images": return batch.images;
    case "labels": return batch.labels;
    case "targets": return batch.targets;
    case "mask": return batch.mask;
    default: return first ? batch.images : undefined;
  }
}

/** Names a batch always has. */
const BATCH_NAMES: readonly string[] = ["images", "labels", "targets"];

/** The value of a per-step number. */
export function scalarValue(scalar: ScalarInfo, { step, lr, passes }: StepPosition): number {
  switch (scalar.kind) {
    case "learning_rate": return lr;
    case "bias_correction": return 1 - scalar.beta ** (step + 1);
    case "share": return 1 / passes;
    default: return scalar satisfies never;
  }
}

/** Brings one input of a program up to date; undefined for none. */
type Feed = (batch: Batch | undefined, position: StepPosition) => Promise<void>;

/** All inputs of one program of a recipe. */
export class StepInputs {
  readonly #feeds: readonly Feed[];

  /** Throws `InputError` for an input that the manifest says nothing about. */
  constructor(manifest: TrainingManifest, program: Program) {
    this.#feeds = program.manifest.inputs.map((info, index) => {
      const scalar = manifest.scalars.find(({ name }) => name === info.name || `step.${name}` === info.name);
      if (scalar !== undefined) return scalarFeed(program, index, scalar);
      const random = manifest.randoms.find(({ input }) => input === info.name);
      if (random !== undefined) return randomFeed(program, index, info, manifest.settings.seed, random.stream);
      if (manifest.data.includes(info.name)) {
        return dataFeed(program, index, info, manifest.data[0] === info.name);
      }
      throw new InputError(`${manifest.name} needs '${info.name}', which nothing provides`, {
        help: "compile the recipe again",
      });
    });
  }

  /** Writes every input for one pass. @param batch of the whole step; undefined where no data is taken */
  async write(batch: Batch | undefined, position: StepPosition): Promise<void> {
    for (const feed of this.#feeds) await feed(batch, position);
  }
}

function scalarFeed(program: Program, index: number, scalar: ScalarInfo): Feed {
  const value = new Float32Array(1);
  return async (_, position) => {
    value[0] = scalarValue(scalar, position);
    await program.writeInput(index, value);
  };
}

/** Passes of a step draw one after the other from one sequence, so that they draw what their whole batch would. */
function randomFeed(program: Program, index: number, info: TensorInfo, seed: number, stream: string): Feed {
  const values = new Float32Array(elementsAt(info, program.batch));
  const number = streamOf(stream);
  return async (_, { step, pass }) => {
    fillUniform({ seed, stream: number, step }, pass * values.length, values);
    await program.writeInput(index, values);
  };
}

function dataFeed(program: Program, index: number, info: TensorInfo, first: boolean): Feed {
  const length = elementsAt(info, program.batch);
  return async (batch, { pass, passes }) => {
    const all = batch && tensorOf(batch, info.name, first);
    if (all === undefined) {
      throw new InputError(`the loss takes '${info.name}' ${showShape(info.shape)}, which the data does not provide`, {
        help: `the data provides ${BATCH_NAMES.map((name) => `'${name}'`).join(", ")}`,
      });
    }
    if (all.length !== length * passes) {
      throw new InputError(`'${info.name}' ${showShape(info.shape)} has ${all.length} values, ${length * passes} fit`);
    }
    await program.writeInput(index, passes === 1 ? all : all.subarray(pass * length, (pass + 1) * length));
  };
}
