/** @file What `deitc eval` does with models: one or several, all heads of each, on the same images. */
import { EvaluatedClasses } from "../../../runtime/classes.js";
import type { EvaluateOptions, Figures, Subject, TokenPair } from "../../../runtime/evaluate.js";
import type { BadImage, BadImagePolicy } from "../../../runtime/data/check.js";
import type { Dataset } from "../../../runtime/data/loader.js";
import type { Device } from "../../../runtime/device.js";
import type { FamilyName, Manifest } from "../../../runtime/manifest.js";
import type { ModuleDefinition } from "../../../runtime/artifact.js";
import type { Session } from "../../../runtime/session.js";
import { jsonText, printable } from "../../../runtime/text.js";
import { noteLines, printJsonValue } from "../command.js";
import { comparisonOf, comparisonText, oneLine, type Comparison, type Outcome } from "../comparison.js";
import { CommandError, UsageError } from "../exit.js";
import { headsOf, selectHeads } from "../heads.js";
import { readLabels } from "../labels.js";
import { Progress, withLoading, withStatus } from "../progress.js";
import { moduleOf, openModel, readArtifact, type ReadArtifact, type Selection } from "../artifact.js";
import type { TokenChoice } from "../../inspect/tokens.js";

/** A model on the command line. */
export interface ModelArgument {
  /** What it is called; the model's own name unless given. */
  readonly name?: string;
  /** `FILE.deit`, `FILE.deit:NAME` or a folder. */
  readonly model: string;
  /** What is there, where it was read already. */
  readonly read?: ReadArtifact;
  readonly weights: string;
}

interface CompareOptions extends Selection {
  /** See `openDataset`. */
  readonly data: string;
  readonly limit?: number;
  readonly onBadImage?: BadImagePolicy;
  /** A file of class names. */
  readonly labels?: string;
  readonly batch?: number;
  readonly adapter?: string;
  readonly family?: FamilyName;
  readonly ema?: boolean;
  readonly heads?: readonly string[];
  /** False: no token is looked at. */
  readonly tokens?: TokenChoice | false;
  readonly predictions?: string;
  readonly svg?: string;
  readonly json?: boolean;
}

/** Images at once unless told, and the storage that these may take: fewer where they need more. */
const BATCH = 64;
const STORAGE = 2 ** 30;

/** What chooses from one file, and means nothing for several. */
const SINGLE_OPTIONS = ["target", "set"] as const;

/** A model that is compiled and not yet loaded. */
interface Candidate extends Omit<Subject, "session" | "classes"> {
  /** Classes that it predicts. */
  readonly count: number;
  readonly definition: ModuleDefinition;
  readonly argument: ModelArgument;
}

/** Evaluates the models and prints what was found. */
export async function compareModels(given: readonly ModelArgument[], options: CompareOptions): Promise<void> {
  const [{ openDataset }, { spread }] = await Promise.all([
    import("../../../runtime/node/train/datasets.js"), import("../../../runtime/evaluate.js"),
  ]);
  const single = given.length === 1 ? undefined : SINGLE_OPTIONS.find((name) => options[name] !== undefined);
  if (single !== undefined) {
    throw new UsageError(`--${single} is for one model, and ${given.length} are compared`,
      "name each as FILE.deit:NAME; for other values in a header, write a model that extends it");
  }
  const whole = await openDataset(options.data);
  const { dataset, skipped } = await usable(
    options.limit === undefined ? whole : spread(whole, options.limit), options.onBadImage,
  );
  if (options.predictions !== undefined && dataset.files === undefined) {
    throw new UsageError("--predictions lists files: it needs a folder of images as --data");
  }
  const candidates = await withStatus("compiling", () => compileAll(given, dataset, options), true);
  const { openDevice } = await import("../../../runtime/node/adapters.js");
  const checked = candidates.some(({ definition }) => definition.checked === true);
  const device = await openDevice({ checked, ...(options.adapter === undefined ? {} : { adapter: options.adapter }) });
  try {
    await present({ ...await run(candidates, dataset, device, options), skipped }, dataset, options);
  } finally {
    device.destroy();
  }
}

/** The images that are evaluated on: all, or those that can be read. */
async function usable(
  dataset: Dataset, policy: BadImagePolicy | undefined,
): Promise<{ readonly dataset: Dataset; readonly skipped: readonly BadImage[] }> {
  if (policy !== "skip") return { dataset, skipped: [] };
  const [{ without }, { checkWithProgress }] = await Promise.all([
    import("../../../runtime/data/check.js"), import("../check_data.js"),
  ]);
  const { bad } = await checkWithProgress(dataset);
  if (bad.length === dataset.length) throw new CommandError(`no image of ${dataset.name} can be read`);
  return { dataset: without(dataset, bad.map(({ index }) => index)), skipped: bad };
}

/** Compiles the models, and chooses heads and tokens. */
async function compileAll(
  given: readonly ModelArgument[], dataset: Dataset, options: CompareOptions,
): Promise<readonly Candidate[]> {
  const candidates: Candidate[] = [];
  for (const argument of given) {
    const { definition, compiled } = await openModel(argument.read ?? await readArtifact(argument.model, options));
    const { manifest } = definition;
    const name = argument.name ?? manifest.name;
    if (candidates.some((other) => other.name === name)) {
      throw new UsageError(`two models are called ${name}`, `name one: --compare other=${argument.model},WEIGHTS`);
    }
    const found = headsOf(manifest, dataset.classes.length);
    let [kept, tokens]: [ModuleDefinition, readonly TokenPair[]] = [definition, []];
    if (compiled && options.tokens !== false) {
      const { layersFound, layersNamed, withTokens } = await import("../../inspect/tokens.js");
      const layers = options.tokens ? layersNamed(compiled.model, options.tokens) : layersFound(compiled.model);
      const tapped = layers ? withTokens(compiled, layers) : undefined;
      if (tapped) [kept, tokens] = [moduleOf(tapped.module), tapped.tokens];
    }
    candidates.push({ ...found, name, tokens, definition: kept, argument });
  }
  if (options.tokens && candidates.every(({ tokens }) => tokens.length === 0)) {
    throw new CommandError(`no model has a tensor [B, N, D] at ${options.tokens.paths.join(", ")}`,
      "`deitc explain FILE.deit` lists the paths; a compiled folder does not keep them");
  }
  return selectHeads(candidates, options.heads);
}

async function run(
  candidates: readonly Candidate[], dataset: Dataset, device: Device, options: CompareOptions,
): Promise<Omit<Outcome, "skipped">> {
  const [{ evaluate }, { load }, { adapterName, chooseFamily }] = await Promise.all([
    import("../../../runtime/evaluate.js"), import("../../../runtime/node/module.js"),
    import("../../../runtime/device.js"),
  ]);
  const classes = new EvaluatedClasses(dataset);
  const notes: string[] = [...dataset.notes ?? []];
  const subjects: Subject[] = [];
  const sessions: Session[] = [];
  try {
    const families = candidates.map(({ definition }) => chooseFamily(device, definition.manifest, options.family));
    const most = options.batch ?? Math.min(...await Promise.all(candidates.map(({ definition }, i) =>
      batchFor(definition.manifest, families[i] ?? "scalar", device))));
    const batch = Math.min(most, dataset.length);
    for (const [i, candidate] of candidates.entries()) {
      const { argument: { weights }, definition, name, count } = candidate;
      const labels = options.labels === undefined ? {} : { labels: await readLabels(options.labels, count) };
      const session: Session = await withLoading(`loading ${name}`, (onProgress) => load(definition, {
        device, batch, weights, family: families[i], onNote: (note) => void notes.push(`${name}: ${note}`), onProgress,
        ...(options.ema === undefined ? {} : { ema: options.ema }), ...labels,
      }));
      sessions.push(session);
      const { givenLabels, labels: names } = session;
      const found = classes.of({
        owner: givenLabels === undefined ? name : options.labels ?? weights, count,
        names: names?.length === count ? names : undefined, stated: givenLabels === undefined,
      });
      subjects.push({ ...candidate, session, classes: found.classes });
      for (const note of found.notes) notes.push(`${name}: ${note}`);
    }
    const start = performance.now();
    const progress = new Progress("evaluating", dataset.length, "images");
    const how: EvaluateOptions = { batch, onProgress: (done) => progress.update(done) };
    const figures = await evaluate(dataset, subjects, how).finally(() => progress.end());
    return {
      figures, classes: classes.names, adapter: adapterName(device.info), software: device.software, batch, notes,
      seconds: (performance.now() - start) / 1000,
      models: candidates.map(({ name, argument: { model, weights: checkpoint } }, i) =>
        ({ name, model, checkpoint, family: families[i] ?? "scalar" })),
    };
  } finally {
    for (const session of sessions) session.destroy();
  }
}

/** The most images that the model may take at once: 64, halved while they need more storage than is good. */
async function batchFor(manifest: Manifest, family: FamilyName, device: Device): Promise<number> {
  const [{ memoryUse, planMemory }, { OutOfMemoryError }, { familyNamed }] = await Promise.all([
    import("../../../runtime/memory.js"), import("../../../runtime/errors.js"), import("../../../runtime/families.js"),
  ]);
  for (let batch = BATCH; batch > 1; batch /= 2) {
    try {
      const plan = planMemory(manifest, family, batch, device.limits);
      const { total, parameters } = memoryUse(plan, familyNamed(manifest, family));
      if (total - parameters <= STORAGE) return batch;
    } catch (error) {
      if (!(error instanceof OutOfMemoryError)) throw error;
    }
  }
  return 1;
}

/** Prints and writes what the options ask for. */
async function present(outcome: Outcome, dataset: Dataset, options: CompareOptions): Promise<void> {
  const comparison = comparisonOf(outcome, dataset);
  if (options.predictions !== undefined) await writePredictions(options.predictions, outcome.figures, dataset);
  if (options.svg !== undefined) {
    const { drawComparison } = await import("../compare_svg.js");
    await writeText(options.svg, drawComparison(comparison));
  }
  if (options.json) return printJsonValue(forJson(comparison, outcome, dataset));
  process.stdout.write(noteLines(outcome.notes));
  for (const { file, reason } of outcome.skipped) {
    process.stdout.write(`skipped: ${printable(file)}: ${printable(reason)}\n`);
  }
  process.stdout.write(comparison.predictors.length === 1 && comparison.tokens.length === 0
    ? oneLine(comparison, outcome) : comparisonText(comparison, outcome));
}

function forJson(comparison: Comparison, outcome: Outcome, dataset: Dataset): unknown {
  const { adapter, software, batch, seconds, models, notes, skipped, classes, figures: { count } } = outcome;
  const { main, predictors, names, fractions, tokens } = comparison;
  const [only, more] = models;
  const figures = only && !more && main
    ? { model: only.name, checkpoint: only.checkpoint, top1: main.top1, top5: main.top5, loss: main.loss } : {};
  return {
    ...figures, count, data: dataset.name, classes, adapter, software, batch, seconds, models,
    heads: predictors.map(({ model, head, top1, top5, loss }) => ({ model, head, top1, top5, loss })),
    disagreement: { names, fractions }, tokens, notes,
    skipped: skipped.map(({ file, reason }) => ({ file, reason })),
  };
}

async function writeText(path: string, text: string): Promise<void> {
  const { writeFileAtomic } = await import("../../../runtime/node/files.js");
  await writeFileAtomic(path, [new TextEncoder().encode(text)]);
}

/** A line an image: its file, its class, and the class that was predicted, by head where there are several. */
async function writePredictions(path: string, { heads, labels }: Figures, { files = [] }: Dataset): Promise<void> {
  const [only, more] = heads;
  const lines = files.map((file, i) => {
    const predicted = only && !more ? only.predicted[i]
      : Object.fromEntries(heads.map(({ model, head, predicted: all }) => [`${model}.${head}`, all[i]]));
    return `${jsonText({ file, label: labels[i], predicted })}\n`;
  });
  await writeText(path, lines.join(""));
}
