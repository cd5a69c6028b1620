/** @file Class names, and the best classes of a row of logits. */

import { imagenetNames } from "./data/imagenet.js";
import { InputError } from "./errors.js";
import type { LabelSet, Manifest } from "./manifest.js";
import { printable } from "./text.js";

/** In the order of the logits. Source: Krizhevsky 2009. */
const cifar10: readonly string[] = [
  "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
];

/** The class names of a data set, in the order of the logits. */
export function classNames(set: LabelSet): readonly string[] {
  switch (set) {
    case "imagenet": return imagenetNames();
    case "cifar10": return cifar10;
    default: return set satisfies never;
  }
}

/** The class names that a model states, in the order of the logits; undefined where it states none. */
export const namesOf = ({ classNames: stated }: Pick<Manifest, "classNames">): readonly string[] | undefined =>
  typeof stated === "string" ? classNames(stated) : stated;

/** Length of a row of `prediction`, else of the first output. */
export const predictedClasses = ({ outputs }: Pick<Manifest, "outputs">): number | undefined =>
  (outputs.find(({ name }) => name === "prediction") ?? outputs[0])?.shape.at(-1)?.c;

/** Where a safetensors file keeps its class names: a key of its metadata, a JSON list in the order of the logits. */
const CLASSES = "classes";

/** Class names as metadata of a safetensors file. */
export const classesEntry = (classes: readonly string[]): Readonly<Record<string, string>> =>
  ({ [CLASSES]: JSON.stringify(classes) });

/**
 * The class names in the metadata of a safetensors file; undefined when it has none. Control characters in them, which
 * could act on a terminal, are replaced.
 */
export function classesOf(metadata: ReadonlyMap<string, string>): readonly string[] | undefined {
  let names: unknown;
  try {
    names = JSON.parse(metadata.get(CLASSES) ?? "");
  } catch {
    return undefined;
  }
  const isList = (value: unknown): value is readonly string[] =>
    Array.isArray(value) && value.every((name) => typeof name === "string");
  return isList(names) ? names.map(printable) : undefined;
}

/** The class names that a checkpoint brought, as many as `manifest` predicts; undefined when it has none that fit. */
export function labelsIn(
  metadata: ReadonlyMap<string, string>, manifest: Pick<Manifest, "outputs">,
): readonly string[] | undefined {
  const names = classesOf(metadata);
  return names?.length === predictedClasses(manifest) ? names : undefined;
}

/** One class of a prediction. */
export interface ScoredClass {
  readonly index: number;
  /** Its name, or `class 7` if it has no name. */
  readonly label: string;
  /** Its probability by softmax over all logits. */
  readonly score: number;
}

/**
 * The `k` classes of greatest logit, best first, equal ones by index. Throws `InputError` when the logits are empty or
 * not finite, when `k` is not a positive integer, or when there are not as many labels as logits.
 * @param logits one row, [classes]
 * @param labels names in the order of the logits, such as those of a loaded model, `session.labels`
 */
export function topK(logits: ArrayLike<number>, k: number, labels?: readonly string[]): ScoredClass[] {
  if (!Number.isSafeInteger(k) || k < 1) throw new InputError(`k must be at least 1, got ${k}`);
  if (labels !== undefined && labels.length !== logits.length) {
    throw new InputError(`got ${labels.length} labels for ${logits.length} logits`);
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
