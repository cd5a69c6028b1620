/** @file Everything a run needs to go on bit for bit, and its form as a safetensors file. */

import { anyNumber, object, placeOf, record, text, whole, word, type Check } from "../check/schema.js";
import { InputError, WeightsError } from "../errors.js";
import { classesEntry, classesOf } from "../labels.js";
import type { RandomAccess } from "../weights/access.js";
import { encodeSafetensors, readSafetensors, type TensorToWrite } from "../weights/safetensors.js";
import { evaluationCheck, metricsLine, parseMetrics, type Evaluation, type MetricsRecord } from "./metrics.js";
import { runCheck, type RunFacts } from "./run_facts.js";

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
  /** Names of the classes that the weights tell apart, in the order of the logits. */
  readonly classes?: readonly string[];
}

const FORMAT = "deitc training state 2";
const METRICS = "metrics.jsonl";
const DATA = "data.listing";

/**
 * The weights alone under timm's names, as files to write. Nothing in them depends on when or where they were made.
 * The names of the classes travel with them.
 * @param which the moving average may be missing
 */
export function encodeWeights(
  { recipe, step, engine, classes }: Pick<TrainingState, "recipe" | "step" | "engine" | "classes">,
  which: Best["weights"],
): Uint8Array[] | undefined {
  const role = which === "model" ? "parameter" : "ema";
  const tensors = engine.tensors.filter((tensor) => tensor.role === role);
  if (tensors.length === 0) return undefined;
  return encodeSafetensors(tensors.map(({ path, shape, data }) => ({ name: path, shape, data })), {
    format: "pt", step: String(step), recipe, weights: which,
    ...(classes === undefined ? {} : classesEntry(classes)),
  });
}

/** A state as a safetensors file, in pieces. */
export function encodeState(state: TrainingState): Uint8Array[] {
  const lines = new TextEncoder().encode(state.records.map((record) => `${metricsLine(record)}\n`).join(""));
  const tensors: TensorToWrite[] = state.engine.tensors.map(({ role, path, shape, data }) =>
    ({ name: `${role}/${path}`, shape, data }));
  tensors.push({ name: METRICS, shape: [lines.length], data: { dtype: "U8", bytes: lines } });
  const { recipe, step, sums, best, engine, run, data, classes } = state;
  if (data !== undefined) tensors.push({ name: DATA, shape: [data.length], data: { dtype: "U8", bytes: data } });
  return encodeSafetensors(tensors, {
    format: FORMAT, recipe, step: String(step), sums: JSON.stringify(sums),
    best: JSON.stringify(best ?? null), counters: JSON.stringify(engine.counters),
    ...(run === undefined ? {} : { run: JSON.stringify(run) }),
    ...(classes === undefined ? {} : classesEntry(classes)),
  });
}

/** What a state's header says, without its tensors. */
interface StateHeader {
  readonly recipe: string;
  readonly step: number;
  readonly best: Best | undefined;
  readonly run?: RunFacts;
  readonly classes?: readonly string[];
}

interface OpenState extends StateHeader {
  readonly file: Awaited<ReturnType<typeof readSafetensors>>;
  readonly sums: EpochSums;
  readonly counters: Readonly<Record<string, number>>;
}

function isRole(text: string): text is StateRole {
  return text === "parameter" || text === "ema" || text.startsWith("optimizer.");
}

const sumsCheck = object<EpochSums>({ loss: anyNumber, steps: whole(0), seconds: anyNumber, total: anyNumber });
const bestCheck = object<Best>({
  step: whole(0), weights: word<Best["weights"]>({ model: 0, ema: 0 }), evaluation: evaluationCheck,
});
const countersCheck = record(text, anyNumber);

/** An entry of the description, which is JSON. */
function parse<T>(access: RandomAccess, metadata: ReadonlyMap<string, string>, key: string, check: Check<T>): T {
  let value: unknown;
  try {
    value = JSON.parse(metadata.get(key) ?? "");
  } catch (cause) {
    throw new WeightsError("its description is not JSON", { file: access.name, fault: "malformed", cause });
  }
  const found = check(value);
  if (found) {
    const where = placeOf({ ...found, path: `${key}${found.path}` });
    throw new WeightsError(`${where} ${found.message}`, { file: access.name, fault: "malformed" });
  }
  return value as T; // the check found nothing else
}

/** The records of a state. */
function recordsIn(access: RandomAccess, bytes: Uint8Array): MetricsRecord[] {
  try {
    return parseMetrics(new TextDecoder().decode(bytes), METRICS);
  } catch (cause) {
    if (!(cause instanceof InputError)) throw cause;
    throw new WeightsError(cause.message, { file: access.name, fault: "malformed", cause });
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
  const run = metadata.get("run");
  const classes = classesOf(metadata);
  return {
    file, step, recipe: metadata.get("recipe") ?? "",
    ...(run === undefined ? {} : { run: parse(access, metadata, "run", runCheck) }),
    ...(classes === undefined ? {} : { classes }),
    sums: parse(access, metadata, "sums", sumsCheck),
    best: metadata.get("best") === "null" ? undefined : parse(access, metadata, "best", bestCheck),
    counters: parse(access, metadata, "counters", countersCheck),
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
      records = recordsIn(access, bytes);
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
