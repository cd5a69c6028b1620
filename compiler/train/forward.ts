/**
 * @file The forward graph as training wants it: recognised, so that what has a kernel keeps its own gradient; attention
 * saving what its backward pass needs; random numbers as inputs that the host draws.
 */
import { attrsOf, isOp } from "../ir/op.js";
import { input, randomUniform } from "../ops/leaves.js";
import { hasBackward } from "../ops/attention.js";
import { rootsOf, topological, type Graph } from "../ir/graph.js";
import { rewrite } from "../rewrite/engine.js";
import { nodeNamed, rule, ruleAt, ruleByExpansion, type Rule } from "../rewrite/rule.js";
import { recognize } from "../rewrite/rules/recognize.js";
import { simplify } from "../rewrite/rules/simplify.js";

/** Prefix of the names of inputs that are random numbers; what follows is their stream. */
export const RANDOM = "random.";

const HEADS = { q: ["B", 2, 5, 4], k: ["B", 2, 7, 4], v: ["B", 2, 7, 4] } as const;

const savingRules: readonly Rule[] = [
  rule("save attention", "attention(q, k, v, scale = s)", "attention_saving(q, k, v, scale = s)", {
    when: (match) =>
      hasBackward(nodeNamed(match, "q").shape, nodeNamed(match, "k").shape, nodeNamed(match, "v").shape),
    doc: "Attention that will be differentiated saves ln Σ exp of its scores.",
    examples: [{ text: "attention(q, k, v, scale = 0.5)", inputs: HEADS }],
  }),
];

const randomRules: readonly Rule[] = [
  ruleByExpansion("draw", ["bernoulli"], {
    doc: "A draw by its probability is a comparison with a uniform number.",
    examples: [{ text: "x * bernoulli(0.5, [B, 1])", inputs: { x: ["B", 3] } }],
  }),
  ruleAt("random input", ["random_uniform"], (ops, { root }) =>
    ops.call("input", [], { name: `${RANDOM}${String(attrsOf(randomUniform, root).stream)}`, shape: root.shape }), {
    doc: "Random numbers are drawn by the host.",
    examples: [{ text: "x * random_uniform([B, 1])", inputs: { x: ["B", 3] } }],
  }),
];

/** The same values, ready to be differentiated and lowered. */
export function prepareForward(graph: Graph): Graph {
  const recognized = simplify(recognize(simplify(graph).graph).graph).graph;
  const made = rewrite(recognized, [...savingRules, ...randomRules]).graph;
  const inputs = new Map(made.inputs);
  for (const node of topological(rootsOf(made))) {
    if (isOp(input, node) && node.attrs.name.startsWith(RANDOM)) inputs.set(node.attrs.name, node);
  }
  return { ...made, inputs };
}
