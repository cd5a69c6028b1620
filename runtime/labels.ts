/** @file Class names, and the best classes of a row of logits. */

import { imagenetNames } from "./data/imagenet.js";
import { InputError } from "./errors.js";

/** Data sets whose class names are known. */
export type LabelSet = "imagenet" | "cifar10";

/** In the order of the logits. Source: Krizhevsky 2009. */
const cifar10: readonly string[] = [
  "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
];

/** The class names of a data set, in the order of the logits. */
export async function classNames(set: LabelSet): Promise<readonly string[]> {
  switch (set) {
    case "imagenet": return imagenetNames();
    case "cifar10": return cifar10;
    default: return set satisfies never;
  }
}

/** The class names for a number of logits, when one known data set has just as many. */
export const classNamesFor = async (classes: number): Promise<readonly string[] | undefined> => knownNames(classes);

function knownNames(classes: number): readonly string[] | undefined {
  if (classes === 1000) return imagenetNames();
  return classes === cifar10.length ? cifar10 : undefined;
}

/** One class of a prediction. */
export interface ScoredClass {
  readonly index: number;
  /** Its name, or `class 7` where there is none. */
  readonly label: string;
  /** Its probability by softmax over all logits. */
  readonly score: number;
}

/**
 * The `k` classes of greatest logit, best first, equal ones by index. Throws `InputError` when the logits are empty or
 * not finite, when `k` is not a positive integer, or when there are not as many labels as logits.
 * @param logits one row, [classes]
 * @param labels names in the order of the logits; those of the known data set with as many classes unless given, so
 * give your own for another one
 */
export function topK(
  logits: ArrayLike<number>, k: number, labels: readonly string[] | undefined = knownNames(logits.length),
): ScoredClass[] {
  if (!Number.isSafeInteger(k) || k < 1) throw new InputError(`the best ${k} classes cannot be given`);
  if (labels !== undefined && labels.length !== logits.length) {
    throw new InputError(`there are ${labels.length} labels for ${logits.length} logits`);
  }
  const values = Array.from(logits);
  const broken = values.findIndex((value) => !Number.isFinite(value));
  if (values.length === 0 || broken >= 0) {
    throw new InputError(values.length === 0 ? "there are no logits" : `logit ${broken} is ${values[broken]}`);
  }
  // Shifted by the greatest, so that no exponential overflows.
  const greatest = values.reduce((a, b) => Math.max(a, b));
  const exponentials = values.map((value) => Math.exp(value - greatest));
  const sum = exponentials.reduce((a, b) => a + b, 0);
  return values
    .map((value, index) => ({ value, index }))
    .sort((a, b) => b.value - a.value || a.index - b.index)
    .slice(0, k)
    .map(({ index }) => ({
      index, label: labels?.[index] ?? `class ${index}`, score: (exponentials[index] ?? 0) / sum,
    }));
}
