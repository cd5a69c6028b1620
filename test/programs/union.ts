/**
 * @file Many programs as one graph: a device is opened, loaded and asked once for all of them, and the planner shares
 * storage among them.
 */
import { GraphBuilder, type Graph } from "../../compiler/ir/graph.js";
import { copyGraph } from "../../compiler/ir/map.js";
import type { Tensor } from "../../compiler/ir/op.js";
import type { Feeds } from "../harness.js";
import type { Expectation } from "./check.js";

/** The name of a part's tensor in the whole. */
export const nameIn = (part: number, name: string): string => `g${part}/${name}`;

/** What `nameIn` put before the name: the same for all names of a part. */
export const partOf = (name: string): string => name.slice(0, name.indexOf("/"));

/** Graphs side by side; names begin with the position of the graph. */
export function unionOf(graphs: readonly Graph[]): Graph {
  const builder = new GraphBuilder();
  const parts = graphs.map((graph, part) => copyGraph(graph, builder, { rename: (name) => nameIn(part, name) }));
  const all = <T>(of: (part: Graph) => ReadonlyMap<string, T>): Map<string, T> =>
    new Map(parts.flatMap((part) => [...of(part)]));
  return {
    inputs: all((part) => part.inputs), parameters: all((part) => part.parameters),
    outputs: all((part) => part.outputs), updates: all((part) => part.updates),
  };
}

/** The programs' numbers under their names in the whole. */
export function feedsOfUnion(parts: readonly Expectation[]): Feeds {
  const all = (of: (feeds: Feeds) => ReadonlyMap<string, Tensor>): Map<string, Tensor> =>
    new Map(parts.flatMap(({ feeds }, part) => [...of(feeds)].map(([name, tensor]) => [nameIn(part, name), tensor] as const)));
  return { inputs: all((feeds) => feeds.inputs), parameters: all((feeds) => feeds.parameters) };
}
