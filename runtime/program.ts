/** @file A compiled module on a device at one batch: its buffers, pipelines and bind groups, built once. */
import { adapterName, type Device } from "./device.js";
import { Sequence, type Dispatch, type RunOptions } from "./dispatch.js";
import { DeitcError, InputError } from "./errors.js";
import type { Family, FamilyName, KernelInfo, Manifest, Ref, Step } from "./manifest.js";
import { memoryUse, planMemory, sizeAt, type MemoryPlan, type MemoryUse } from "./memory.js";
import { profileSequence, type Profile } from "./profile.js";

/** WebGPU's GPUBufferUsage and GPUShaderStage, which Node has no globals for. */
const MAP_READ = 0x1;
const COPY_SRC = 0x4;
const COPY_DST = 0x8;
const STORAGE = 0x80;
const COMPUTE_STAGE = 0x4;

/** Larger writes make Dawn allocate a staging buffer each; these go through its ring. */
const WRITE_BYTES = 4 * 2 ** 20;
/** Bytes written before waiting for the device, which bounds the staging memory of a large upload. */
const WRITES_IN_FLIGHT = 64 * 2 ** 20;

/** What a load is doing: reading and uploading weights, compiling kernels, or deriving tensors from the weights. */
export interface LoadProgress {
  readonly phase: "weights" | "kernels" | "prepare";
  readonly done: number;
  readonly total: number;
}

/** How a program is built. */
export interface ProgramOptions {
  readonly family: FamilyName;
  readonly batch: number;
  /** Fills every slot and output with NaN first, so that a read of what was never written shows. For tests. */
  readonly poison?: boolean;
  readonly onProgress?: (progress: LoadProgress) => void;
}

/** Text of a kernel's WGSL. */
export type KernelSource = (family: FamilyName, kernel: string) => Promise<string>;

/** Numbers as they lie on the device: f32, and i32 for `i32` and `bool` tensors. */
export type Numbers = Float32Array | Int32Array;

interface Buffers {
  readonly parameters: readonly GPUBuffer[];
  readonly slots: readonly GPUBuffer[];
  readonly inputs: readonly GPUBuffer[];
  readonly outputs: readonly GPUBuffer[];
  readonly staging: readonly GPUBuffer[];
}

/** Buffers, pipelines and the two programs of a module. */
export class Program {
  readonly device: Device;
  readonly manifest: Manifest;
  readonly family: FamilyName;
  readonly batch: number;
  readonly memory: MemoryUse;
  readonly #plan: MemoryPlan;
  readonly #buffers: Buffers;
  #prepare: Sequence;
  #infer: Sequence;

  private constructor(device: Device, manifest: Manifest, plan: MemoryPlan, buffers: Buffers, family: FamilyName) {
    this.device = device;
    this.manifest = manifest;
    this.family = family;
    this.batch = plan.batch;
    this.memory = memoryUse(plan, manifest.families[family]);
    this.#plan = plan;
    this.#buffers = buffers;
    this.#prepare = this.#infer = new Sequence(device, []);
  }

  /**
   * Allocates every buffer of `manifest` at `options.batch`; the program runs after `compile`.
   * @throws OutOfMemoryError before allocating when a tensor exceeds a limit, or when the device has no more memory.
   */
  static async allocate(device: Device, manifest: Manifest, options: ProgramOptions): Promise<Program> {
    device.check();
    const family = manifest.families[options.family];
    const plan = planMemory(manifest, options.family, options.batch, device.limits);
    const made: GPUBuffer[] = [];
    const create = (what: (i: number) => string, sizes: readonly number[], usage: number): Promise<GPUBuffer[]> =>
      Promise.all(sizes.map((size, i) => device.scoped(`${what(i)}, ${size} bytes`, () => {
        const buffer = device.gpu.createBuffer({ label: what(i), size, usage });
        made.push(buffer);
        return buffer;
      })));
    const results = await Promise.allSettled([
      create((i) => `parameters ${i}`, plan.parameterBuffers, STORAGE | COPY_DST | COPY_SRC),
      create((i) => `slot ${i} ('${family.slots[i]?.tensors[0]}')`, plan.slots, STORAGE | COPY_DST | COPY_SRC),
      create((i) => `input '${manifest.inputs[i]?.name}'`, plan.inputs, STORAGE | COPY_DST),
      create((i) => `output '${manifest.outputs[i]?.name}'`, plan.outputs, STORAGE | COPY_DST | COPY_SRC),
      create((i) => `read-back of '${manifest.outputs[i]?.name}'`, plan.outputs, MAP_READ | COPY_DST),
    ]);
    const lists = results.map((result) => {
      if (result.status === "fulfilled") return result.value;
      for (const buffer of made) buffer.destroy();
      throw result.reason;
    });
    const [parameters = [], slots = [], inputs = [], outputs = [], staging = []] = lists;
    const buffers = { parameters, slots, inputs, outputs, staging };
    const program = new Program(device, manifest, plan, buffers, options.family);
    if (options.poison) await program.poison();
    return program;
  }

  /**
   * Compiles every kernel, each text once, and prebuilds the bind groups.
   * @throws DeitcError with code `kernel` when the device refuses one.
   */
  async compile(source: KernelSource, onProgress?: (progress: LoadProgress) => void): Promise<void> {
    const family = this.manifest.families[this.family];
    const layouts = new Layouts(this.device);
    const pipelines = await this.#pipelines(family, layouts, source, onProgress);
    const sequence = async (steps: readonly Step[]): Promise<Sequence> => {
      const dispatches = await this.device.scoped(`the steps of ${this.manifest.name}`, () =>
        steps.map((step) => this.#dispatch(step, family.kernels, pipelines, layouts)));
      return new Sequence(this.device, dispatches);
    };
    this.#prepare = await sequence(family.programs.prepare);
    this.#infer = await sequence(family.programs.run);
  }

  async #pipelines(
    family: Family,
    layouts: Layouts,
    source: KernelSource,
    onProgress?: (progress: LoadProgress) => void,
  ): Promise<readonly GPUComputePipeline[]> {
    const { device } = this;
    const compiled = new Map<string, Promise<GPUComputePipeline>>();
    let done = 0;
    const build = async (kernel: KernelInfo, code: string): Promise<GPUComputePipeline> => {
      try {
        const { layout } = layouts.of(kernel.bindings);
        const module = await device.scoped(kernel.name, () =>
          device.gpu.createShaderModule({ label: kernel.name, code }));
        // A kernel that does not depend on the batch declares no `B`, and may then not be given one.
        const constants: Record<string, number> = /\boverride\s+B\b/.test(code) ? { B: this.batch } : {};
        return await device.guard(device.gpu.createComputePipelineAsync({
          label: kernel.name, layout, compute: { module, entryPoint: "main", constants },
        }));
      } catch (cause) {
        throw this.#refused(kernel, cause);
      }
    };
    return Promise.all(family.kernels.map(async (kernel) => {
      const code = await source(this.family, kernel.name);
      const key = `${kernel.bindings.join()}\n${code}`;
      let pipeline = compiled.get(key);
      if (pipeline === undefined) compiled.set(key, (pipeline = build(kernel, code)));
      const result = await pipeline;
      onProgress?.({ phase: "kernels", done: ++done, total: family.kernels.length });
      return result;
    }));
  }

  #refused(kernel: KernelInfo, cause: unknown): unknown {
    // Losing the device or its memory is a fault of its own, whatever was being compiled.
    if (cause instanceof DeitcError && cause.code !== "validation" && cause.code !== "device") return cause;
    const reason = cause instanceof Error ? cause.message.trim() : String(cause);
    const where = `kernel '${kernel.name}' (${this.family}) does not compile on ${adapterName(this.device.info)}`;
    return new DeitcError("kernel", "device", `${where}: ${reason}`, {
      cause,
      help: "try another adapter or a newer driver (`deitc doctor`); on any other machine this is a bug of deitc",
    });
  }

  #dispatch(
    step: Step,
    kernels: readonly KernelInfo[],
    pipelines: readonly GPUComputePipeline[],
    layouts: Layouts,
  ): Dispatch {
    const kernel = kernels[step.kernel];
    const pipeline = pipelines[step.kernel];
    if (!kernel || !pipeline) {
      throw new InputError(`step '${step.path}' names kernel ${step.kernel}, of ${kernels.length}`);
    }
    const bindGroup = this.device.gpu.createBindGroup({
      label: step.path,
      layout: layouts.of(kernel.bindings).group,
      entries: step.bindings.map((ref, binding) => ({ binding, resource: this.#resolve(ref) })),
    });
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

  /** The buffer range a step's binding means. */
  #resolve(ref: Ref): GPUBufferBinding {
    switch (ref.kind) {
      case "parameter": {
        const place = at(this.#plan.parameters, ref.index, "parameter");
        const buffer = at(this.#buffers.parameters, place.buffer, "parameter buffer");
        return { buffer, offset: place.offset, size: place.bytes };
      }
      case "slot":
        return { buffer: at(this.#buffers.slots, ref.index, "slot") };
      case "input":
        return { buffer: at(this.#buffers.inputs, ref.index, "input") };
      case "output":
        return { buffer: at(this.#buffers.outputs, ref.index, "output") };
      default:
        throw new InputError(`a manifest of another version: ${String(ref satisfies never)}`);
    }
  }

  /** Writes a parameter's values, in pieces. They count after the next `prepare`. */
  async setParameter(index: number, values: Float32Array): Promise<void> {
    const place = at(this.#plan.parameters, index, "parameter");
    const buffer = at(this.#buffers.parameters, place.buffer, "parameter buffer");
    await this.#write(buffer, place.offset, values);
  }

  /** Writes an input whole, from its start; the rest of it becomes zeros. */
  async setInput(index: number, values: Numbers): Promise<void> {
    const buffer = at(this.#buffers.inputs, index, "input");
    await this.#write(buffer, 0, values);
    const rest = buffer.size - values.byteLength;
    if (rest > 0) await this.#write(buffer, values.byteLength, new Float32Array(rest / 4));
  }

  async #write(buffer: GPUBuffer, offset: number, values: Numbers): Promise<void> {
    const { queue } = this.device.gpu;
    for (let at = 0; at < values.byteLength; at += WRITE_BYTES) {
      const bytes = Math.min(WRITE_BYTES, values.byteLength - at);
      queue.writeBuffer(buffer, offset + at, values.buffer, values.byteOffset + at, bytes);
      if (at > 0 && at % WRITES_IN_FLIGHT === 0) await this.device.guard(queue.onSubmittedWorkDone());
    }
  }

  /** Derives everything that depends on parameters alone. Runs after the weights are in place or have changed. */
  async prepare(options: RunOptions = {}): Promise<void> {
    if (this.#prepare.dispatches.length > 0) await this.#prepare.run(options);
  }

  /** Runs one inference on the inputs set, and reads back every output whole, in the manifest's order. */
  async infer(options: Pick<RunOptions, "onProgress" | "signal"> = {}): Promise<readonly ArrayBuffer[]> {
    const { outputs, staging } = this.#buffers;
    await this.#infer.run({
      ...options,
      finish: (encoder) => staging.forEach((target, i) => {
        const from = at(outputs, i, "output");
        encoder.copyBufferToBuffer(from, 0, target, 0, from.size);
      }),
      settle: () => Promise.all(staging.map((buffer) => buffer.mapAsync(MAP_READ))),
    });
    return staging.map((buffer) => {
      const copy = buffer.getMappedRange().slice(0);
      buffer.unmap();
      return copy;
    });
  }

  /** Measures one inference on the inputs last set. */
  profile(): Promise<Profile> {
    return profileSequence(this.device, this.#infer);
  }

  /** Current values of a parameter. */
  async readParameter(index: number): Promise<Float32Array> {
    const place = at(this.#plan.parameters, index, "parameter");
    const buffer = at(this.#buffers.parameters, place.buffer, "parameter buffer");
    return new Float32Array(await this.#read(buffer, place.offset, place.bytes));
  }

  /** The bytes of a slot, as floats, padding included. For tests: a slot is shared by tensors in turn. */
  async readSlot(index: number): Promise<Float32Array> {
    const buffer = at(this.#buffers.slots, index, "slot");
    return new Float32Array(await this.#read(buffer, 0, buffer.size));
  }

  async #read(from: GPUBuffer, offset: number, bytes: number): Promise<ArrayBuffer> {
    const { device } = this;
    const staging = await device.scoped(`a read-back of ${bytes} bytes`, () =>
      device.gpu.createBuffer({ size: bytes, usage: MAP_READ | COPY_DST }));
    try {
      const encoder = device.gpu.createCommandEncoder();
      encoder.copyBufferToBuffer(from, offset, staging, 0, bytes);
      device.gpu.queue.submit([encoder.finish()]);
      await device.guard(staging.mapAsync(MAP_READ));
      return staging.getMappedRange().slice(0);
    } finally {
      staging.destroy();
    }
  }

  /** Fills every slot and output with NaN bits. */
  async poison(): Promise<void> {
    for (const buffer of [...this.#buffers.slots, ...this.#buffers.outputs]) {
      await this.#write(buffer, 0, new Int32Array(buffer.size / 4).fill(-1));
    }
  }

  /** Frees the buffers; the device stays. */
  destroy(): void {
    for (const list of Object.values<readonly GPUBuffer[]>({ ...this.#buffers })) {
      for (const buffer of list) buffer.destroy();
    }
  }
}

/** `list[index]`. @throws InputError when a manifest refers to what it does not declare. */
function at<T>(list: readonly T[], index: number, what: string): T {
  const item = list[index];
  if (item === undefined) throw new InputError(`the module has no ${what} ${index}, it has ${list.length}`);
  return item;
}

/** Bind group and pipeline layouts, one a signature of bindings, shared by all kernels that have it. */
class Layouts {
  readonly #device: Device;
  readonly #made = new Map<string, { group: GPUBindGroupLayout; layout: GPUPipelineLayout }>();

  constructor(device: Device) {
    this.#device = device;
  }

  of(bindings: KernelInfo["bindings"]): { group: GPUBindGroupLayout; layout: GPUPipelineLayout } {
    const key = bindings.join();
    let made = this.#made.get(key);
    if (made === undefined) {
      const { gpu } = this.#device;
      const group = gpu.createBindGroupLayout({
        entries: bindings.map((access, binding): GPUBindGroupLayoutEntry => ({
          binding, visibility: COMPUTE_STAGE, buffer: { type: access === "read" ? "read-only-storage" : "storage" },
        })),
      });
      made = { group, layout: gpu.createPipelineLayout({ bindGroupLayouts: [group] }) };
      this.#made.set(key, made);
    }
    return made;
  }
}
