/**
 * @file Helpers of kinds: how the axes of a stored tensor lie around the op that its kernel holds.
 */
import { at1, isOne, sizeOf, type Dim } from "../ir/dim.js";
import type { Node } from "../ir/graph.js";
import { indexKey, variablesOf, variablesOfValue } from "../ir/indices.js";
import type { PulledAnchor } from "./pull.js";
import type { Value } from "../ir/value.js";

/** Axes of the root: of the anchor's batch, of its rows, of its columns. */
export interface AnchorWalk {
  readonly batchAxes: readonly number[];
  readonly rowAxes: readonly number[];
  readonly colAxes: readonly number[];
  /** The axis that counts the parts of an attention's gradient. */
  readonly partAxis?: number;
}

/** A kernel may run over this share more rows than its op has, when a concatenation puts others among them. */
const ROW_WASTE = 1.25;

/**
 * The axes of `root`, told apart by the operands that depend on them: rows of the first operand, columns of the last,
 * batches of both.
 * @param mayBeColumn whether an axis of this size may be a column
 */
export function walkByOperands(
  root: Node, anchor: PulledAnchor, operands: readonly Value[], mayBeColumn: (size: Dim) => boolean,
): AnchorWalk | string {
  const uses = operands.map((o) => new Set([...variablesOfValue(o)].filter((v) => v.startsWith("c"))));
  const axes = { batchAxes: [] as number[], rowAxes: [] as number[], colAxes: [] as number[] };
  for (const [axis, size] of root.shape.entries()) {
    if (isOne(size)) continue;
    const [q, ...others] = uses.map((u) => u.has(`c${axis}`));
    const last = others[others.length - 1] ?? false;
    if (q && !others.some(Boolean)) axes.rowAxes.push(axis);
    else if (!q && last && !others.slice(0, -1).some(Boolean) && mayBeColumn(size)) axes.colAxes.push(axis);
    // What no operand depends on is computed again for each: the op itself has no cheaper kernel.
    else if (q || others.some(Boolean) || anchor.node === root) axes.batchAxes.push(axis);
    else return "its result is broadcast, and the contraction would be repeated";
  }
  const [whole, own] = [at1(sizeOf(root.shape)), at1(sizeOf(anchor.node.shape))];
  if (whole > ROW_WASTE * own) return "its result is broadcast, and the contraction would be repeated";
  return whole < own ? "only a part of it is used here" : axes;
}

export function distinctAnchors(anchors: readonly PulledAnchor[]): readonly PulledAnchor[] {
  const seen = new Map<string, PulledAnchor>();
  for (const a of anchors) seen.set(`${a.node.id}:${a.at.map(indexKey).join(",")}`, a);
  return [...seen.values()];
}

/** Whether the anchor is read at exactly the root's coordinates, axis by axis. */
export function sameWalk(anchor: PulledAnchor): boolean {
  return anchor.at.every((i, axis) => isOne(anchor.node.shape[axis] as Dim)
    || (i.terms.length === 1 && [...variablesOf(i)].join() === `c${axis}`));
}

/** Whether every axis of the anchor is read at one of the root's coordinates. */
export const sameAxes = ({ node, at }: PulledAnchor): boolean =>
  at.every((i, axis) => isOne(node.shape[axis] as Dim) || (i.terms.length === 1 && i.terms[0]?.atom.kind === "variable"
    && isOne(i.terms[0].coefficient) && i.constant.b === 0 && i.constant.c === 0));
