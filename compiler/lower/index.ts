/**
 * @file Fused kernels to WGSL, one lowering for each kind.
 */
import { writtenBy, type FusedKernel } from "../fuse/fusion.js";
import { addDim, dim, sizeOf, type Dim } from "../ir/dim.js";
import type { Node } from "../ir/graph.js";
import { indexKey } from "../ir/indices.js";
import { invariant } from "../ir/invariant.js";
import { attrsOf } from "../ir/op.js";
import { anchorKindOf, kindOf } from "../kinds/index.js";
import type { LowerContext, LoweredKernel, UncountedKernel } from "./kernel.js";
import { lowerMap } from "./map.js";
import { lowerRow } from "./row.js";
import { result } from "../ops/leaves.js";

/** Lowers kernels for the context's target. Kernels of one structure (the blocks of a network) are lowered once. */
export function lowerAll(kernels: readonly FusedKernel[], context: LowerContext): LoweredKernel[] {
  const known = new Map<string, { lowered: LoweredKernel; outside: readonly Node[] }>();
  return kernels.map((fused) => {
    const { key, outside } = structureOf(fused, writtenBy(fused).map((n) => context.inPlace.get(n)));
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
    return { ...twin.lowered, fused, reads, writes: writtenBy(fused) };
  });
}

function lower(fused: FusedKernel, context: LowerContext): LoweredKernel {
  const made = fused.anchor ? lowerAnchor(fused, fused.anchor, context)
    : fused.kind === "row" ? lowerRow(fused, context) : lowerMap(fused, context);
  return { ...made, flops: flopsOf(fused, context) };
}

function lowerAnchor(fused: FusedKernel, anchor: Node, context: LowerContext): UncountedKernel {
  const record = context.records.get(anchor.op);
  invariant(record, `op ${anchor.op} has a record`);
  return anchorKindOf(record).lower(record, fused, context);
}

/** Additions and multiplications of everything a kernel computes. */
const flopsOf = ({ members }: FusedKernel, { records }: LowerContext): Dim => members.reduce((total, node) => {
  const record = records.get(node.op);
  const kind = record && kindOf(record);
  if (record && kind) return addDim(total, kind.flops(record, node));
  if (record?.kind === "elementwise") return addDim(total, sizeOf(node.shape));
  if (record?.kind === "reduction") return addDim(total, sizeOf((node.inputs[0] as Node).shape)); // they have one input
  return total;
}, dim(0));

/** A text by which kernels have equal WGSL, and the nodes from outside that it refers to by position. */
function structureOf(
  { kind, root, anchor, also, members, batchAxes, rowAxes, colAxes, partAxis }: FusedKernel,
  overwritten: readonly (Node | undefined)[],
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
  const sides = (also ?? []).map(({ node, at }) =>
    `${at ? inside.get(node) : attrsOf(result, node).index}:${at?.map(indexKey).join()}`);
  const written = [...overwritten.map((leaf) => (leaf ? refer(leaf) : "")), ...sides];
  const axes = [batchAxes, rowAxes, colAxes, partAxis ?? ""];
  return { key: [kind, ...axes, copied, ...parts, ...written].join("|"), outside };
}
