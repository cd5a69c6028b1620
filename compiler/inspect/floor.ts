/**
 * @file The least time that a GPU needs for each kernel of a graph: its operations at the GPU's peak, or its bytes at
 * the memory's bandwidth, whichever takes longer. No kernel reaches it; a kernel that is far from it is worth a look.
 * Source: Williams et al. 2009, "Roofline".
 */
import { lastingIn } from "../fuse/lasting.js";
import { evalDim } from "../ir/dim.js";
import type { Node } from "../ir/graph.js";
import { OPS } from "../ops/index.js";
import type { Gpu } from "../gpus.js";
import { familyOfTarget, type CompiledGraph } from "../pipeline.js";

/** One kernel at its floor. */
export interface KernelFloor {
  readonly path: string;
  readonly kind: string;
  /** Additions and multiplications, and bytes read once and written once. */
  readonly flops: number;
  readonly bytes: number;
  readonly bound: "compute" | "memory";
  readonly seconds: number;
}

/** Whether a kernel's products are of f16: what its anchor reads. */
const isHalf = (anchor: Node | undefined): boolean =>
  anchor !== undefined && (OPS.get(anchor.op)?.halves ?? []).every((i) => anchor.inputs[i]?.dtype === "f16");

/** The kernels of one run at a batch, in order; those that run once, before the first, are left out. */
export function floorsOf(compiled: CompiledGraph, family: string, batch: number, on: Gpu): readonly KernelFloor[] {
  const isLasting = lastingIn(compiled.expanded);
  return familyOfTarget(compiled, family).lowered.filter(({ fused }) => !isLasting(fused.root)).map((kernel) => {
    const { fused: { root, kind, anchor } } = kernel;
    const [flops, bytes] = [evalDim(kernel.flops, batch), evalDim(kernel.bytes, batch)];
    const compute = flops / (isHalf(anchor) ? on.f16 : on.f32);
    const memory = bytes / on.bandwidth;
    return {
      path: root.origin.path || root.op, kind, flops, bytes,
      bound: compute > memory ? "compute" : "memory", seconds: Math.max(compute, memory),
    };
  });
}
