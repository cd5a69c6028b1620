/**
 * @file Fused kernels to WGSL, one lowering a kind and family.
 */
import type { FusedKernel } from "../fuse.js";
import type { Node } from "../graph.js";
import { invariant } from "../invariant.js";
import { lowerAnchor } from "./anchor.js";
import type { LowerContext, LoweredKernel } from "./kernel.js";
import { lowerMap } from "./map.js";
import { lowerRow } from "./row.js";

/** Lowers kernels for the context's family. Kernels of one structure (the blocks of a network) are lowered once. */
export function lowerAll(kernels: readonly FusedKernel[], context: LowerContext): LoweredKernel[] {
  const known = new Map<string, { lowered: LoweredKernel; outside: readonly Node[] }>();
  return kernels.map((fused) => {
    const { key, outside } = structureOf(fused);
    const twin = known.get(key);
    if (!twin) {
      const lowered = lower(fused, context);
      known.set(key, { lowered, outside });
      return lowered;
    }
    const reads = twin.lowered.reads.map((node) => {
      const mine = outside[twin.outside.indexOf(node)];
      invariant(mine, "kernels of one structure read the same places");
      return mine;
    });
    return { ...twin.lowered, fused, reads };
  });
}

function lower(fused: FusedKernel, context: LowerContext): LoweredKernel {
  switch (fused.kind) {
    case "map":
      return lowerMap(fused, context);
    case "row":
      return lowerRow(fused, context);
    case "contraction":
    case "attention":
      return lowerAnchor(fused, context);
    default:
      return fused.kind satisfies never;
  }
}

/** A text by which kernels have equal WGSL, and the nodes from outside that it refers to by position. */
function structureOf(
  { kind, root, anchor, members, batchAxes, rowAxes, colAxes }: FusedKernel,
): { key: string; outside: Node[] } {
  const inside = new Map(members.map((node, i) => [node, i]));
  const outside: Node[] = [];
  const type = (node: Node): string => `${node.dtype}${JSON.stringify(node.shape)}`;
  const refer = (node: Node): string => {
    const own = inside.get(node);
    if (own !== undefined) return `m${own}`;
    let at = outside.indexOf(node);
    if (at < 0) at = outside.push(node) - 1;
    // A leaf's own numbers may stand in the kernel.
    const leaf = node.op === "parameter" || node.op === "input"
      ? "" : `${node.op}${node.inputs.length === 0 ? JSON.stringify(node.attrs) : ""}`;
    return `o${at}${type(node)}${leaf}`;
  };
  const parts = members.map((node) =>
    `${node.op}${JSON.stringify(node.attrs)}${type(node)}(${node.inputs.map(refer).join()})` +
      `${node === root ? "!" : ""}${node === anchor ? "@" : ""}`);
  // A kernel that copies a leaf has no member that refers to it.
  const copied = inside.has(root) ? "" : refer(root);
  return { key: [kind, batchAxes, rowAxes, colAxes, copied, ...parts].join("|"), outside };
}
