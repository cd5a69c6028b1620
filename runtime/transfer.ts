/** @file Numbers to the device and back. */
import type { Device } from "./device.js";
import type { GPUBuffer } from "./webgpu.js";

/** WebGPU's GPUBufferUsage, which Node has no global for. */
export const BufferUsage = { mapRead: 0x1, copySource: 0x4, copyTarget: 0x8, storage: 0x80, indirect: 0x100 } as const;
/** WebGPU's GPUMapMode.READ. */
export const MAP_READ = 0x1;

/** Larger writes make Dawn allocate a staging buffer each; these go through its ring. */
const WRITE_BYTES = 4 * 2 ** 20;
/** Bytes written before waiting for the device, which bounds the staging memory of a large upload. */
export const WRITES_IN_FLIGHT = 64 * 2 ** 20;

/** Numbers as they lie on the device: f32, and i32 for `i32` and `bool` tensors. */
export type Numbers = Float32Array | Int32Array;

/** Writes `values` at byte `offset`, in pieces; they are in place for whatever is submitted afterwards. */
export async function writeNumbers(device: Device, buffer: GPUBuffer, offset: number, values: Numbers): Promise<void> {
  const { queue } = device.gpu;
  // WebGPU takes no memory that other threads may write meanwhile.
  if (!(values.buffer instanceof ArrayBuffer)) return writeNumbers(device, buffer, offset, values.slice());
  device.check();
  for (let at = 0; at < values.byteLength; at += WRITE_BYTES) {
    const bytes = Math.min(WRITE_BYTES, values.byteLength - at);
    queue.writeBuffer(buffer, offset + at, values.buffer, values.byteOffset + at, bytes);
    if (at > 0 && at % WRITES_IN_FLIGHT === 0) await device.guard(queue.onSubmittedWorkDone());
  }
}

/** Reads `bytes` at byte `offset` through a buffer made for it. @throws the device's typed faults */
export async function readBytes(device: Device, from: GPUBuffer, offset: number, bytes: number): Promise<ArrayBuffer> {
  const staging = await device.scoped(`a read-back of ${bytes} bytes`, () =>
    device.gpu.createBuffer({ size: bytes, usage: BufferUsage.mapRead | BufferUsage.copyTarget }));
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

/**
 * Buffers of these sizes; all or none. Storage is zero: kernels sum over the gaps between packed tensors and read
 * tensors in whole vectors, and a device that skips validation hands out memory with what was in it before.
 * @param label of each, for messages
 */
export async function createBuffers(
  device: Device, label: (i: number) => string, sizes: readonly number[], usage: number,
): Promise<GPUBuffer[]> {
  const buffers = await allocate(device, label, sizes, usage);
  if ((usage & BufferUsage.storage) !== 0 && buffers.length > 0) {
    const encoder = device.gpu.createCommandEncoder();
    for (const buffer of buffers) encoder.clearBuffer(buffer);
    device.gpu.queue.submit([encoder.finish()]);
  }
  return buffers;
}

async function allocate(
  device: Device, label: (i: number) => string, sizes: readonly number[], usage: number,
): Promise<GPUBuffer[]> {
  const made: GPUBuffer[] = [];
  const results = await Promise.allSettled(sizes.map((size, i) => device.scoped(`${label(i)}, ${size} bytes`, () => {
    const buffer = device.gpu.createBuffer({ label: label(i), size, usage });
    made.push(buffer);
    return buffer;
  })));
  return results.map((result) => {
    if (result.status === "fulfilled") return result.value;
    for (const buffer of made) buffer.destroy();
    throw result.reason;
  });
}
