/**
 * @file Normalizations of images that have a name.
 */
import type { Preprocess } from "../../manifest.js";
import type { CallSetting } from "../../training.js";

export type Normalization = Pick<Preprocess, "mean" | "std">;

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
