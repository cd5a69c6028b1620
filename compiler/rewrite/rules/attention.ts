/**
 * @file Recognition of attention: softmax(q·kᵀ·scale)·v as one op that never stores the scores.
 */
import { isConstant, sameShape } from "../../ir/dim.js";
import type { Node } from "../../ir/graph.js";
import { constantValue, isView, type Match } from "../pattern.js";
import { nodeNamed, rule, ruleAt, type Context, type Guard, type Rule, type RuleExample } from "../rule.js";
import { attrsOf, type Ops } from "../../ir/op.js";
import { attention } from "../../ops/attention.js";
import { dimAt, inputOf } from "./views.js";

/** The widest head the attention kernels hold in registers and workgroup memory. */
const WIDEST_HEAD = 256;

/** Why attention cannot take the matched values, or true. */
const fits: Guard = (match) => {
  const [q, v] = [nodeNamed(match, "q"), nodeNamed(match, "v")];
  const scores = softmaxOf(match.root).inputs[0];
  const product = [...match.interior].find((n) => n.op === "matmul" && n !== match.root);
  if (!scores || !product || !sameShape(scores.shape, product.shape)) return false;
  if (![...match.nodes].every(([name, node]) => (name !== "s" && name !== "d") || constantValue(node) !== undefined)) {
    return "its scores are scaled by a tensor, not by a number";
  }
  for (const [what, width] of [["head", dimAt(q.shape, q.shape.length - 1)], ["value", dimAt(
    v.shape, v.shape.length - 1
  )]] as const) {
    if (
      !isConstant(width) || width.c > WIDEST_HEAD
    ) return `its ${what} width is ${width.c}, the kernel holds ${WIDEST_HEAD}`;
  }
  return true;
};

const softmaxOf = (root: Node): Node => inputOf(root, 0);

const HEADS = { q: ["B", 2, 5, 4], k: ["B", 2, 7, 4], v: ["B", 2, 7, 3] } as const;
const on = (...texts: readonly [string, ...string[]]): [RuleExample, ...RuleExample[]] => {
  const [first, ...rest] = texts;
  return [{ text: first, inputs: HEADS }, ...rest.map((text) => ({ text, inputs: HEADS }))];
};

const spelled = (from: string, to: string, doc: string, examples: [RuleExample, ...RuleExample[]]): Rule =>
  rule("attention", from, to, { doc, exclusive: true, when: fits, judged: ["s", "d"], examples });

/** The number a value was multiplied by before movements that only this attention reads, and the value without it. */
function unscaled(ops: Ops, node: Node, context: Context): { node: Node; factor: number } | undefined {
  const [x, y] = node.inputs;
  if (!x || context.isRoot(node) || context.users(node).length !== 1) return undefined;
  if (isView(node)) {
    const below = unscaled(ops, x, context);
    return below && { node: ops.call(node.op, [below.node], node.attrs), factor: below.factor };
  }
  if (node.op !== "mul" && node.op !== "div") return undefined;
  const [left, right] = [constantValue(x), y && constantValue(y)];
  if (right !== undefined && sameShape(x.shape, node.shape)) {
    return { node: x, factor: node.op === "mul" ? right : 1 / right };
  }
  const leads = y && left !== undefined && node.op === "mul" && sameShape(y.shape, node.shape);
  return leads ? { node: y, factor: left } : undefined;
}

/** The attention with the scale of its `which` operand taken over. */
function takeScale(ops: Ops, match: Match, context: Context): Node | undefined {
  const { root, nodes } = match;
  for (const which of [0, 1]) {
    const operand = inputOf(root, which);
    // Only where nothing below was rewritten in this sweep: the users are those of the graph it started from.
    const found = nodes.get(String(which)) === operand ? unscaled(ops, operand, context) : undefined;
    if (!found) continue;
    const inputs = root.inputs.map((input, i) => (i === which ? found.node : (nodes.get(String(i)) ?? input)));
    return ops.call("attention", inputs, { scale: attrsOf(attention, root).scale * found.factor });
  }
  return undefined;
}

export const attentionRules: readonly Rule[] = [
  spelled("matmul(softmax(matmul(q, t) * s, axis = -1), v)", "attention(q, transpose(t), v, scale = s)",
    "softmax(q·kᵀ·s)·v is attention.", on(
      "matmul(softmax(matmul(q, transpose(k)) * 0.3, axis = -1), v)",
      "matmul(softmax(0.5 * matmul(q, permute(k, order = [0, 1, 3, 2])), axis = -1), v)",
      "matmul(softmax(matmul(q, transpose(k)) / 2, axis = -1), v)",
    )),
  spelled("matmul(softmax(matmul(q, t) / d, axis = -1), v)", "attention(q, transpose(t), v, scale = 1 / d)",
    "softmax(q·kᵀ / d)·v is attention.", on("matmul(softmax(matmul(q, transpose(k)) / sqrt(3), axis = -1), v)")),
  spelled("matmul(softmax(matmul(q, t), axis = -1), v)", "attention(q, transpose(t), v, scale = 1)",
    "softmax(q·kᵀ)·v is attention.", on("matmul(softmax(matmul(q, transpose(k)), axis = -1), v)")),
  ruleAt("scale of attention", ["attention"], takeScale, {
    doc: "A number q or k was multiplied by is the attention's scale.", context: true,
    examples: on(
      "matmul(softmax(matmul(q * 0.3, transpose(k)), axis = -1), v)",
      "matmul(softmax(matmul(q, transpose(k / 1.7)), axis = -1), v)",
      "attention(q * 0.5, transpose(transpose(k) * 0.7), v, scale = 3)",
    ),
  }),
];
