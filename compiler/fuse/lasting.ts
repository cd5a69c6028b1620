/**
 * @file Which values stay the same from run to run, because they follow from parameters that no run changes: they are
 * computed once, in the program `prepare`.
 */
import type { Graph, Node } from "../ir/graph.js";
import { pathOf } from "../ops/leaves.js";

/** Paths of parameters that a run of the graph changes, parts of changed lanes among them. */
export function changingParameters(graph: Graph): ReadonlySet<string> {
  const changing = new Set(graph.updates.keys());
  for (const { path, inside } of graph.parameters.values()) {
    if (inside && changing.has(inside.lane)) changing.add(path);
  }
  return changing;
}

/** Tells whether a node of the graph follows from lasting parameters and constants alone. */
export function lastingIn(graph: Graph): (node: Node) => boolean {
  const changing = changingParameters(graph);
  const known = new Map<Node, "constant" | "lasting" | "changing">();
  const kindOf = (node: Node): "constant" | "lasting" | "changing" => {
    if (node.op === "parameter") return changing.has(pathOf(node)) ? "changing" : "lasting";
    if (node.inputs.length === 0) return node.op === "constant" ? "constant" : "changing";
    const kinds = new Set(node.inputs.map(look));
    return kinds.has("changing") ? "changing" : kinds.has("lasting") ? "lasting" : "constant";
  };
  const look = (node: Node): "constant" | "lasting" | "changing" => {
    const kind = known.get(node) ?? kindOf(node);
    known.set(node, kind);
    return kind;
  };
  return (node) => look(node) === "lasting";
}
