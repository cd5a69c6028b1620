/** @file A compiled graph as its picture sees it: kernels, what they read of each other, and what prepares it. */
import type { Step } from "../../runtime/manifest.js";
import { pathOf, writtenBy, type FusedKernel } from "../fuse/fusion.js";
import type { Graph, Node } from "../ir/graph.js";
import { OPS } from "../ops/index.js";
import type { CompiledGraph } from "../pipeline.js";
import { familyOfTarget } from "../pipeline.js";
import { structureOf } from "./structure.js";

/** A dispatch. */
export interface Kernel {
  /** Its place in the order of execution. */
  readonly id: number;
  /** Parameter-style, as in the lists of `explain` and in profiles: `blocks.3.attn.qkv`. */
  readonly path: string;
  /** Of its shader: `matmul_blocks.i.attn.qkv`. */
  readonly name: string;
  readonly fused: FusedKernel;
  readonly step: Step;
  /** What it reads, each once, in the order in which its structure meets it. Parameters are left out. */
  readonly sources: readonly Source[];
  /** The kernels that prepare what it reads, which run once after loading. */
  readonly prepared: readonly Kernel[];
  /** Equal for kernels of equal structure: what is computed, and of what kind of tensors. */
  readonly structure: string;
  /** Parameters that it reads, directly or prepared, in the same order. */
  readonly parameters: readonly string[];
}

/** A kernel that wrote it, or an input's name. */
export type Source = Kernel | string;

export interface Network {
  /** What runs in every forward pass or step, in order. */
  readonly kernels: readonly Kernel[];
  readonly prepare: readonly Kernel[];
  readonly inputs: ReadonlyMap<string, Node>;
  /** Results that leave the graph: the kernel that stores them and their names. */
  readonly outputs: ReadonlyMap<Kernel, readonly string[]>;
}

/** The kernels that the family of `target` runs. */
export function networkOf(compiled: Pick<CompiledGraph, "fusion" | "families" | "expanded">, target: string): Network {
  const { family, stepOf } = familyOfTarget(compiled, target).planned;
  const preparing = new Set(family.programs.prepare);
  const maker = new Map<Node, Kernel>();
  const all: Kernel[] = [];
  for (const fused of compiled.fusion.kernels) {
    const step = stepOf.get(fused);
    if (!step) continue;
    const { text, reads } = structureOf(fused);
    const kernel = connected(
      { id: all.length, path: pathOf(fused), name: family.kernels[step.kernel]?.name ?? fused.kind, fused, step },
      text, reads, maker, ({ step: other }) => preparing.has(other),
    );
    all.push(kernel);
    for (const node of writtenBy(fused)) maker.set(node, kernel);
  }
  const [prepare, kernels] = [true, false].map((is) => all.filter(({ step }) => preparing.has(step) === is));
  return {
    kernels: kernels ?? [], prepare: prepare ?? [], inputs: compiled.expanded.inputs,
    outputs: outputsOf(compiled.expanded, maker),
  };
}

/** The kernel with its sources. What a kernel of `prepare` made counts by how it is made, not by which one made it. */
function connected(
  own: Pick<Kernel, "id" | "path" | "name" | "fused" | "step">, text: string, reads: readonly Node[],
  maker: ReadonlyMap<Node, Kernel>, isPreparing: (kernel: Kernel) => boolean,
): Kernel {
  const sources: Source[] = [];
  const prepared: Kernel[] = [];
  const parameters: string[] = [];
  const place = <T>(list: T[], item: T): number => (list.includes(item) ? list.indexOf(item) : list.push(item) - 1);
  const sorts = reads.map((read): string => {
    const parts = OPS.get(read.op)?.pack ? read.inputs : [read];
    return parts.map((part): string => {
      if (part.op === "parameter") return `parameter ${parameters.push(String(part.attrs["path"]))}`;
      if (part.op === "input") return `source ${place<Source>(sources, String(part.attrs["name"]))}.0`;
      const from = maker.get(part);
      if (!from) return part.op;
      const which = writtenBy(from.fused).indexOf(part);
      if (!isPreparing(from)) return `source ${place<Source>(sources, from)}.${which}`;
      parameters.push(...from.parameters);
      for (const one of [...from.prepared, from]) place(prepared, one);
      return `prepared ${which} ${from.structure}`;
    }).join(" ");
  });
  return { ...own, sources, prepared, parameters, structure: `${text}\n${sorts.join("\n")}` };
}

function outputsOf({ outputs, updates }: Graph, maker: ReadonlyMap<Node, Kernel>): Map<Kernel, string[]> {
  const named = new Map<Kernel, string[]>();
  for (const [name, node] of outputs) {
    const kernel = maker.get(node);
    if (kernel) named.set(kernel, [...(named.get(kernel) ?? []), name]);
  }
  // Next values of parameters end here as well: nothing else has to be said of them than that they are not lost.
  for (const node of updates.values()) {
    const kernel = maker.get(node);
    if (kernel && !named.has(kernel)) named.set(kernel, []);
  }
  return named;
}
