/** @file A training run in Node: a compiled recipe with its data, device, checkpoints, records and report. */
import { join } from "node:path";
import { relabelled } from "../../classes.js";
import { EvaluationLoader, TrainingLoader } from "../../data/loader.js";
import { adapterName, type Device } from "../../device.js";
import { DeitcError, InputError } from "../../errors.js";
import { showBytes, showCount } from "../../memory.js";
import type { StopSignal } from "../../lifetime.js";
import { DeviceEngine } from "../../train/engine.js";
import {
  train, type TrainingEvent, type TrainingOutcome, type TrainingPlan,
} from "../../train/loop.js";
import type { Evaluation, MetricsRecord } from "../../train/metrics.js";
import type { TrainingDefinition } from "../../train/programs.js";
import { flatten } from "../../train/run_facts.js";
import { scheduleWarning } from "../../train/schedule.js";
import { preparationOf, scheduleOf, stepsOf } from "../../train/settings.js";
import { encodeWeights } from "../../train/state.js";
import type { TrainingManifest } from "../../training.js";
import { openDevice } from "../adapters.js";
import { writeFileAtomic } from "../files.js";
import type { CheckpointFolder } from "./checkpoints.js";
import { openData, type RecipeData } from "./datasets.js";
import { packData } from "./fingerprint.js";
import { MetricsLog } from "./metrics_log.js";
import { outOf, resumedFrom, savedOptions, withSavedOptions, type TrainerOptions } from "./options.js";
import { writeReport, type ReportFacts } from "./report.js";
import { stateHeader, type LoadedState } from "./resume.js";
import { isThere, publishedIn, type RunFiles } from "./published.js";
import { openRunFolder, type Places } from "./run_folder.js";
import { openWeights, type InitialWeights } from "./weights.js";

/** What a run is made of, once everything was opened. */
interface Parts {
  readonly options: Places;
  readonly engine: DeviceEngine;
  readonly training: TrainingLoader;
  readonly evaluation: EvaluationLoader | undefined;
  readonly plan: TrainingPlan;
  readonly store: CheckpointFolder | undefined;
  readonly resumed: LoadedState | undefined;
  readonly data: RecipeData;
}

/** Records an epoch. */
const LOG_SHARE = 50;
/** Seconds between checkpoints inside an epoch. */
const SAVE_SECONDS = 600;

/** A compiled recipe, ready to train. `destroy()` it, or use `await using`. */
export class Trainer {
  readonly manifest: TrainingManifest;
  readonly #parts: Parts;
  #ran = false;
  /** Steps done. */
  #step: number;

  private constructor(manifest: TrainingManifest, parts: Parts) {
    [this.manifest, this.#parts] = [manifest, parts];
    this.#step = this.startStep;
  }

  /**
   * Opens data, checkpoints and folder, and the device, whose kernels are compiled meanwhile. What is wrong is told in
   * this order.
   * @throws InputError, FileError, WeightsError, AdapterError, OutOfMemoryError, and the signal's reason
   */
  static async open(definition: TrainingDefinition, given: TrainerOptions = {}): Promise<Trainer> {
    const { manifest } = definition;
    const out = outOf(given, manifest.name);
    const from = await resumedFrom(given, out);
    const options = { ...await withSavedOptions(given, from), out, from };
    const stop = new AbortController();
    const opening = openEngine(definition, options, stop.signal);
    // A failure is awaited only when the rest is there.
    opening.catch(() => undefined);
    let weights: InitialWeights | undefined;
    try {
      preparationOf(manifest).notes.forEach((note) => options.onNote?.(note));
      const data = await openData(manifest, options);
      const saved = from === undefined ? {} : { saved: { path: from, names: (await stateHeader(from))?.classes } };
      weights = await openWeights(manifest, data.training, { ...options, ...saved });
      return await Trainer.#with(manifest, options, data, weights, opening);
    } catch (error) {
      // Whoever made a mistake does not wait for kernels that are being compiled.
      stop.abort();
      void opening.then((engine) => closeEngine(engine, options), () => undefined);
      throw error;
    } finally {
      await weights?.close();
    }
  }

  /** @param found the data, whose labels are not yet the classes of the weights */
  static async #with(
    manifest: TrainingManifest, options: Places, found: RecipeData, weights: InitialWeights,
    opening: Promise<DeviceEngine>,
  ): Promise<Trainer> {
    const { settings } = manifest;
    const { batch = settings.batch, onNote = () => undefined } = options;
    const { data: usable, keep } = await usableData(found, options);
    const data: RecipeData = {
      ...usable, training: relabelled(usable.training, weights.classes),
      evaluation: relabelled(usable.evaluation, weights.classes),
    };
    const preparation = preparationOf(manifest);
    const training = new TrainingLoader(data.training, {
      batch, seed: settings.seed, preprocess: preparation.preprocess, augment: preparation.augment,
      prefetch: data.prefetch.training,
    });
    const plan = planOf(manifest, options, batch, training, await packData(usable));
    const odd = scheduleWarning(plan.schedule);
    if (odd !== undefined) onNote(odd);
    const { store, resumed } = await openRunFolder(manifest, options, plan);
    try {
      if (store !== undefined) await keep(store.path);
      const engine = await opening;
      await engine.initialize((state) => weights.load(state));
      const evaluation = manifest.classes === undefined ? undefined : new EvaluationLoader(data.evaluation, {
        batch: engine.evaluationBatch, preprocess: preparation.preprocess, prefetch: data.prefetch.evaluation,
      });
      if (engine.passes > (options.passes ?? settings.accumulate)) {
        onNote(`a batch of ${batch} images does not fit the device: each step takes ${engine.passes} passes`);
      }
      return new Trainer(manifest, {
        options, engine, training, evaluation, plan, store, resumed, data,
      });
    } catch (error) {
      store?.close();
      throw error;
    }
  }

  /** The engine that runs the steps: its device, memory and dispatches. */
  get engine(): DeviceEngine {
    return this.#parts.engine;
  }

  /** The plan of the run: steps, batch, schedule. */
  get plan(): TrainingPlan {
    return this.#parts.plan;
  }

  /** Folder of the run; undefined if nothing is written. */
  get folder(): string | undefined {
    return this.#parts.store?.path;
  }

  /**
   * The files that a run has left, where they really lie: checkpoints go to `fallback` where the folder cannot be
   * written to, and the best weights of a run that is resumed may still be where it was resumed from.
   */
  async files(
    { step, best, checkpoint }: Pick<TrainingOutcome, "step" | "best" | "checkpoint">,
  ): Promise<RunFiles> {
    const { store, options: { fallback, from } } = this.#parts;
    const folders = [store?.path, fallback, from].filter((folder) => folder !== undefined);
    const report = store && join(store.path, "report.html");
    const found = {
      best: best && await publishedIn(folders, "best", best),
      last: checkpoint === undefined ? undefined : await publishedIn(folders, "last", { step, weights: "model" }),
      report: report !== undefined && await isThere(report) ? report : undefined,
    };
    return Object.fromEntries(Object.entries(found).filter(([, path]) => path !== undefined));
  }

  /** Steps done before this run: those of the checkpoint it resumes. */
  get startStep(): number {
    return this.#parts.resumed?.state.step ?? 0;
  }

  /** Pairs of words about the run. */
  get facts(): readonly (readonly [name: string, value: string])[] {
    const { engine, plan, data, training } = this.#parts;
    const { optimizer } = this.manifest.settings;
    const trained = this.manifest.states.filter((state) => state.trained)
      .reduce((n, { shape }) => n + shape.reduce((m, d) => m * d, 1), 0);
    const models = this.manifest.models.map(({ name, model, frozen }) =>
      `${name}: ${model}${frozen ? " (frozen)" : ""}`);
    return [
      ["recipe", this.manifest.name], ["models", models.join(", ")], ["trained parameters", showCount(trained)],
      ["data", `${data.training.name}, ${showCount(data.training.length)} images`],
      ["evaluated on", `${data.evaluation.name}, ${showCount(data.evaluation.length)} images`],
      ["batch", `${plan.batch}${engine.passes > 1 ? ` in ${engine.passes} passes` : ""}`],
      ["length", `${plan.steps} steps, ${training.stepsPerEpoch} per epoch`], ["optimizer", optimizer.name],
      ["adapter", `${adapterName(engine.device.info)}, ${engine.family} kernels`],
      ["dispatches per step", String(engine.dispatches)], ["memory on the device", showBytes(engine.memory.total)],
    ];
  }

  /**
   * Trains to the end, or until the signal; once. Records go to `metrics.jsonl` and `report.html` in the folder.
   * @throws DivergedError, and what data, device and the last checkpoint throw
   */
  async *run(): AsyncGenerator<TrainingEvent, TrainingOutcome> {
    this.engine.check();
    if (this.#ran) throw new InputError("a trainer runs only once: open a new one, with `resume` to continue");
    this.#ran = true;
    const { engine, training, evaluation, plan, store, resumed, options } = this.#parts;
    const records: MetricsRecord[] = [...resumed?.state.records ?? []];
    const log = store && await MetricsLog.open(join(store.path, "metrics.jsonl"), records);
    const course = train(plan, { engine, training, evaluation, store, signal: options.signal }, resumed);
    try {
      for (;;) {
        const { value, done } = await course.next();
        if (done === true) return value;
        if (value.kind === "record") {
          records.push(value.record);
          const failed = await log?.add(value.record);
          if (failed !== undefined) yield { kind: "warning", text: failed };
          const missed = value.record.kind === "epoch" ? await this.#report(records) : undefined;
          if (missed !== undefined) yield { kind: "warning", text: missed };
        }
        if (value.kind === "step") this.#step = value.step;
        yield value;
      }
    } finally {
      // Whoever stops listening leaves the course in the middle of a batch; nobody sees what it returns then.
      await course.return({ finished: false, step: 0, records: [], best: undefined, checkpoint: undefined });
      await this.#report(records);
      store?.close();
    }
  }

  /** Writes the report; a failure to write it is a warning, not the end of a run. */
  async #report(records: readonly MetricsRecord[]): Promise<string | undefined> {
    const { store } = this.#parts;
    if (store === undefined || records.length === 0) return undefined;
    const facts: ReportFacts = { title: this.manifest.name, facts: this.facts };
    try {
      await writeReport(join(store.path, "report.html"), facts, records);
      return undefined;
    } catch (error) {
      if (!(error instanceof DeitcError)) throw error;
      return `no report: ${error.message}`;
    }
  }

  /** One pass over the evaluation data with the weights as they are. @param onBatch batches done, and in all */
  async evaluate(
    { ema = false, onBatch }: { readonly ema?: boolean; readonly onBatch?: (done: number, total: number) => void } = {},
  ): Promise<Evaluation> {
    const { engine, evaluation } = this.#parts;
    if (evaluation === undefined) throw new InputError(`${this.manifest.name} predicts no classes to evaluate`);
    if (ema && !engine.hasEma) throw new InputError(`${this.manifest.name} keeps no moving average`);
    await this.#restore();
    let [loss, top1, top5, count, done] = [0, 0, 0, 0, 0];
    for await (const batch of evaluation.batches()) {
      const sums = await engine.evaluate(batch, ema);
      [loss, top1, top5, count] = [loss + sums.loss, top1 + sums.top1, top5 + sums.top5, count + batch.count];
      onBatch?.(++done, evaluation.steps);
    }
    return { loss: loss / count, top1: top1 / count, top5: top5 / count, count };
  }

  /** Gives the device the state that is resumed, unless `run` has. */
  async #restore(): Promise<void> {
    const { engine, resumed } = this.#parts;
    if (!this.#ran && resumed !== undefined) await engine.writeState(resumed.state.engine);
  }

  /** Writes the weights as they are, or their average, as a safetensors file. Throws `FileError`. */
  async save(path: string, { ema = false }: { readonly ema?: boolean } = {}): Promise<void> {
    const { engine, plan: { recipe, about } } = this.#parts;
    await this.#restore();
    const state = { recipe, step: this.#step, engine: await engine.readState(), classes: about?.classes };
    const chunks = encodeWeights(state, ema ? "ema" : "model");
    if (chunks === undefined) throw new InputError(`${this.manifest.name} keeps no moving average`);
    await writeFileAtomic(path, chunks);
  }

  /**
   * Frees what it holds on the device, and the device if it opened it, once no call uses it: `run` ends after the step
   * under way, or the save, and rejects with DestroyedError, as calls that come later do. The process can end after
   * this.
   */
  destroy(): void {
    const { engine, options, store } = this.#parts;
    store?.close();
    closeEngine(engine, options);
  }

  /** Destroys, and waits until everything is freed. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.destroy();
    await this.engine.ended;
  }
}

/** The data as the run takes it: whole, or without what cannot be read; and how to keep the list of that. */
async function usableData(
  all: RecipeData, options: Places,
): Promise<{ readonly data: RecipeData; keep(folder: string): Promise<void> }> {
  const { onBadImage = "error", onCheck, evaluateOnly = false, onNote = () => undefined } = options;
  new Set([all.training, all.evaluation].flatMap(({ notes = [] }) => notes)).forEach((note) => onNote(note));
  if (onBadImage === "error") return { data: all, keep: () => Promise.resolve() };
  const { leaveOut } = await import("./skipped.js");
  const parts = evaluateOnly ? ["evaluation"] as const : ["training", "evaluation"] as const;
  const left = await leaveOut(all, parts, options.out, onCheck);
  left.notes.forEach(onNote);
  return left;
}

function planOf(
  manifest: TrainingManifest, options: Places, batch: number, { stepsPerEpoch, dataset }: TrainingLoader,
  data: Uint8Array,
): TrainingPlan {
  const { settings, digest } = manifest;
  const { steps = stepsOf(settings.length, stepsPerEpoch) } = options;
  if (!Number.isSafeInteger(steps) || steps < 1) throw new InputError(`steps must be at least 1, got ${steps}`);
  const logEvery = options.logEvery ?? Math.max(1, Math.round(Math.min(stepsPerEpoch, steps) / LOG_SHARE));
  if (!Number.isSafeInteger(logEvery) || logEvery < 1) {
    throw new InputError(`logEvery must be at least 1, got ${logEvery}`);
  }
  return {
    recipe: batch === settings.batch ? digest : `${digest} batch=${batch}`,
    schedule: scheduleOf(settings, steps, stepsPerEpoch), steps, stepsPerEpoch, batch, logEvery,
    saveEvery: options.saveEvery ?? { seconds: SAVE_SECONDS },
    about: {
      data, run: { options: savedOptions(options), settings: flatten({ ...settings, batch }), steps },
      // A model that predicts no classes has no names for them.
      ...(manifest.classes === undefined ? {} : { classes: dataset.classes }),
    },
  };
}

/** The device and its kernels. @param stop ends it as the signal of the options does */
async function openEngine(definition: TrainingDefinition, options: Places, stop: StopSignal): Promise<DeviceEngine> {
  const { batch, passes, family, poison, onProgress, signal: asked } = options;
  const { checked = definition.checked ?? false } = options;
  const signal: StopSignal = {
    get aborted() { return stop.aborted || asked?.aborted === true; },
    throwIfAborted() {
      asked?.throwIfAborted();
      stop.throwIfAborted();
    },
  };
  let opened: Device | undefined;
  try {
    const device = options.device ?? (opened = await openDevice({ ...options, checked }));
    return await DeviceEngine.open(definition, { device, batch, passes, family, poison, onProgress, signal });
  } catch (error) {
    opened?.destroy();
    throw error;
  }
}

/** Frees an engine, and its device if it was opened for it. */
function closeEngine(engine: DeviceEngine, { device }: Pick<TrainerOptions, "device">): void {
  engine.destroy();
  if (device === undefined) engine.device.destroy();
}
