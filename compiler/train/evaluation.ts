/**
 * @file Evaluation as a graph: predictions, and sums over the rows that count, for the model and for its average.
 */
import { BATCH, dim } from "../ir/dim.js";
import { makeOps } from "../ir/build.js";
import type { Graph, Node } from "../ir/graph.js";
import type { Ops } from "../ir/op.js";
import { algebra } from "../ops/algebra.js";
import { predictionOf } from "./instances.js";
import { reopen } from "./open.js";
import type { ElaboratedRecipe } from "./recipe.js";

/** Classes per sample and distributions per sample, by the names under which data brings them. */
const LABELS = "labels";
const TARGETS = "targets";
/** 1 for a sample, 0 for what pads the last batch. */
const MASK = "mask";

/** How many rows of a top-k list count for `correct5`. */
const TOP = 5;

/** The evaluation of a recipe: one graph, run with the parameters' tensors or with those of their averages. */
interface EvaluationGraph {
  /**
   * Outputs: the model's own, and, where it predicts classes, sums over the rows whose `mask` is 1: `loss` (cross
   * entropy without smoothing), `correct`, `correct5` (more than five classes), `count`.
   */
  readonly graph: Graph;
  /** Names of the inputs that the data brings: the model's, then `labels` (i32 [B]) and `mask` (f32 [B]). */
  readonly data: readonly string[];
}

/** The evaluated model of a recipe in inference, with its loss and accuracy. */
export function evaluationGraph(recipe: ElaboratedRecipe): EvaluationGraph {
  const { classes } = recipe;
  const { builder, graph } = reopen(recipe.model.graph);
  const prediction = predictionOf(graph.outputs);
  if (classes === undefined || !prediction) return { graph, data: [...graph.inputs.keys()] };
  const ops = makeOps(builder, { path: "evaluation" });
  const labels = ops.call("input", [], { name: LABELS, shape: [BATCH], dtype: "i32" });
  const mask = ops.call("input", [], { name: MASK, shape: [BATCH] });
  const inputs = new Map([...graph.inputs, [LABELS, labels] as const, [MASK, mask] as const]);
  const outputs = new Map([...graph.outputs, ...sums(ops, prediction, labels, mask, classes)]);
  return { graph: { ...graph, inputs, outputs }, data: [...inputs.keys()] };
}

/** Sums over the rows of `logits` [B, C] whose `mask` [B] is 1. */
function sums(ops: Ops, logits: Node, labels: Node, mask: Node, classes: number): ReadonlyMap<string, Node> {
  const o = algebra(ops);
  const over = (x: Node): Node => ops.call("sum", [o.mul(x, mask)]);
  const rows = (x: Node): Node => ops.call("sum", [x], { axes: [1], keep: false });
  const hot = ops.call("one_hot", [labels], { classes });
  const entropy = o.unary("neg", rows(o.mul(hot, ops.call("log_softmax", [logits], { axis: -1 }))));
  const made = new Map([["loss", over(entropy)], ["correct", over(hits(ops, logits, labels))],
    ["count", ops.call("sum", [mask])]]);
  if (classes <= TOP) return made;
  const own = ops.call("sum", [o.mul(hot, logits)], { axes: [1], keep: true });
  const ahead = rows(o.unary("float", o.gt(logits, own)));
  made.set("correct5", over(o.unary("float", o.lt(ahead, TOP))));
  return made;
}

/** 1 where the greatest of a row of `logits` [B, C] is at its label, else 0. */
function hits(ops: Ops, logits: Node, labels: Node): Node {
  return ops.call("float", [ops.call("eq", [ops.call("argmax", [logits], { axis: -1 }), labels])]);
}

/** How many rows of a training batch are predicted right, by its labels or the greatest of its targets. */
export function correctOf(ops: Ops, logits: Node, inputs: ReadonlyMap<string, Node>): Node | undefined {
  const [labels, targets] = [inputs.get(LABELS), inputs.get(TARGETS)];
  const size = logits.shape[1] ?? dim(0);
  const whole = labels?.dtype === "i32" && labels.shape.length === 1 && labels.shape[0]?.b === 1;
  const soft = targets?.dtype === "f32" && targets.shape.length === 2 && targets.shape[1]?.c === size.c;
  const truth = whole ? labels : soft ? ops.call("argmax", [targets], { axis: -1 }) : undefined;
  return truth && ops.call("sum", [hits(ops, logits, truth)]);
}
