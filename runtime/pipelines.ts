/** @file Kernels as compute pipelines: each text compiled once, each signature of bindings laid out once. */
import { adapterName, type Device } from "./device.js";
import { DeitcError } from "./errors.js";
import type { FamilyName, KernelInfo } from "./manifest.js";
import type { GPUBindGroupLayout, GPUBindGroupLayoutEntry, GPUComputePipeline, GPUPipelineLayout } from "./webgpu.js";

/** WebGPU's GPUShaderStage, which Node has no global for. */
const COMPUTE_STAGE = 0x4;

/** What kernels are compiled from. */
interface PipelineOptions {
  readonly batch: number;
  readonly source: (family: FamilyName, kernel: string) => Promise<string>;
  readonly onDone: (done: number, total: number) => void;
}

/** One pipeline a kernel, in order. @throws DeitcError with code `kernel` when the device refuses one */
export async function compilePipelines(
  device: Device, family: FamilyName, kernels: readonly KernelInfo[], layouts: Layouts,
  { batch, source, onDone }: PipelineOptions,
): Promise<readonly GPUComputePipeline[]> {
  const compiled = new Map<string, Promise<GPUComputePipeline>>();
  let done = 0;
  const build = async (kernel: KernelInfo, code: string): Promise<GPUComputePipeline> => {
    try {
      const { layout } = layouts.of(kernel.bindings);
      const module = await device.scoped(kernel.name, () =>
        device.gpu.createShaderModule({ label: kernel.name, code }));
      // A kernel that does not depend on the batch declares no `B`, and may then not be given one.
      const constants: Record<string, number> = /\boverride\s+B\b/.test(code) ? { B: batch } : {};
      return await device.guard(device.gpu.createComputePipelineAsync({
        label: kernel.name, layout, compute: { module, entryPoint: "main", constants },
      }));
    } catch (cause) {
      throw refused(device, family, kernel, cause);
    }
  };
  return Promise.all(kernels.map(async (kernel) => {
    const code = await source(family, kernel.name);
    const key = `${kernel.bindings.join()}\n${code}`;
    let pipeline = compiled.get(key);
    if (pipeline === undefined) compiled.set(key, (pipeline = build(kernel, code)));
    const result = await pipeline;
    onDone(++done, kernels.length);
    return result;
  }));
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
