/**
 * @file How the axes of a stored tensor are walked around the contraction or attention its kernel holds.
 */
import { at1, isConstant, isOne, sizeOf, type Dim } from "../ir/dim.js";
import type { Node } from "../ir/graph.js";
import { indexKey, variablesOf, variablesOfValue } from "../ir/indices.js";
import type { OpRecord } from "../ir/op.js";
import type { PulledAnchor } from "./pull.js";
import type { Value } from "../ir/value.js";

/** Axes of the root: of the anchor's batch, of its rows, of its columns. */
export interface AnchorWalk {
  readonly kind: "contraction" | "attention" | "attention_gradient";
  readonly batchAxes: readonly number[];
  readonly rowAxes: readonly number[];
  readonly colAxes: readonly number[];
  /** The axis that counts the parts of an attention's gradient. */
  readonly partAxis?: number;
}

/** A contraction may run over this share more rows than it has, when a concatenation puts others among them. */
const ROW_WASTE = 1.25;

/**
 * How the axes of `root` are walked around its anchor, or why they cannot be.
 * @param operands as the root reads them
 */
export function walkAround(
  root: Node, anchor: PulledAnchor, operands: readonly Value[], record: OpRecord,
): AnchorWalk | string {
  if (record.attendBack) return walkOfGradient(root, anchor, record.attendBack.partAxis(anchor.node));
  const uses = operands.map((o) => new Set([...variablesOfValue(o)].filter((v) => v.startsWith("c"))));
  const axes = { batchAxes: [] as number[], rowAxes: [] as number[], colAxes: [] as number[] };
  for (const [axis, size] of root.shape.entries()) {
    if (isOne(size)) continue;
    const [q, ...others] = uses.map((u) => u.has(`c${axis}`));
    const last = others[others.length - 1] ?? false;
    if (q && !others.some(Boolean)) axes.rowAxes.push(axis);
    // The columns of attention are an extent of its template: constant.
    else if (!q && last && !others.slice(0, -1).some(Boolean) && (record.contract || isConstant(size))) {
      axes.colAxes.push(axis);
    }
    // What no operand depends on is computed again for each: the contraction itself has no cheaper kernel.
    else if (q || others.some(Boolean) || anchor.node === root) axes.batchAxes.push(axis);
    else return "its result is broadcast, and the contraction would be repeated";
  }
  const [whole, own] = [at1(sizeOf(root.shape)), at1(sizeOf(anchor.node.shape))];
  if (whole > ROW_WASTE * own) return "its result is broadcast, and the contraction would be repeated";
  if (whole < own) return "only a part of it is used here";
  if (record.attend && anchor.node !== root && !sameWalk(anchor)) {
    return "the attention kernel writes its result in its own order";
  }
  return { kind: record.attend ? "attention" : "contraction", ...axes };
}

/** The anchor's own axes, wherever they are in the root. */
function walkOfGradient(root: Node, { node, at }: PulledAnchor, parts: number | undefined): AnchorWalk | string {
  const [whole, own] = [at1(sizeOf(root.shape)), at1(sizeOf(node.shape))];
  if (whole !== own || !sameAxes({ node, at })) return "the attention kernel writes its result in its own order";
  const last = node.shape.length - 1;
  const axes = { batchAxes: [] as number[], rowAxes: [] as number[], colAxes: [] as number[] };
  let partAxis: number | undefined;
  for (const [axis, size] of root.shape.entries()) {
    if (isOne(size)) continue;
    const from = at.findIndex((i) => variablesOf(i).has(`c${axis}`));
    if (from === parts) partAxis = axis;
    else (from === last ? axes.colAxes : from === last - 1 ? axes.rowAxes : axes.batchAxes).push(axis);
  }
  return { kind: "attention_gradient", ...axes, ...(partAxis === undefined ? {} : { partAxis }) };
}

export function distinctAnchors(anchors: readonly PulledAnchor[]): readonly PulledAnchor[] {
  const seen = new Map<string, PulledAnchor>();
  for (const a of anchors) seen.set(`${a.node.id}:${a.at.map(indexKey).join(",")}`, a);
  return [...seen.values()];
}

/** Whether the anchor is read at exactly the root's coordinates, axis by axis. */
function sameWalk(anchor: PulledAnchor): boolean {
  return anchor.at.every((i, axis) => isOne(anchor.node.shape[axis] as Dim)
    || (i.terms.length === 1 && [...variablesOf(i)].join() === `c${axis}`));
}

/** Whether every axis of the anchor is read at one of the root's coordinates. */
const sameAxes = ({ node, at }: PulledAnchor): boolean =>
  at.every((i, axis) => isOne(node.shape[axis] as Dim) || (i.terms.length === 1 && i.terms[0]?.atom.kind === "variable"
    && isOne(i.terms[0].coefficient) && i.constant.b === 0 && i.constant.c === 0));
