/**
 * @file Replaces composite ops by what they are made of, so that fusion and lowering see only ops with one loop form.
 */
import { makeOps } from "../ir/build.js";
import { GraphBuilder, rootsOf, topological, type Graph, type Node, type Parameter } from "../ir/graph.js";
import { invariant } from "../ir/invariant.js";
import type { OpRecord } from "../ir/op.js";

/** Inputs of one op, so that a kernel can bind them all with its output, and one more. */
const MOST_INPUTS = 6;

/** The same graph without composite ops; paths and spans stay those of the composite. */
export function expandComposites(graph: Graph, records: ReadonlyMap<string, OpRecord>): Graph {
  const builder = new GraphBuilder();
  const image = new Map<Node, Node>();
  const expand = (node: Node): Node => {
    const record = records.get(node.op);
    invariant(record, `op ${node.op} has a record`);
    if (record.narrow && node.inputs.length > MOST_INPUTS) {
      return settle(record.narrow(makeOps(builder, node.origin), node.inputs, node.attrs, MOST_INPUTS));
    }
    if (record.kind !== "composite") return node;
    invariant(record.expand, `composite ${node.op} has an expansion`);
    return settle(record.expand(makeOps(builder, node.origin), node.inputs, node.attrs));
  };
  /** An expansion may hold composites in turn. */
  const settled = new Map<Node, Node>();
  const settle = (root: Node): Node => {
    const known = settled.get(root);
    if (known) return known;
    for (const input of root.inputs) settle(input);
    const made = expand(rebuild(root, settled));
    settled.set(root, made);
    return made;
  };
  const rebuild = (node: Node, map: ReadonlyMap<Node, Node>): Node => {
    const inputs = node.inputs.map((i) => map.get(i) ?? i);
    if (inputs.every((i, n) => i === node.inputs[n])) return node;
    return builder.add(
      node.op, inputs, node.attrs, [{ shape: node.shape, dtype: node.dtype }, ...node.extra], node.origin,
    );
  };
  const leaves = [...graph.inputs.values(), ...[...graph.parameters.values()].map((p) => p.node)];
  for (const node of topological([...leaves, ...rootsOf(graph)])) {
    const inputs = node.inputs.map((i) => image.get(i) as Node); // inputs come before users
    const copy = builder.add(
      node.op, inputs, node.attrs, [{ shape: node.shape, dtype: node.dtype }, ...node.extra], node.origin,
    );
    image.set(node, settle(copy));
  }
  const of = (node: Node): Node => image.get(node) as Node; // every node of the graph has been walked
  const nodes = (map: ReadonlyMap<string, Node>): Map<string, Node> =>
    new Map([...map].map(([name, node]) => [name, of(node)]));
  const parameters = [...graph.parameters].map(([path, p]): [string, Parameter] => [path, { ...p, node: of(p.node) }]);
  return {
    inputs: nodes(graph.inputs), parameters: new Map(parameters),
    outputs: nodes(graph.outputs), updates: nodes(graph.updates),
  };
}
