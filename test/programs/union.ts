/**
 * @file Many programs as one graph: a device is opened, loaded and asked once for all of them, and the planner shares
 * storage among them.
 */
import { GraphBuilder, rootsOf, topological, type Attrs, type Graph, type Node, type Parameter } from "../../compiler/ir/graph.js";
import type { Tensor } from "../../compiler/ir/op.js";
import type { Feeds } from "../harness.js";
import type { Expectation } from "./check.js";

/** The name of a part's tensor in the whole. */
export const nameIn = (part: number, name: string): string => `g${part}/${name}`;

/** Graphs side by side; names begin with the position of the graph. */
export function unionOf(graphs: readonly Graph[]): Graph {
  const builder = new GraphBuilder();
  const inputs = new Map<string, Node>();
  const parameters = new Map<string, Parameter>();
  const [outputs, updates] = [new Map<string, Node>(), new Map<string, Node>()];
  for (const [part, graph] of graphs.entries()) {
    const image = copyInto(builder, graph, (name) => nameIn(part, name));
    const of = (node: Node): Node => image.get(node) as Node; // every node of the graph is copied
    for (const [name, node] of graph.inputs) inputs.set(nameIn(part, name), of(node));
    for (const [path, p] of graph.parameters) {
      parameters.set(nameIn(part, path), { ...p, path: nameIn(part, path), node: of(p.node) });
    }
    for (const [name, node] of graph.outputs) outputs.set(nameIn(part, name), of(node));
    for (const [path, node] of graph.updates) updates.set(nameIn(part, path), of(node));
  }
  return { inputs, parameters, outputs, updates };
}

function copyInto(builder: GraphBuilder, graph: Graph, rename: (name: string) => string): Map<Node, Node> {
  const image = new Map<Node, Node>();
  const leaves = [...graph.inputs.values(), ...[...graph.parameters.values()].map((p) => p.node)];
  for (const node of topological([...leaves, ...rootsOf(graph)])) {
    const inputs = node.inputs.map((input) => image.get(input) as Node); // inputs come before users
    const origin = { ...node.origin, path: rename(node.origin.path) };
    const types = [{ shape: node.shape, dtype: node.dtype }, ...node.extra] as const;
    image.set(node, builder.add(node.op, inputs, renamed(node, rename), types, origin));
  }
  return image;
}

function renamed({ op, attrs }: Node, rename: (name: string) => string): Attrs {
  if (op === "parameter") return { ...attrs, path: rename(String(attrs["path"])) };
  return op === "input" ? { ...attrs, name: rename(String(attrs["name"])) } : attrs;
}

/** The programs' numbers under their names in the whole. */
export function feedsOfUnion(parts: readonly Expectation[]): Feeds {
  const all = (of: (feeds: Feeds) => ReadonlyMap<string, Tensor>): Map<string, Tensor> =>
    new Map(parts.flatMap(({ feeds }, part) => [...of(feeds)].map(([name, tensor]) => [nameIn(part, name), tensor] as const)));
  return { inputs: all((feeds) => feeds.inputs), parameters: all((feeds) => feeds.parameters) };
}
