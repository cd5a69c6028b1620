/** @file Where the time of a program goes: one row per dispatch, by GPU timestamps where the adapter has them. */
import type { Device } from "./device.js";
import type { Dispatch, Sequence } from "./dispatch.js";
import type { GPUComputePassEncoder } from "./webgpu.js";

/** One dispatch of a program, measured. */
export interface ProfileRow {
  /** Parameter-style path of what it computes (`blocks.3.attn.qkv`). */
  readonly path: string;
  readonly kernel: string;
  /** Milliseconds. */
  readonly ms: number;
  /** FLOPs counted by the compiler, in billions per second. */
  readonly gflops: number;
  /** Bytes read and written as counted by the compiler, in billions per second. */
  readonly gbs: number;
}

/** The rows of one run, and how they were measured. */
export interface Profile {
  /** `timestamps` are the GPU's own; `wall` is one submit per kernel, including its launch. */
  readonly clock: "timestamps" | "wall";
  readonly rows: readonly ProfileRow[];
}

/** Timestamps a query set may hold; two a dispatch. */
const QUERIES = 4096;

/**
 * Runs `sequence` once, measuring every dispatch.
 * @throws the device's typed faults.
 */
export async function profileSequence(device: Device, sequence: Sequence): Promise<Profile> {
  const clock = device.features.has("timestamp-query") ? "timestamps" : "wall";
  const ms: number[] = [];
  let from = 0;
  while (from < sequence.dispatches.length) {
    const end = clock === "wall" ? from + 1 : Math.min(sequence.cut(from), from + QUERIES / 2);
    const part = sequence.dispatches.slice(from, end);
    ms.push(...(clock === "wall" ? [await wallTime(device, part)] : await timestamps(device, part)));
    from = end;
  }
  return { clock, rows: sequence.dispatches.map((dispatch, i) => row(dispatch, ms[i] ?? 0)) };
}

function row(dispatch: Dispatch, ms: number): ProfileRow {
  const rate = (amount: number): number => (ms > 0 ? amount / (ms * 1e6) : 0);
  const { step, kernel, flops, bytes } = dispatch;
  return { path: step.path, kernel, ms, gflops: rate(flops), gbs: rate(bytes) };
}

function encode(pass: GPUComputePassEncoder, dispatch: Dispatch): void {
  pass.setPipeline(dispatch.pipeline);
  pass.setBindGroup(0, dispatch.bindGroup);
  pass.dispatchWorkgroups(dispatch.x, dispatch.y);
  pass.end();
}

/** Milliseconds from submit to done. */
async function wallTime(device: Device, part: readonly Dispatch[]): Promise<number> {
  const encoder = device.gpu.createCommandEncoder();
  for (const dispatch of part) encode(encoder.beginComputePass(), dispatch);
  const began = performance.now();
  device.gpu.queue.submit([encoder.finish()]);
  await device.guard(device.gpu.queue.onSubmittedWorkDone());
  return performance.now() - began;
}

/** Milliseconds of each dispatch, a pass each between two GPU timestamps. */
async function timestamps(device: Device, part: readonly Dispatch[]): Promise<number[]> {
  const count = 2 * part.length;
  const size = 8 * count;
  const { gpu } = device;
  const { querySet, resolved, staging } = await device.scoped("the profile's timestamps", () => ({
    querySet: gpu.createQuerySet({ type: "timestamp", count }),
    // QUERY_RESOLVE | COPY_SRC, and MAP_READ | COPY_DST: numbers, for Node has no global GPUBufferUsage.
    resolved: gpu.createBuffer({ size, usage: 0x200 | 0x4 }),
    staging: gpu.createBuffer({ size, usage: 0x1 | 0x8 }),
  }));
  try {
    const encoder = gpu.createCommandEncoder();
    part.forEach((dispatch, i) => {
      const timestampWrites = { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 };
      encode(encoder.beginComputePass({ timestampWrites }), dispatch);
    });
    encoder.resolveQuerySet(querySet, 0, count, resolved, 0);
    encoder.copyBufferToBuffer(resolved, 0, staging, 0, size);
    gpu.queue.submit([encoder.finish()]);
    await device.guard(staging.mapAsync(0x1));
    const nanoseconds = new BigInt64Array(staging.getMappedRange());
    return part.map((_, i) => Number((nanoseconds[2 * i + 1] ?? 0n) - (nanoseconds[2 * i] ?? 0n)) / 1e6);
  } finally {
    querySet.destroy();
    resolved.destroy();
    staging.destroy();
  }
}
