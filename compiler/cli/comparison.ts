/** @file The outcome of an evaluation as tables: accuracies, who disagrees with whom, how alike two tokens are. */
import type { BadImage } from "../../runtime/data/check.js";
import type { Dataset } from "../../runtime/data/loader.js";
import { disagreement, type Figures, type HeadFigures } from "../../runtime/evaluate.js";
import type { FamilyName } from "../../runtime/manifest.js";
import { printable } from "../../runtime/text.js";
import { mainHead } from "./heads.js";
import { showSeconds } from "./progress.js";
import { table } from "./table.js";

/** What a run was. */
export interface Outcome {
  readonly figures: Figures;
  /** Names of the classes in the figures: those of the data, then others that a model predicts. */
  readonly classes: readonly string[];
  readonly adapter: string;
  readonly software: boolean;
  readonly batch: number;
  readonly seconds: number;
  readonly notes: readonly string[];
  /** Images that were left out. */
  readonly skipped: readonly BadImage[];
  readonly models: readonly {
    readonly name: string; readonly model: string; readonly checkpoint: string; readonly family: FamilyName;
  }[];
}

/** A head of a model, as people read it. */
interface Predictor extends HeadFigures {
  readonly label: string;
}

/** Mean cosine of two tokens by layer, of one model. */
interface TokenCourse {
  readonly model: string;
  readonly layers: readonly { readonly layer: string; readonly cosine: number }[];
}

export interface Comparison {
  readonly title: string;
  readonly predictors: readonly Predictor[];
  /** What one model is judged by: the first one's. */
  readonly main: Predictor | undefined;
  /** Of rows and columns of `fractions`: the truth, then the predictors. */
  readonly names: readonly string[];
  /** Shares of the images that two of them tell differently. Source: Touvron et al. 2021, Table 4. */
  readonly fractions: readonly (readonly number[])[];
  readonly tokens: readonly TokenCourse[];
}

export function comparisonOf({ figures, models }: Outcome, { name, classes }: Dataset): Comparison {
  const { heads, labels, similarities, count } = figures;
  const single = models.filter((model) => heads.filter((head) => head.model === model.name).length === 1);
  const predictors = heads.map((head): Predictor => {
    const alone = models.length > 1 && single.some((model) => model.name === head.model);
    const own = models.length > 1 ? `${head.model} ${head.head}` : head.head;
    return { ...head, label: alone ? head.model : own };
  });
  const all = [labels, ...heads.map(({ predicted }) => predicted)];
  return {
    title: `${count} images of ${printable(name)}, ${classes.length} classes`,
    predictors,
    main: mainHead(predictors.filter(({ model }) => model === predictors[0]?.model)),
    names: ["truth", ...predictors.map(({ label }) => label)],
    fractions: all.map((a) => all.map((b) => disagreement(a, b))),
    tokens: models.flatMap(({ name: model }): TokenCourse[] => {
      const layers = similarities.filter((one) => one.model === model);
      return layers.length === 0 ? [] : [{ model, layers: layers.map(({ layer, cosine }) => ({ layer, cosine })) }];
    }),
  };
}

const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;

const speed = ({ figures: { count }, seconds }: Outcome): string =>
  `${showSeconds(seconds)}, ${(count / seconds).toFixed(count < 10 * seconds ? 2 : 0)} images/s`;

/** One model with one head. */
export function oneLine({ main }: Comparison, outcome: Outcome): string {
  const [{ name = "", checkpoint = "", family = "" } = {}] = outcome.models;
  const { top1 = NaN, top5 = NaN, loss = NaN } = main ?? {};
  return `${name}, ${printable(checkpoint)}: ${percent(top1)} of ${outcome.figures.count} images correct, ` +
    `${percent(top5)} in the top five, loss ${loss.toFixed(4)}\n` +
    `${outcome.adapter}, ${family} kernels, batch ${outcome.batch}: ${speed(outcome)}\n`;
}

/** What rows and columns of the matrix are called: `a`, `b`, … as long as there are letters. */
export const mark = (i: number): string => (i < 26 ? String.fromCharCode(97 + i) : String(i + 1));

/** All tables. */
export function comparisonText(comparison: Comparison, outcome: Outcome): string {
  const families = [...new Set(outcome.models.map(({ family }) => family))].join(" and ");
  const figures = comparison.predictors.map(({ model, head, top1, top5, loss }) => [
    model, head, String(Math.round(top1 * outcome.figures.count)), percent(top1), percent(top5), loss.toFixed(4),
  ]);
  const accuracy = table([["model", "head", "right", "top-1", "top-5", "loss"], ...figures], [2, 3, 4, 5]);
  return `${comparison.title}\n${outcome.adapter}, ${families} kernels, batch ${outcome.batch}: ${speed(outcome)}\n\n` +
    `${accuracy}\n${matrixText(comparison)}${tokensText(comparison)}`;
}

function matrixText({ names, fractions }: Comparison): string {
  const rows = names.map((name, i) => [
    mark(i), name, ...names.map((_, j) => (j < i ? "" : j === i ? "0" : (fractions[i]?.[j] ?? NaN).toFixed(4))),
  ]);
  const columns = names.map((_, i) => i + 2);
  const shares = table([["", "", ...names.map((_, i) => mark(i))], ...rows], columns);
  return `share of images classified differently\n${shares}`;
}

/** Layers down, models across. */
function tokensText({ tokens }: Comparison): string {
  if (tokens.length === 0) return "";
  const layers = [...new Set(tokens.flatMap((course) => course.layers.map(({ layer }) => layer)))];
  const rows = layers.map((layer) => [layer, ...tokens.map((course) => {
    const found = course.layers.find((one) => one.layer === layer);
    return found ? found.cosine.toFixed(4) : "";
  })]);
  return `\ncosine of the two tokens, mean over the images\n` +
    table([["after", ...tokens.map(({ model }) => model)], ...rows], tokens.map((_, i) => i + 1));
}
