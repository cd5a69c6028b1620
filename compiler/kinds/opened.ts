/**
 * @file A kernel around an op, opened for lowering: where its root's elements are, what its op reads, and what finishes
 * an element.
 */
import type { FusedKernel } from "../fuse/fusion.js";
import type { PulledAnchor } from "../fuse/pull.js";
import type { Node } from "../ir/graph.js";
import { invariant } from "../ir/invariant.js";
import type { Index, Value } from "../ir/value.js";
import { operandPullerOf, pullerOf, type LowerContext } from "../lower/kernel.js";
import { Epilogue } from "../lower/epilogue.js";
import { Walk } from "../lower/operand.js";
import { Bindings } from "../lower/text.js";
import type { Read } from "./kind.js";

interface Opened {
  readonly anchor: PulledAnchor;
  readonly walk: Walk;
  readonly operands: readonly Value[];
  readonly bindings: Bindings;
  readonly functions: Map<string, string>;
  readonly epilogue: Epilogue;
}

/** @param operandsOf what the op reads @param at the root's coordinates; those of its walk unless given */
export function openedWith(
  fused: FusedKernel, context: LowerContext, operandsOf: (anchor: PulledAnchor, read: Read) => readonly Value[],
  at?: readonly Index[],
): Opened {
  const walk = new Walk(fused);
  const place = at ?? walk.at;
  const puller = pullerOf(fused, context);
  const value = puller.pull(fused.root, place);
  const [anchor] = puller.anchors;
  invariant(anchor, "pulling the root meets its anchor");
  const bindings = new Bindings();
  const functions = new Map<string, string>();
  const operands = operandsOf(anchor, (input, where) =>
    operandPullerOf(fused, context).pull(anchor.node.inputs[input] as Node, where)); // an op has the inputs it reads
  const epilogue = new Epilogue(fused, context, place, [value, puller], bindings, functions);
  return { anchor, walk, operands, bindings, functions, epilogue };
}
