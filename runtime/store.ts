/**
 * @file Parameters on the device, by path: one set of buffers that several programs bind. A lane and what lies in it
 * share a buffer, which nothing else is in; so has every tensor that a dispatch writes.
 */
import type { Device } from "./device.js";
import { InputError } from "./errors.js";
import { packParameters, type Place, type StoredTensor } from "./memory.js";
import { BufferUsage, createBuffers, readBytes, writeNumbers, type Numbers } from "./transfer.js";
import type { GPUBuffer, GPUBufferBinding } from "./webgpu.js";

/** A tensor's bytes inside a buffer. */
interface Home extends Place {
  readonly gpu: GPUBuffer;
}

/** Tensors that outlive runs. */
export class ParameterStore {
  readonly device: Device;
  /** Bytes of all its buffers. */
  readonly bytes: number;
  readonly #buffers: readonly GPUBuffer[];
  readonly #homes: ReadonlyMap<string, Home>;

  private constructor(device: Device, buffers: readonly GPUBuffer[], homes: ReadonlyMap<string, Home>) {
    [this.device, this.#buffers, this.#homes] = [device, buffers, homes];
    this.bytes = buffers.reduce((n, buffer) => n + buffer.size, 0);
  }

  /** Allocates zeros. @throws OutOfMemoryError, before allocating when a tensor exceeds a limit. */
  static async allocate(device: Device, tensors: readonly StoredTensor[]): Promise<ParameterStore> {
    device.check();
    const { maxBufferSize, maxStorageBufferBindingSize } = device.limits;
    const plan = packParameters(tensors, Math.min(maxBufferSize, maxStorageBufferBindingSize));
    const usage = BufferUsage.storage | BufferUsage.copySource | BufferUsage.copyTarget;
    const buffers = await createBuffers(device, (i) => `parameters ${i}`, plan.parameterBuffers, usage);
    const homes = new Map<string, Home>();
    for (const [i, place] of plan.parameters.entries()) {
      const [path, gpu] = [tensors[i]?.path, buffers[place.buffer]];
      if (path !== undefined && gpu !== undefined) homes.set(path, { ...place, gpu });
    }
    return new ParameterStore(device, buffers, homes);
  }

  has(path: string): boolean {
    return this.#homes.has(path);
  }

  #home(path: string): Home {
    const home = this.#homes.get(path);
    if (home === undefined) throw new InputError(`there is no parameter '${path}'`);
    return home;
  }

  /** What a dispatch binds. @throws InputError for a path that is not there. */
  binding(path: string): Required<GPUBufferBinding> & { readonly buffer: GPUBuffer } {
    const { gpu, offset, bytes } = this.#home(path);
    return { buffer: gpu, offset, size: bytes };
  }

  /** Writes a tensor's values. @throws InputError when there are more or fewer than it has. */
  async write(path: string, values: Numbers): Promise<void> {
    const { gpu, offset, bytes } = this.#home(path);
    if (values.byteLength > bytes || (values.byteLength < bytes && bytes > 4)) {
      throw new InputError(`parameter '${path}' has ${bytes / 4} values, got ${values.length}`);
    }
    await writeNumbers(this.device, gpu, offset, values);
  }

  /** A tensor's bytes as they are. */
  async read(path: string): Promise<ArrayBuffer> {
    const { gpu, offset, bytes } = this.#home(path);
    return readBytes(this.device, gpu, offset, bytes);
  }

  /** The bytes of many tensors, each buffer read once, calling `take` in the order of the buffers. */
  async readAll(paths: Iterable<string>, take: (path: string, bytes: ArrayBuffer) => void): Promise<void> {
    const wanted = new Map<GPUBuffer, [string, Home][]>();
    for (const path of paths) {
      const home = this.#home(path);
      wanted.set(home.gpu, [...(wanted.get(home.gpu) ?? []), [path, home]]);
    }
    for (const [gpu, homes] of wanted) {
      const all = await readBytes(this.device, gpu, 0, gpu.size);
      for (const [path, { offset, bytes }] of homes) take(path, all.slice(offset, offset + bytes));
    }
  }

  /** Frees the buffers. */
  destroy(): void {
    for (const buffer of this.#buffers) buffer.destroy();
  }
}
