/**
 * @file Rules that put views together, so that at most a few are left between two computations: canonical order is
 * slices next to the source, then one reshape, then one permutation.
 */
import {
  addDim, atMost, dim, isConstant, isEmpty, isOne, mulDim, sameShape, subDim, type Dim, type Shape,
} from "../../ir/dim.js";
import type { Node } from "../../ir/graph.js";
import { attrsOf, isOp, type Ops } from "../../ir/op.js";
import { broadcastShape } from "../../ops/shapes.js";
import { ELEMENTWISE, recordOf } from "../../ops/index.js";
import { concat } from "../../ops/joins.js";
import { nodeNamed, rule, ruleAt, ruleByExpansion, type Guard, type Rule, type RuleExample } from "../rule.js";
import {
  dimAt, expand, inputOf, isWhole, movesElements, orderOf, padRank, permute, rangesOf, reshape,
  reshapeGroups, shiftRange, slice, swapReshape, wholeRange, type Range,
} from "./views.js";

const X = { x: ["B", 6, 4] } as const;
const onX = (text: string): RuleExample => ({ text, inputs: X });
/** The text of a slice. */
const cut = (x: string, starts: string, stops: string, steps: string): string =>
  `slice(${x}, starts = ${starts}, stops = ${stops}, steps = ${steps})`;

/** Composites that are nothing but movement: canonical form has the movements. */
const SPELLINGS = ["transpose", "squeeze", "unsqueeze", "flatten", "stack", "tile", "full"];

const spellings: readonly Rule[] = [
  ruleByExpansion("spell out", SPELLINGS, {
    doc: "Ops that only rearrange are written as reshape, permute, expand and concat.",
    examples: [
      onX("transpose(x)"), onX("squeeze(unsqueeze(x, axis = 1), axis = 1) + 1"), onX("flatten(x)"),
      onX("stack([x, exp(x)], axis = 1)"), onX("tile(x, times = [1, 2, 3])"),
    ],
  }),
];

const permutations: readonly Rule[] = [
  rule("join permutations", "permute(permute(x, order = p), order = q)", "permute(x, order = p[q])", {
    doc: "Two permutations are one, or none.",
    examples: [onX("permute(permute(x, order = [2, 0, 1]), order = [0, 2, 1])"), onX("transpose(transpose(x))")],
  }),
  rule("permute ones", "permute(x)", "reshape(x, shape = root.shape)", {
    when: ({ root }) => !movesElements(inputOf(root).shape, orderOf(root)),
    doc: "A permutation that only moves axes of size 1 is a reshape, or nothing.",
    examples: [
      { text: "permute(x, order = [0, 2, 1])", inputs: { x: ["B", 1, 4] } },
      { text: "permute(x, order = [0, 1])", inputs: { x: ["B", 4] } },
    ],
  }),
  rule("permute a reshaped permutation", "permute(reshape(permute(x)))", (ops, match) => {
    const reshaped = inputOf(match.root);
    const swapped = swappedAfter(nodeNamed(match, "x"), inputOf(reshaped), reshaped.shape);
    if (!swapped) return undefined;
    const order = orderOf(match.root).map((axis) => swapped.order[axis] as number); // orders of the same rank
    return permute(ops, reshape(ops, nodeNamed(match, "x"), swapped.shape), order);
  }, {
    doc: "A reshape between two permutations that keeps neighbours together comes first, and the permutations are one.",
    examples: [{
      text: "permute(reshape(permute(x, order = [0, 3, 1, 2]), shape = [B, 4, 6]), order = [0, 2, 1])",
      inputs: { x: ["B", 2, 3, 4] },
    }],
  }),
  rule("reshape a permuted reshape", "reshape(permute(reshape(x)))", (ops, match) => {
    const permuted = inputOf(match.root);
    const swapped = swappedAfter(inputOf(permuted), permuted, match.root.shape);
    return swapped && permute(ops, reshape(ops, nodeNamed(match, "x"), swapped.shape), swapped.order);
  }, {
    doc: "Of two reshapes around a permutation the outer comes first too, where it keeps neighbours together.",
    examples: [
      onX("reshape(permute(reshape(x, shape = [B, 2, 3, 4]), order = [0, 3, 1, 2]), shape = [B, 4, 6])"),
      onX("reshape(permute(reshape(x, shape = [B, 2, 3, 4]), order = [3, 0, 1, 2]), shape = [4, B, 6])"),
    ],
  }),
];

const swappedAfter = (before: Node, permuted: Node, to: Shape): { shape: Shape; order: number[] } | undefined =>
  swapReshape(before.shape, orderOf(permuted), to);

const keepsShapeOfX: Guard = (match) => sameShape(nodeNamed(match, "x").shape, match.root.shape);

const reshapes: readonly Rule[] = [
  rule("join reshapes", "reshape(reshape(x), shape = s)", "reshape(x, shape = s)", {
    doc: "Two reshapes are one, or none.",
    examples: [{ text: "reshape(reshape(x, shape = [B, 24]), shape = [B, 4, 6])", inputs: X }],
  }),
  rule("same shape", ["reshape(x)", "expand(x)"], "x", {
    when: keepsShapeOfX,
    doc: "A reshape or expand to the shape there is already does nothing.",
    examples: [
      { text: "reshape(x, shape = [B, 6, 4])", inputs: X }, { text: "expand(x, shape = [B, 6, 4])", inputs: X },
    ],
  }),
  rule("join expands", "expand(expand(x), shape = s)", "expand(x, shape = s)", {
    doc: "Two expands are one.",
    examples: [{ text: "expand(expand(x, shape = [6, 4]), shape = [B, 6, 4])", inputs: { x: [6, 1] } }],
  }),
  ruleAt("keep reduced axes", ["reshape"], (ops, { root, nodes }) => {
    const x = nodes.get("0");
    const reduced = x && recordOf(x.op).reduced?.(x.attrs);
    if (!reduced) return undefined;
    const other = ops.call(x.op, x.inputs, { ...reduced, keep: !reduced.keep });
    return sameShape(other.shape, root.shape) ? other : undefined;
  }, {
    doc: "A reshape that puts back or takes away the axes a reduction folded is the reduction's `keep`.",
    examples: [
      { text: "x - reshape(sum(x, axis = [1]), shape = [B, 1, 4])", inputs: X },
      { text: "reshape(max(x, axis = [1], keep = true), shape = [B, 4])", inputs: X },
    ],
  }),
];

const broadcasts: readonly Rule[] = [
  ruleAt("broadcast by itself", [...ELEMENTWISE, "matmul"], (ops, { root }) => {
    const inputs = root.inputs.map((input) => narrower(input));
    if (inputs.every((input, i) => input === root.inputs[i])) return undefined;
    for (const taken of [inputs, ...inputs.map((input, i) => root.inputs.map((old, j) => (i === j ? input : old)))]) {
      const differs = taken.some((input, i) => input !== root.inputs[i]);
      if (differs && keepsShape(root, taken)) return ops.call(root.op, taken, root.attrs);
    }
    return undefined;
  }, {
    doc: "Operands broadcast without being expanded, or reshaped to have 1s in front.",
    examples: [
      { text: "x + expand(y, shape = [B, 6, 4])", inputs: { x: ["B", 6, 4], y: [4] } },
      { text: "x * reshape(y, shape = [1, 1, 4])", inputs: { x: ["B", 6, 4], y: [4] } },
      { text: "matmul(x, expand(y, shape = [B, 4, 5]))", inputs: { x: ["B", 6, 4], y: [4, 5] } },
    ],
  }),
];

/** The operand before views that broadcasting makes needless. */
function narrower(node: Node): Node {
  if (node.op === "expand") return narrower(inputOf(node));
  if (node.op !== "reshape") return node;
  const source = inputOf(node);
  const ones = node.shape.length - source.shape.length;
  return ones > 0 && sameShape(node.shape, padRank(source.shape, node.shape.length)) ? narrower(source) : node;
}

function keepsShape(root: Node, inputs: readonly Node[]): boolean {
  if (root.op !== "matmul") {
    const shape = broadcastShape(inputs.map((input) => input.shape));
    return shape !== undefined && sameShape(shape, root.shape);
  }
  const leading = broadcastShape(inputs.map((input) => input.shape.slice(0, -2)));
  const last = (node: Node | undefined): Shape => node?.shape.slice(-2) ?? [];
  const matrices = inputs.every((input, i) => input.shape.length >= 2 && sameShape(last(input), last(root.inputs[i])));
  return matrices && leading !== undefined && sameShape(leading, root.shape.slice(0, -2));
}

const slices: readonly Rule[] = [
  rule("join slices", cut(cut("x", "a", "b", "c"), "d", "e", "f"),
    cut("x", "a + c * d", "a + c * (e - 1) + 1", "c * f"), {
    when: ({ root }) => !isEmpty(root.shape), // what is empty has no last element
    doc: "A slice of a slice is one slice.",
    examples: [onX(cut(cut("x", "[0, 1, 0]", "[B, 6, 4]", "[1, 2, 1]"), "[0, 1, 1]", "[B, 3, 3]", "[1, 1, 1]"))],
  }),
  rule("whole slice", "slice(x)", "x", {
    when: (match) => rangesOf(match.root).every((r, i) => isWhole(r, dimAt(nodeNamed(match, "x").shape, i))),
    doc: "A slice of everything does nothing.", examples: [onX(cut("x", "[0, 0, 0]", "[B, 6, 4]", "[1, 1, 1]"))],
  }),
  rule("slice before permute", cut("permute(x, order = p)", "a", "b", "c"),
    `permute(${cut("x", "a[inverse(p)]", "b[inverse(p)]", "c[inverse(p)]")}, order = p)`, {
    doc: "Slices go before permutations.",
    examples: [onX(cut("permute(x, order = [2, 0, 1])", "[1, 0, 2]", "[3, B, 3]", "[1, 1, 1]"))],
  }),
  rule("slice before expand", "slice(expand(x))", (ops, match) => {
    const x = nodeNamed(match, "x");
    const ranges = rangesOf(match.root).slice(match.root.shape.length - x.shape.length);
    const taken = ranges.map((r, i) => (isOne(dimAt(x.shape, i)) ? wholeRange(dim(1)) : r));
    return expand(ops, slice(ops, x, taken), match.root.shape);
  }, {
    doc: "A slice of a repeated tensor repeats less.",
    examples: [{
      text: cut("expand(x, shape = [B, 6, 4])", "[0, 1, 1]", "[B, 3, 4]", "[1, 1, 1]"), inputs: { x: [1, 4] },
    }],
  }),
  rule("slice before reshape", "slice(reshape(x))", (ops, { root, nodes }) => {
    const x = nodes.get("x");
    return x && sliceReshape(ops, x, root);
  }, {
    doc: "Slices go before reshapes where they take whole neighbouring parts.",
    examples: [
      onX(cut("reshape(x, shape = [B, 6, 2, 2])", "[0, 2, 0, 0]", "[B, 4, 2, 2]", "[1, 1, 1, 1]")),
      onX(cut("reshape(x, shape = [B, 3, 2, 4])", "[0, 1, 0, 0]", "[B, 2, 2, 4]", "[1, 1, 1, 1]")),
    ],
  }),
];

/** The slice moved before the reshape: along kept axes, and in whole runs along the first axis of a split one. */
function sliceReshape(ops: Ops, x: Node, root: Node): Node | undefined {
  const view = inputOf(root);
  const groups = reshapeGroups(x.shape, view.shape);
  const outer = rangesOf(root);
  const inner = x.shape.map(wholeRange);
  for (const group of groups ?? []) {
    const [first, ...rest] = group.to;
    const [from, ...more] = group.from;
    // of the slice's rank
    if (group.to.every((axis) => isWhole(outer[axis] as Range, dimAt(view.shape, axis)))) continue;
    const range = outer[first ?? 0];
    const others = rest.every((axis) => isWhole(outer[axis] as Range, dimAt(view.shape, axis)));
    const run = rest.reduce<Dim | undefined>((n, axis) => n && mulDim(n, dimAt(view.shape, axis)), dim(1));
    if (from === undefined || more.length > 0 || !range || !others || !run || !isConstant(run)) return undefined;
    if (range.step !== 1 && rest.length > 0) return undefined;
    const times = (d: Dim): Dim => ({ b: d.b * run.c, c: d.c * run.c });
    inner[from] = { start: times(range.start), stop: times(range.stop), step: range.step };
  }
  return groups && reshape(ops, slice(ops, x, inner), root.shape);
}

const concats: readonly Rule[] = [
  rule("concat of one", "concat([x])", "x", {
    doc: "One part alone is the whole.", examples: [{ text: "concat([x], axis = 1)", inputs: X }],
  }),
  ruleAt("join concats", ["concat"], (ops, { root }) => {
    const { axis } = attrsOf(concat, root);
    const nested = (n: Node): boolean => isOp(concat, n) && n.attrs.axis === axis;
    if (!root.inputs.some(nested)) return undefined;
    return ops.call("concat", root.inputs.flatMap((n) => (nested(n) ? n.inputs : [n])), { axis });
  }, { doc: "A concat of concats along one axis is one.", examples: [{
    text: "concat([concat([x, exp(x)], axis = 1), x], axis = 1)", inputs: X
  }] }),
  ruleAt("slice before concat", ["slice"], (ops, { root, nodes }) => {
    const joined = nodes.get("0");
    return joined && isOp(concat, joined) ? sliceConcat(ops, joined, root) : undefined;
  }, {
    doc: "A slice of a concat only needs the parts it meets.",
    examples: [
      { text: "slice(concat([x, y], axis = 1), starts = [0, 6, 0], stops = [B, 8, 4], steps = [1, 1, 1])", inputs: {
        x: ["B", 6, 4], y: ["B", 3, 4]
      } },
      {
        text: "slice(concat([x, y, x], axis = 1), starts = [0, 7, 0], stops = [B, 11, 2], steps = [1, 1, 1])",
        inputs: { x: ["B", 6, 4], y: ["B", 3, 4] },
      },
    ],
  }),
];

function sliceConcat(ops: Ops, joined: Node<{ readonly axis: number }>, root: Node): Node | undefined {
  const { axis } = joined.attrs;
  const ranges = rangesOf(root);
  const range = ranges[axis];
  if (!range) return undefined;
  const taken: Node[] = [];
  let [offset, whole] = [dim(0), true];
  for (const part of joined.inputs) {
    const end = addDim(offset, dimAt(part.shape, axis));
    if (atMost(end, range.start) || atMost(range.stop, offset)) {
      whole = false;
    } else {
      const inside = atMost(offset, range.start) && atMost(range.stop, end);
      if (!inside && (range.step !== 1 || ![offset, end, range.start, range.stop].every(isConstant))) return undefined;
      const piece: Range = { start: dim(Math.max(offset.c, range.start.c)), stop: dim(
        Math.min(end.c, range.stop.c)
      ), step: 1 };
      const moved = shiftRange(inside ? range : piece, subDim(dim(0), offset));
      taken.push(slice(ops, part, ranges.map((r, i) => (i === axis ? moved : r))));
    }
    offset = end;
  }
  const others = ranges.some((r, i) => i !== axis && !isWhole(r, dimAt(joined.shape, i)));
  if (whole && !others) return undefined;
  return taken.length === 1 ? taken[0] : ops.call("concat", taken, { axis });
}

const padding: readonly Rule[] = [
  rule("pad by nothing", "pad(x)", "x", {
    when: keepsShapeOfX, doc: "Padding by nothing does nothing.",
    examples: [onX("pad(x, before = [0, 0, 0], after = [0, 0, 0])")],
  }),
];

export const movementRules: readonly Rule[] = [
  ...spellings, ...permutations, ...reshapes, ...broadcasts, ...slices, ...concats, ...padding,
];
