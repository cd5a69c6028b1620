/**
 * @file Operands of a contraction or attention as views: loads at positions that loops count.
 */
import { isComputed } from "../ir/indices.js";
import type { Guard, Value } from "../ir/value.js";

/** A load, or a load under guards with zero elsewhere; at positions that loops count, none that are computed. */
export function asView(value: Value): { load: Extract<Value, { kind: "load" }>; guards: readonly Guard[] } | undefined {
  if (value.kind === "load") return value.at.some(isComputed) ? undefined : { load: value, guards: [] };
  if (value.kind === "select" && value.guards.some(({ index }) => isComputed(index))) return undefined;
  if (value.kind !== "select" || value.otherwise.kind !== "constant" || value.otherwise.value !== 0) return undefined;
  const inner = asView(value.then);
  return inner && { load: inner.load, guards: [...value.guards, ...inner.guards] };
}
