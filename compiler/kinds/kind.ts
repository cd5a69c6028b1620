/**
 * @file What a kind of kernel around one op is: a contraction, an attention, its gradient. One record says which ops it
 * is for, how the axes of what it stores are walked, what it reads, how much it does, and how it becomes WGSL.
 */
import type { Dim } from "../ir/dim.js";
import type { Node } from "../ir/graph.js";
import type { OpRecord } from "../ir/op.js";
import type { Guard, Index, Value } from "../ir/value.js";
import { within } from "../ir/indices.js";
import type { AnchorWalk } from "../fuse/anchors.js";
import type { FusedKernel } from "../fuse/fusion.js";
import type { PulledAnchor } from "../fuse/pull.js";
import type { LowerContext, UncountedKernel } from "../lower/kernel.js";

/** Reads an operand of the anchor at coordinates of it. */
export type Read = (input: number, at: readonly Index[]) => Value;

interface AnchorKind<Hook> {
  readonly name: string;
  /** What pictures call it. */
  readonly words: string;
  /** What an op of this kind says of itself; undefined for other ops. */
  hookOf(record: OpRecord): Hook | undefined;
  /** The axes of `root` around its anchor, or why they cannot be walked. @param operands as the root reads them */
  walk(hook: Hook, root: Node, anchor: PulledAnchor, operands: readonly Value[]): AnchorWalk | string;
  /** The operands' values at the anchor's coordinates, over the variables that the kernel counts itself. */
  operands(hook: Hook, anchor: PulledAnchor, read: Read): readonly Value[];
  /** Additions and multiplications of one evaluation of the op. */
  flops(hook: Hook, node: Node): Dim;
  lower(hook: Hook, fused: FusedKernel, context: LowerContext): UncountedKernel;
}

/** A record whose hook is its own business: what fusion and lowering hold of any kind. */
export interface Kind {
  readonly name: string;
  readonly words: string;
  is(record: OpRecord): boolean;
  walk(record: OpRecord, root: Node, anchor: PulledAnchor, operands: readonly Value[]): AnchorWalk | string;
  operands(record: OpRecord, anchor: PulledAnchor, read: Read): readonly Value[];
  flops(record: OpRecord, node: Node): Dim;
  lower(record: OpRecord, fused: FusedKernel, context: LowerContext): UncountedKernel;
}

/** Makes a kind of its record. Its members are called with ops that it `is` for. */
export function defineKind<Hook>(kind: AnchorKind<Hook>): Kind {
  const hook = (record: OpRecord): Hook => kind.hookOf(record) as Hook; // see above
  return {
    name: kind.name, words: kind.words,
    is: (record) => kind.hookOf(record) !== undefined,
    walk: (record, ...rest) => kind.walk(hook(record), ...rest),
    operands: (record, ...rest) => kind.operands(hook(record), ...rest),
    flops: (record, node) => kind.flops(hook(record), node),
    lower: (record, ...rest) => kind.lower(hook(record), ...rest),
  };
}

/** Reads that are 0 outside the operand: padding, or rows that a concatenation puts around the anchor's. */
export const guarded = (node: Node, read: Read): Read => (input, where) => {
  const { shape, dtype } = node.inputs[input] as Node; // an op has the inputs that it reads
  const guards = where.map((index, axis): Guard => ({ index, size: shape[axis] as Dim })) // one coordinate an axis
    .filter((g) => !within(g.index, g.size));
  const value = read(input, where);
  return guards.length === 0
    ? value : { kind: "select", guards, then: value, otherwise: { kind: "constant", value: 0, dtype } };
};
