/** @file Everything a run needs to go on bit for bit, and its form as a safetensors file. */

import { InputError, WeightsError } from "../errors.js";
import { classesEntry } from "../labels.js";
import type { RandomAccess } from "../weights/access.js";
import { encodeSafetensors, readSafetensors, type TensorToWrite } from "../weights/safetensors.js";
import { metricsLine, parseMetrics, type Evaluation, type MetricsRecord } from "./metrics.js";
import type { RunFacts } from "./run_facts.js";

/** What a tensor of a state is: the weights (buffers too), their moving average, or the optimizer's (`optimizer.m`). */
export type StateRole = "parameter" | "ema" | `optimizer.${string}`;

/** One tensor of a state. */
export interface StateTensor {
  readonly role: StateRole;
  /** The parameter's path, equal to timm's key. */
  readonly path: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** What a step engine has to be given back to go on: tensors, and numbers such as a loss scale. */
export interface EngineState {
  readonly tensors: readonly StateTensor[];
  readonly counters: Readonly<Record<string, number>>;
}

/** The best evaluation so far. */
export interface Best {
  readonly step: number;
  /** Which weights it was of. */
  readonly weights: "model" | "ema";
  readonly evaluation: Evaluation;
}

/** Sums of the epoch under way. */
export interface EpochSums {
  readonly loss: number;
  readonly steps: number;
  /** Training seconds of the epoch, and of the whole run. */
  readonly seconds: number;
  readonly total: number;
}

/** A run after `step` optimizer steps. */
export interface TrainingState {
  /** Digest of the recipe with everything that decides numbers; another one is not resumed unless forced. */
  readonly recipe: string;
  readonly step: number;
  readonly engine: EngineState;
  readonly records: readonly MetricsRecord[];
  readonly sums: EpochSums;
  readonly best: Best | undefined;
  /** Absent where a program drives the loop itself. */
  readonly run?: RunFacts;
  /** The list of images that it was trained on, as whoever made it reads it. */
  readonly data?: Uint8Array;
}

const FORMAT = "deitc training state 2";
const METRICS = "metrics.jsonl";
const DATA = "data.listing";

/**
 * The weights alone under timm's names, as files to write. Nothing in them depends on when or where they were made.
 * @param which the moving average may be missing
 * @param classes names of the classes that the weights tell apart, to travel with them
 */
export function encodeWeights(
  state: TrainingState, which: "model" | "ema", classes?: readonly string[],
): Uint8Array[] | undefined {
  const role = which === "model" ? "parameter" : "ema";
  const tensors = state.engine.tensors.filter((tensor) => tensor.role === role);
  if (tensors.length === 0) return undefined;
  return encodeSafetensors(tensors.map(({ path, shape, data }) => ({ name: path, shape, data })), {
    format: "pt", step: String(state.step), recipe: state.recipe, weights: which,
    ...(classes === undefined ? {} : classesEntry(classes)),
  });
}

/** A state as a safetensors file, in pieces. */
export function encodeState(state: TrainingState): Uint8Array[] {
  const lines = new TextEncoder().encode(state.records.map((record) => `${metricsLine(record)}\n`).join(""));
  const tensors: TensorToWrite[] = state.engine.tensors.map(({ role, path, shape, data }) =>
    ({ name: `${role}/${path}`, shape, data }));
  tensors.push({ name: METRICS, shape: [lines.length], data: { dtype: "U8", bytes: lines } });
  const { recipe, step, sums, best, engine, run, data } = state;
  if (data !== undefined) tensors.push({ name: DATA, shape: [data.length], data: { dtype: "U8", bytes: data } });
  return encodeSafetensors(tensors, {
    format: FORMAT, recipe, step: String(step), sums: JSON.stringify(sums),
    best: JSON.stringify(best ?? null), counters: JSON.stringify(engine.counters),
    ...(run === undefined ? {} : { run: JSON.stringify(run) }),
  });
}

/** What a state's header says, without its tensors. */
interface StateHeader {
  readonly recipe: string;
  readonly step: number;
  readonly best: Best | undefined;
  readonly run?: RunFacts;
}

interface OpenState extends StateHeader {
  readonly file: Awaited<ReturnType<typeof readSafetensors>>;
  readonly sums: EpochSums;
  readonly counters: Readonly<Record<string, number>>;
}

function isRole(text: string): text is StateRole {
  return text === "parameter" || text === "ema" || text.startsWith("optimizer.");
}

function parse(access: RandomAccess, text: string | undefined): unknown {
  try {
    const value: unknown = JSON.parse(text ?? "");
    return value;
  } catch (cause) {
    throw new WeightsError("its description is not JSON", { file: access.name, fault: "malformed", cause });
  }
}

async function openState(access: RandomAccess): Promise<OpenState> {
  const file = await readSafetensors(access);
  const { metadata } = file;
  if (metadata.get("format") !== FORMAT) {
    throw new WeightsError("this is not a training state", {
      file: access.name, fault: "not_recognized", help: "name the folder of the run, or its state.safetensors",
    });
  }
  const step = Number(metadata.get("step"));
  if (!Number.isSafeInteger(step) || step < 0) {
    throw new WeightsError(`its step is '${metadata.get("step")}'`, { file: access.name, fault: "malformed" });
  }
  const best = parse(access, metadata.get("best"));
  const run = metadata.get("run");
  return {
    file, step, ...(run === undefined ? {} : { run: parse(access, run) as RunFacts }),
    recipe: metadata.get("recipe") ?? "",
    // Written by encodeState under this format name, whose number changes when they do.
    sums: parse(access, metadata.get("sums")) as EpochSums,
    best: (best as Best | null) ?? undefined,
    counters: parse(access, metadata.get("counters")) as Record<string, number>,
  };
}

/** Reads the header of a state. Throws `WeightsError`. */
export async function readStateHeader(access: RandomAccess): Promise<StateHeader> {
  const { file: _, sums: __, counters: ___, ...header } = await openState(access);
  return header;
}

/** Reads a whole state. Throws `WeightsError`. */
export async function decodeState(access: RandomAccess): Promise<TrainingState> {
  const { file, counters, ...header } = await openState(access);
  const tensors: StateTensor[] = [];
  let records: MetricsRecord[] = [];
  let data: Uint8Array | undefined;
  for (const tensor of file.tensors) {
    const bytes = await tensor.read();
    if (tensor.name === METRICS) {
      records = recordsIn(bytes, access.name);
      continue;
    }
    if (tensor.name === DATA) {
      data = bytes;
      continue;
    }
    const [role = "", ...rest] = tensor.name.split("/");
    if (!isRole(role) || tensor.dtype !== "F32") {
      throw new WeightsError(`not a tensor of a training state`, {
        file: access.name, fault: "malformed", tensor: tensor.name,
      });
    }
    const values = new Float32Array(bytes.byteLength / 4);
    new Uint8Array(values.buffer).set(bytes);
    tensors.push({ role, path: rest.join("/"), shape: tensor.shape, data: values });
  }
  return { ...header, records, engine: { tensors, counters }, ...(data === undefined ? {} : { data }) };
}

function recordsIn(bytes: Uint8Array, file: string): MetricsRecord[] {
  try {
    return parseMetrics(new TextDecoder().decode(bytes), "its records");
  } catch (cause) {
    if (!(cause instanceof InputError)) throw cause;
    throw new WeightsError(cause.message, { file, fault: "malformed", cause });
  }
}
