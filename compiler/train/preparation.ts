/**
 * @file How images reach the models of a recipe: the data brings them in the size and the normalization of the
 * evaluated model, and a frozen one that wants them otherwise gets them so.
 */
import type { CallSetting } from "../../runtime/training.js";
import type { Preprocess } from "../../runtime/manifest.js";
import { makeOps } from "../ir/build.js";
import { isConstant, sameDim } from "../ir/dim.js";
import { isOp } from "../ir/op.js";
import { input as inputOp } from "../ops/leaves.js";
import { Session } from "../elaborate/frame.js";
import type { Node } from "../ir/graph.js";
import { evaluated, preparationOf, type Member } from "./instances.js";
import type { Normalization } from "../../runtime/train/vocabulary/normalizations.js";

/** What the data's images are normalized by: as the recipe's `augment` says, else as the evaluated model does. */
export function normalizationOf(
  augment: readonly CallSetting[], model: Preprocess | undefined,
): Normalization | undefined {
  const stated = augment.find((call) => call.name === "normalize")?.arguments;
  const three = (value: unknown): Preprocess["mean"] => value as Preprocess["mean"]; // its signature says so
  return stated ? { mean: three(stated["mean"]), std: three(stated["std"]) } : model;
}

/** Turns the recipe's images into what a frozen model's input wants; other tensors stay as they are. */
type Adapter = (input: string, node: Node) => Node;

/** @param images name of the loss's input that the data's images are */
export function adapterFor(
  session: Session, member: Member, images: string, data: Normalization | undefined,
): Adapter | undefined {
  const apart = new Session(session.ops, session.evaluate);
  const instance = evaluated(apart, member);
  const [first] = apart.inputs;
  const own = instance && preparationOf(instance);
  if (!first || apart.diagnostics.length > 0) return undefined; // reported where the loss calls it
  const [name, wanted] = first;
  return (input, node) => {
    if (input !== name || !isOp(inputOp, node) || node.attrs.name !== images || node.shape.length !== 4) return node;
    const ops = makeOps(session.builder, { ...node.origin, path: `${member.name}.${name}` });
    const sides = wanted.shape.slice(2);
    const fits = sides.every((side, i) => sameDim(side, node.shape[i + 2] ?? side));
    const resizes = !fits && sides.length === 2 && [...sides, ...node.shape.slice(2)].every(isConstant);
    const sized = resizes ? ops.call("resize", [node], { size: sides.map((side) => side.c) }) : node;
    return own && data ? normalized(ops, sized, data, own) : sized;
  };
}

/** (x·s + m − m')/s': from one normalization to the other; x itself where they are the same. */
function normalized(ops: ReturnType<typeof makeOps>, x: Node, from: Normalization, to: Normalization): Node {
  const [factor, offset] = [from.std.map((s, c) => s / (to.std[c] ?? 1)), from.mean.map((m, c) =>
    (m - (to.mean[c] ?? 0)) / (to.std[c] ?? 1))];
  if (factor.every((f) => f === 1) && offset.every((f) => f === 0)) return x;
  const table = (values: readonly number[]): Node => ops.call("table", [], { values, shape: [3, 1, 1] });
  return ops.call("add", [ops.call("mul", [x, table(factor)]), table(offset)]);
}
