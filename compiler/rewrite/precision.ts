/**
 * @file Precision: what is kept and multiplied in f16. Operands of contractions and attention are rounded to f16 where
 * their op's record allows it; products are summed in f32, and everything else (sums of rows, softmax, residual
 * streams) stays f32. Runs on graphs without composites, before fusion.
 *
 * The rounding goes below views, so that what is stored is f16 and the views stay free:
 *
 *     matmul(slice(reshape(qkv)), …)   →   matmul(slice(reshape(half(qkv))), …)
 *
 * Weights are rounded once, before the first run, as everything that parameters alone decide.
 */
import { makeOps } from "../ir/build.js";
import { GraphBuilder, type Graph, type Node } from "../ir/graph.js";
import { copyGraph, rebuild } from "../ir/map.js";
import type { OpRecord } from "../ir/op.js";
import { OPS } from "../ops/index.js";

/** The graph with every operand that may be f16 in f16. */
export function halve(graph: Graph): Graph {
  const builder = new GraphBuilder();
  const halves = new Map<Node, Node>();
  const half = (node: Node): Node => {
    const known = halves.get(node);
    if (known) return known;
    const record = OPS.get(node.op);
    const ops = makeOps(builder, node.origin);
    const made = isView(record, node) ? ops.call(node.op, node.inputs.map(half), node.attrs) : ops.call("half", [node]);
    halves.set(node, made);
    return made;
  };
  return copyGraph(graph, builder, {
    node(node, inputs) {
      const may = OPS.get(node.op)?.halves ?? [];
      const isHalved = (input: Node, i: number): boolean => may.includes(i) && input.dtype === "f32";
      return rebuild(builder, node, inputs.map((input, i) => (isHalved(input, i) ? half(input) : input)));
    },
  });
}

/** Whether a node moves f32 elements and computes none, so that it can move f16 ones instead. */
const isView = (record: OpRecord | undefined, node: Node): boolean =>
  record?.kind === "movement" && node.inputs.every(({ dtype }) => dtype === "f32");
