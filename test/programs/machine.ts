/**
 * @file Runs fused kernels on the CPU, element by element, over storage laid out as the plan says: what a device would
 * do, without shaders. It sees what fusion and planning decide, thousands of programs a minute; the text of kernels is
 * the adapter's to test.
 *
 * Storage starts as NaN, and an access outside a tensor's bytes is an error.
 */
import { evalDim, type Shape } from "../../compiler/ir/dim.js";
import { storedBy, type FusedKernel } from "../../compiler/fuse/fusion.js";
import { ELEMENT_TYPES } from "../../compiler/ir/dtype.js";
import type { DType, Graph, Node } from "../../compiler/ir/graph.js";
import { linearize, variable, variablesOfValue } from "../../compiler/ir/indices.js";
import { interpret } from "../../compiler/inspect/interpret.js";
import { operandPullerOf, pullerOf, sidesOf, type LoweredKernel } from "../../compiler/lower/kernel.js";
import type { Tensor } from "../../compiler/ir/op.js";
import { OPS } from "../../compiler/ops/index.js";
import { familyOfTarget, type CompiledGraph } from "../../compiler/pipeline.js";
import type { Atom, Index, Value } from "../../compiler/ir/value.js";
import type { Family, Ref, Size, Step } from "../../runtime/manifest.js";
import { shapeAt, type Feeds } from "../harness.js";

const sizeAt = ({ b, c }: Size, batch: number): number => b * batch + c;
const elementsAt = (shape: Shape, batch: number): number => shapeAt(shape, batch).reduce((n, d) => n * d, 1);

/** WebGPU's least limit of storage buffers a stage. */
const MAX_BINDINGS = 8;

/** Values that are known as long as some variables stay. */
interface Scope {
  readonly variables: readonly string[];
  readonly known: Map<Value, number>;
}

/** A tensor's elements inside a buffer: where the first is, how many there are, and how far apart. */
interface Place {
  readonly data: Float64Array;
  readonly offset: number;
  readonly length: number;
  readonly step: number;
}

/** Slots hold tensors of several types in turn: they are counted in the bytes of the smallest. */
const UNIT = 2;

/** A place, an element of it, and its number. */
type Store = readonly [Place, number, number];

export interface MachineResult {
  readonly outputs: ReadonlyMap<string, Float64Array>;
  /** Parameters after the run, by path. */
  readonly parameters: ReadonlyMap<string, Float64Array>;
}

/** One run of a compiled graph, `prepare` first. @throws Error where a kernel reads or writes outside a tensor */
export function runOnMachine(compiled: CompiledGraph, batch: number, feeds: Feeds): MachineResult {
  return new Machine(compiled, batch, feeds).run();
}

class Machine {
  readonly #graph: Graph;
  readonly #family: Family;
  readonly #stored: ReadonlySet<Node>;
  readonly #slots: readonly Float64Array[];
  readonly #inputs: readonly Float64Array[];
  readonly #outputs: readonly Float64Array[];
  readonly #parameters: readonly Float64Array[];

  constructor(readonly compiled: CompiledGraph, readonly batch: number, feeds: Feeds) {
    this.#graph = compiled.expanded;
    this.#family = familyOfTarget(compiled, "scalar").planned.family;
    this.#stored = storedBy(compiled.fusion.kernels, OPS);
    const numbers = (tensor: Tensor | undefined): Float64Array => Float64Array.from(tensor?.data ?? []);
    this.#slots = this.#family.slots.map(({ kind, bytes }) =>
      new Float64Array(sizeAt(bytes, batch) / UNIT).fill(kind === "packed" ? 0 : NaN));
    this.#inputs = [...this.#graph.inputs.keys()].map((name) => numbers(feeds.inputs.get(name)));
    this.#parameters = [...this.#graph.parameters.keys()].map((path) => numbers(feeds.parameters.get(path)));
    this.#outputs = [...this.#graph.outputs.values()].map(({ shape }) =>
      new Float64Array(elementsAt(shape, batch)).fill(NaN));
  }

  run(): MachineResult {
    const { lowered } = familyOfTarget(this.compiled, "scalar");
    const { prepare, run } = this.#family.programs;
    // Steps are in the order of the kernels, those of `prepare` taken out.
    const isPrepared = new Set(lowered.filter((k) => prepare.some((s) => this.#writes(s, k))));
    const kernels = [...lowered.filter((k) => isPrepared.has(k)), ...lowered.filter((k) => !isPrepared.has(k))];
    [...prepare, ...run].forEach((step, i) => this.#step(step, kernels[i] as LoweredKernel)); // a step a kernel
    for (const { from, to, bytes } of this.#family.copies) {
      const [source, target] = [this.#resolve(from), this.#resolve(to)];
      for (let i = 0; i < bytes / 4; i++) {
        target.data[target.offset + i * target.step] = source.data[source.offset + i * source.step] ?? NaN;
      }
    }
    const names = [...this.#graph.outputs.keys()];
    const nodes = [...this.#graph.outputs.values()];
    return {
      outputs: new Map(names.map((name, i) => [name, this.#outputs[nodes.indexOf(nodes[i] as Node)] as Float64Array])),
      parameters: new Map([...this.#graph.parameters.keys()].map((path, i) => [path, this.#parameters[i] as Float64Array])),
    };
  }

  /** Whether a step of `prepare` is the kernel's: both write the slots of the same tensors. */
  #writes(step: Step, kernel: LoweredKernel): boolean {
    const { slotOf } = familyOfTarget(this.compiled, "scalar").planned;
    const [ref] = step.bindings.slice(kernel.reads.length);
    return ref?.kind === "slot" && ref.index === slotOf.get(kernel.fused.root)
      && this.#family.slots[ref.index]?.kind === "derived";
  }

  /** @param dtype of the tensor there */
  #resolve(ref: Ref, dtype: DType = "f32"): Place {
    const of = { slot: this.#slots, input: this.#inputs, output: this.#outputs, parameter: this.#parameters }[ref.kind];
    const data = of[ref.index];
    if (!data) throw new Error(`there is no ${ref.kind} ${ref.index}`);
    if (ref.kind !== "slot") return { data, offset: 0, length: data.length, step: 1 };
    const [offset, step] = [(ref.offset ?? 0) / UNIT, ELEMENT_TYPES[dtype].bytes / UNIT];
    const units = ref.bytes === undefined ? data.length - offset : ref.bytes / UNIT;
    return { data, offset, length: Math.floor(units / step), step };
  }

  #step(step: Step, { fused, reads, writes }: LoweredKernel): void {
    if (step.bindings.length > MAX_BINDINGS) throw new Error(`${step.path} binds ${step.bindings.length} buffers`);
    const places = new Map<Node, Place>();
    reads.forEach((node, i) => places.set(node, this.#resolve(step.bindings[i] as Ref, node.dtype))); // a binding a tensor
    const targets = writes.map((node, i) => this.#resolve(step.bindings[reads.length + i] as Ref, node.dtype)); // as above
    const aliased = targets.find(({ data }) => [...places].some(([, place]) => place.data === data)
      && step.bindings.slice(0, reads.length).every((ref) => ref.kind === "slot"));
    if (aliased) throw new Error(`${step.path} reads and writes one buffer`);
    // What is overwritten is read through the binding that writes it.
    const written = new Map(writes.map((node, i) => [node, targets[i] as Place]));
    for (const node of fused.reads) if (!places.has(node)) this.#overwritten(node, written, places);
    new KernelRun(fused, this.#stored, this.batch, places).run(targets, writes);
  }

  #overwritten(node: Node, written: ReadonlyMap<Node, Place>, places: Map<Node, Place>): void {
    const path = String(node.attrs["path"]);
    const index = [...this.#graph.parameters.keys()].indexOf(path);
    const data = this.#parameters[index];
    if (node.op === "parameter" && data && [...written.values()].some((place) => place.data === data)) {
      places.set(node, { data, offset: 0, length: data.length, step: 1 });
    }
  }
}

/** One kernel over one set of bindings. */
class KernelRun {
  readonly records = OPS;
  readonly #variables = new Map<string, number>();
  readonly #anchors = new Map<Node, readonly Tensor[]>();
  /** Where each load reads in its tensor. */
  readonly #offsets = new Map<Value, Index>();
  /** Values of the element at hand, then of the turn of each fold around what is computed. */
  #scopes: Scope[] = [{ variables: [], known: new Map() }];
  readonly #dependencies = new Map<Value, ReadonlySet<string>>();

  constructor(
    readonly fused: FusedKernel, readonly stored: ReadonlySet<Node>, readonly batch: number,
    readonly places: ReadonlyMap<Node, Place>,
  ) {}

  run(targets: readonly Place[], writes: readonly Node[]): void {
    const { root, also = [] } = this.fused;
    const at = root.shape.map((size, axis) => variable(`c${axis}`, size));
    const puller = pullerOf(this.fused, this);
    const value = puller.pull(root, at);
    const own = linearize(at, root.shape);
    const sides = sidesOf(this.fused, puller, at);
    const anchor = puller.anchors[0];
    this.#written = new Set(targets.map(({ data }) => data));
    if (anchor) this.#anchors.set(anchor.node, this.#anchorTensors(anchor.node));
    const stores: Store[] = [];
    this.#checkTouched([]);
    const store = (node: Node, offset: number, number: number): void => {
      stores.push([targets[writes.indexOf(node)] as Place, offset, number]); // every tensor written is bound
    };
    this.#each(root.shape, at.map((_, axis) => `c${axis}`), () => {
      this.#accumulator = anchor && (() => this.#element(anchor.node, 0, anchor.at));
      const before = stores.length;
      store(root, this.#index(own), this.#value(value));
      for (const side of sides) store(side.node, this.#index(side.offset), this.#value(side.value));
      this.#checkTouched(stores.slice(before));
    });
    for (const { node, at: place } of also) {
      if (!place && anchor) this.#storeResult(node, anchor.node, targets[writes.indexOf(node)] as Place);
    }
    // Threads see nothing of what others store.
    for (const [{ data, offset, length, step }, index, number] of stores) {
      if (!(index >= 0 && index < length)) throw new Error(`${root.origin.path} stores element ${index} of ${length}`);
      data[offset + index * step] = number;
    }
  }

  #accumulator: (() => number) | undefined;
  /** What the kernel writes, and what of it the element at hand has read. */
  #written: ReadonlySet<Float64Array> = new Set();
  #touched: { readonly data: Float64Array; readonly at: number }[] = [];

  /** A thread may read what it overwrites itself; whether others have overwritten theirs it cannot know. */
  #checkTouched(own: readonly Store[]): void {
    const stranger = this.#touched.find(({ data, at }) =>
      !own.some(([place, index]) => place.data === data && place.offset + index * place.step === at));
    if (stranger) throw new Error(`${this.fused.root.origin.path || this.fused.root.op} reads element ${stranger.at} of what it overwrites`);
    this.#touched = [];
  }

  #storeResult(node: Node, anchor: Node, { data, offset, step }: Place): void {
    const result = this.#anchors.get(anchor)?.[Number(node.attrs["index"])];
    result?.data.forEach((number, i) => (data[offset + i * step] = number));
  }

  /** All results of a contraction or attention, from its operands as the kernel reads them. */
  #anchorTensors(node: Node): readonly Tensor[] {
    const inputs = new Map<string, Tensor>();
    const leaves = node.inputs.map((input, i): Node => {
      const at = input.shape.map((size, axis) => variable(`o${axis}`, size));
      const value = operandPullerOf(this.fused, this).pull(input, at);
      const data = new Float64Array(elementsAt(input.shape, this.batch));
      let n = 0;
      this.#each(input.shape, at.map((_, axis) => `o${axis}`), () => (data[n++] = this.#value(value)));
      inputs.set(`#${i}`, { shape: shapeAt(input.shape, this.batch), data });
      return { ...input, id: i, op: "input", inputs: [], attrs: { name: `#${i}`, shape: input.shape.map((d) => ({ ...d })) } };
    });
    const copy: Node = { ...node, id: leaves.length, inputs: leaves };
    const results = [copy, ...node.extra.map((type, i): Node => ({
      ...copy, ...type, id: leaves.length + 1 + i, op: "result", inputs: [copy], attrs: { index: i + 1 }, extra: [],
    }))];
    const graph: Graph = {
      inputs: new Map(leaves.map((leaf, i) => [`#${i}`, leaf])), parameters: new Map(), updates: new Map(),
      outputs: new Map(results.map((result, i) => [String(i), result])),
    };
    return [...interpret(graph, { batch: this.batch, inputs, parameters: new Map(), precision: "f64" }).outputs.values()];
  }

  /** The anchor's element; 0 where a concatenation puts others around it, whose value is not used. */
  #element(node: Node, result: number, at: readonly Index[]): number {
    const tensor = this.#anchors.get(node)?.[result];
    const place = at.map((i) => this.#index(i));
    const outside = place.some((x, axis) => x < 0 || x >= (tensor?.shape[axis] ?? 0));
    if (!tensor || outside) return 0;
    return tensor.data[place.reduce((n, x, axis) => n * (tensor.shape[axis] ?? 1) + x, 0)] ?? NaN;
  }

  /** Calls `body` for every position of a shape. */
  #each(shape: Shape, names: readonly string[], body: () => void): void {
    const sizes = shapeAt(shape, this.batch);
    const count = sizes.reduce((n, d) => n * d, 1);
    for (let flat = 0; flat < count; flat++) {
      let rest = flat;
      for (let axis = sizes.length - 1; axis >= 0; axis--) {
        const size = sizes[axis] as number; // axis is in range
        this.#variables.set(names[axis] as string, rest % size); // a name an axis
        rest = Math.floor(rest / size);
      }
      this.#scopes = [{ variables: [], known: new Map() }];
      body();
    }
  }

  #index({ terms, constant }: Index): number {
    return terms.reduce((sum, { coefficient, atom }) => sum + evalDim(coefficient, this.batch) * this.#atom(atom),
      evalDim(constant, this.batch));
  }

  #atom(atom: Atom): number {
    switch (atom.kind) {
      case "variable": {
        const value = this.#variables.get(atom.name);
        if (value === undefined) throw new Error(`${atom.name} has a value`);
        return value;
      }
      case "quotient": return Math.trunc(this.#index(atom.of) / evalDim(atom.divisor, this.batch));
      case "remainder": return this.#index(atom.of) % evalDim(atom.divisor, this.batch);
      case "product": return this.#index(atom.of) * evalDim(atom.factor, this.batch);
      case "dynamic": return Math.min(Math.max(Math.trunc(this.#value(atom.value)), 0), evalDim(atom.size, this.batch) - 1);
      default: return atom satisfies never;
    }
  }

  #value(value: Value): number {
    const { known } = this.#scopeOf(value);
    const before = known.get(value);
    if (before !== undefined) return before;
    const number = this.#compute(value);
    known.set(value, number);
    return number;
  }

  /** The innermost scope on whose variables a value depends. */
  #scopeOf(value: Value): Scope {
    let names = this.#dependencies.get(value);
    if (!names) this.#dependencies.set(value, (names = variablesOfValue(value)));
    const depends = names;
    // The first one has no variables, and is for what depends on none.
    return this.#scopes.findLast(({ variables }, i) => i === 0 || variables.some((name) => depends.has(name))) as Scope;
  }

  #compute(value: Value): number {
    switch (value.kind) {
      case "constant": return value.value;
      case "index": return this.#index(value.index);
      case "accumulator": return this.#accumulator?.() ?? NaN;
      case "load": {
        const offset = this.#offsets.get(value) ?? linearize(value.at, value.node.shape);
        this.#offsets.set(value, offset);
        return this.#load(value.node, this.#index(offset));
      }
      case "apply": {
        const record = OPS.get(value.op);
        if (!record?.scalar) throw new Error(`${value.op} has a scalar function`);
        return Number(record.scalar(...value.args.map((arg) => this.#value(arg))));
      }
      case "select": {
        const holds = value.guards.every(({ index, size }) => {
          const i = this.#index(index);
          return i >= 0 && i < evalDim(size, this.batch);
        });
        return this.#value(holds ? value.then : value.otherwise);
      }
      case "fold": return this.#fold(value);
      default: return value satisfies never;
    }
  }

  #load(node: Node, offset: number): number {
    const numbers = OPS.get(node.op)?.embedded?.(node);
    if (numbers) return numbers[offset] ?? NaN;
    const place = this.places.get(node);
    if (!place) throw new Error(`${this.fused.root.origin.path} reads %${node.id} ${node.op}, which it does not bind`);
    const limit = Math.min(place.length, elementsAt(node.shape, this.batch));
    if (!(offset >= 0 && offset < limit)) {
      throw new Error(`${this.fused.root.origin.path} reads element ${offset} of ${limit} of ${node.op} %${node.id}`);
    }
    const at = place.offset + offset * place.step;
    if (this.#written.has(place.data)) this.#touched.push({ data: place.data, at });
    return place.data[at] ?? NaN;
  }

  #fold({ op, variables, body }: Extract<Value, { kind: "fold" }>): number {
    const fold = OPS.get(op)?.fold;
    if (!fold) throw new Error(`${op} says how it folds`);
    const shape = variables.map((v) => v.size);
    const sizes = shapeAt(shape, this.batch);
    const count = sizes.reduce((n, d) => n * d, 1);
    let result = fold.identity;
    for (let flat = 0; flat < count; flat++) {
      let rest = flat;
      for (let i = sizes.length - 1; i >= 0; i--) {
        const size = sizes[i] as number; // i is in range
        this.#variables.set(variables[i]?.name ?? "", rest % size);
        rest = Math.floor(rest / size);
      }
      this.#scopes.push({ variables: variables.map(({ name }) => name), known: new Map() });
      result = fold.combine(result, this.#value(body));
      this.#scopes.pop();
    }
    return result;
  }
}

