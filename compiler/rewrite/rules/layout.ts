/**
 * @file Channels last: convolutions are rewritten so that the terms of their sums lie side by side, and the
 * permutations this brings sink through everything behind, so that images are stored in that order throughout. Scales
 * behind a convolution whose weights stay as they are, as batch norm's in inference, become part of its weights.
 *
 * Runs last, on graphs that are differentiated already.
 */
import { dim, isConstant, isOne, sameDim, sameShape, type Dim, type Shape } from "../../ir/dim.js";
import { rootsOf, topological, type Graph, type Node } from "../../ir/graph.js";
import { lastingIn } from "../../fuse/lasting.js";
import { attrsOf, reducedOf, type Ops } from "../../ir/op.js";
import { conv2d } from "../../ops/convolution.js";
import { recordOf } from "../../ops/index.js";
import { at } from "../../ops/strided.js";
import { rewrite, type Rewritten } from "../engine.js";
import { rule, ruleAt, ruleByExpansion, type Rule } from "../rule.js";
import { simplifyRules } from "./simplify.js";
import { sinkingRule } from "./sinking.js";
import { dimAt, inputOf, inverse, orderOf, padRank, permute, reshape } from "./views.js";

const LAST = [0, 2, 3, 1] as const;
const FIRST = [0, 3, 1, 2] as const;
const POOLS = ["max_pool2d", "avg_pool2d"] as const;

function channelsLast(ops: Ops, root: Node): Node | undefined {
  const [x, weight] = [inputOf(root, 0), inputOf(root, 1)];
  const constant = [...weight.shape, ...x.shape.slice(1)].every(isConstant);
  if (!constant) return undefined;
  const { stride, dilation, pad, groups } = attrsOf(conv2d, root);
  const [out, each, kh, kw] = weight.shape.map((d) => d.c) as [number, number, number, number]; // rank 4
  const attrs = {
    kernel: [kh, kw], stride, dilation,
    before: pad.map((side) => at(side, 0)), sides: root.shape.slice(2).map((d) => d.c),
  };
  const [n, ...sides] = [0, 2, 3].map((axis) => dimAt(root.shape, axis)) as [Dim, Dim, Dim]; // rank 4
  const images = permute(ops, x, LAST);
  if (each === 1 && out === groups) {
    const seen = ops.call("windows", [images], attrs);
    const taps = permute(ops, reshape(ops, weight, [out, kh, kw].map((size) => dim(size))), [1, 2, 0]);
    const y = ops.call("sum", [ops.call("mul", [seen, taps])], { axis: [3, 4] });
    return permute(ops, y, FIRST);
  }
  const grouped = reshape(ops, images, [...images.shape.slice(0, 3), dim(groups), dim(each)]);
  const split = [groups, out / groups, each, kh, kw].map((size) => dim(size));
  const kernels = permute(ops, reshape(ops, weight, split), [0, 1, 3, 4, 2]);
  const y = ops.call("conv2d_last", [grouped, kernels], attrs);
  return permute(ops, reshape(ops, y, [n, ...sides, dim(out)]), FIRST);
}

const folding = (isLasting: (node: Node) => boolean): Rule =>
  ruleAt("fold scale into convolution", ["mul"], (_ops, { root }, context) => {
    const conv = root.inputs.find((input) => input.op === "conv2d_last" && sameShape(input.shape, root.shape));
    const scale = root.inputs.find((input) => input !== conv);
    if (!conv || !scale) return undefined;
    const [x, weight] = [inputOf(conv, 0), inputOf(conv, 1)];
    if (!isLasting(weight) || !isLasting(scale)) return undefined;
    const ops = context.opsAt(conv);
    const wide = padRank(scale.shape, 5);
    if (!wide.slice(0, 3).every(isOne)) return undefined;
    const factor = reshape(ops, scale, [...wide.slice(3), dim(1), dim(1), dim(1)]);
    return ops.call("conv2d_last", [x, ops.call("mul", [weight, factor])], conv.attrs);
  }, {
    doc: "A scale of output channels becomes part of the weights where both stay as they are.",
    examples: [{
      text: "conv2d(x, w, stride = 1) * reshape(g, shape = [1, 5, 1, 1])",
      inputs: { x: ["B", 4, 4, 6], w: [5, 4, 2, 2], g: [5] }, parameters: ["w", "g"],
    }],
  });

/** Whether an operand repeats along an axis that `shape` has, so that moving it costs next to nothing. */
const repeats = (operand: Node, shape: Shape): boolean =>
  padRank(operand.shape, shape.length).some((size, axis) => isOne(size) && !isOne(dimAt(shape, axis)));

/** The operand before `movement`, the last of which is undone; undefined where that is not free. */
function undone(ops: Ops, operand: Node, movement: Node): Node | undefined {
  if (operand.op === "permute" && sameOrder(operand, movement)) return inputOf(operand);
  if (!repeats(operand, movement.shape)) return undefined;
  return permute(ops, reshape(ops, operand, padRank(operand.shape, movement.shape.length)), inverse(orderOf(movement)));
}

/** [n, y, x, g·o] as [n, y, x, g, o]: the operand before `movement`, which joins groups. */
function ungrouped(ops: Ops, operand: Node, movement: Node): Node | undefined {
  const grouped = inputOf(movement).shape;
  if (operand.op === "reshape" && sameShape(inputOf(operand).shape, grouped)) return inputOf(operand);
  if (!repeats(operand, movement.shape)) return undefined;
  const wide = padRank(operand.shape, 4);
  const channels = isOne(dimAt(wide, 3)) ? [dim(1), dim(1)] : grouped.slice(3);
  return reshape(ops, operand, [...wide.slice(0, 3), ...channels]);
}

const sameOrder = (x: Node, y: Node): boolean => orderOf(x).join() === orderOf(y).join();

const moves: readonly Rule[] = [
  sinkingRule("sink channel order",
    (input) => input.op === "permute" && orderOf(input).join() === FIRST.join(), undone, {
    doc: "Elementwise work on images goes before their channels do, whatever is repeated over them.",
    examples: [{
      text: "permute(exp(x), order = [0, 3, 1, 2]) * reshape(mean(y, axis = [1]), shape = [B, 3, 1, 1])",
      inputs: { x: ["B", 4, 5, 3], y: ["B", 2, 3] },
    }],
  }),
  sinkingRule("sink reshape past what repeats",
    (input) => input.op === "reshape" && joinsGroups(inputOf(input).shape, input.shape), ungrouped, {
    doc: "Elementwise work on grouped channels goes before the groups are joined.",
    examples: [{
      text: "reshape(exp(x), shape = [B, 4, 5, 6]) * reshape(mean(y, axis = [1]), shape = [B, 1, 1, 6])",
      inputs: { x: ["B", 4, 5, 2, 3], y: ["B", 2, 6] },
    }],
  }),
  rule("pad before permute", "pad(permute(x, order = p), before = a, after = b, value = v)",
    "permute(pad(x, before = a[inverse(p)], after = b[inverse(p)], value = v), order = p)", {
    doc: "Margins go before permutations.",
    examples: [{
      text: "pad(permute(x, order = [0, 3, 1, 2]), before = [0, 0, 1, 1], after = [0, 2, 0, 1])",
      inputs: { x: ["B", 4, 5, 3] },
    }],
  }),
  ruleAt("reduce before permute", ["sum", "mean", "max", "variance"], (ops, { root }) => {
    const permuted = inputOf(root);
    if (permuted.op !== "permute") return undefined;
    const order = orderOf(permuted);
    const { axes, keep } = reducedOf(recordOf(root.op), root.attrs);
    const before = axes.map((axis) => order[axis] ?? 0); // axes of the permuted tensor
    const reduced = ops.call(root.op, [inputOf(permuted)], { axes: before, keep });
    if (keep) return permute(ops, reduced, order);
    const kept = order.filter((_, axis) => !axes.includes(axis));
    const rank = [...kept].sort((a, b) => a - b);
    return permute(ops, reduced, kept.map((axis) => rank.indexOf(axis)));
  }, {
    doc: "What is folded away need not be moved.",
    examples: [
      { text: "mean(permute(x, order = [0, 3, 1, 2]), axis = [2, 3])", inputs: { x: ["B", 4, 5, 3] } },
      { text: "max(permute(x, order = [2, 0, 1]), axis = [1], keep = true)", inputs: { x: [4, 5, 3] } },
      { text: "sum(permute(x, order = [2, 1, 0]), axis = [1])", inputs: { x: [4, 5, 3] } },
    ],
  }),
];

/** Whether the last two of five axes become one. */
const joinsGroups = (from: Shape, to: Shape): boolean =>
  from.length === 5 && to.length === 4 && from.slice(0, 3).every((size, axis) => sameDim(size, dimAt(to, axis)));

const convolutions: readonly Rule[] = [
  ruleAt("channels last", ["conv2d"], (ops, { root }) => channelsLast(ops, root), {
    doc: "A convolution runs over images and weights with channels last; one channel a group is a sum over windows.",
    examples: [
      { text: "conv2d(x, w, stride = 2, pad = 1)", inputs: { x: ["B", 4, 5, 6], w: [5, 4, 3, 3] }, parameters: ["w"] },
      { text: "conv2d(x, w, groups = 2)", inputs: { x: ["B", 4, 5, 6], w: [6, 2, 1, 3] }, parameters: ["w"] },
      { text: "conv2d(x, w, groups = 3, pad = [0, 1])", inputs: { x: ["B", 3, 5, 6], w: [3, 1, 3, 2] } },
    ],
  }),
  ruleByExpansion("spell out pooling", POOLS, {
    doc: "A pool is its window's elements combined, so that the order of channels passes through it.",
    examples: [{ text: "max_pool2d(x, kernel = 3, stride = 2, pad = 1)", inputs: { x: ["B", 2, 5, 5] } }],
  }),
];

/** The rules of a graph in which `isLasting` values are the same from run to run. */
export const layoutRules = (isLasting: (node: Node) => boolean): readonly Rule[] =>
  [...convolutions, folding(isLasting), ...moves];

/** The same values with channels last wherever there are convolutions; other graphs stay as they are. */
export function layOut(graph: Graph): Rewritten {
  const concerned = topological(rootsOf(graph)).some(({ op }) => op === "conv2d" || POOLS.some((pool) => op === pool));
  if (!concerned) return { graph, firings: new Map(), refusals: [] };
  return rewrite(graph, [...layoutRules(lastingIn(graph)), ...simplifyRules]);
}
