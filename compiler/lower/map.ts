/**
 * @file Kernels without a reduction: one thread an element of the stored tensor.
 */
import { sizeOf } from "../ir/dim.js";
import { writtenBy, type FusedKernel } from "../fuse/fusion.js";
import { delinearize, variable } from "../ir/indices.js";
import type { Node } from "../ir/graph.js";
import {
  assemble, further, OUTPUT, pullerOf, sidesOf, type LowerContext, type UncountedKernel,
} from "./kernel.js";
import { Bindings, dimText, Statements } from "./text.js";

const THREADS = 64;

export function lowerMap(fused: FusedKernel, context: LowerContext): UncountedKernel {
  const { root } = fused;
  const size = sizeOf(root.shape);
  const flat = variable("i", size);
  const at = delinearize(flat, root.shape);
  const puller = pullerOf(fused, context);
  const value = puller.pull(root, at);
  const sides = sidesOf(fused, puller, at);
  const overwritten = writtenBy(fused).flatMap((node, i): [Node, string][] => {
    const leaf = context.inPlace.get(node);
    return leaf ? [[leaf, i === 0 ? OUTPUT : further(i - 1)]] : [];
  });
  const bindings = new Bindings(new Map(overwritten));
  const functions = new Map<string, string>();
  const code = new Statements(context.records, bindings, functions, new Map(), new Map());
  code.line(`let i = i32(wid.x + wid.y * nwg.x) * ${THREADS} + i32(lid);`);
  code.line(`if (i >= ${dimText(size)}) { return; }`);
  // Everything is computed before anything is stored: what is overwritten may be read by what comes after.
  for (const one of [value, ...sides.map((side) => side.value)]) code.value(one);
  code.store(OUTPUT, "i", root, value);
  for (const side of sides) code.store(side.buffer, code.index(side.offset), side.node, side.value);
  const text = {
    features: [], workgroupArrays: [], declarations: "", workgroupSize: THREADS, body: code.text(),
    grid: [{ dim: size, per: THREADS }],
  };
  return assemble(fused, text, bindings, functions);
}
