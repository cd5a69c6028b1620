/**
 * @file Kernels of the gradient of attention: operands, statistics and epilogue as text for their templates.
 */
import { dim, isConstant, sizeOf, type Dim, type Shape } from "../ir/dim.js";
import type { FusedKernel } from "../fuse/fusion.js";
import type { Node } from "../ir/graph.js";
import { delinearize, linearize, liveGuards, variable, ZERO_INDEX } from "../ir/indices.js";
import { invariant } from "../ir/invariant.js";
import { asView, operandsOf } from "../fuse/operands.js";
import type { Index, Value } from "../ir/value.js";
import { epilogueText, extent, operandOf } from "./anchor.js";
import { attentionGradientScalar, attentionGradientWide } from "../targets/attention_gradient_scalar.js";
import { attentionGradientTiled } from "../targets/attention_gradient_tiled.js";
import { assemble, operandPullerOf, pullerOf, type LowerContext, type LoweredKernel } from "./kernel.js";
import type { AttentionGradientSpec, Operand } from "../targets/template.js";
import { Bindings, indexText, wrap } from "./text.js";

const TEMPLATES = {
  scalar: attentionGradientScalar, wide: attentionGradientWide, tiled: attentionGradientTiled,
} as const;

export function lowerAttentionGradient(fused: FusedKernel, context: LowerContext): LoweredKernel {
  const { root, anchor: node } = fused;
  const back = node && context.records.get(node.op)?.attendBack;
  const record = node && context.records.get(node.op);
  invariant(node && record && back, "the kernel holds the gradient of attention");
  const batchShape = fused.batchAxes.map((a) => root.shape[a] as Dim); // axes of the root
  const at = coordinates(fused, batchShape);
  const puller = pullerOf(fused, context);
  const value = puller.pull(root, at);
  const [anchor] = puller.anchors;
  invariant(anchor, "pulling the root meets its anchor");
  const values = operandsOf(record, anchor, (input, where) =>
    operandPullerOf(fused, context).pull(node.inputs[input] as Node, where)); // records read inputs they have
  invariant(values?.length === 6, "the gradient of attention has six inputs");
  const [queries, keys, width] = [back.queries(node), back.keys(node), back.width(node)];
  invariant(isConstant(width), "attention's width is constant");
  const bindings = new Bindings();
  const operand = (i: number, row: string, rows: Dim): Operand =>
    operandOf(values[i] as Value, { row, rows, depth: "k", depths: width, bindings }); // six values
  const functions = new Map<string, string>();
  const finish = epilogueText(fused, context, at, [value, puller], bindings, functions);
  // The result counts the parts it has: without the queries' the keys' are its first.
  const first = back.parts(node) === "keys" ? 1 : 0;
  const spec: AttentionGradientSpec = {
    batches: extent(sizeOf(batchShape)), queries: extent(queries), keys: extent(keys), width: width.c,
    scale: back.scale(node), parts: back.parts(node),
    q: operand(0, "i", queries), k: operand(1, "j", keys), v: operand(2, "j", keys), dy: operand(3, "i", queries),
    logSumExp: statistic(values[4] as Value, bindings), delta: statistic(values[5] as Value, bindings), // six values
    epilogue: (place) => finish({ ...place, part: String(Number(place.part) - first) }),
  };
  return assemble(fused, TEMPLATES[context.family](spec), bindings, functions, context);
}

/** The root's coordinates as functions of part `p`, batch `z`, row `m` and column `n`. */
function coordinates({ root, batchAxes, rowAxes, colAxes, partAxis }: FusedKernel, batchShape: Shape): Index[] {
  const at: Index[] = root.shape.map(() => ZERO_INDEX);
  const batch = delinearize(variable("z", sizeOf(batchShape)), batchShape);
  batchAxes.forEach((axis, i) => (at[axis] = batch[i] ?? ZERO_INDEX));
  for (const [name, axes] of [["m", rowAxes], ["n", colAxes]] as const) {
    for (const axis of axes) at[axis] = variable(name, root.shape[axis] ?? dim(1));
  }
  if (partAxis !== undefined) at[partAxis] = variable("p", root.shape[partAxis] ?? dim(1));
  return at;
}

/** The load of one number a query. */
function statistic(value: Value, bindings: Bindings): (query: string, batch: string) => string {
  const view = asView(value);
  invariant(view && (liveGuards(view.guards)?.length ?? 0) === 0, "statistics of queries are stored");
  const { node, at } = view.load;
  const buffer = bindings.use(node);
  const offset = linearize(at, node.shape);
  return (query, batch) => `${buffer}[${indexText(offset, new Map([["i", wrap(query)], ["z", wrap(batch)]]))}]`;
}
