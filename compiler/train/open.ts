/**
 * @file A graph together with its builder. Every training graph is built on a copy of the recipe's, so that building
 * one changes no other.
 */
import {
  GraphBuilder, rootsOf, topological, type Graph, type Node, type Parameter, type TensorType,
} from "../ir/graph.js";

/** A graph with the builder that made it, so that more can be built on it. */
export interface OpenGraph {
  readonly builder: GraphBuilder;
  readonly graph: Graph;
}

/** The same graph on a builder of its own. */
export function reopen(graph: Graph): OpenGraph {
  const builder = new GraphBuilder();
  const image = new Map<Node, Node>();
  const of = (node: Node): Node => image.get(node) as Node; // inputs come before users, and every root is walked
  const leaves = [...graph.inputs.values(), ...[...graph.parameters.values()].map((p) => p.node)];
  for (const node of topological([...leaves, ...rootsOf(graph)])) {
    const types: [TensorType, ...TensorType[]] = [{ shape: node.shape, dtype: node.dtype }, ...node.extra];
    image.set(node, builder.add(node.op, node.inputs.map(of), node.attrs, types, node.origin));
  }
  const nodes = (map: ReadonlyMap<string, Node>): Map<string, Node> =>
    new Map([...map].map(([name, node]) => [name, of(node)]));
  const parameters = new Map([...graph.parameters].map(([path, p]): [string, Parameter] =>
    [path, { ...p, node: of(p.node) }]));
  const [inputs, outputs, updates] = [nodes(graph.inputs), nodes(graph.outputs), nodes(graph.updates)];
  return { builder, graph: { inputs, parameters, outputs, updates } };
}
