/**
 * @file Slice hoisting: where only some rows of a value are read, only those are computed. The last norm of a vision
 * transformer is read at the class token alone, so it, the MLP before it and the queries of the last attention are
 * computed for one token of each image.
 *
 * The rule looks at a slice whose operand is read by slices only. What those slices need together, axis by axis, is
 * the part to compute; the operand over that part replaces the operand, which nothing reads any more. So no work is
 * ever done twice.
 */
import { atMost, dim, isOne, sameDim, subDim, type Dim } from "../../ir/dim.js";
import type { Node } from "../../ir/graph.js";
import { attrsOf } from "../../ir/op.js";
import { recordOf } from "../../ops/index.js";
import { rows } from "../../ops/rows.js";
import { ruleAt, type Context, type Rule } from "../rule.js";
import { dimAt, inputOf, isWhole, rangeSize, rangesOf, shiftRange, slice, wholeRange, type Range } from "./views.js";

const FIRST_ROW = "starts = [0, 0, 0], stops = [B, 1, 4], steps = [1, 1, 1]";

/**
 * The axis of each input that runs along `axis` of the result (undefined: the input does not have it), or undefined
 * when a part of the axis cannot be computed from a part of the inputs.
 */
function alongside(node: Node, axis: number): readonly (number | undefined)[] | undefined {
  const { shape } = node;
  const broadcast = (input: Node, last: number): number | undefined => {
    const at = axis - (shape.length - input.shape.length);
    return at < 0 || at >= input.shape.length - last || isOne(dimAt(input.shape, at)) ? undefined : at;
  };
  if (recordOf(node.op).kind === "elementwise") return node.inputs.map((input) => broadcast(input, 0));
  const fromEnd = shape.length - axis;
  if (node.op === "matmul") {
    const [a, b] = [inputOf(node, 0), inputOf(node, 1)];
    if (fromEnd === 2) return [a.shape.length - 2, undefined];
    return fromEnd === 1 ? [undefined, b.shape.length - 1] : node.inputs.map((input) => broadcast(input, 2));
  }
  if (node.op === "attention") {
    const [q, v] = [inputOf(node, 0), inputOf(node, 2)];
    if (fromEnd === 2) return [q.shape.length - 2, undefined, undefined];
    return fromEnd === 1 ? [undefined, undefined, v.shape.length - 1] : node.inputs.map((input) => broadcast(input, 2));
  }
  const row = rows.find(({ name }) => name === node.op);
  if (row) return attrsOf(row, node).axes.includes(axis) ? undefined : [axis];
  const reduced = recordOf(node.op).reduced?.(node.attrs);
  if (!reduced) return undefined;
  const kept = inputOf(node).shape.map((_, i) => i).filter((i) => reduced.keep || !reduced.axes.includes(i));
  const from = kept[axis];
  return from === undefined || reduced.axes.includes(from) ? undefined : [from];
}

/** The smallest range along each axis that holds what all of `slices` read. */
function neededOf(value: Node, slices: readonly Node[]): Range[] {
  return value.shape.map((size, axis) => {
    const ranges = slices.map((s) => rangesOf(s)[axis] as Range); // a slice has a range for every axis of its operand
    return ranges.reduce((x, y) => hull(x, y, size));
  });
}

/** Ranges with steps count as dense. */
function hull(x: Range, y: Range, size: Dim): Range {
  const start = atMost(x.start, y.start) ? x.start : atMost(y.start, x.start) ? y.start : dim(0);
  const stop = atMost(y.stop, x.stop) ? x.stop : atMost(x.stop, y.stop) ? y.stop : size;
  return { start, stop, step: sameDim(x.start, y.start) && x.step === y.step && sameDim(x.stop, y.stop) ? x.step : 1 };
}

/** `node` over the part `needed` of its axes; those that cannot be cut stay whole in `computed`. */
function hoist(node: Node, needed: readonly Range[], context: Context): {
  value: Node; computed: readonly Range[]
} | undefined {
  const computed = node.shape.map(wholeRange);
  const ranges = node.inputs.map((input) => input.shape.map(wholeRange));
  for (const [axis, range] of needed.entries()) {
    const axes = isWhole(range, dimAt(node.shape, axis)) ? undefined : alongside(node, axis);
    if (!axes) continue;
    computed[axis] = range;
    for (const [i, at] of axes.entries()) {
      const own = ranges[i];
      if (at !== undefined && own) own[at] = range;
    }
  }
  if (computed.every((r, axis) => isWhole(r, dimAt(node.shape, axis)))) return undefined;
  const inputs = node.inputs.map((input, i) => part(input, ranges[i] ?? input.shape.map(wholeRange), context));
  return { value: context.opsAt(node).call(node.op, inputs, node.attrs), computed };
}

/** The part of `input` that its one reader needs: computed so at once where the whole of it can be, else sliced. */
function part(input: Node, ranges: readonly Range[], context: Context): Node {
  const whole = (r: Range, axis: number): boolean => isWhole(r, dimAt(input.shape, axis));
  const alone = !ranges.every(whole) && context.users(input).length === 1 && !context.isRoot(input);
  const hoisted = alone ? hoist(input, ranges, context) : undefined;
  if (!hoisted) return slice(context.opsAt(input), input, ranges);
  const left = ranges.map((r, axis) => relative(r, hoisted.computed[axis] ?? r, dimAt(input.shape, axis)));
  return slice(context.opsAt(input), hoisted.value, left);
}

/** The slices that read `value`, if nothing else does. */
function onlySlices(value: Node, context: Context): readonly Node[] | undefined {
  const users = context.users(value);
  return !context.isRoot(value) && users.every((user) => user.op === "slice") ? users : undefined;
}

/** Where `range` of an axis of this size lies within the computed `part` of it. */
function relative(range: Range, part: Range, size: Dim): Range {
  if (isWhole(part, size)) return range;
  return part.step === 1 ? shiftRange(range, subDim(dim(0), part.start)) : wholeRange(rangeSize(part));
}

/** Whether some axis is read in part and can be computed in part. */
const worthwhile = (value: Node, slices: readonly Node[]): boolean =>
  neededOf(value, slices).some((r, axis) => !isWhole(
    r, dimAt(value.shape, axis)
  ) && alongside(value, axis) !== undefined);

export const slicingRules: readonly Rule[] = [
  ruleAt("hoist slice", ["slice"], (ops, { root, nodes }, context) => {
    const value = inputOf(root);
    const slices = onlySlices(value, context);
    // Only where nothing below was rewritten in this sweep: then the users found are those of the rebuilt graph too.
    const hoisted = slices && nodes.get("0") === value ? hoist(value, neededOf(value, slices), context) : undefined;
    if (!hoisted) return undefined;
    const left = rangesOf(root).map((r, axis) => relative(r, hoisted.computed[axis] ?? r, dimAt(value.shape, axis)));
    return slice(ops, hoisted.value, left);
  }, {
    doc: "A value of which slices read only a part is computed for that part only.",
    context: true,
    when: ({ root }, context) => {
      const slices = onlySlices(inputOf(root), context);
      return slices !== undefined && worthwhile(inputOf(root), slices);
    },
    examples: [
      { text: `slice(exp(x + y), ${FIRST_ROW})`, inputs: { x: ["B", 6, 4], y: [6, 1] } },
      { text: `slice(standardize(x, axis = [-1]), ${FIRST_ROW})`, inputs: { x: ["B", 6, 4] } },
      { text: `slice(matmul(x, w), ${FIRST_ROW})`, inputs: { x: ["B", 6, 5], w: [5, 4] } },
      { text: `slice(attention(x, x, x, scale = 0.5), ${FIRST_ROW})`, inputs: { x: ["B", 6, 4] } },
      { text: `slice(sum(x, axis = [2]), ${FIRST_ROW})`, inputs: { x: ["B", 6, 3, 4] } },
      {
        text: "slice(exp(x), starts = [0, 1, 0], stops = [B, 2, 4], steps = [1, 1, 1])"
          + " + slice(exp(x), starts = [0, 3, 0], stops = [B, 4, 4], steps = [1, 1, 1])",
        inputs: { x: ["B", 6, 4] },
      },
    ],
  }),
];
