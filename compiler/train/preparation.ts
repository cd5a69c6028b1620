/**
 * @file How images reach the models of a recipe: the data brings them in the size and the normalization of the
 * evaluated model, and a frozen one that wants them otherwise gets them so.
 */
import type { CallSetting } from "../../runtime/training.js";
import type { Preprocess } from "../../runtime/manifest.js";
import { makeOps } from "../build.js";
import { isConstant, sameDim } from "../dim.js";
import { Session } from "../elaborate/frame.js";
import type { Node } from "../graph.js";
import { evaluated, preparationOf, type Member } from "./instances.js";

type Normalization = Pick<Preprocess, "mean" | "std">;

/** Channel means and deviations by name. Source: torchvision; timm, constants.py; Krizhevsky 2009's training images. */
const NORMALIZATIONS: Readonly<Record<string, Normalization>> = {
  imagenet: { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
  inception: { mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
  cifar10: { mean: [0.4914, 0.4822, 0.4465], std: [0.247, 0.2435, 0.2616] },
  cifar100: { mean: [0.5071, 0.4865, 0.4409], std: [0.2673, 0.2564, 0.2762] },
};

/** The names of known normalizations. */
export const NORMALIZATION_NAMES: readonly string[] = Object.keys(NORMALIZATIONS);

/**
 * `normalize("cifar10")` with the numbers of that name in place of its mean and std, unless those were given; undefined
 * for a name that is not known.
 */
export function withNumbers(call: CallSetting, given: ReadonlySet<string>): CallSetting | undefined {
  if (call.name !== "normalize" || given.has("mean") || given.has("std")) return call;
  const name = String(call.arguments["name"]);
  const known = Object.hasOwn(NORMALIZATIONS, name) ? NORMALIZATIONS[name] : undefined;
  return known && { ...call, arguments: { ...call.arguments, ...known } };
}

/** What the data's images are normalized by: as the recipe's `augment` says, else as the evaluated model does. */
export function normalizationOf(
  augment: readonly CallSetting[], model: Preprocess | undefined,
): Normalization | undefined {
  const stated = augment.find((call) => call.name === "normalize")?.arguments;
  const three = (value: unknown): Preprocess["mean"] => value as Preprocess["mean"]; // its signature says so
  return stated ? { mean: three(stated["mean"]), std: three(stated["std"]) } : model;
}

/** Turns the recipe's images into what a frozen model's input wants; other tensors stay as they are. */
export type Adapter = (input: string, node: Node) => Node;

/** @param images name of the loss's input that the data's images are */
export function adapterFor(
  session: Session, member: Member, images: string, data: Normalization | undefined,
): Adapter | undefined {
  const apart = new Session(session.ops);
  const instance = evaluated(apart, member);
  const [first] = apart.inputs;
  const own = instance && preparationOf(instance);
  if (!first || apart.diagnostics.length > 0) return undefined; // told where the loss calls it
  const [name, wanted] = first;
  return (input, node) => {
    if (input !== name || node.op !== "input" || node.attrs["name"] !== images || node.shape.length !== 4) return node;
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
