/**
 * @file Replaces composite ops by what they are made of, so that fusion and lowering see only ops with one loop form.
 */
import { makeOps } from "../ir/build.js";
import { GraphBuilder, type Graph, type Node } from "../ir/graph.js";
import { invariant } from "../ir/invariant.js";
import { copyGraph, rebuild } from "../ir/map.js";
import type { OpRecord } from "../ir/op.js";

/** Inputs of one op, so that a kernel can bind them all with its output, and one more. */
const MOST_INPUTS = 6;

/** The same graph without composite ops; paths and spans stay those of the composite. */
export function expandComposites(graph: Graph, records: ReadonlyMap<string, OpRecord>): Graph {
  const builder = new GraphBuilder();
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
    const inputs = root.inputs.map(settle);
    const changed = inputs.some((input, i) => input !== root.inputs[i]);
    const made = expand(changed ? rebuild(builder, root, inputs) : root);
    settled.set(root, made);
    return made;
  };
  return copyGraph(graph, builder, { node: (node, inputs) => settle(rebuild(builder, node, inputs)) });
}
