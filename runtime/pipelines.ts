/** @file Kernels as compute pipelines, shared on a device; each signature of bindings is laid out once. */
import { adapterName, type Device } from "./device.js";
import { DeitcError } from "./errors.js";
import type { StopSignal } from "./lifetime.js";
import type { FamilyName, KernelInfo } from "./manifest.js";
import { BufferUsage, createBuffers } from "./transfer.js";
import type {
  GPUBindGroup, GPUBindGroupLayout, GPUBindGroupLayoutEntry, GPUBuffer, GPUComputePipeline, GPUPipelineLayout,
} from "./webgpu.js";

/** WebGPU's GPUShaderStage, which Node has no global for. */
const COMPUTE_STAGE = 0x4;

/**
 * Kernels that are compiled at a time. Dawn has a thread for each, and the memory that goes with it. More make nothing
 * faster where cores are few, and a load that is given up waits for those under way.
 */
const AT_ONCE = 8;

/** Bytes of the three numbers of an indirect dispatch, rounded up to what storage is made of. */
const INDIRECT_BYTES = 16;

/** What a load is doing: reading and uploading weights, compiling kernels, or deriving tensors from the weights. */
export interface LoadProgress {
  readonly phase: "weights" | "kernels" | "prepare";
  readonly done: number;
  readonly total: number;
}

/** Text of a kernel's WGSL. */
export type KernelSource = (family: FamilyName, kernel: string) => Promise<string>;

/** How a compilation is watched and ended. */
export interface CompileOptions {
  readonly onProgress?: (progress: LoadProgress) => void;
  /** Checked between kernels. */
  readonly signal?: StopSignal;
}

/** What kernels are compiled from. */
interface PipelineOptions extends CompileOptions {
  readonly batch: number;
  readonly source: KernelSource;
  /** Bindings of any dispatch of the kernel at this position; undefined if it is never dispatched. */
  readonly bindGroup: (kernel: number) => GPUBindGroup | undefined;
}

/** Compiled kernels of a program, to be released when it ends. */
export interface Pipelines {
  /** One a kernel, in order. */
  readonly all: readonly GPUComputePipeline[];
  /** Lets the device forget those that no other program uses. */
  release(): void;
}

/**
 * Compiles kernels. Those that differ in nothing but the comment above the text are one pipeline, in all programs of
 * the device. When it rejects, nothing is under way any more.
 * @throws DeitcError with code `kernel` naming the first that the device refuses; DestroyedError when the device was
 * destroyed meanwhile; the signal's reason
 */
export async function compilePipelines(
  device: Device, family: FamilyName, kernels: readonly KernelInfo[], layouts: Layouts, options: PipelineOptions,
): Promise<Pipelines> {
  const { batch, source, bindGroup, signal } = options;
  const total = kernels.length;
  const tell = (done: number): void => options.onProgress?.({ phase: "kernels", done, total });
  tell(0);
  const taken: string[] = [];
  const release = (): void => { for (const key of taken.splice(0)) device.pipelines.release(key); };
  const all: GPUComputePipeline[] = [];
  const failures: unknown[] = [];
  const check = (): void => {
    if (failures.length > 0) throw failures[0];
    signal?.throwIfAborted();
    device.check();
  };
  const first = await FirstRuns.on(device, check);
  let [next, done] = [0, 0];
  const compile = async (kernel: KernelInfo, index: number): Promise<void> => {
    check();
    const code = await source(family, kernel.name);
    // A kernel that does not depend on the batch declares no `B`, and may then not be given one.
    const constants: Record<string, number> = /\boverride\s+B\b/.test(code) ? { B: batch } : {};
    const key = [kernel.bindings.join(), constants["B"] ?? "", code.replace(/^(?:\/\/.*\n)+/, "")].join("\n");
    const named = <T>(work: Promise<T>): Promise<T> =>
      work.catch((cause: unknown) => { throw refused(device, family, kernel, cause); });
    taken.push(key);
    const compiled = await device.pipelines.take(key, async () =>
      ({ pipeline: await named(create(device, kernel, layouts, code, constants)), ran: false }));
    if (!compiled.ran && first !== undefined) {
      await first.turn(() => named(first.run(compiled.pipeline, bindGroup(index))));
    }
    compiled.ran = true;
    all[index] = compiled.pipeline;
    tell(++done);
  };
  /** Compiles one kernel after another until none is left or one fails. */
  const work = async (): Promise<void> => {
    for (let index = next++; failures.length === 0; index = next++) {
      const kernel = kernels[index];
      if (kernel === undefined) return;
      await compile(kernel, index).catch((error: unknown) => void failures.push(error));
    }
  };
  await device.patiently(Promise.all(Array.from({ length: AT_ONCE }, work)));
  first?.destroy();
  if (failures.length === 0) return { all, release };
  release();
  throw failures[0];
}

async function create(
  device: Device, { name, bindings }: KernelInfo, layouts: Layouts, code: string, constants: Record<string, number>,
): Promise<GPUComputePipeline> {
  const { layout } = layouts.of(bindings);
  const module = await device.scoped(name, () => device.gpu.createShaderModule({ label: name, code }));
  return device.guard(device.gpu.createComputePipelineAsync({
    label: name, layout, compute: { module, entryPoint: "main", constants },
  }));
}

/**
 * Runs kernels over no workgroups at all, one at a time: for drivers that compile a kernel when it is run first. Asked
 * for by number, such a dispatch is left out by Dawn, so its size is read from a buffer of zeros.
 */
class FirstRuns {
  readonly #device: Device;
  readonly #check: () => void;
  /** Holds the numbers of workgroups: zeros. */
  readonly #size: GPUBuffer;
  #last: Promise<void> = Promise.resolve();

  private constructor(device: Device, check: () => void, size: GPUBuffer) {
    [this.#device, this.#check, this.#size] = [device, check, size];
  }

  /** @param check throws when no more is to be run @returns undefined if making a pipeline compiles it */
  static async on(device: Device, check: () => void): Promise<FirstRuns | undefined> {
    if (!device.compilesAtFirstRun) return undefined;
    const { storage, copyTarget, indirect } = BufferUsage;
    const usage = storage | copyTarget | indirect;
    const [size] = await createBuffers(device, () => "the size of a first run", [INDIRECT_BYTES], usage);
    return size && new FirstRuns(device, check, size);
  }

  /** Does `work` after all earlier calls. */
  turn(work: () => Promise<void>): Promise<void> {
    const turn = this.#last.then(() => {
      this.#check();
      return work();
    });
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  /** @throws the device's typed faults */
  async run(pipeline: GPUComputePipeline, bindGroup: GPUBindGroup | undefined): Promise<void> {
    if (bindGroup === undefined) return;
    const { gpu } = this.#device;
    const encoder = gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, bindGroup);
    pass.dispatchWorkgroupsIndirect(this.#size, 0);
    pass.end();
    gpu.queue.submit([encoder.finish()]);
    await this.#device.guard(gpu.queue.onSubmittedWorkDone());
  }

  destroy(): void {
    this.#size.destroy();
  }
}

function refused(device: Device, family: FamilyName, kernel: KernelInfo, cause: unknown): unknown {
  // Losing the device or its memory is a fault of its own, whatever was being compiled.
  if (cause instanceof DeitcError && cause.code !== "validation" && cause.code !== "device") return cause;
  const reason = cause instanceof Error ? cause.message.trim() : String(cause);
  const where = `kernel '${kernel.name}' (${family}) does not compile on ${adapterName(device.info)}`;
  return new DeitcError("kernel", "device", `${where}: ${reason}`, {
    cause,
    help: "try another adapter or a newer driver (`deitc doctor`); if all fail, this is a bug in deitc",
  });
}

/** Bind group and pipeline layouts, one a signature of bindings, shared by all kernels that have it. */
export class Layouts {
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
