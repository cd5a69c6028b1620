/** @file Tensors of a recipe that live from step to step: where they lie, what they start from, how they are kept. */
import { InputError } from "../errors.js";
import { familyNamed } from "../families.js";
import type { FamilyName, Manifest, ParameterInfo } from "../manifest.js";
import { writtenParameters, type StoredTensor } from "../memory.js";
import type { ParameterStore } from "../store.js";
import type { ModelInfo, StateInfo, TrainingManifest } from "../training.js";
import type { Numbers } from "../transfer.js";
import { elementCount } from "../weights/dtype.js";
import { initialize } from "../weights/initialize.js";
import type { EngineState, StateRole, StateTensor } from "./state.js";

/** A graph that binds states, and the family it runs as. */
export interface StateUser {
  readonly manifest: Manifest;
  readonly family: FamilyName;
}

/** How states are stored: what any graph writes has a buffer of its own. */
export function storedStates(manifest: TrainingManifest, users: readonly StateUser[]): StoredTensor[] {
  const written = new Set(users.flatMap((user) =>
    [...writtenParameters(user.manifest, user.family)].map((i) => user.manifest.parameters[i]?.path)));
  return manifest.states.map(({ path, shape, dtype, inside }) => ({
    path, shape, dtype, alone: written.has(path),
    inside: inside && { index: inside.state, offset: inside.offset },
  }));
}

const inModel = (path: string, model: ModelInfo): boolean => model.path !== "" && path.startsWith(`${model.path}.`);

/** The model that a state belongs to. */
export function modelOf(manifest: TrainingManifest, { of }: StateInfo): ModelInfo | undefined {
  return manifest.models.find((model) => inModel(of, model)) ?? manifest.models.find(({ path }) => path === "");
}

/** Whether a state never changes: it belongs to a frozen model. */
const isFixed = (manifest: TrainingManifest, state: StateInfo): boolean => modelOf(manifest, state)?.frozen === true;

/**
 * Whether a pass moves buffers, as batch norm does its running statistics: then several passes are another step than
 * one on all their images.
 */
export function movesBuffers(manifest: TrainingManifest): boolean {
  const { gather } = manifest.graphs;
  if (gather === undefined) return false;
  // What is written is the same in every family.
  const [family = ""] = Object.keys(gather.families);
  const copied = familyNamed(gather, family).copies.flatMap(({ to }) => (to.kind === "parameter" ? [to.index] : []));
  const written = new Set([...writtenParameters(gather, family), ...copied].map((i) => gather.parameters[i]?.path));
  return manifest.states.some(({ role, path }) => role === "buffer" && written.has(path));
}

/** Parameters and buffers of a model, their paths as its own checkpoints have them. */
export function parametersOf(
  manifest: TrainingManifest, model: ModelInfo,
): { readonly state: StateInfo; readonly parameter: ParameterInfo }[] {
  return manifest.states.flatMap((state) => {
    const { role, path, initial } = state;
    if ((role !== "parameter" && role !== "buffer") || modelOf(manifest, state) !== model) return [];
    if (initial.kind === "copy") throw new InputError(`'${path}' is a copy of nothing`);
    const own = model.path === "" ? path : path.slice(model.path.length + 1);
    // A buffer that is a fixed table is no weight, one that training changes is; the initializer says which it is.
    const trained = state.trained || role === "parameter";
    return [{ state, parameter: { path: own, shape: state.shape, trained, decay: state.decay, initializer: initial } }];
  });
}

/** Values as a state's element type has them. */
const typed = ({ dtype }: StateInfo, values: Float32Array): Numbers =>
  (dtype === "f32" ? values : Int32Array.from(values));

/**
 * Gives every state the value it starts from: those of `loaded`, else drawn from the recipe's seed and its path; then
 * copies, then zeros.
 * @param loaded values by state path; undefined where there are none
 */
export async function writeInitial(
  manifest: TrainingManifest, store: ParameterStore,
  loaded: (state: StateInfo) => Promise<Float32Array | undefined>,
): Promise<void> {
  const copies = new Map<string, StateInfo[]>();
  for (const state of manifest.states) {
    if (state.initial.kind === "copy") copies.set(state.of, [...(copies.get(state.of) ?? []), state]);
  }
  for (const state of manifest.states) {
    if (state.role === "lane" || state.initial.kind === "copy") continue;
    const { path, shape, trained, decay, initial } = state;
    const values = await loaded(state)
      ?? initialize({ path, shape, trained, decay, initializer: initial }, manifest.settings.seed);
    for (const one of [state, ...(copies.get(path) ?? [])]) await store.write(one.path, typed(one, values));
  }
}

/** What a checkpoint calls a state; undefined for those that are not kept: lanes, sums of gradients, frozen models. */
function keptAs(manifest: TrainingManifest, state: StateInfo): StateRole | undefined {
  if (isFixed(manifest, state)) return undefined;
  switch (state.role) {
    case "parameter":
    case "buffer": return "parameter";
    case "ema": return "ema";
    case "optimizer": return `optimizer.${state.path.slice(0, -(state.of.length + 1))}`;
    // Zero between steps.
    case "gradient": return undefined;
    case "lane": return undefined;
    default: return state.role satisfies never;
  }
}

/** The states as a checkpoint keeps them, bit for bit. */
export async function readStates(manifest: TrainingManifest, store: ParameterStore): Promise<StateTensor[]> {
  const kept = manifest.states.flatMap((state) => {
    const role = keptAs(manifest, state);
    return role === undefined ? [] : [{ state, role }];
  });
  const found = new Map<string, Float32Array>();
  const whole = new Set(kept.filter(({ state }) => state.dtype !== "f32").map(({ state }) => state.path));
  await store.readAll(kept.map(({ state }) => state.path), (path, bytes) => {
    // Whole numbers are kept as floats: counts of steps stay far below 2^24.
    found.set(path, whole.has(path) ? Float32Array.from(new Int32Array(bytes)) : new Float32Array(bytes));
  });
  return kept.map(({ state, role }) => {
    const count = elementCount(state.shape);
    const data = found.get(state.path) ?? new Float32Array();
    return { role, path: state.of, shape: state.shape, data: data.length === count ? data : data.slice(0, count) };
  });
}

/** Puts states back. Throws `InputError` when they are not exactly those of the recipe. */
export async function writeStates(
  manifest: TrainingManifest, store: ParameterStore, { tensors }: EngineState,
): Promise<void> {
  const given = new Map(tensors.map((tensor) => [`${tensor.role}/${tensor.path}`, tensor]));
  const writes: (readonly [StateInfo, Float32Array])[] = [];
  for (const state of manifest.states) {
    const role = keptAs(manifest, state);
    if (role === undefined) {
      if (state.role === "gradient") writes.push([state, new Float32Array(elementCount(state.shape))]);
      continue;
    }
    const name = `${role}/${state.of}`;
    const tensor = given.get(name);
    given.delete(name);
    if (tensor === undefined || tensor.data.length !== elementCount(state.shape)) {
      const what = tensor === undefined ? "has no" : `has ${tensor.data.length} values for`;
      throw new InputError(`the checkpoint ${what} '${name}' [${state.shape.join(", ")}]`, {
        help: "resume with the recipe that made it",
      });
    }
    writes.push([state, tensor.data]);
  }
  const [extra] = given.keys();
  if (extra !== undefined) throw new InputError(`the checkpoint has '${extra}', which the recipe does not have`);
  for (const [state, data] of writes) await store.write(state.path, typed(state, data));
}

/** Path of the first tensor, in the recipe's order, that holds a value that is not finite. */
export async function firstNonFinite(manifest: TrainingManifest, store: ParameterStore): Promise<string | undefined> {
  const bad = new Set<string>();
  const moving = manifest.states.filter((state) =>
    state.role !== "lane" && state.dtype === "f32" && !isFixed(manifest, state));
  await store.readAll(moving.map(({ path }) => path), (path, bytes) => {
    if (!new Float32Array(bytes).every(Number.isFinite)) bad.add(path);
  });
  return moving.find(({ path }) => bad.has(path))?.path;
}
