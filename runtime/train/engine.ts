/** @file A recipe on a device: the step engine that the training loop drives. */
import type { Batch } from "../data/loader.js";
import type { Device } from "../device.js";
import { InputError, OutOfMemoryError } from "../errors.js";
import { familyNamed } from "../families.js";
import { Lifetime } from "../lifetime.js";
import type { FamilyName } from "../manifest.js";
import { elementsAt, type MemoryUse } from "../memory.js";
import type { Program } from "../program.js";
import type { ParameterStore } from "../store.js";
import type { NonFinite } from "../trace.js";
import type { StateInfo, TrainingManifest } from "../training.js";
import { FIGURES, StepFigures } from "./figures.js";
import { StepInputs, tensorOf } from "./inputs.js";
import { buildPrograms, type EngineOptions, type Programs, type TrainingDefinition } from "./programs.js";
import type { EvaluationSums, StepEngine, StepMetrics, StepScalars } from "./step_engine.js";
import type { EngineState } from "./state.js";
import { firstNonFinite, modelOf, movesBuffers, readStates, writeInitial, writeStates } from "./states.js";
import { traceStep } from "./trace.js";

/** Steps that may be under way at a time on a device that holds one in a submit. */
const STEPS_AHEAD = 2;

/** Training on a device. */
export class DeviceEngine implements StepEngine {
  readonly manifest: TrainingManifest;
  readonly device: Device;
  /** Images of an optimizer step, and the passes it takes. */
  readonly batch: number;
  readonly passes: number;
  readonly #lifetime: Lifetime;
  readonly #store: ParameterStore;
  readonly #programs: Programs;
  readonly #figures: StepFigures;
  readonly #inputs: { readonly pass: StepInputs; readonly apply: StepInputs | undefined };
  /** Runs under way, oldest first. */
  #pending: Promise<void>[] = [];
  /** Step of each row of figures that was not read yet. */
  #rows: number[] = [];
  #sums = { loss: 0, correct: 0, rows: 0, images: 0 };
  #gradNorm: number | undefined;
  #bad: { readonly step: number; readonly figure: string } | undefined;
  /** Values that states start from, where they are not drawn by the seed. */
  #loaded: (state: StateInfo) => Promise<Float32Array | undefined> = () => Promise.resolve(undefined);
  /** The way parameters are bound that evaluation was last prepared for; undefined when they have changed since. */
  #prepared: number | undefined;

  private constructor(manifest: TrainingManifest, programs: Programs) {
    const { pass, apply, store, figures, passes } = programs;
    [this.manifest, this.#programs, this.#store, this.#figures] = [manifest, programs, store, figures];
    [this.device, this.passes, this.batch] = [pass.device, passes, passes * pass.batch];
    this.#inputs = { pass: new StepInputs(manifest, pass), apply: apply && new StepInputs(manifest, apply) };
    this.#lifetime = new Lifetime({
      message: `the training of ${manifest.name} was destroyed: open it again to go on`,
      parent: this.device.lifetime,
      free: () => programs.destroy(),
    });
  }

  /**
   * Allocates and compiles; the states are zeros until `initialize` or `writeState`. Where a pass does not fit the
   * device, a step takes more passes, if the recipe was compiled for passes and they add up to the same step: running
   * statistics, as of batch norm, would be those of fewer images.
   * @throws InputError, AdapterError, OutOfMemoryError, DestroyedError, and the signal's reason
   */
  static async open(definition: TrainingDefinition, options: EngineOptions): Promise<DeviceEngine> {
    const { settings, graphs, name } = definition.manifest;
    const { batch = settings.batch, passes: least = settings.accumulate } = options;
    if (!Number.isSafeInteger(batch) || batch < 1) throw new InputError(`batch must be at least 1, got ${batch}`);
    if (!Number.isSafeInteger(least) || least < 1 || batch % least !== 0) {
      throw new InputError(`a batch of ${batch} images does not split into ${least} equal passes`);
    }
    const splits = graphs.gather !== undefined && graphs.apply !== undefined;
    if (!splits && (graphs.train === undefined || least > 1)) {
      throw new InputError(`${name} was compiled for steps of one pass`, {
        help: `add \`accumulate = ${least} steps\` to the recipe, and compile it again`,
      });
    }
    let failure: unknown;
    for (let passes = least; passes <= (splits && !movesBuffers(definition.manifest) ? batch : least); passes++) {
      if (batch % passes !== 0) continue;
      try {
        return await options.device.lifetime.use(() =>
          DeviceEngine.#build(definition, options, batch / passes, passes));
      } catch (error) {
        if (!(error instanceof OutOfMemoryError)) throw error;
        failure ??= error;
      }
    }
    throw failure;
  }

  static async #build(
    definition: TrainingDefinition, options: EngineOptions, images: number, passes: number,
  ): Promise<DeviceEngine> {
    const programs = await buildPrograms(definition, options, images, passes);
    try {
      return new DeviceEngine(definition.manifest, programs);
    } catch (error) {
      programs.destroy();
      throw error;
    }
  }

  get hasEma(): boolean {
    return this.manifest.states.some(({ role }) => role === "ema");
  }

  /** The kernel family of the step. */
  get family(): FamilyName {
    return this.#programs.pass.family;
  }

  /** Images of an evaluation batch. */
  get evaluationBatch(): number {
    return this.#programs.evaluate.batch;
  }

  /** Dispatches of an optimizer step, all passes together. */
  get dispatches(): number {
    const count = (program: Program | undefined): number =>
      (program ? familyNamed(program.manifest, program.family).programs.run.length : 0);
    return this.passes * count(this.#programs.pass) + count(this.#programs.apply);
  }

  /** Bytes on the device, by kind; the states count as parameters. */
  get memory(): MemoryUse {
    const { pass, apply, evaluate } = this.#programs;
    const all = [pass, evaluate, ...(apply ? [apply] : [])].map(({ memory }) => memory);
    const sum = (kind: keyof MemoryUse): number => all.reduce((n, use) => n + use[kind], 0);
    const parameters = this.#store.bytes;
    return {
      parameters, derived: sum("derived"), activations: sum("activations"), inputs: sum("inputs"),
      outputs: sum("outputs"), staging: sum("staging"), total: sum("total") - (all.length - 1) * parameters,
    };
  }

  /** Gives every state what it starts from. @param loaded values of a state, where they are not drawn by the seed */
  initialize(
    loaded: (state: StateInfo) => Promise<Float32Array | undefined> = () => Promise.resolve(undefined),
  ): Promise<void> {
    return this.#queue(() => this.#initialize(loaded));
  }

  async #initialize(loaded: (state: StateInfo) => Promise<Float32Array | undefined>): Promise<void> {
    await this.#settle();
    await writeInitial(this.manifest, this.#store, loaded);
    this.#loaded = loaded;
    this.#forget();
    await this.#prepareSteps();
  }

  /** Puts every state back to what `initialize` gave it. Throws what reading the values again throws. */
  restart(): Promise<void> {
    return this.#queue(async () => {
      const loaded = this.#loaded;
      await this.#initialize(async (state) => {
        if (modelOf(this.manifest, state)?.frozen !== true) return loaded(state);
        // What never changes is there still.
        const bytes = await this.#store.read(state.path);
        return state.dtype === "f32" ? new Float32Array(bytes) : Float32Array.from(new Int32Array(bytes));
      });
      this.#loaded = loaded;
    });
  }

  /** Figures of steps that are not to count. */
  #forget(): void {
    [this.#rows, this.#bad, this.#gradNorm] = [[], undefined, undefined];
    this.#sums = { loss: 0, correct: 0, rows: 0, images: 0 };
  }

  async #prepareSteps(): Promise<void> {
    await this.#programs.pass.prepare();
    await this.#programs.apply?.prepare();
    this.#prepared = undefined;
  }

  step(batch: Batch, scalars: StepScalars): Promise<void> {
    return this.#queue(() => this.#step(batch, scalars));
  }

  async #step(batch: Batch, { step, lr }: StepScalars): Promise<void> {
    const { passes } = this;
    const { pass: program, apply } = this.#programs;
    if (this.#rows.length + passes > StepFigures.capacity) await this.#readFigures();
    for (let pass = 0; pass < passes; pass++) {
      await this.#room();
      await this.#inputs.pass.write(batch, { step, lr, pass, passes });
      this.#rows.push(step);
      this.#post(program);
    }
    if (apply !== undefined && this.#inputs.apply !== undefined) {
      await this.#room();
      await this.#inputs.apply.write(undefined, { step, lr, pass: 0, passes });
      this.#post(apply);
    }
    this.#prepared = undefined;
  }

  /**
   * Does a step as `step` does, looking at every tensor as it is written, up to the first value that is not finite.
   * Slow, and it allocates: for finding out why training diverged.
   */
  trace(batch: Batch, scalars: StepScalars): Promise<NonFinite | undefined> {
    return this.#queue(async () => {
      await this.#settle();
      this.#prepared = undefined;
      const { pass, apply } = this.#programs;
      const { manifest, passes } = this;
      return traceStep({ manifest, store: this.#store, pass, apply, inputs: this.#inputs, passes }, batch, scalars);
    });
  }

  /** Submits a program, and the copies of its figures into the newest row. */
  #post(program: Program): void {
    const row = this.#rows.length - 1;
    const { outputs } = program.manifest;
    const posted = this.#lifetime.use(() => program.post((encoder) => {
      for (const [column, name] of FIGURES.entries()) {
        const index = outputs.findIndex((output) => output.name === name);
        const from = outputs[index]?.sameAs ?? index;
        if (index >= 0) this.#figures.keep(encoder, row, column, program.outputBuffer(from));
      }
    }));
    // Awaited later; until then a failure must not count as unhandled.
    posted.catch(() => undefined);
    this.#pending.push(posted);
  }

  /** Waits until inputs may be written: the queue keeps order, but a run cut into several submits does not. */
  async #room(): Promise<void> {
    const { pass, apply } = this.#programs;
    const most = pass.isShort && apply?.isShort !== false ? STEPS_AHEAD : 0;
    while (this.#pending.length > most) await this.#pending.shift();
  }

  /** Waits for everything under way. */
  async #settle(): Promise<void> {
    while (this.#pending.length > 0) await this.#pending.shift();
  }

  async #readFigures(): Promise<void> {
    await this.#settle();
    if (this.#rows.length === 0) return;
    const rows = await this.#figures.read(this.#rows.length);
    const named = (name: string): boolean => [this.#programs.pass, this.#programs.apply]
      .some((program) => program?.manifest.outputs.some((output) => output.name === name));
    const [hasNorm, last] = [named("grad_norm"), this.#rows.length - 1];
    for (const [i, step] of this.#rows.entries()) {
      const [loss, correct, norm] = StepFigures.row(rows, i);
      // The norm of a step in passes stands in the row of its last pass.
      const final = (i + 1) % this.passes === 0;
      if (!Number.isFinite(loss)) this.#bad ??= { step, figure: "loss" };
      else if (hasNorm && final && !Number.isFinite(norm)) this.#bad ??= { step, figure: "grad_norm" };
      const { loss: sum, correct: right, rows: count, images } = this.#sums;
      this.#sums = {
        loss: sum + loss, correct: right + correct, rows: count + 1, images: images + this.#programs.pass.batch,
      };
      if (hasNorm && i === last) this.#gradNorm = norm;
    }
    this.#rows = [];
  }

  metrics(): Promise<StepMetrics> {
    return this.#queue(() => this.#metrics());
  }

  async #metrics(): Promise<StepMetrics> {
    await this.#readFigures();
    const { loss, correct, rows, images } = this.#sums;
    this.#sums = { loss: 0, correct: 0, rows: 0, images: 0 };
    const bad = this.#bad;
    const hasAccuracy = this.#programs.pass.manifest.outputs.some(({ name }) => name === "correct") && images > 0;
    return {
      loss: rows === 0 ? NaN : loss / rows,
      ...(this.#gradNorm === undefined ? {} : { gradNorm: this.#gradNorm }),
      ...(hasAccuracy ? { accuracy: correct / images } : {}),
      ...(bad === undefined ? {} : {
        nonFinite: { step: bad.step, tensor: await firstNonFinite(this.manifest, this.#store) ?? bad.figure },
      }),
    };
  }

  evaluate(batch: Batch, useEma: boolean): Promise<EvaluationSums> {
    return this.#queue(() => this.#evaluate(batch, useEma));
  }

  async #evaluate(batch: Batch, useEma: boolean): Promise<EvaluationSums> {
    await this.#settle();
    const program = this.#programs.evaluate;
    const binding = useEma && this.hasEma ? 1 : 0;
    if (this.#prepared !== binding) await program.prepare({}, binding);
    this.#prepared = binding;
    for (const [index, info] of program.manifest.inputs.entries()) {
      const values = tensorOf(batch, info.name, index === 0);
      const length = elementsAt(info, program.batch);
      if (values?.length !== length) {
        throw new InputError(`evaluation takes '${info.name}' of ${length} values, got ${values?.length ?? "none"}`);
      }
      await program.writeInput(index, values);
    }
    const results = await program.infer({}, binding);
    const sum = (name: string): number | undefined => {
      const index = program.manifest.outputs.findIndex((output) => output.name === name);
      const bytes = results[program.manifest.outputs[index]?.sameAs ?? index];
      return bytes && new Float32Array(bytes)[0];
    };
    const [loss, top1] = [sum("loss"), sum("correct")];
    if (loss === undefined || top1 === undefined) {
      throw new InputError(`${this.manifest.name} predicts no classes: there is nothing to evaluate`);
    }
    // Among five classes or fewer every label is in the first five.
    return { loss, top1, top5: sum("correct5") ?? sum("count") ?? 0 };
  }

  readState(): Promise<EngineState> {
    return this.#queue(async () => {
      await this.#settle();
      return { tensors: await readStates(this.manifest, this.#store), counters: {} };
    });
  }

  writeState(state: EngineState): Promise<void> {
    return this.#queue(async () => {
      await this.#settle();
      await writeStates(this.manifest, this.#store, state);
      this.#forget();
      await this.#prepareSteps();
    });
  }

  /** @throws DestroyedError after `destroy()`, and the fault that the device met */
  check(): void {
    this.#lifetime.check();
    this.device.check();
  }

  /**
   * Frees the buffers, once no call uses them: the call under way ends, those that wait or come later reject with
   * DestroyedError. The device stays.
   */
  destroy(): void {
    this.#lifetime.close();
  }

  /** Resolves when it was destroyed and everything is freed. */
  get ended(): Promise<void> {
    return this.#lifetime.ended;
  }

  /** Runs `work` after all earlier calls, whoever made them: they share inputs, outputs and states. */
  #queue<T>(work: () => Promise<T>): Promise<T> {
    return this.#lifetime.queue(() => {
      this.device.check();
      return work();
    });
  }
}
