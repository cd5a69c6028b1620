/** @file What the rest of a recipe's manifest must look like: states, models, settings, and what its graphs bind. */
import type { Manifest } from "../manifest.js";
import type {
  Argument, Arguments, CallSetting, Count, ModelInfo, ScalarInfo, StateInfo, StateRole, TrainingManifest,
  TrainingSettings,
} from "../training.js";
import { dtype, identifier, initializer, preprocess, shape, valuesFit } from "./manifest.js";
import { imageFault, insideLane, twice } from "./references.js";
import {
  and, check, fault, finite, flag, inside, isObject, lines, list, object, optional, record, says, show, text, variants,
  whole, word, type Check, type Fault, type Fields,
} from "./schema.js";

type Initial = StateInfo["initial"];
const copied = object<Extract<Initial, { kind: "copy" }>>({ kind: word({ copy: 0 }) });
const initial: Check<Initial> = (value) =>
  (isObject(value) && value["kind"] === "copy" ? copied : initializer)(value);

const state: Check<StateInfo> = and(
  object<StateInfo>({
    path: text, of: text, shape, dtype, initial, trained: flag, decay: flag,
    role: word<StateRole>({ parameter: 0, buffer: 0, optimizer: 0, ema: 0, gradient: 0, lane: 0 }),
    inside: optional(object<NonNullable<StateInfo["inside"]>>({ state: whole(0), offset: whole(0) })),
  }),
  (info) => {
    const found = valuesFit(info.initial, info.shape);
    return found && inside("initial", found);
  },
);

const scalar = variants<ScalarInfo>({
  learning_rate: object({ kind: word({ learning_rate: 0 }), name: text }),
  bias_correction: object({ kind: word({ bias_correction: 0 }), name: text, beta: finite }),
  share: object({ kind: word({ share: 0 }), name: text }),
});

const model = object<ModelInfo>({
  name: identifier, model: identifier, doc: lines, frozen: flag, path: text, weights: optional(text),
  preprocess: optional(preprocess),
});

/** Lists inside lists of arguments. */
const MOST_NESTED = 4;
const units = { images: 0, epochs: 0, steps: 0 };
const count: Check<Count> = object<Count>({ value: finite, unit: word(units) });
const argument = (depth: number): Check<Argument> => (value) => {
  if (value === null || typeof value === "boolean") return undefined;
  if (typeof value === "string") return text(value);
  if (typeof value === "number") return finite(value);
  if (!Array.isArray(value)) return count(value);
  return depth === 0 ? fault(`a list in at most ${MOST_NESTED} others`, value) : list(argument(depth - 1))(value);
};
const values: Check<Arguments> = record(identifier, argument(MOST_NESTED));
const call = object<CallSetting>({ name: identifier, arguments: values });

/** A number of steps, epochs or images that a run can have. */
const MOST_COUNTED = 2 ** 31 - 1;
const settings = object<TrainingSettings>({
  data: call, eval: optional(call), batch: whole(1, MOST_COUNTED), accumulate: whole(1, MOST_COUNTED),
  length: and(count, ({ value }) => (value > 0 && value <= MOST_COUNTED ? undefined
    : inside("value", fault(`above 0 and at most ${MOST_COUNTED}`, value)))),
  augment: list(call), optimizer: call, schedule: call, clip: optional(call),
  ema: optional(check<number>("a number from 0 to 1", (x) => typeof x === "number" && x >= 0 && x <= 1)),
  seed: whole(0), precision: word({ f32: 0 }), noWeightDecay: list(text),
});

/** The fields that a recipe has besides those of a model. */
export const trainingFields: Pick<
  Fields<TrainingManifest>, "states" | "data" | "scalars" | "randoms" | "models" | "classes" | "settings" | "digest"
> = {
  states: list(state), data: list(text), scalars: list(scalar),
  randoms: list(object<TrainingManifest["randoms"][number]>({ input: text, stream: text })),
  models: list(model), classes: optional(whole(1)), settings, digest: text,
};

/** What the parts of a recipe say of one another. */
export function trainingReferences(recipe: TrainingManifest): Fault | undefined {
  const { states, models, graphs } = recipe;
  const known = new Map(states.map((info) => [info.path, info]));
  const repeated = twice(states.map(({ path }) => path), "path");
  if (repeated) return inside("states", repeated);
  const sameName = twice(models.map(({ name }) => name), "name");
  if (sameName) return inside("models", sameName);
  const trained = models.findIndex(({ frozen }) => !frozen);
  if (trained < 0) return inside("models", says("must have one that is not frozen"));
  const how = models[trained]?.preprocess;
  const odd = how && imageFault(how, graphs.evaluate.inputs[0]);
  if (odd) return inside("models", inside(trained, inside("preprocess", odd)));
  for (const [i, info] of states.entries()) {
    const found = stateFault(info, i, states, known);
    if (found) return inside("states", inside(i, found));
  }
  for (const [name, graph] of Object.entries(graphs)) {
    const found = boundFault(graph, known);
    if (found && name !== "infer") return inside("graphs", inside(name, inside("parameters", found)));
  }
  const splits = graphs.gather !== undefined && graphs.apply !== undefined;
  return splits || graphs.train !== undefined ? undefined
    : inside("graphs", says("must have `train`, or `gather` and `apply`"));
}

function stateFault(
  info: StateInfo, at: number, states: readonly StateInfo[], known: ReadonlyMap<string, StateInfo>,
): Fault | undefined {
  if (info.role !== "lane" && !known.has(info.of)) return inside("of", says(`names no state, got ${show(info.of)}`));
  const origin = known.get(info.of);
  if (info.initial.kind === "copy" && (origin === info || origin?.initial.kind === "copy" || !isSame(info, origin))) {
    return inside("initial", says(`must copy another state of the same shape, but \`of\` is ${show(info.of)}`));
  }
  if (info.inside === undefined) return undefined;
  const lane = states[info.inside.state];
  const laid = lane?.inside && { parameter: lane.inside.state, offset: lane.inside.offset };
  const { state, offset } = info.inside;
  const found = insideLane(lane && { ...lane, inside: laid }, info, state, state < at, offset);
  return found && inside("inside", found);
}

const isSame = (x: Pick<StateInfo, "shape">, y: Pick<StateInfo, "shape"> | undefined): boolean =>
  y !== undefined && x.shape.join() === y.shape.join();

/** A parameter of a graph is the state of its path, of its shape and type. */
function boundFault({ parameters }: Manifest, known: ReadonlyMap<string, StateInfo>): Fault | undefined {
  for (const [i, { path, shape: sizes, dtype: type = "f32" }] of parameters.entries()) {
    const found = known.get(path);
    const wrong = found === undefined ? "path" : !isSame({ shape: sizes }, found) ? "shape"
      : found.dtype !== type ? "dtype" : undefined;
    if (wrong !== undefined) return inside(i, inside(wrong, says(`does not fit the states: ${show(path)}`)));
  }
  return undefined;
}
