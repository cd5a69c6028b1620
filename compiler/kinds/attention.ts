/**
 * @file Attention: O[at] = Σ_j softmax_j(scale·Σ_d Q·K)·V, never storing the scores, with what follows each element.
 */
import { dim, evalDim, isConstant, sizeOf } from "../ir/dim.js";
import { linearize, variable } from "../ir/indices.js";
import { invariant } from "../ir/invariant.js";
import type { OpRecord } from "../ir/op.js";
import type { Value } from "../ir/value.js";
import { sameWalk, walkByOperands } from "../fuse/anchors.js";
import type { FusedKernel } from "../fuse/fusion.js";
import type { PulledAnchor } from "../fuse/pull.js";
import { assemble, further } from "../lower/kernel.js";
import { extent, operandOf } from "../lower/operand.js";
import { indexText, wrap } from "../lower/text.js";
import { kernelText } from "../targets/index.js";
import type { AttentionSpec } from "../targets/template.js";
import { scaled } from "./flops.js";
import { defineKind, guarded, type Read } from "./kind.js";
import { openedWith } from "./opened.js";

type Hook = NonNullable<OpRecord["attend"]>;

function operandsOf(hook: Hook, { node, at }: PulledAnchor, read: Read): readonly Value[] {
  const [q, k, v] = hook.read(node, at, variable("j", hook.keys(node)), variable("k", hook.width(node)));
  const load = guarded(node, read);
  return [load(0, q), load(1, k), load(2, v)];
}

export const attention = defineKind<Hook>({
  name: "attention", words: "attention",
  hookOf: ({ attend }) => attend,
  walk(_hook, root, anchor, operands) {
    // The columns are an extent of the template: constant.
    const walk = walkByOperands(root, anchor, operands, isConstant);
    if (typeof walk === "string" || anchor.node === root || sameWalk(anchor)) return walk;
    return "the attention kernel writes its result in its own order";
  },
  operands: operandsOf,
  flops({ keys, width }, node) {
    const pairs = scaled(sizeOf(node.shape), keys(node));
    const columns = node.shape[node.shape.length - 1] ?? dim(1);
    const ratio = 1 + evalDim(width(node), 1) / Math.max(1, evalDim(columns, 1));
    return { b: Math.round(2 * pairs.b * ratio), c: Math.round(2 * pairs.c * ratio) };
  },
  lower(hook, fused, context) {
    const { anchor, walk, operands: [q, k, v], bindings, functions, epilogue } =
      openedWith(fused, context, (...read) => operandsOf(hook, ...read));
    invariant(q && k && v, "attention has three operands");
    const { node } = anchor;
    const [queries, keys, width] = [sizeOf(walk.rowShape), hook.keys(node), hook.width(node)];
    const columns = sizeOf(walk.colShape);
    invariant(isConstant(width) && isConstant(columns), "attention's widths are constant");
    const spec: AttentionSpec = {
      batches: extent(sizeOf(walk.batchShape)), queries: extent(queries), keys: extent(keys),
      width: width.c, valueWidth: columns.c, scale: hook.scale(node),
      q: operandOf(q, { row: "m", depth: "k", rows: queries, depths: width, bindings }),
      k: operandOf(k, { row: "j", depth: "k", rows: keys, depths: width, bindings }),
      v: operandOf(v, { row: "j", depth: "n", rows: keys, depths: columns, bindings }),
      epilogue: (place) => epilogue.one({ ...place, part: "0" }), ...logSumExp(fused, anchor),
    };
    return assemble(fused, kernelText("attention", spec, context.target), bindings, functions);
  },
});

/** Stores the second result of attention: one number a query, at the coordinates of its row. */
function logSumExp({ also = [] }: FusedKernel, { at }: PulledAnchor): Pick<AttentionSpec, "logSumExp"> {
  const node = also.find((side) => !side.at)?.node;
  if (!node) return {};
  const offset = linearize(at.slice(0, -1), node.shape);
  const buffer = further(also.findIndex((side) => side.node === node));
  return {
    logSumExp: ({ row, batch, value }) =>
      `${buffer}[${indexText(offset, new Map([["m", wrap(row)], ["z", wrap(batch)]]))}] = ${value};`,
  };
}
