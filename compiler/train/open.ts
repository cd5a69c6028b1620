/**
 * @file A graph together with its builder. Every training graph is built on a copy of the recipe's, so that building
 * one changes no other.
 */
import { GraphBuilder, type Graph } from "../ir/graph.js";
import { copyGraph } from "../ir/map.js";

/** A graph with the builder that made it, so that more can be built on it. */
export interface OpenGraph {
  readonly builder: GraphBuilder;
  readonly graph: Graph;
}

/** The same graph on a builder of its own. */
export function reopen(graph: Graph): OpenGraph {
  const builder = new GraphBuilder();
  return { builder, graph: copyGraph(graph, builder) };
}
