/** @file `deitc explain` of a model: its header, its kernels, what was fused and what was not, its memory. */
import { familyNamed } from "../../../runtime/families.js";
import type { FamilyName, Manifest, Size } from "../../../runtime/manifest.js";
import { inferenceGraph, inferenceOf } from "../../../runtime/artifact.js";
import { parameterBytes } from "../../../runtime/memory.js";
import { dim, sizeOf } from "../../ir/dim.js";
import type { Compiled } from "../../pipeline.js";
import { printJsonValue } from "../command.js";
import { stepCounts } from "../model.js";
import { decisionsJson, summaryText } from "../summary.js";
import { showAffine, showBytes, table } from "../table.js";
import { compiledOf, type Explained, type ExplainOptions } from "../explained.js";

/** The text, or nothing where it was printed as JSON. */
export function explainModel(explained: Explained, options: ExplainOptions): string {
  const { compiled } = explained;
  const { manifest: infer } = inferenceOf(explained, options.precision);
  const graph = inferenceGraph(options.precision);
  if (options.json) {
    const { graphs } = compiledOf(explained, "--json");
    printJsonValue(forJson(graphs[graph] ?? graphs.infer));
    return "";
  }
  if (options.memory) return options.family.map((name) => memoryText(infer, name)).join("\n");
  if (options.parameters) return parametersText(infer);
  return summaryText(infer, options.family, compiled?.graphs[graph]);
}

const add = (sizes: readonly Size[]): Size => sizes.reduce((x, y) => ({ b: x.b + y.b, c: x.c + y.c }), { b: 0, c: 0 });

/** Bytes by kind, affine in B, and at a few batches. */
function memoryText(manifest: Manifest, name: FamilyName): string {
  const family = familyNamed(manifest, name);
  const slots = (kind: "activation" | "derived"): Size =>
    add(family.slots.filter((s) => s.kind === kind).map((s) => s.bytes));
  const bytes = (shape: readonly Size[]): Size => sizeOf([...shape, dim(4)]);
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

function forJson(compiled: Compiled): unknown {
  const { manifest } = compiled;
  return {
    model: manifest.name, inputs: manifest.inputs, outputs: manifest.outputs, parameters: manifest.parameters,
    ...decisionsJson(compiled), steps: stepCounts(manifest),
  };
}
