/** @file `deitc explain` of a model: its header, its kernels, what was fused and what was not, its memory. */
import { familyNamed } from "../../../runtime/families.js";
import type { FamilyName, Manifest, Size } from "../../../runtime/manifest.js";
import { parameterBytes } from "../../../runtime/memory.js";
import { pathOf } from "../../fuse/fusion.js";
import type { Compiled } from "../../pipeline.js";
import { printJsonValue } from "../command.js";
import { stepCounts } from "../model.js";
import { showAffine, showBytes, table } from "../table.js";
import { compiledOf, type Explained, type ExplainOptions } from "../explained.js";

/** The text, or nothing where it was printed as JSON. */
export async function explainModel(explained: Explained, options: ExplainOptions): Promise<string> {
  const { compiled, manifest: { graphs: { infer } } } = explained;
  if (options.json) {
    printJsonValue(forJson(compiledOf(explained, "--json").graphs.infer));
    return "";
  }
  if (options.memory) return options.family.map((name) => memoryText(infer, name)).join("\n");
  if (options.parameters) return parametersText(infer);
  const { summaryText } = await import("../summary.js");
  return summaryText(infer, options.family, compiled?.graphs.infer);
}

const add = (sizes: readonly Size[]): Size => sizes.reduce((x, y) => ({ b: x.b + y.b, c: x.c + y.c }), { b: 0, c: 0 });

/** Bytes by kind, affine in B, and at a few batches. */
function memoryText(manifest: Manifest, name: FamilyName): string {
  const family = familyNamed(manifest, name);
  const slots = (kind: "activation" | "derived"): Size =>
    add(family.slots.filter((s) => s.kind === kind).map((s) => s.bytes));
  const bytes = (shape: readonly Size[]): Size =>
    shape.reduce((n, d) => ({ b: n.b * d.c + n.c * d.b, c: n.c * d.c }), { b: 0, c: 4 });
  const parameters = { b: 0, c: manifest.parameters.reduce((n, p) => n + parameterBytes(p), 0) };
  const rows: [string, Size][] = [
    ["parameters", parameters], ["derived from parameters", slots("derived")], ["activations", slots("activation")],
    ["inputs", add(manifest.inputs.map((t) => bytes(t.shape)))],
    ["outputs", add(manifest.outputs.map((t) => bytes(t.shape)))],
  ];
  rows.push(["peak", add(rows.map(([, size]) => size))]);
  const at = [1, 8, 64];
  const cells = rows.map(
    ([label, size]) => [label, showAffine(size), ...at.map((batch) => showBytes(size.b * batch + size.c))],
  );
  const used = family.slots.reduce((n, slot) => n + slot.tensors.length, 0);
  return `${manifest.name}, ${name}: ${used} tensors share ${family.slots.length} slots\n` +
    table([["", "bytes", ...at.map((batch) => `B = ${batch}`)], ...cells], [1, 2, 3, 4]);
}

function parametersText({ parameters }: Manifest): string {
  return table(parameters.map((p) => {
    const kind = p.trained ? (p.decay ? "" : "no decay") : "buffer";
    return [p.path, `[${p.shape.join(", ")}]`, p.initializer.kind, kind];
  }));
}

function forJson({ manifest, fusion, firings }: Compiled): unknown {
  return {
    model: manifest.name, inputs: manifest.inputs, outputs: manifest.outputs, parameters: manifest.parameters,
    kernels: fusion.kernels.map(
      (kernel) => ({ kind: kernel.kind, path: pathOf(kernel), ops: kernel.members.map((node) => node.op) }),
    ),
    stored: fusion.refusals.map(({ node, reason }) => ({ op: node.op, path: node.origin.path, reason })),
    rules: Object.fromEntries(firings), steps: stepCounts(manifest),
  };
}
