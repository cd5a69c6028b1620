/**
 * @file Rules that move permutations and reshapes behind elementwise work, so that the work stands next to the
 * contraction or reduction that made its input and becomes that kernel's epilogue:
 *
 *     gelu(reshape(matmul(a, b)) + view of a parameter)   →   reshape(gelu(matmul(a, b) + other view))
 *
 * Only movements that keep every element sink, and only past operands that can be moved back as pure views of
 * parameters or constants, or that come through the same movement.
 */
import { isOne, sameDim, sameShape, type Shape } from "../../ir/dim.js";
import type { Node } from "../../ir/graph.js";
import type { Ops } from "../../ir/op.js";
import { ELEMENTWISE, OPS } from "../../ops/index.js";
import { ruleAt, type Rule, type RuleOptions } from "../rule.js";
import { dimAt, inputOf, inverse, isSmallView, orderOf, padRank, permute, reshape, reshapeGroups } from "./views.js";

const isBijection = (node: Node): boolean => node.op === "reshape" || node.op === "permute";

/** Whether the elements below the movements were computed: a view of a leaf or of a part has no kernel to join. */
function isComputed(node: Node): boolean {
  if (isBijection(node)) return isComputed(inputOf(node));
  const kind = OPS.get(node.op)?.kind;
  return kind !== undefined && kind !== "leaf" && kind !== "movement";
}

/** `operand` as it stands before `movement` was applied: a view, or the source itself. */
function movedBack(ops: Ops, operand: Node, movement: Node): Node | undefined {
  if (operand.shape.length === 0) return operand;
  const source = inputOf(movement).shape;
  if (operand.op === movement.op && sameShape(
    inputOf(operand).shape, source
  ) && sameMovement(operand, movement)) return inputOf(operand);
  if (!isSmallView(operand)) return undefined;
  const shape = padRank(operand.shape, movement.shape.length);
  const wide = reshape(ops, operand, shape);
  if (movement.op === "permute") return permute(ops, wide, inverse(orderOf(movement)));
  const before = shapeBefore(shape, source, movement.shape);
  return before && reshape(ops, wide, before);
}

const sameMovement = (x: Node, y: Node): boolean =>
  sameShape(x.shape, y.shape) && JSON.stringify(x.attrs) === JSON.stringify(y.attrs);

/** The shape, broadcasting to `source`, of an operand of shape `shape` that broadcasts to `to` after the reshape. */
function shapeBefore(shape: Shape, source: Shape, to: Shape): Shape | undefined {
  const out = [...padRank([], source.length)];
  for (const group of reshapeGroups(source, to) ?? [{ from: [], to: to.map((_, axis) => axis) }]) {
    const sizes = group.to.map((axis) => dimAt(shape, axis));
    if (sizes.every(isOne)) continue;
    if (!sizes.every((d, i) => sameDim(d, dimAt(to, group.to[i] as number)))) return undefined; // as many sizes as axes
    for (const axis of group.from) out[axis] = dimAt(source, axis);
  }
  return out;
}

/**
 * A rule by which elementwise work goes before the permutation or reshape of one operand. @param is whether it is worth
 * it @param before another operand as it stands before that movement; undefined where it does not
 */
export const sinkingRule = (
  name: string, is: (movement: Node) => boolean,
  before: (ops: Ops, operand: Node, movement: Node) => Node | undefined, options: RuleOptions,
): Rule =>
  ruleAt(name, ELEMENTWISE, (ops, { root }) => {
    const movement = root.inputs.find((input) => isBijection(input) && sameShape(input.shape, root.shape) && is(input));
    if (!movement) return undefined;
    const operands = root.inputs.map((input) => (
      input === movement ? inputOf(movement) : before(ops, input, movement)));
    if (!operands.every((operand) => operand !== undefined)) return undefined;
    const value = ops.call(root.op, operands, root.attrs);
    return movement.op === "permute" ? permute(ops, value, orderOf(movement)) : reshape(ops, value, movement.shape);
  }, options);

export const sinkingRules: readonly Rule[] = [
  sinkingRule("sink movement", isComputed, movedBack, {
    doc: "Elementwise work goes before the permutation or reshape of its computed operand.",
    examples: [
      { text: "gelu(reshape(matmul(x, w), shape = [B, 6, 2, 4]))", inputs: { x: ["B", 6, 4], w: [4, 8] } },
      { text: "permute(matmul(x, w), order = [0, 2, 1]) + reshape(b, shape = [1, 8, 1])", inputs: {
        x: ["B", 6, 4], w: [4, 8], b: [8]
      }, parameters: ["w", "b"] },
      { text: "reshape(matmul(x, w), shape = [B, 6, 2, 4]) * g", inputs: {
        x: ["B", 6, 4], w: [4, 8], g: [2, 4]
      }, parameters: ["w", "g"] },
      { text: "permute(exp(x), order = [1, 0, 2]) - permute(sin(x), order = [1, 0, 2])", inputs: { x: [3, 5, 4] } },
    ],
  }),
];
