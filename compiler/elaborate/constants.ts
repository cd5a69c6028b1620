/**
 * @file Tensors computed from numbers alone, as numbers: how a buffer starts from an expression.
 */
import { isConstant } from "../ir/dim.js";
import { topological, type Node } from "../ir/graph.js";
import { interpret } from "../inspect/interpret.js";

/** What marks a leaf whose numbers are not in the text: a parameter, an input, a random draw. */
const BROUGHT = ["path", "name", "stream"];

/** The elements of a node that depends on no parameter, input, draw or batch; undefined for any other. */
export function constantValues(node: Node): readonly number[] | undefined {
  const known = topological([node]).every((n) => n.shape.every(isConstant) && !BROUGHT.some((key) => key in n.attrs));
  if (!known) return undefined;
  const none = new Map<string, never>();
  const graph = { inputs: none, parameters: none, outputs: new Map([["values", node]]), updates: none };
  const { outputs } = interpret(graph, { batch: 1, inputs: none, parameters: none, precision: "f64" });
  return [...(outputs.get("values")?.data ?? [])];
}
