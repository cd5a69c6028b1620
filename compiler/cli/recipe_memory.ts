/**
 * @file What a compiled recipe takes on the device as a function of B, the images of a pass: by the runtime's own
 * arithmetic, split by what the bytes are for.
 */
import type { Family, FamilyName, Manifest, Size } from "../../runtime/manifest.js";
import { memoryUse, packParameters, planMemory, sizeAt, type MemoryUse } from "../../runtime/memory.js";
import { modelOf, storedStates } from "../../runtime/train/states.js";
import type { StateInfo, TrainingManifest } from "../../runtime/training.js";
import { dim } from "../ir/dim.js";
import { storageBytesOf } from "../ir/dtype.js";
import { topological, type Node } from "../ir/graph.js";
import type { CompiledGraph } from "../pipeline.js";
import type { CompiledRecipe } from "../train/compile.js";
import { familyNamed } from "../../runtime/families.js";
import { familyOfTarget } from "../pipeline.js";

/** What bytes are for, in the order shown. */
export const MEMORY_KINDS = [
  "parameters", "frozen models", "optimizer", "average", "gradients", "saved activations", "workspace", "inputs",
  "outputs", "evaluation",
] as const;
type MemoryKind = (typeof MEMORY_KINDS)[number];
type MemoryByKind = Readonly<Record<MemoryKind, number>>;

/** A slot that activations live in. */
export interface ActivationSlot {
  readonly index: number;
  readonly bytes: Size;
  /** Path of the tensor in it that the backward pass keeps, and that tensor's bytes. */
  readonly kept?: { readonly path: string; readonly bytes: Size };
  /** Paths of all tensors that live in it in turn. */
  readonly tensors: readonly string[];
}

/** The pass over data of a recipe: its whole step, or one of several. */
export const passOf = ({ manifest }: CompiledRecipe): "train" | "gather" =>
  (manifest.settings.accumulate === 1 && manifest.graphs.train !== undefined ? "train" : "gather");

/** Images of a pass. */
export const passImages = ({ settings }: TrainingManifest): number =>
  Math.max(1, Math.floor(settings.batch / settings.accumulate));

/** Allocations are not held against any adapter's limits here. */
const NO_LIMITS = { maxBufferSize: Infinity, maxStorageBufferBindingSize: Infinity };

/** Memory of one family, as the engine allocates it. */
export class RecipeMemory {
  readonly slots: readonly ActivationSlot[];
  readonly #recipe: CompiledRecipe;
  readonly #family: FamilyName;
  readonly #pass: Manifest;
  readonly #states: Partial<Record<MemoryKind, number>>;

  constructor(recipe: CompiledRecipe, family: FamilyName) {
    [this.#recipe, this.#family] = [recipe, family];
    const pass = passOf(recipe);
    const [manifest, graph] = [recipe.manifest.graphs[pass], recipe.graphs[pass]];
    if (!manifest || !graph) throw new RangeError(`${recipe.manifest.name} has no graph ${pass}`);
    this.#pass = manifest;
    this.#states = statesByKind(recipe.manifest, family);
    this.slots = activationSlots(graph, family);
  }

  /** Bytes at B images a pass. */
  at(images: number): MemoryByKind {
    const { apply, evaluate } = this.#recipe.manifest.graphs;
    const pass = this.#use(this.#pass, images);
    const once = passOf(this.#recipe) === "gather" && apply ? this.#use(apply, 1) : undefined;
    const total = ({ outputs, staging }: MemoryUse): number => outputs + staging;
    const saved = this.slots.reduce((n, { kept }) => n + (kept ? sizeAt(kept.bytes, images) : 0), 0);
    const gradients = [this.#pass, ...(once && apply ? [apply] : [])].reduce((n, graph) =>
      n + packedBytes(familyNamed(graph, this.#family), images), 0);
    const activations = pass.activations + pass.derived + (once ? once.activations + once.derived : 0);
    return {
      ...EMPTY, ...this.#states, gradients: (this.#states.gradients ?? 0) + gradients, "saved activations": saved,
      workspace: activations - gradients - saved, inputs: pass.inputs + (once?.inputs ?? 0),
      outputs: total(pass) + (once ? total(once) : 0), evaluation: this.#use(evaluate, images).total,
    };
  }

  /** The bytes of each kind as b·B + c: exact where B is a multiple of 4, for tensors end on 16 bytes. */
  affine(): Readonly<Record<MemoryKind, Size>> {
    const [four, eight] = [this.at(4), this.at(8)];
    const size = (kind: MemoryKind): Size => {
      const b = (eight[kind] - four[kind]) / 4;
      return { b, c: four[kind] - 4 * b };
    };
    // Every kind is one of the list's.
    return Object.fromEntries(MEMORY_KINDS.map((kind) => [kind, size(kind)])) as Record<MemoryKind, Size>;
  }

  #use(manifest: Manifest, batch: number): MemoryUse {
    const plan = planMemory(manifest, this.#family, batch, NO_LIMITS, true);
    return memoryUse(plan, familyNamed(manifest, this.#family));
  }
}

// Every kind is one of the list's.
const EMPTY = Object.fromEntries(MEMORY_KINDS.map((kind) => [kind, 0])) as Record<MemoryKind, number>;

export const sumOf = (bytes: MemoryByKind): number => MEMORY_KINDS.reduce((n, kind) => n + bytes[kind], 0);

/** Slots that gradients of many parameters share. */
const packedBytes = ({ slots }: Family, images: number): number =>
  slots.reduce((n, { kind, bytes }) => n + (kind === "packed" ? sizeAt(bytes, images) : 0), 0);

/** Bytes of the states, whose store has alignment between small ones: that counts as parameters. */
function statesByKind(manifest: TrainingManifest, family: FamilyName): Partial<Record<MemoryKind, number>> {
  const { train, gather, apply, evaluate } = manifest.graphs;
  const steps = manifest.settings.accumulate === 1 && train ? [train] : [gather, apply];
  const users = [...steps, evaluate].flatMap((graph) => (graph ? [{ manifest: graph, family }] : []));
  const stored = storedStates(manifest, users);
  const total = packParameters(stored, Infinity).parameterBuffers.reduce((n, bytes) => n + bytes, 0);
  const kinds: Partial<Record<MemoryKind, number>> = {};
  let counted = 0;
  for (const [i, state] of manifest.states.entries()) {
    if (state.inside !== undefined) continue;
    const kind = stateKind(manifest, state, i);
    const bytes = storageBytesOf({ shape: state.shape.map(dim), dtype: state.dtype }).c;
    kinds[kind] = (kinds[kind] ?? 0) + bytes;
    counted += bytes;
  }
  kinds.parameters = (kinds.parameters ?? 0) + total - counted;
  return kinds;
}

function stateKind(manifest: TrainingManifest, state: StateInfo, index: number): MemoryKind {
  switch (state.role) {
    case "parameter":
    case "buffer": return modelOf(manifest, state)?.frozen === true ? "frozen models" : "parameters";
    case "optimizer": return "optimizer";
    case "ema": return "average";
    case "gradient": return "gradients";
    case "lane": {
      const member = manifest.states.find(({ inside }) => inside?.state === index);
      return member ? stateKind(manifest, member, -1) : "parameters";
    }
    default: return state.role satisfies never;
  }
}

/**
 * The slots of a pass that are reused. The backward pass keeps what a forward kernel writes, up to the last that the
 * loss depends on, and a later one reads.
 */
function activationSlots(graph: CompiledGraph, name: FamilyName): ActivationSlot[] {
  const { lowered, planned: { family, slotOf } } = familyOfTarget(graph, name);
  const slotKind = (node: Node): string | undefined => family.slots[slotOf.get(node) ?? -1]?.kind;
  const run = lowered.filter(({ fused }) => slotKind(fused.root) !== "derived");
  const loss = graph.expanded.outputs.get("loss");
  const forward = new Set(loss ? topological([loss]) : []);
  const end = run.findLastIndex(({ writes }) => writes.some((node) => forward.has(node)));
  const later = new Set(run.slice(end + 1).flatMap(({ reads }) => reads));
  const kept = new Map<number, Node>();
  for (const node of run.slice(0, end + 1).flatMap(({ writes }) => writes)) {
    const slot = slotOf.get(node);
    if (slot !== undefined && later.has(node) && slotKind(node) === "activation") kept.set(slot, node);
  }
  return family.slots.flatMap(({ kind, bytes, tensors }, index): ActivationSlot[] => {
    if (kind !== "activation") return [];
    const node = kept.get(index);
    const path = node && (node.origin.path || node.op);
    const bytesKept = node && path !== undefined ? { kept: { path, bytes: storageBytesOf(node) } } : {};
    return [{ index, bytes, tensors, ...bytesKept }];
  });
}
