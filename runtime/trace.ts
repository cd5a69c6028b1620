/**
 * @file A run looked at tensor by tensor: which value is the first that is not finite, and what wrote it. A dispatch
 * is a submit of its own and everything it wrote is read back: for a run that is known to go wrong.
 */
import type { Device } from "./device.js";
import type { Dispatch } from "./dispatch.js";
import type { StateRole } from "./training.js";
import { readBytes } from "./transfer.js";
import type { GPUBuffer } from "./webgpu.js";

/** The first value of a run that is not finite. */
export interface NonFinite {
  /** Path in the model, with `.grad` behind it for a gradient; a state's path; an input's or output's name. */
  readonly tensor: string;
  readonly kind: "input" | "activation" | "output" | StateRole;
  /** Position in the tensor, row-major, and what stands there: NaN or an infinity. */
  readonly index: number;
  readonly value: number;
  /** What wrote it: the kernel's file without `.wgsl`, and which dispatch of how many. Absent: it was there before. */
  readonly by?: { readonly kernel: string; readonly dispatch: number; readonly of: number };
}

/** A tensor, or part of one, that a dispatch has written. */
export interface WrittenTensor extends Pick<NonFinite, "tensor" | "kind"> {
  readonly buffer: GPUBuffer;
  /** Bytes. */
  readonly offset: number;
  readonly bytes: number;
  readonly type: FloatType;
}

/** Floats that may lie in a buffer. */
export type FloatType = "f32" | "f16";

/** Where the first NaN or infinity among the floats of `bytes` is, and which it is. */
export function firstBad(bytes: ArrayBuffer, type: FloatType = "f32"): Pick<NonFinite, "index" | "value"> | undefined {
  // All ones in the exponent: an infinity where the fraction is zero, else NaN.
  const bits = type === "f32" ? new Uint32Array(bytes) : new Uint16Array(bytes);
  const [exponent, fraction, sign] = type === "f32"
    ? [0x7f800000, 0x007fffff, 0x80000000] : [0x7c00, 0x03ff, 0x8000];
  for (let index = 0; index < bits.length; index++) {
    const word = bits[index] ?? 0;
    if ((word & exponent) !== exponent) continue;
    return { index, value: (word & fraction) !== 0 ? NaN : (word & sign) !== 0 ? -Infinity : Infinity };
  }
  return undefined;
}

const BINDING = /@group\(0\)\s*@binding\((\d+)\)\s*var<storage[^>]*>\s*\w+\s*:\s*array<([^;]+)>\s*;/gu;

/** The floats behind each binding of a kernel, by its text; undefined for whole numbers and for what is not known. */
export function floatTypes(wgsl: string): readonly (FloatType | undefined)[] {
  const types: (FloatType | undefined)[] = [];
  for (const [, binding, element = ""] of wgsl.matchAll(BINDING)) {
    types[Number(binding)] = /f16|vec\dh/u.test(element) ? "f16" : /f32|vec\df/u.test(element) ? "f32" : undefined;
  }
  return types;
}

/**
 * Runs dispatches in order up to the first that writes what is not finite.
 * @param written tensors that dispatch `i` writes; what lies beside them in their bytes is finite before the run
 * @throws the device's typed faults
 */
export async function traceDispatches(
  device: Device, dispatches: readonly Dispatch[], written: (dispatch: Dispatch, i: number) => readonly WrittenTensor[],
): Promise<NonFinite | undefined> {
  for (const [i, dispatch] of dispatches.entries()) {
    const encoder = device.gpu.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(dispatch.pipeline);
    pass.setBindGroup(0, dispatch.bindGroup);
    pass.dispatchWorkgroups(dispatch.x, dispatch.y);
    pass.end();
    device.gpu.queue.submit([encoder.finish()]);
    for (const { tensor, kind, buffer, offset, bytes, type } of written(dispatch, i)) {
      const bad = firstBad(await readBytes(device, buffer, offset, bytes), type);
      if (bad === undefined) continue;
      return { tensor, kind, ...bad, by: { kernel: dispatch.kernel, dispatch: i + 1, of: dispatches.length } };
    }
  }
  return undefined;
}
