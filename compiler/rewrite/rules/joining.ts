/**
 * @file Rules that put a tensor together again from its parts: what the gradient of a split leaves behind.
 */
import { addDim, dim, isOne, sameDim, type Dim } from "../../ir/dim.js";
import type { Node } from "../../ir/graph.js";
import { attrsOf, isOp, type Ops } from "../../ir/op.js";
import { concat } from "../../ops/joins.js";
import { pad } from "../../ops/views.js";
import { ruleAt, type Rule } from "../rule.js";
import { dimAt, inputOf, isWhole, orderOf, permute, rangesOf, reshape, type Range } from "./views.js";

const X = { x: ["B", 6, 4] } as const;
const ZERO = dim(0);

/** Zeros before and after `x` along one axis; nothing along the others. */
interface Padded {
  readonly x: Node;
  readonly axis: number;
  readonly before: Dim;
  readonly after: Dim;
}

function paddedOf(node: Node): Padded | undefined {
  if (!isOp(pad, node) || node.attrs.value !== 0) return undefined;
  const { before, after } = node.attrs;
  const axes = node.shape.flatMap((_, i) =>
    (sameDim(dimAt(before, i), ZERO) && sameDim(dimAt(after, i), ZERO) ? [] : [i]));
  const [axis, more] = axes;
  if (axis === undefined || more !== undefined) return undefined;
  return { x: inputOf(node), axis, before: dimAt(before, axis), after: dimAt(after, axis) };
}

/** The sum of two padded tensors that touch without overlapping, `first` in front. */
function joinPadded(ops: Ops, first: Padded, second: Padded, rank: number): Node | undefined {
  const { axis } = first;
  const end = addDim(first.before, dimAt(first.x.shape, axis));
  if (second.axis !== axis || !sameDim(end, second.before)) return undefined;
  const joined = ops.call("concat", [first.x, second.x], { axis });
  const around = (d: Dim) => Array.from({ length: rank }, (_, i) => (i === axis ? { ...d } : { ...ZERO }));
  return ops.call("pad", [joined], { before: around(first.before), after: around(second.after), value: 0 });
}

/** A part of a stack: element `at` of the first axis of `stack`, seen through `views`, the last one first. */
interface Part {
  readonly stack: Node;
  readonly range: Range;
  readonly views: readonly Node[];
}

function partOf(node: Node): Part | undefined {
  const views: Node[] = [];
  let below = node;
  while (below.op === "reshape" || below.op === "permute") {
    views.push(below);
    below = inputOf(below);
  }
  if (below.op !== "slice" || !isOne(dimAt(below.shape, 0))) return undefined;
  const [range, ...others] = rangesOf(below);
  const stack = inputOf(below);
  const whole = others.every((r, i) => isWhole(r, dimAt(stack.shape, i + 1)));
  return range && whole ? { stack, range, views } : undefined;
}

const viewKey = ({ views }: Part): string => JSON.stringify(views.map(({ op, attrs }) => [op, attrs]));

/** All elements of one stack in order, each seen through the same views, one after the other along `axis`. */
function unsplit(ops: Ops, root: Node): Node | undefined {
  const { axis } = attrsOf(concat, root);
  const parts = root.inputs.map(partOf);
  const [first] = parts;
  const stack = first?.stack;
  if (!first || !stack || !sameDim(dimAt(stack.shape, 0), dim(parts.length))) return undefined;
  const fits = parts.every((part, i) => part?.stack === stack && sameDim(part.range.start, dim(i))
    && part.range.step === 1 && viewKey(part) === viewKey(first));
  if (!fits) return undefined;
  const count = dim(parts.length);
  let whole = reshape(ops, stack, [count, dim(1), ...stack.shape.slice(1)]);
  for (const view of [...first.views].reverse()) {
    whole = view.op === "reshape" ? reshape(ops, whole, [count, ...view.shape])
      : permute(ops, whole, [0, ...orderOf(view).map((from) => from + 1)]);
  }
  const rank = root.shape.length;
  // The stack's own axis goes in front of the one it is joined along.
  const order = Array.from({ length: rank + 1 }, (_, i) => (i < axis ? i + 1 : i === axis ? 0 : i));
  return reshape(ops, permute(ops, whole, order), root.shape);
}

export const joiningRules: readonly Rule[] = [
  ruleAt("join padded", ["add"], (ops, { root }) => {
    const [x, y] = root.inputs.map(paddedOf);
    if (!x || !y || x.x.shape.length !== y.x.shape.length) return undefined;
    if (x.x.shape.length !== root.shape.length) return undefined;
    return joinPadded(ops, x, y, root.shape.length) ?? joinPadded(ops, y, x, root.shape.length);
  }, {
    doc: "A sum of tensors padded with zeros where the others are is their concatenation.",
    examples: [
      {
        text: "pad(x, before = [0, 0, 0], after = [0, 3, 0]) + pad(y, before = [0, 6, 0], after = [0, 0, 0])",
        inputs: { x: ["B", 6, 4], y: ["B", 3, 4] },
      },
      {
        text: "pad(x, before = [0, 8, 0], after = [0, 1, 0]) + pad(y, before = [0, 5, 0], after = [0, 7, 0])",
        inputs: { x: ["B", 6, 4], y: ["B", 3, 4] },
      },
    ],
  }),
  ruleAt("pad after pad", ["add"], (ops, { root }) => {
    // a + (b + c), where a and b touch: sums of many parts are joined one after the other.
    const [x, y] = root.inputs as [Node, Node]; // add has two
    for (const [one, sum] of [[x, y], [y, x]] as const) {
      if (sum.op !== "add" || !paddedOf(one) || sum.inputs.some((input) => !paddedOf(input))) continue;
      for (const [i, other] of sum.inputs.entries()) {
        const [a, b] = [paddedOf(one), paddedOf(other)] as [Padded, Padded]; // looked at above
        const touching = joinPadded(ops, a, b, root.shape.length) ?? joinPadded(ops, b, a, root.shape.length);
        if (touching) return ops.call("add", [touching, sum.inputs[1 - i] as Node]);
      }
    }
    return undefined;
  }, {
    doc: "Parts of a sum that touch are joined whatever the order they are added in.",
    examples: [{
      text: "pad(x, before = [0, 6, 0], after = [0, 6, 0]) + (pad(exp(x), before = [0, 12, 0], after = [0, 0, 0])"
        + " + pad(sin(x), before = [0, 0, 0], after = [0, 12, 0]))",
      inputs: X,
    }],
  }),
  ruleAt("unsplit", ["concat"], (ops, { root }) => unsplit(ops, root), {
    doc: "All parts of one tensor, each seen the same way, are that tensor seen that way.",
    examples: [
      {
        text: "concat([reshape(slice(y, starts = [0, 0, 0], stops = [1, B, 4], steps = [1, 1, 1]), shape = [B, 4]), "
          + "reshape(slice(y, starts = [1, 0, 0], stops = [2, B, 4], steps = [1, 1, 1]), shape = [B, 4])], axis = 1)",
        inputs: { y: [2, "B", 4] },
      },
      {
        text: "concat([slice(y, starts = [0, 0, 0], stops = [1, B, 4], steps = [1, 1, 1]), "
          + "slice(y, starts = [1, 0, 0], stops = [2, B, 4], steps = [1, 1, 1])], axis = 2)",
        inputs: { y: [2, "B", 4] },
      },
    ],
  }),
];
