/** @file Which outputs of a model predict a class, and how several of them are fused. Told by shapes, not by names. */
import type { Head } from "../../runtime/evaluate.js";
import type { Manifest, Preprocess, TensorInfo } from "../../runtime/manifest.js";
import { CommandError } from "./exit.js";

/** The language's name of the output that a model stands by; the others are its heads. */
const VERDICT = "prediction";
/** Fusions of all heads of a model. */
const MEAN = "logit mean";
const SOFTMAX = "softmax sum";

const isScores = ({ shape, dtype }: TensorInfo): boolean =>
  dtype === "f32" && shape.length === 2 && shape[0]?.b === 1 && shape[0].c === 0 && shape[1]?.b === 0;

/** How a model classifies. */
interface Classifier {
  readonly preprocess: Preprocess;
  readonly heads: readonly Head[];
  /** Logits of each head. */
  readonly count: number;
}

/**
 * The transform of a model's images, and its heads: every output [B, classes] that is not another one by a second name,
 * then, where there are two or more, their fusions, then `prediction`. The heads are those with as many classes as the
 * data has, else those with as many as `prediction`, or as the first.
 * @throws CommandError for a model that is no classifier of images
 */
export function headsOf(manifest: Manifest, classes: number): Classifier {
  const { name, preprocess, inputs, outputs } = manifest;
  const scores = outputs.filter(isScores);
  if (!preprocess || inputs.length !== 1 || scores.length === 0) {
    throw new CommandError(`${name} is not an image classifier`,
      "eval needs a model with `preprocess`, one input and an output [B, classes]");
  }
  const countOf = (info: TensorInfo | undefined): number => info?.shape[1]?.c ?? 0;
  const main = scores.find((info) => countOf(info) === classes) ?? scores.find((info) => info.name === VERDICT);
  const count = countOf(main ?? scores[0]);
  const fitting = scores.filter((info) => countOf(info) === count);
  const known = fitting.filter((info) => info.sameAs === undefined || !isScores(outputs[info.sameAs] ?? info));
  const single = ({ name: output }: TensorInfo): Head => ({ name: output, outputs: [output], fusion: "logits" });
  const apart = known.filter((info) => info.name !== VERDICT);
  const verdict = known.filter((info) => info.name === VERDICT);
  if (apart.length < 2) return { preprocess, count, heads: [...apart, ...verdict].map(single) };
  const all = apart.map((info) => info.name);
  return {
    preprocess, count,
    heads: [
      ...apart.map(single), { name: MEAN, outputs: all, fusion: "logits" },
      { name: SOFTMAX, outputs: all, fusion: "softmax" }, ...verdict.map(single),
    ],
  };
}

/** The head that a model is judged by when one figure is asked for: `prediction`, else its first. */
export const mainHead = <T extends { readonly head: string }>(heads: readonly T[]): T | undefined =>
  heads.find(({ head }) => head === VERDICT) ?? heads[0];

/**
 * Only the heads that are named, as `logits` (of every model that has it) or `student.logits`.
 * @throws CommandError for one that no model has, or a model left without
 */
export function selectHeads<T extends { readonly name: string; readonly heads: readonly Head[] }>(
  models: readonly T[], wanted: readonly string[] | undefined,
): readonly T[] {
  if (wanted === undefined) return models;
  const all = models.flatMap(({ name, heads }) => heads.map((head) => `${name}.${head.name}`));
  const fits = (model: string, head: string, want: string): boolean => want === head || want === `${model}.${head}`;
  for (const want of wanted) {
    if (models.some(({ name, heads }) => heads.some((head) => fits(name, head.name, want)))) continue;
    throw new CommandError(`no model has a head '${want}'`, `the heads are ${all.join(", ")}`);
  }
  return models.map((model) => {
    const heads = model.heads.filter((head) => wanted.some((want) => fits(model.name, head.name, want)));
    if (heads.length > 0) return model.heads === heads ? model : { ...model, heads };
    throw new CommandError(`--heads selects no head of ${model.name}`, `the heads are ${all.join(", ")}`);
  });
}
