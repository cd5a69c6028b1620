/**
 * @file The one way in which a graph is rebuilt: every node over the images of its inputs, inputs before users, and the
 * graph's names over the images. What a node becomes, and what leaves are called, is for the caller to say.
 */
import {
  rootsOf, topological, type Attrs, type Graph, type GraphBuilder, type Node, type Parameter,
} from "./graph.js";
import { invariant } from "./invariant.js";
import { isOp } from "./op.js";
import { input, parameter } from "../ops/leaves.js";

type Rename = (name: string) => string;

/** What a copy of a graph changes. Without hooks it is the same graph in another builder. */
interface MapHooks {
  /** What a node becomes over the images of its inputs, of the same type. By default the same op. */
  node?(node: Node, inputs: readonly Node[]): Node;
  /** Another name for inputs, parameters, outputs, updates, and where nodes come from. */
  readonly rename?: Rename;
}

/** `node` on other inputs of the same types. */
export function rebuild(builder: GraphBuilder, node: Node, inputs: readonly Node[]): Node {
  const { op, attrs, shape, dtype, extra, origin } = node;
  return builder.add(op, inputs, attrs, [{ shape, dtype }, ...extra], origin);
}

/** A copy of the graph in `builder`: all that it declares and all that its outputs and updates need. */
export function copyGraph(graph: Graph, builder: GraphBuilder, { node: become, rename }: MapHooks = {}): Graph {
  const image = new Map<Node, Node>();
  const of = (node: Node): Node => {
    const found = image.get(node);
    invariant(found, "inputs come before users");
    return found;
  };
  const leaves = [...graph.inputs.values(), ...[...graph.parameters.values()].map((p) => p.node)];
  for (const node of topological([...leaves, ...rootsOf(graph)])) {
    const inputs = node.inputs.map(of);
    const named = rename ? renamed(node, rename) : node;
    image.set(node, become ? become(named, inputs) : rebuild(builder, named, inputs));
  }
  return overImages(graph, of, rename);
}

/** The graph's names over what its nodes have become. */
export function overImages(graph: Graph, of: (node: Node) => Node, rename: Rename = (name) => name): Graph {
  const nodes = (named: ReadonlyMap<string, Node>): Map<string, Node> =>
    new Map([...named].map(([name, node]) => [rename(name), of(node)]));
  const parameter = (p: Parameter): Parameter => ({
    ...p, path: rename(p.path), node: of(p.node),
    inside: p.inside && { ...p.inside, lane: rename(p.inside.lane) },
  });
  return {
    inputs: nodes(graph.inputs),
    parameters: new Map([...graph.parameters].map(([path, p]) => [rename(path), parameter(p)])),
    outputs: nodes(graph.outputs), updates: nodes(graph.updates),
  };
}

/** The node under other names: a leaf is known by its attribute. */
function renamed(node: Node, rename: Rename): Node {
  const origin = { ...node.origin, path: rename(node.origin.path) };
  return { ...node, origin, attrs: renamedAttrs(node, rename) };
}

function renamedAttrs(node: Node, rename: Rename): Attrs {
  if (isOp(parameter, node)) return { ...node.attrs, path: rename(node.attrs.path) };
  return isOp(input, node) ? { ...node.attrs, name: rename(node.attrs.name) } : node.attrs;
}
