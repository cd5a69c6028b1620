/**
 * @file Contractions: C[at] = Σ_k A[…]·B[…], with what follows each element in the same kernel.
 */
import { sizeOf } from "../ir/dim.js";
import { variable } from "../ir/indices.js";
import { invariant } from "../ir/invariant.js";
import type { OpRecord } from "../ir/op.js";
import type { Value } from "../ir/value.js";
import { walkByOperands } from "../fuse/anchors.js";
import type { PulledAnchor } from "../fuse/pull.js";
import { assemble } from "../lower/kernel.js";
import { extent, operandOf } from "../lower/operand.js";
import { kernelText } from "../targets/index.js";
import type { ContractionSpec } from "../targets/template.js";
import { scaled } from "./flops.js";
import { defineKind, guarded, type Read } from "./kind.js";
import { openedWith } from "./opened.js";

type Hook = NonNullable<OpRecord["contract"]>;

function operandsOf({ depth, read: places }: Hook, { node, at }: PulledAnchor, read: Read): readonly Value[] {
  const [a, b] = places(node, at, variable("k", depth(node)));
  const load = guarded(node, read);
  return [load(0, a), load(1, b)];
}

export const contraction = defineKind<Hook>({
  name: "contraction", words: "contraction",
  hookOf: ({ contract }) => contract,
  walk: (_hook, root, anchor, operands) => walkByOperands(root, anchor, operands, () => true),
  operands: operandsOf,
  flops: ({ depth }, node) => {
    const products = scaled(sizeOf(node.shape), depth(node));
    return { b: 2 * products.b, c: 2 * products.c };
  },
  lower(hook, fused, context) {
    const { anchor, walk, operands: [a, b], bindings, functions, epilogue } =
      openedWith(fused, context, (...read) => operandsOf(hook, ...read));
    invariant(a && b, "a contraction has two operands");
    const [rows, cols, depth] = [sizeOf(walk.rowShape), sizeOf(walk.colShape), hook.depth(anchor.node)];
    const fours = epilogue.fours(cols);
    const spec: ContractionSpec = {
      batches: extent(sizeOf(walk.batchShape)), rows: extent(rows), cols: extent(cols), depth: extent(depth),
      a: operandOf(a, { row: "m", depth: "k", rows, depths: depth, bindings }),
      b: operandOf(b, { row: "n", depth: "k", rows: cols, depths: depth, bindings }),
      epilogue: (place) => epilogue.one({ ...place, part: "0" }),
      ...(fours ? { epilogueOfFour: (place) => fours({ ...place, part: "0" }) } : {}),
    };
    return assemble(
      fused, kernelText("contraction", spec, context.target), bindings, functions, epilogue.vectors);
  },
});
