/**
 * @file Reverse mode: one walk from the loss back to what it is differentiated by. The gradients are ordinary nodes.
 */
import { dim, isOne, sameDim, sameShape, showShape, type Shape } from "../ir/dim.js";
import { topological, type GraphBuilder, type Node, type Origin } from "../ir/graph.js";
import { makeOps } from "../ir/build.js";
import { invariant } from "../ir/invariant.js";
import { isFault, type OpFault, type Ops } from "../ir/op.js";
import { recordOf } from "../ops/index.js";
import { dimAt, reshapeTo } from "../ops/shapes.js";

interface Differentiation {
  /** d loss / d each of `by`, of its shape; zeros where no path leads there. */
  readonly gradients: readonly Node[];
  /** Those of `by` that the loss does not depend on by any differentiable path. */
  readonly unreached: readonly Node[];
  /** Operations on the way whose gradient cannot be computed, and why. */
  readonly faults: readonly { readonly node: Node; readonly fault: OpFault }[];
}

/** Gradients of the 0-d f32 `loss` by each node of `by`. Their origins are the forward nodes' with `.grad` appended. */
export function differentiate(builder: GraphBuilder, loss: Node, by: readonly Node[]): Differentiation {
  invariant(loss.shape.length === 0 && loss.dtype === "f32",
    `a loss is a 0-d f32, got ${loss.dtype} ${showShape(loss.shape)}`);
  const seed = makeOps(builder, gradientOrigin(loss)).constant(1);
  const faults: { node: Node; fault: OpFault }[] = [];
  const found = pullBack(builder, loss, seed, new Set(by), (node, fault) => void faults.push({ node, fault }));
  const gradients = by.map((node) => found.get(node) ?? zeros(makeOps(builder, gradientOrigin(node)), node.shape));
  return { gradients, unreached: by.filter((node) => !found.has(node)), faults };
}

type FaultHandler = (node: Node, fault: OpFault) => void;

const gradientOrigin = (node: Node): Origin =>
  node.origin.path.endsWith(".grad") ? node.origin : { ...node.origin, path: `${node.origin.path}.grad` };

const zeros = (ops: Ops, shape: Shape): Node =>
  shape.length === 0 ? ops.constant(0) : ops.call("expand", [ops.constant(0)], { shape });

/**
 * Σ over paths from `from` (whose gradient is `dy`) to each of `targets`. Paths end at a target: what lies behind it is
 * the caller's.
 */
function pullBack(
  builder: GraphBuilder, from: Node, dy: Node, targets: ReadonlySet<Node>, onFault: FaultHandler,
): Map<Node, Node> {
  const active = reaching(from, targets);
  const gradients = new Map<Node, Node>();
  if (active.has(from)) gradients.set(from, dy);
  for (const node of [...active].reverse()) {
    const own = gradients.get(node);
    if (!own || targets.has(node)) continue;
    gradients.delete(node);
    const ops = makeOps(builder, gradientOrigin(node));
    for (const [i, part] of inputGradients(builder, ops, node, own, onFault).entries()) {
      const input = node.inputs[i];
      if (!part || !input || !active.has(input)) continue;
      const fitting = sumTo(ops, part, input.shape);
      const known = gradients.get(input);
      gradients.set(input, known ? ops.call("add", [known, fitting]) : fitting);
    }
  }
  return gradients;
}

/** f32 nodes between `targets` and `from`, inputs before users. */
function reaching(from: Node, targets: ReadonlySet<Node>): Set<Node> {
  const active = new Set<Node>();
  for (const node of topological([from])) {
    const leads = targets.has(node) || node.inputs.some((input) => active.has(input));
    if (leads && node.dtype === "f32") active.add(node);
  }
  return active;
}

function inputGradients(
  builder: GraphBuilder, ops: Ops, node: Node, dy: Node, onFault: FaultHandler,
): readonly (Node | undefined)[] {
  const { gradient, expand } = recordOf(node.op);
  if (gradient === "none") return [];
  if (gradient !== "expand") {
    const parts = gradient({ ops, node, dy });
    if (!isFault(parts)) return parts;
    onFault(node, parts);
    return [];
  }
  invariant(expand !== undefined, `${node.op} has the expansion its gradient is inherited from`);
  const meaning = expand(makeOps(builder, node.origin), node.inputs, node.attrs);
  const found = pullBack(builder, meaning, dy, new Set(node.inputs), (_, fault) => onFault(node, fault));
  // An input given twice has one gradient: the sum of both.
  return node.inputs.map((input, i) => (node.inputs.indexOf(input) === i ? found.get(input) : undefined));
}

/** A gradient of a broadcast operand, summed back to the operand's shape. */
function sumTo(ops: Ops, gradient: Node, shape: Shape): Node {
  if (sameShape(gradient.shape, shape)) return gradient;
  const lead = gradient.shape.length - shape.length;
  invariant(lead >= 0, `a gradient ${showShape(gradient.shape)} reduces to ${showShape(shape)}`);
  const axes = gradient.shape.flatMap((d, i) => {
    if (i < lead) return [i];
    const own = dimAt(shape, i - lead);
    invariant(sameDim(own, d) || isOne(own), `a gradient ${showShape(gradient.shape)} reduces to ${showShape(shape)}`);
    return sameDim(own, d) ? [] : [i];
  });
  const kept = gradient.shape.map((d, i) => (axes.includes(i) ? dim(1) : d));
  const summed = axes.length === 0 ? gradient : ops.call("sum", [gradient], { axes, keep: true });
  invariant(sameShape(summed.shape, kept), "a kept sum has 1 along its axes");
  return reshapeTo(ops, summed, shape);
}
