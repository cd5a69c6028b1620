/**
 * @file Where the next value of each parameter is written: onto the old one where nobody needs that any more, else
 * beside it, to be copied over at the end.
 */
import { writtenBy, type FusedKernel } from "./fusion.js";
import type { Graph, Node, Parameter } from "../ir/graph.js";
import { indexKey, variable } from "../ir/indices.js";
import type { OpRecord } from "../ir/op.js";
import { pathOf } from "../ops/leaves.js";
import { Puller } from "./pull.js";
import type { Value } from "../ir/value.js";

export interface Places {
  /** Stored tensor → the parameter it is written onto. */
  readonly inPlace: ReadonlyMap<Node, Node>;
  /** Next value → path of the parameter it is copied to at the end. */
  readonly copies: readonly { readonly from: Node; readonly to: string }[];
}

export const NO_PLACES: Places = { inPlace: new Map(), copies: [] };

/** What it takes to follow a kernel's values: the ops' records, and the tensors that are stored. */
interface PullContext {
  readonly records: ReadonlyMap<string, OpRecord>;
  readonly stored: ReadonlySet<Node>;
}

/** @param kernels in execution order */
export function placesOf(graph: Graph, kernels: readonly FusedKernel[], context: PullContext): Places {
  if (graph.updates.size === 0) return NO_PLACES;
  const storage = storageOf(graph);
  const outputs = new Set(graph.outputs.values());
  const position = new Map(kernels.flatMap((k, i) =>
    writtenBy(k).map((node) => [node, i] as const)));
  /** Last kernel that reads each storage. */
  const lastRead = new Map<string, number>();
  kernels.forEach((k, i) => {
    for (const node of k.reads) if (node.op === "parameter") lastRead.set(storage(node), i);
  });
  const inPlace = new Map<Node, Node>();
  const copies: { from: Node; to: string }[] = [];
  for (const [path, next] of graph.updates) {
    const leaf = (graph.parameters.get(path) as Parameter).node; // a graph updates its own parameters
    if (next === leaf) continue;
    const at = position.get(next);
    const kernel = at === undefined ? undefined : kernels[at];
    const free = kernel && at !== undefined && !outputs.has(next) && !inPlace.has(next)
      && next.dtype === leaf.dtype && (lastRead.get(storage(leaf)) ?? -1) <= at
      && mayOverwrite(kernel, next, leaf, context, storage);
    if (free) inPlace.set(next, leaf);
    else copies.push({ from: next, to: path });
  }
  return { inPlace, copies };
}

/** Name of the buffer a parameter lies in: its lane's or its own. */
function storageOf(graph: Graph): (leaf: Node) => string {
  return (leaf) => {
    const path = pathOf(leaf);
    return graph.parameters.get(path)?.inside?.lane ?? path;
  };
}

/** Whether `kernel` reads of the storage of `leaf` at most the very element where it writes `next`. */
function mayOverwrite(
  kernel: FusedKernel, next: Node, leaf: Node, { records, stored }: PullContext, storage: (leaf: Node) => string,
): boolean {
  const touched = kernel.reads.filter((n) => n.op === "parameter" && storage(n) === storage(leaf));
  if (touched.length === 0) return true;
  if (kernel.kind !== "map" || touched.some((n) => n !== leaf)) return false;
  const { root, also = [] } = kernel;
  const at = root.shape.map((size, axis) => variable(`c${axis}`, size));
  const sides = also.map(({ node, at: place }) => ({ node, at: place ?? [] }));
  const places = [{ node: root, at }, ...sides];
  const own = places.find(({ node }) => node === next)?.at.map(indexKey).join();
  const inside = new Set(places.map(({ node }) => node));
  const puller = new Puller(records, new Set([...stored].filter((n) => !inside.has(n))), root);
  const same = (value: Value): boolean => {
    switch (value.kind) {
      case "load": return value.node !== leaf || value.at.map(indexKey).join() === own;
      case "apply": return value.args.every(same);
      // A computed index may hold loads of its own.
      case "select": return false;
      default: return true;
    }
  };
  return places.every((place) => same(puller.pull(place.node, place.at)));
}

/** Next values, each with the parameter that it is hoped to be written onto. */
export function overwritesOf(graph: Graph): ReadonlyMap<Node, Node> {
  return new Map([...graph.updates].flatMap(([path, next]): [Node, Node][] => {
    const leaf = graph.parameters.get(path)?.node;
    return leaf && leaf.dtype === next.dtype ? [[next, leaf]] : [];
  }));
}
