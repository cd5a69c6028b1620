/**
 * @file Kernels without a reduction: one thread an element of the stored tensor.
 */
import { sizeOf } from "../dim.js";
import type { FusedKernel } from "../fuse.js";
import { delinearize, variable } from "../indices.js";
import { Puller } from "../pull.js";
import { assemble, OUTPUT, type LowerContext, type LoweredKernel } from "./kernel.js";
import { Bindings, dimText, Statements } from "./text.js";

const THREADS = 64;

export function lowerMap(fused: FusedKernel, context: LowerContext): LoweredKernel {
  const { root } = fused;
  const size = sizeOf(root.shape);
  const flat = variable("i", size);
  const puller = new Puller(context.records, context.stored, root);
  const value = puller.pull(root, delinearize(flat, root.shape));
  const bindings = new Bindings();
  const functions = new Map<string, string>();
  const code = new Statements(context.records, bindings, functions, new Map(), new Map());
  code.line(`let i = i32(wid.x + wid.y * nwg.x) * ${THREADS} + i32(lid);`);
  code.line(`if (i >= ${dimText(size)}) { return; }`);
  code.store(OUTPUT, "i", root, value);
  const text = {
    enables: [], declarations: "", workgroupSize: THREADS, body: code.text(), grid: [{ dim: size, per: THREADS }],
  };
  return assemble(fused, text, bindings, functions, context);
}
