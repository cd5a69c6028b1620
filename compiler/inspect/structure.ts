/** @file What a kernel computes, as a text that is equal for kernels of equal structure, and in a few words. */
import type { FusedKernel } from "../fuse/fusion.js";
import { showShape } from "../ir/dim.js";
import type { Graph, Node, Origin } from "../ir/graph.js";
import { topological, rootsOf } from "../ir/graph.js";
import { OPS } from "../ops/index.js";

interface Structure {
  /** Equal for two kernels that compute the same of tensors of the same shapes, constants aside. */
  readonly text: string;
  /** The stored tensors and leaves it reads, in the order in which `text` meets them. */
  readonly reads: readonly Node[];
}

/** Ops whose attributes may differ from block to block without another structure: numbers, and places in storage. */
const PLAIN: readonly string[] = ["constant", "place"];

/** A kernel's ops from its results down to what it reads. */
export function structureOf({ kind, root, also = [], members, reads }: FusedKernel): Structure {
  const inside = new Set(members);
  const leaves = new Set(reads);
  const met: Node[] = [];
  const names = new Map<Node, string>();
  const lines: string[] = [];
  const visit = (node: Node, isResult: boolean): string => {
    const known = names.get(node);
    if (known !== undefined) return known;
    if (!isResult && (leaves.has(node) || !inside.has(node))) {
      const name = `r${met.push(node) - 1}`;
      names.set(node, name);
      lines.push(`${name} ${node.dtype} ${showShape(node.shape)}`);
      return name;
    }
    const inputs = node.inputs.map((input) => visit(input, false));
    const name = `n${lines.length}`;
    names.set(node, name);
    const attrs = PLAIN.includes(node.op) ? "" : JSON.stringify(node.attrs);
    lines.push(`${name} = ${node.op}(${inputs.join(",")}) ${attrs} ${node.dtype} ${showShape(node.shape)}`);
    return name;
  };
  const results = [root, ...also.map(({ node }) => node)].map((node) => visit(node, true));
  return { text: `${kind} ${results.join(",")}\n${lines.join("\n")}`, reads: met };
}

/** Composite ops of the graph before expansion, by the origin that everything inside them has as well. */
export function compositesOf(graph: Graph): ReadonlyMap<Origin, string> {
  const composites = topological(rootsOf(graph)).filter(({ op }) => OPS.get(op)?.kind === "composite");
  return new Map(composites.map(({ op, origin }) => [origin, op]));
}

/**
 * The ops that work on data, in order: composites by their own name, views and constants only where there is nothing
 * else, and nothing that depends on parameters alone.
 */
export function computedBy(kernel: FusedKernel, composites: ReadonlyMap<Origin, string>): string {
  const { members, reads } = kernel;
  const fixed = new Set(reads.filter(({ op }) => op === "parameter"));
  for (const node of members) {
    if (!reads.includes(node) && node.inputs.every((input) => fixed.has(input))) fixed.add(node);
  }
  const working = members.some((node) => !fixed.has(node)) ? members.filter((node) => !fixed.has(node)) : members;
  const computing = working.filter(({ op }) => !["leaf", "movement"].includes(OPS.get(op)?.kind ?? ""));
  const words = (computing.length > 0 ? computing : working).map(({ op, origin }) => composites.get(origin) ?? op);
  const whole = new Set(composites.values());
  return words.filter((word, i) => word !== words[i - 1] || !whole.has(word)).join(" · ");
}
