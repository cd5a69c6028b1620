/**
 * @file What a contraction or attention reads: its operands at the coordinates of one result element, as views.
 */
import type { Dim } from "../ir/dim.js";
import type { Node } from "../ir/graph.js";
import { isComputed, variable, within } from "../ir/indices.js";
import type { OpRecord } from "../ir/op.js";
import type { PulledAnchor } from "./pull.js";
import type { Guard, Index, Value } from "../ir/value.js";

/**
 * The operands' values at the anchor's coordinates, over the depth variables `k` (and `j`). Where those coordinates lie
 * outside an operand (padding, or rows that a concatenation puts around the anchor's) the value is 0.
 */
export function operandsOf(
  record: OpRecord, anchor: PulledAnchor, read: (input: number, at: readonly Index[]) => Value,
): readonly Value[] | undefined {
  const { node, at } = anchor;
  const guarded = (input: number, where: readonly Index[]): Value => {
    const { shape } = node.inputs[input] as Node; // contractions have the inputs they read
    const guards = where.map((index, axis): Guard => ({ index, size: shape[axis] as Dim }))
      .filter((g) => !within(g.index, g.size));
    const value = read(input, where);
    return guards.length === 0
      ? value : { kind: "select", guards, then: value, otherwise: { kind: "constant", value: 0, dtype: "f32" } };
  };
  if (record.contract) {
    const [a, b] = record.contract.read(node, at, variable("k", record.contract.depth(node)));
    return [guarded(0, a), guarded(1, b)];
  }
  if (record.attend) {
    const [q, k, v] = record.attend.read(
      node, at, variable("j", record.attend.keys(node)), variable("k", record.attend.width(node)),
    );
    return [guarded(0, q), guarded(1, k), guarded(2, v)];
  }
  if (record.attendBack) {
    const { queries, keys, width, partAxis, read: places } = record.attendBack;
    const lead = at.slice(0, -2).filter((_, axis) => axis !== partAxis(node));
    const [i, j, d] = [variable("i", queries(node)), variable("j", keys(node)), variable("k", width(node))];
    return places(node, lead, i, j, d).map((where, input) => guarded(input, where));
  }
  return undefined;
}

/** A load, or a load under guards with zero elsewhere; at positions that loops count, none that are computed. */
export function asView(value: Value): { load: Extract<Value, { kind: "load" }>; guards: readonly Guard[] } | undefined {
  if (value.kind === "load") return value.at.some(isComputed) ? undefined : { load: value, guards: [] };
  if (value.kind === "select" && value.guards.some(({ index }) => isComputed(index))) return undefined;
  if (value.kind !== "select" || value.otherwise.kind !== "constant" || value.otherwise.value !== 0) return undefined;
  const inner = asView(value.then);
  return inner && { load: inner.load, guards: [...value.guards, ...inner.guards] };
}
