/** @file A compiled module on a device at one batch: its buffers, pipelines and bind groups, built once. */
import type { Device } from "./device.js";
import { Sequence, type Dispatch, type RunOptions } from "./dispatch.js";
import { elementBytes } from "./dtype.js";
import { InputError } from "./errors.js";
import { familyNamed } from "./families.js";
import type { Copy, FamilyName, KernelInfo, Manifest, Ref, Step } from "./manifest.js";
import {
  elementsAt, memoryUse, planMemory, sizeAt, storedParameters, type MemoryPlan, type MemoryUse,
} from "./memory.js";
import { compilePipelines, Layouts, type CompileOptions, type KernelSource, type Pipelines } from "./pipelines.js";
import { profileSequence, type Profile } from "./profile.js";
import { ParameterStore } from "./store.js";
import { floatTypes, traceDispatches, type FloatType, type NonFinite, type WrittenTensor } from "./trace.js";
import { BufferUsage, createBuffers, MAP_READ, readBytes, writeNumbers, type Numbers } from "./transfer.js";
import type { GPUBindGroup, GPUBuffer, GPUBufferBinding, GPUCommandEncoder, GPUComputePipeline } from "./webgpu.js";

export type { Numbers } from "./transfer.js";

/** How a program is built. */
interface ProgramOptions {
  readonly family: FamilyName;
  readonly batch: number;
  /** Fills every slot and output with NaN first, so that a read of what was never written shows. For tests. */
  readonly poison?: boolean;
  /** Holds the parameters, shared with other programs, which outlives this one; one of its own unless given. */
  readonly store?: ParameterStore;
  /**
   * Ways to bind the parameters: the path in the store of each path in the manifest. By their own names unless given.
   */
  readonly bindings?: readonly ((path: string) => string)[];
}

interface Buffers {
  readonly slots: readonly GPUBuffer[];
  readonly inputs: readonly GPUBuffer[];
  readonly outputs: readonly GPUBuffer[];
  readonly staging: readonly GPUBuffer[];
}

/** The two programs of a module with their parameters bound one way, and the copies that follow a run. */
interface Bound {
  readonly prepare: Sequence;
  readonly run: Sequence;
  readonly copies: readonly { readonly from: Bytes; readonly to: Bytes; readonly bytes: number }[];
}

type Bytes = GPUBufferBinding & { readonly buffer: GPUBuffer; readonly offset: number };

/** Buffers, pipelines and the two programs of a module. */
export class Program {
  readonly device: Device;
  readonly manifest: Manifest;
  readonly family: FamilyName;
  readonly batch: number;
  readonly memory: MemoryUse;
  readonly #store: ParameterStore;
  readonly #ownsStore: boolean;
  readonly #buffers: Buffers;
  readonly #names: readonly ((path: string) => string)[];
  #bound: readonly Bound[] = [];
  #source: KernelSource | undefined;
  #pipelines: Pipelines | undefined;

  private constructor(
    device: Device, manifest: Manifest, plan: MemoryPlan, buffers: Buffers, store: ParameterStore,
    { family, store: shared, bindings = [(path) => path] }: ProgramOptions,
  ) {
    this.device = device;
    this.manifest = manifest;
    this.family = family;
    this.batch = plan.batch;
    this.memory = memoryUse(plan, familyNamed(manifest, family), shared?.bytes);
    [this.#store, this.#ownsStore, this.#buffers, this.#names] = [store, shared === undefined, buffers, bindings];
  }

  /**
   * Allocates every buffer of `manifest` at `options.batch`; the program runs after `compile`.
   * @throws OutOfMemoryError before allocating when a tensor exceeds a limit, or when the device has no more memory.
   */
  static async allocate(device: Device, manifest: Manifest, options: ProgramOptions): Promise<Program> {
    device.check();
    const family = familyNamed(manifest, options.family);
    const plan = planMemory(manifest, options.family, options.batch, device.limits, options.store !== undefined);
    const { storage, copySource, copyTarget, mapRead } = BufferUsage;
    const made: GPUBuffer[] = [];
    const create = async (
      what: (i: number) => string, sizes: readonly number[], usage: number,
    ): Promise<GPUBuffer[]> => {
      const buffers = await createBuffers(device, what, sizes, usage);
      made.push(...buffers);
      return buffers;
    };
    let own: ParameterStore | undefined;
    try {
      own = options.store ?? await ParameterStore.allocate(device, storedParameters(manifest, options.family));
      const input = (i: number): string => `input '${manifest.inputs[i]?.name}'`;
      const output = (i: number): string => `output '${manifest.outputs[i]?.name}'`;
      const slots = await create(
        (i) => `slot ${i} ('${family.slots[i]?.tensors[0]}')`, plan.slots, storage | copyTarget | copySource,
      );
      const inputs = await create(input, plan.inputs, storage | copyTarget);
      const outputs = await create(output, plan.outputs, storage | copyTarget | copySource);
      const staging = await create((i) => `read-back of ${output(i)}`, plan.outputs, mapRead | copyTarget);
      const program = new Program(device, manifest, plan, { slots, inputs, outputs, staging }, own, options);
      if (options.poison) await program.poison();
      return program;
    } catch (error) {
      for (const buffer of made) buffer.destroy();
      if (options.store === undefined) own?.destroy();
      throw error;
    }
  }

  /**
   * Compiles every kernel, each text once on the device, and prebuilds the bind groups.
   * @throws DeitcError with code `kernel` when the device refuses one; DestroyedError; the signal's reason
   */
  async compile(source: KernelSource, options: CompileOptions = {}): Promise<void> {
    const { kernels, programs, copies } = familyNamed(this.manifest, this.family);
    this.#source = source;
    const layouts = new Layouts(this.device);
    const all = [...programs.prepare, ...programs.run];
    const own = at(this.#names, 0, "binding of parameters");
    const bindGroup = (kernel: number): GPUBindGroup | undefined => {
      const [step, info] = [all.find((one) => one.kernel === kernel), kernels[kernel]];
      return step && info && this.#bindGroup(step, info, layouts, own);
    };
    this.#pipelines = await compilePipelines(this.device, this.family, kernels, layouts, {
      ...options, batch: this.batch, source, bindGroup,
    });
    const pipelines = this.#pipelines.all;
    const bound: Bound[] = [];
    for (const name of this.#names) {
      const sequence = async (steps: readonly Step[]): Promise<Sequence> => {
        const dispatches = await this.device.scoped(`the steps of ${this.manifest.name}`, () =>
          steps.map((step) => this.#dispatch(step, kernels, pipelines, layouts, name)));
        return new Sequence(this.device, dispatches);
      };
      const place = ({ from, to, bytes }: Copy): Bound["copies"][number] =>
        ({ from: this.#resolve(from, name), to: this.#resolve(to, name), bytes });
      bound.push({
        prepare: await sequence(programs.prepare), run: await sequence(programs.run), copies: copies.map(place),
      });
    }
    this.#bound = bound;
  }

  #dispatch(
    step: Step,
    kernels: readonly KernelInfo[],
    pipelines: readonly GPUComputePipeline[],
    layouts: Layouts,
    name: (path: string) => string,
  ): Dispatch {
    const kernel = kernels[step.kernel];
    const pipeline = pipelines[step.kernel];
    if (!kernel || !pipeline) {
      throw new InputError(`step '${step.path}' names kernel ${step.kernel}, of ${kernels.length}`);
    }
    const bindGroup = this.#bindGroup(step, kernel, layouts, name);
    const count = step.grid.reduce((n, { size, per }) => n * Math.ceil(sizeAt(size, this.batch) / per), 1);
    const most = this.device.limits.maxComputeWorkgroupsPerDimension;
    const x = Math.min(count, most);
    const y = x === 0 ? 0 : Math.ceil(count / x);
    if (y > most) {
      throw new InputError(`'${step.path}' needs ${count} workgroups at batch ${this.batch}, more than ${most}²`, {
        help: "use a smaller batch",
      });
    }
    const flops = sizeAt(step.flops, this.batch);
    return { pipeline, bindGroup, x, y, step, kernel: kernel.name, flops, bytes: sizeAt(step.bytes, this.batch) };
  }

  #bindGroup(step: Step, { bindings }: KernelInfo, layouts: Layouts, name: (path: string) => string): GPUBindGroup {
    return this.device.gpu.createBindGroup({
      label: step.path,
      layout: layouts.of(bindings).group,
      entries: step.bindings.map((ref, binding) => ({ binding, resource: this.#resolve(ref, name) })),
    });
  }

  /** The buffer range a step's binding means. */
  #resolve(ref: Ref, name: (path: string) => string): Bytes {
    switch (ref.kind) {
      case "parameter":
        return this.#store.binding(name(at(this.manifest.parameters, ref.index, "parameter").path));
      case "slot": {
        const buffer = at(this.#buffers.slots, ref.index, "slot");
        return { buffer, offset: ref.offset ?? 0, size: ref.bytes };
      }
      case "input":
        return { buffer: at(this.#buffers.inputs, ref.index, "input"), offset: 0 };
      case "output":
        return { buffer: this.outputBuffer(ref.index), offset: 0 };
      default:
        throw new InputError(`a manifest of another version: ${String(ref satisfies never)}`);
    }
  }

  /** Where an output lies: for copies that follow a run. */
  outputBuffer(index: number): GPUBuffer {
    return at(this.#buffers.outputs, index, "output");
  }

  #path(index: number): string {
    return at(this.manifest.parameters, index, "parameter").path;
  }

  /** Writes a parameter's values, in pieces. They count after the next `prepare`. */
  async setParameter(index: number, values: Float32Array): Promise<void> {
    await this.#store.write(this.#path(index), values);
  }

  /** Writes an input whole, from its start; the rest of it becomes zeros. */
  async setInput(index: number, values: Numbers): Promise<void> {
    await this.writeInput(index, values);
    const buffer = at(this.#buffers.inputs, index, "input");
    const rest = buffer.size - values.byteLength;
    if (rest > 0) await writeNumbers(this.device, buffer, values.byteLength, new Float32Array(rest / 4));
  }

  /** Writes an input from its start and leaves the rest as it is. */
  async writeInput(index: number, values: Numbers): Promise<void> {
    await writeNumbers(this.device, at(this.#buffers.inputs, index, "input"), 0, values);
  }

  /** Derives everything that depends on parameters alone. Runs after the weights are in place or have changed. */
  async prepare(options: RunOptions = {}, binding = 0): Promise<void> {
    const { prepare } = at(this.#bound, binding, "binding of parameters");
    if (prepare.dispatches.length > 0) await prepare.run(options);
  }

  /** Runs once on the inputs set and resolves when it is done. @param binding which way parameters are bound */
  async run(options: RunOptions = {}, binding = 0): Promise<void> {
    const { run, copies } = at(this.#bound, binding, "binding of parameters");
    await run.run({ ...options, finish: finishing(copies, options.finish) });
  }

  /**
   * Submits a run at once, behind those under way, where it may be (`isShort`), else does as `run`.
   * @returns resolves when it is done
   */
  post(finish?: (encoder: GPUCommandEncoder) => void): Promise<void> {
    if (!this.isShort) return this.run({ finish });
    const { run, copies } = at(this.#bound, 0, "binding of parameters");
    return run.post(finishing(copies, finish));
  }

  /**
   * Whether a run may be posted while another is under way: one submit holds it, and the device does not share its
   * cores with the polling that waits for it.
   */
  get isShort(): boolean {
    return !this.device.software && at(this.#bound, 0, "binding of parameters").run.isShort;
  }

  /** Runs one inference on the inputs set, and reads back every output whole, in the manifest's order. */
  async infer(
    options: Pick<RunOptions, "onProgress" | "signal"> = {}, binding = 0,
  ): Promise<readonly ArrayBuffer[]> {
    const { outputs, staging } = this.#buffers;
    await this.run({
      ...options,
      finish: (encoder) => staging.forEach((target, i) => {
        const from = at(outputs, i, "output");
        encoder.copyBufferToBuffer(from, 0, target, 0, from.size);
      }),
      settle: () => Promise.all(staging.map((buffer) => buffer.mapAsync(MAP_READ))),
    }, binding);
    return staging.map((buffer) => {
      const copy = buffer.getMappedRange().slice(0);
      buffer.unmap();
      return copy;
    });
  }

  /** Measures one inference on the inputs last set. */
  profile(): Promise<Profile> {
    return profileSequence(this.device, at(this.#bound, 0, "binding of parameters").run);
  }

  /**
   * Runs once as `run` does, looking at every tensor as it is written, up to the first value that is not finite. Slow,
   * and it allocates: for finding out what went wrong.
   */
  async trace(): Promise<NonFinite | undefined> {
    const { slots, kernels } = familyNamed(this.manifest, this.family);
    // What a slot held before, beyond the end of the tensor in it, must not be taken for a part of that.
    for (const [i, buffer] of this.#buffers.slots.entries()) {
      if (slots[i]?.kind === "derived") continue;
      await writeNumbers(this.device, buffer, 0, new Float32Array(buffer.size / 4));
    }
    const types: (readonly (FloatType | undefined)[])[] = [];
    for (const { name } of kernels) types.push(floatTypes(await this.#source?.(this.family, name) ?? ""));
    const { run, copies } = at(this.#bound, 0, "binding of parameters");
    /** Tensors that each slot has held so far. */
    const turns = new Map<number, number>();
    const found = await traceDispatches(this.device, run.dispatches, ({ step }) =>
      step.bindings.flatMap((ref, binding) => {
        if (kernels[step.kernel]?.bindings[binding] !== "read_write") return [];
        const turn = ref.kind === "slot" ? turns.get(ref.index) ?? 0 : 0;
        if (ref.kind === "slot") turns.set(ref.index, turn + 1);
        const type = types[step.kernel]?.[binding];
        return type === undefined ? [] : this.#written(ref, step.path, turn).map((tensor) => ({ ...tensor, type }));
      }));
    if (found !== undefined || copies.length === 0) return found;
    const encoder = this.device.gpu.createCommandEncoder();
    finishing(copies)(encoder);
    this.device.gpu.queue.submit([encoder.finish()]);
    return undefined;
  }

  /** The tensors behind a binding that was written; several where it is a lane. @param turn of those in a slot */
  #written(ref: Ref, path: string, turn: number): Omit<WrittenTensor, "type">[] {
    const { parameters, outputs } = this.manifest;
    const name = at(this.#names, 0, "binding of parameters");
    const { buffer, offset, size } = this.#resolve(ref, name);
    const bytes = size ?? buffer.size - offset;
    switch (ref.kind) {
      case "parameter": {
        const members = parameters.filter(({ inside }) => inside?.parameter === ref.index);
        const all = members.length > 0 ? members : [at(parameters, ref.index, "parameter")];
        return all.map((member): Omit<WrittenTensor, "type"> => {
          const home = this.#store.binding(name(member.path));
          return { tensor: member.path, kind: "parameter", ...home, bytes: home.size };
        });
      }
      case "slot": {
        const { kind, tensors } = at(familyNamed(this.manifest, this.family).slots, ref.index, "slot");
        const tensor = kind === "packed" ? this.#packed(tensors[0] ?? path, offset, path) : tensors[turn] ?? path;
        return [{ tensor, kind: tensor.endsWith(".grad") ? "gradient" : "activation", buffer, offset, bytes }];
      }
      case "output": {
        const info = at(outputs, ref.index, "output");
        const length = elementBytes(info.dtype) * elementsAt(info, this.batch);
        return [{ tensor: info.name, kind: "output", buffer, offset, bytes: length }];
      }
      case "input":
        return [];
      default:
        throw new InputError(`a manifest of another version: ${String(ref satisfies never)}`);
    }
  }

  /** What lies `offset` bytes into a slot laid out as a lane: the gradient of a member. Else it is called `path`. */
  #packed(pack: string, offset: number, path: string): string {
    const { parameters } = this.manifest;
    const lane = parameters.findIndex((p) => pack === `${p.path}.grad`);
    const member = parameters.find(({ inside, dtype }) =>
      inside?.parameter === lane && elementBytes(dtype) * inside.offset === offset);
    return member === undefined ? path : `${member.path}.grad`;
  }

  /** Current values of a parameter. */
  async readParameter(index: number): Promise<Float32Array> {
    return new Float32Array(await this.#store.read(this.#path(index)));
  }

  /** The bytes of a slot, as floats, padding included. For tests: a slot is shared by tensors in turn. */
  async readSlot(index: number): Promise<Float32Array> {
    const buffer = at(this.#buffers.slots, index, "slot");
    return new Float32Array(await readBytes(this.device, buffer, 0, buffer.size));
  }

  /** Fills every slot and output with NaN bits, but slots that count on zeros between their tensors. */
  async poison(): Promise<void> {
    const { slots } = familyNamed(this.manifest, this.family);
    const reused = this.#buffers.slots.filter((_, i) => slots[i]?.kind !== "packed");
    for (const buffer of [...reused, ...this.#buffers.outputs]) {
      await writeNumbers(this.device, buffer, 0, new Int32Array(buffer.size / 4).fill(-1));
    }
  }

  /** Frees the buffers and kernels; the device stays, and so does what it shares with other programs. */
  destroy(): void {
    this.#pipelines?.release();
    const { slots, inputs, outputs, staging } = this.#buffers;
    for (const buffer of [...slots, ...inputs, ...outputs, ...staging]) buffer.destroy();
    if (this.#ownsStore) this.#store.destroy();
  }
}

/** What follows the last dispatch: the copies, then what the caller adds. */
const finishing = (
  copies: Bound["copies"], more?: (encoder: GPUCommandEncoder) => void,
) => (encoder: GPUCommandEncoder): void => {
  for (const { from, to, bytes } of copies) {
    encoder.copyBufferToBuffer(from.buffer, from.offset, to.buffer, to.offset, bytes);
  }
  more?.(encoder);
};

/** `list[index]`. @throws InputError when a manifest refers to what it does not declare. */
function at<T>(list: readonly T[], index: number, what: string): T {
  const item = list[index];
  if (item === undefined) throw new InputError(`the module has no ${what} ${index}, it has ${list.length}`);
  return item;
}
